//! Claims get volumes, and volumes go when their claims have gone (kube-controller-manager's persistent-volume binder, and a
//! provisioner of volumes that are directories of nodes).
//!
//! A claim and its volume name each other. Whoever looks at either writes what is missing of that, first the volume's side, so
//! that a step that is lost is done again; a volume that was taken by another claim meanwhile is refused by its version.

pub mod claim;
pub mod ephemeral;
mod provision;
pub mod reclaim;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use pal_scheduler::volumes::{Claim, Volume};
use serde_json::{Value, json};

use crate::action::{Action, Note, ResourceId, Severity, Target};

const COMPONENT: &str = "persistentvolume-controller";
/// Keeps a volume that was made here until its directory is gone, as the finalizer of provisioners of that name does.
pub(crate) const DIRECTORY: &str = "external-provisioner.volume.kubernetes.io/finalizer";

fn about_claim(claim: &Claim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        namespace: Some(claim.namespace.clone()),
        name: Some(claim.name.clone()),
        uid: Some(claim.uid.clone()),
        resource_version: Some(claim.version.clone()),
        field_path: None,
    }
}

fn about_volume(volume: &Volume) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolume".to_owned()),
        name: Some(volume.name.clone()),
        uid: Some(volume.uid.clone()),
        resource_version: Some(volume.version.clone()),
        ..ObjectReference::default()
    }
}

fn tell(about: ObjectReference, severity: Severity, reason: &'static str, message: impl Into<String>) -> Action {
    Action::Tell(Note { about, component: COMPONENT, severity, reason, message: message.into() })
}

fn write(target: Target, subresource: Option<&'static str>, patch: Value) -> Action {
    Action::Patch { target, subresource, patch, announce: None }
}

fn claim_target(claim: &Claim) -> Target {
    Target {
        resource: ResourceId::of::<PersistentVolumeClaim>(),
        namespace: Some(claim.namespace.clone()),
        name: claim.name.clone(),
        uid: claim.uid.clone(),
    }
}

fn volume_target(volume: &Volume) -> Target {
    Target {
        resource: ResourceId::of::<PersistentVolume>(),
        namespace: None,
        name: volume.name.clone(),
        uid: volume.uid.clone(),
    }
}

/// Changes a claim that is as it was seen.
pub(crate) fn change_claim(claim: &Claim, mut patch: Value) -> Action {
    patch["metadata"]["uid"] = json!(claim.uid);
    patch["metadata"]["resourceVersion"] = json!(claim.version);
    write(claim_target(claim), None, patch)
}

fn change_volume(volume: &Volume, mut patch: Value) -> Action {
    patch["metadata"]["uid"] = json!(volume.uid);
    patch["metadata"]["resourceVersion"] = json!(volume.version);
    write(volume_target(volume), None, patch)
}

/// Writes a volume's phase, and why it is in it.
fn set_phase(volume: &Volume, phase: &str, message: &str) -> Action {
    let message = if message.is_empty() { Value::Null } else { json!(message) };
    let patch = json!({ "metadata": { "uid": volume.uid }, "status": { "phase": phase, "message": message } });
    write(volume_target(volume), Some("status"), patch)
}

/// The reference by which a volume names its claim.
fn claim_ref(claim: &Claim) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace,
        "name": claim.name, "uid": claim.uid, "resourceVersion": claim.version
    })
}

/// Has a volume name its claim, if it does not yet.
pub(crate) fn take(claim: &Claim, volume: &Volume) -> Option<Action> {
    use pal_resources::volumes::BOUND_BY_CONTROLLER;
    if volume.claim.as_ref().is_some_and(|named| named.uid == claim.uid) {
        return None;
    }
    let mut patch = json!({ "spec": { "claimRef": claim_ref(claim) } });
    if volume.claim.is_none() {
        patch["metadata"]["annotations"] = json!({ BOUND_BY_CONTROLLER: "yes" });
    }
    Some(change_volume(volume, patch))
}

#[cfg(test)]
mod tests;
