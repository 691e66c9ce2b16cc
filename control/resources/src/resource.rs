//! Which resources the API serves: one descriptor each, from which routes, discovery and messages follow.

mod builtin;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use builtin::{builtin, by_kind, find, measured};

/// What can be done to a resource, in the words of discovery.
pub const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const RETURNED_OF_CORE: &[&str] = &[
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourcequotas",
    "serviceaccounts",
    "services",
];

/// A path below an object, as `pods/log`, with the kind of its bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// `status`, `scale`, `log`, ...
    pub name: Cow<'static, str>,
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub verbs: Cow<'static, [&'static str]>,
}

/// One resource of one group and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Empty for the core group.
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub plural: Cow<'static, str>,
    pub singular: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub namespaced: bool,
    pub short_names: Cow<'static, [Cow<'static, str>]>,
    pub categories: Cow<'static, [Cow<'static, str>]>,
    pub verbs: Cow<'static, [&'static str]>,
    pub subresources: Cow<'static, [Subresource]>,
    /// What decides on the objects of a custom resource; `None` for what is built in.
    pub custom: Option<Custom>,
}

/// What the definition of a custom resource makes of its objects. Who compiles definitions knows its type; it goes with
/// the resource, so that a request is dealt with by one definition from beginning to end.
#[derive(Clone)]
pub struct Custom(Arc<dyn Any + Send + Sync>);

impl Custom {
    /// Wraps what was compiled.
    pub fn new<T: Any + Send + Sync>(compiled: Arc<T>) -> Self {
        Self(compiled)
    }

    /// What was compiled, if it is of that type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Custom {}

impl fmt::Debug for Custom {
    /// All are told alike: hashes are made of this, which must be the same on every server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom")
    }
}

/// Resources are shared; those of custom resource definitions come and go while the server runs.
pub type ResourceRef = Arc<Resource>;

impl Resource {
    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`, or `pods` for the core group: how messages name a resource.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_string() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether a delete is answered with the object, even when it is gone; of others that are gone with a `Status`.
    pub fn returned(&self) -> bool {
        match &*self.group {
            "" => RETURNED_OF_CORE.contains(&&*self.plural),
            "storage.k8s.io" => self.plural != "csistoragecapacities",
            _ => false,
        }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}
