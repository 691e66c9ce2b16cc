//! Whether claims outlive their pods and their set (`persistentVolumeClaimRetentionPolicy`, KEP-1847): they are owned by what
//! they are to go with, and the garbage collector does the rest.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::action::{Action, ResourceId, Target};
use crate::object::{controlled_by, is_deleting, name, owners_patch, uid};

/// With whom a claim goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    GoesWithSet,
    GoesWithPod,
}

/// With whom the claims go of a pod that the set still wants, or no longer does.
fn fate(spec: &StatefulSetSpec, is_wanted: bool) -> Fate {
    let policy = spec.persistent_volume_claim_retention_policy.as_ref();
    let deletes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
    let scaled = deletes(policy.and_then(|policy| policy.when_scaled.as_ref()));
    let deleted = deletes(policy.and_then(|policy| policy.when_deleted.as_ref()));
    match (is_wanted, scaled, deleted) {
        (false, true, _) => Fate::GoesWithPod,
        (_, _, true) => Fate::GoesWithSet,
        _ => Fate::Stays,
    }
}

/// The owners of a new claim.
pub(super) fn of_new(set: &StatefulSet, spec: &StatefulSetSpec) -> Vec<OwnerReference> {
    match fate(spec, true) {
        Fate::GoesWithSet => vec![reference::<StatefulSet>(&set.metadata)],
        Fate::Stays | Fate::GoesWithPod => Vec::new(),
    }
}

/// Whether a claim goes with a pod that was there before, or goes anyway, so that the next pod is to wait for a new one.
pub(super) fn is_leaving(spec: &StatefulSetSpec, pod: &str, claim: &ObjectMeta) -> bool {
    let of_pod = |owner: &OwnerReference| owner.kind == "Pod" && owner.name == pod;
    is_deleting(claim) || fate(spec, false) == Fate::GoesWithPod && claim.owner_references.iter().flatten().any(of_pod)
}

/// Gives a claim the owners that it should have, if it has others. What somebody else controls is left alone.
pub(super) fn keep(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    pod: &Pod,
    is_wanted: bool,
    claim: &ObjectMeta,
) -> Option<Action> {
    let known = claim.owner_references.clone().unwrap_or_default();
    let (of_set, of_pod) = (uid(&set.metadata), uid(&pod.metadata));
    let is_ours = |owner: &OwnerReference| {
        owner.uid == of_set || owner.uid == of_pod || owner.kind == "Pod" && owner.name == name(&pod.metadata)
    };
    let mut owners: Vec<OwnerReference> = known.iter().filter(|owner| !is_ours(owner)).cloned().collect();
    if is_deleting(claim) || owners.iter().any(|owner| owner.controller == Some(true)) {
        return None;
    }
    match fate(spec, is_wanted) {
        Fate::Stays => {}
        Fate::GoesWithSet => owners.push(reference::<StatefulSet>(&set.metadata)),
        Fate::GoesWithPod => owners.push(reference::<Pod>(&pod.metadata)),
    }
    let uids = |owners: &[OwnerReference]| owners.iter().map(|owner| owner.uid.clone()).collect::<Vec<_>>();
    (uids(&known) != uids(&owners)).then(|| Action::Patch {
        target: Target {
            resource: ResourceId::of::<PersistentVolumeClaim>(),
            namespace: claim.namespace.clone(),
            name: name(claim).to_owned(),
            uid: uid(claim).to_owned(),
        },
        subresource: None,
        patch: owners_patch(claim, &owners),
        announce: None,
    })
}

/// As Kubernetes writes it: nobody's deletion waits for a claim.
fn reference<K: k8s_openapi::Resource>(owner: &ObjectMeta) -> OwnerReference {
    OwnerReference { block_owner_deletion: None, ..controlled_by::<K>(owner) }
}
