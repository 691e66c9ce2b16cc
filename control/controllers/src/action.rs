//! What a reconcile wants done, as values.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ListableResource, Metadata, Resource};
use serde_json::Value;

/// Which resource an action is about: group, version and plural.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    pub group: String,
    pub version: String,
    pub plural: String,
}

impl ResourceId {
    /// The resource of a type.
    pub fn of<K: Resource + ListableResource>() -> Self {
        Self { group: K::GROUP.into(), version: K::VERSION.into(), plural: K::URL_PATH_SEGMENT.into() }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.plural) } else { write!(f, "{}.{}", self.plural, self.group) }
    }
}

/// One object, by its name and its uid: an action never hits a namesake that came later.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    pub resource: ResourceId,
    pub namespace: Option<String>,
    pub name: String,
    pub uid: String,
}

impl Target {
    /// That object.
    pub fn of<K: Resource + ListableResource + Metadata<Ty = ObjectMeta>>(object: &K) -> Self {
        let meta = object.metadata();
        Self {
            resource: ResourceId::of::<K>(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }
}

/// A reference to an object as events and endpoints carry it.
pub fn reference<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(K::API_VERSION.to_owned()),
        kind: Some(K::KIND.to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// Whether an Event tells of the usual or of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

/// An Event to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub about: ObjectReference,
    /// Who tells: `deployment-controller`, ...
    pub component: &'static str,
    pub severity: Severity,
    pub reason: &'static str,
    pub message: String,
}

/// What is told of a write, after it was done or failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Announce {
    pub about: ObjectReference,
    pub component: &'static str,
    pub done: Option<Words>,
    pub failed: Option<Words>,
}

/// The words of an Event that a write causes.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    pub severity: Severity,
    pub reason: &'static str,
    pub text: String,
    /// Whether `: ` and the name of the object (of a failure: the error) follow the text.
    pub with_detail: bool,
}

/// How the dependents of a deleted object fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make an object. Creates that follow one another run in growing batches, and a failure ends them.
    Create { resource: ResourceId, namespace: Option<String>, body: Value, announce: Option<Announce> },
    /// Merge into an object. A `metadata.resourceVersion` in the patch makes it conditional.
    Patch { target: Target, subresource: Option<&'static str>, patch: Value, announce: Option<Announce> },
    /// Delete an object, if it still has the target's uid.
    Delete { target: Target, grace_seconds: Option<i64>, propagation: Option<Propagation>, announce: Option<Announce> },
    /// Delete every object of a resource, in a namespace or in all.
    DeleteAll { resource: ResourceId, namespace: Option<String> },
    /// Let a deleted namespace go, if nothing is left in it.
    FinalizeNamespace { target: Target },
    /// Count what of a namespace's quotas is used, and write it to their status.
    CountQuotas { namespace: String },
    /// Let a deleted definition go by that write of its status, if no objects are left of what it defines.
    FinalizeDefinition { target: Target, instances: Option<ResourceId>, patch: Value },
    /// Ask the registry whether that owner exists, so that the next look knows.
    VerifyOwner { owner: OwnerId },
    /// Sign an approved request and write the certificate to its status.
    Sign { target: Target, request: Vec<u8>, signer: String, seconds: i64 },
    /// Put a token of an account into a Secret, with what the patch has beside it.
    IssueToken { target: Target, account: String, uid: String, patch: Value },
    /// Make a directory on a node, and the volume that it is; what came of it is told of the claim.
    Provision { node: String, volume: Value, claim: ObjectReference },
    /// Remove the directory of a volume from a node; that it is not there is as good.
    RemoveDirectory { node: String, volume: String, about: ObjectReference },
    /// Find out what an autoscaler's target has and uses, so that the next look knows.
    Measure { namespace: String, name: String, generation: i64, api_version: String, kind: String, target: String },
    /// Tell of something that is no write.
    Tell(Note),
}

/// An owner as an owner reference names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId {
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
    pub uid: String,
}

/// What a reconcile returns: what to do now, and when to look again though nothing has changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub again: Option<Duration>,
}

impl Plan {
    /// Nothing to do.
    pub fn idle() -> Self {
        Self::default()
    }

    /// One thing to do.
    pub fn of(action: Action) -> Self {
        Self { actions: vec![action], again: None }
    }

    /// Adds an action.
    pub fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Look again after that long, or earlier if something else wants that.
    pub fn look_again(&mut self, after: Duration) {
        self.again = Some(self.again.map_or(after, |current| current.min(after)));
    }
}
