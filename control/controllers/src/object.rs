//! Small questions to any object, and the owner references between objects.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use crate::action::Target;

/// The name; empty only for what was never stored.
pub fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// The namespace; empty for objects of the cluster.
pub fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

/// The uid; empty only for what was never stored.
pub fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// Whether a deletion was asked for.
pub fn is_deleting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// When the object was made.
pub fn created(meta: &ObjectMeta) -> Timestamp {
    meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// One annotation.
pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The owner that controls the object.
pub fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// A reference by which `owner` controls what it makes.
pub fn controlled_by<K: Resource>(owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: name(owner).to_owned(),
        uid: uid(owner).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// From `earlier` to `later`, zero when it is the other way round.
pub fn since(later: Timestamp, earlier: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// How long until `span` has passed since `start`; `None` when it has.
pub fn remaining(start: Timestamp, span: Duration, now: Timestamp) -> Option<Duration> {
    let passed = since(now, start);
    (passed < span).then(|| span - passed)
}

/// What makes a patch conditional on the object being as it was seen.
pub fn as_seen(meta: &ObjectMeta) -> Value {
    json!({ "uid": uid(meta), "resourceVersion": meta.resource_version.clone().unwrap_or_default() })
}

/// What makes a patch conditional on the object being the same one.
pub fn same_object(target: &Target) -> Value {
    json!({ "uid": target.uid })
}

/// Labels or annotations as a merge patch: what the object has beyond those that are wanted goes.
pub fn entries_patch(current: Option<&BTreeMap<String, String>>, wanted: &BTreeMap<String, String>) -> Value {
    let mut patch = json!(wanted);
    for key in current.into_iter().flat_map(BTreeMap::keys).filter(|key| !wanted.contains_key(*key)) {
        patch[key] = Value::Null;
    }
    patch
}

/// How an object that an owner's selector may choose relates to that owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the owner's and stays so.
    Keep,
    /// Nobody controls it and the selector chooses it: the owner takes it.
    Adopt,
    /// It is the owner's, and the selector no longer chooses it: the owner lets it go.
    Release,
    /// It is none of the owner's business.
    Ignore,
}

/// Decides on a claim as Kubernetes' controllers do: only an owner that is not being deleted adopts, and nothing that is
/// being deleted is adopted or released.
pub fn claim(owner: &ObjectMeta, selected: bool, candidate: &ObjectMeta) -> Claim {
    match controller(candidate) {
        Some(reference) if reference.uid != uid(owner) => Claim::Ignore,
        Some(_) if selected => Claim::Keep,
        Some(_) if is_deleting(owner) || is_deleting(candidate) => Claim::Ignore,
        Some(_) => Claim::Release,
        None if !selected || is_deleting(owner) || is_deleting(candidate) => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// The patch by which an owner takes an object.
pub fn adoption(owner: OwnerReference, candidate: &ObjectMeta) -> Value {
    let mut owners = candidate.owner_references.clone().unwrap_or_default();
    owners.push(owner);
    owners_patch(candidate, &owners)
}

/// The patch by which an owner lets an object go.
pub fn release(owner: &ObjectMeta, candidate: &ObjectMeta) -> Value {
    let mut owners = candidate.owner_references.clone().unwrap_or_default();
    owners.retain(|reference| reference.uid != uid(owner));
    owners_patch(candidate, &owners)
}

/// The patch that gives an object these owners, if it is as it was seen.
pub fn owners_patch(candidate: &ObjectMeta, owners: &[OwnerReference]) -> Value {
    let mut metadata = as_seen(candidate);
    metadata["ownerReferences"] = if owners.is_empty() { Value::Null } else { json!(owners) };
    json!({ "metadata": metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, owner: Option<&str>, deleting: bool) -> ObjectMeta {
        ObjectMeta {
            uid: Some(uid.to_owned()),
            owner_references: owner.map(|uid| {
                vec![OwnerReference { uid: uid.to_owned(), controller: Some(true), ..OwnerReference::default() }]
            }),
            deletion_timestamp: deleting
                .then_some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn claims_follow_controller_and_selector() {
        let check = |owner_deleting: bool, selected: bool, candidate: ObjectMeta, expected: Claim| {
            let owner = meta("me", None, owner_deleting);
            assert_eq!(claim(&owner, selected, &candidate), expected, "{selected} {candidate:?}");
        };
        check(false, true, meta("a", Some("me"), false), Claim::Keep);
        check(false, false, meta("a", Some("me"), false), Claim::Release);
        check(true, false, meta("a", Some("me"), false), Claim::Ignore);
        check(false, true, meta("a", None, false), Claim::Adopt);
        check(false, true, meta("a", None, true), Claim::Ignore);
        check(true, true, meta("a", None, false), Claim::Ignore);
        check(false, false, meta("a", None, false), Claim::Ignore);
        check(false, true, meta("a", Some("other"), false), Claim::Ignore);
    }
}
