//! Which resources the API serves: one descriptor each, from which routes, discovery and messages follow.

mod builtin;

use std::borrow::Cow;
use std::sync::Arc;

pub use builtin::{builtin, by_kind, find};

/// What can be done to a resource, in the words of discovery.
pub const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

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
    pub short_names: Cow<'static, [&'static str]>,
    pub categories: Cow<'static, [&'static str]>,
    pub verbs: Cow<'static, [&'static str]>,
    pub subresources: Cow<'static, [Subresource]>,
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

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}
