//! A volume: whether its claim is there, and what becomes of it when that has gone.

use pal_resources::volumes::PROVISIONER;
use pal_scheduler::volumes::{Claim, Volume};
use serde_json::{Value, json};

use super::{DIRECTORY, about_volume, change_volume, set_phase, tell};
use crate::action::{Action, Plan, Severity};
use crate::garbage::{Item, without_finalizer};

/// Everything that is looked at for one volume.
pub struct View<'a> {
    pub volume: &'a Volume,
    /// The same as an object.
    pub item: &'a Item,
    /// The claim that has the name which the volume names.
    pub claim: Option<&'a Claim>,
    /// The nodes from which the volume can be reached.
    pub nodes: &'a [String],
}

/// Decides on one volume.
pub fn reconcile(view: &View<'_>) -> Plan {
    let volume = view.volume;
    let in_phase = |phase: &str| match volume.phase == phase {
        true => Plan::idle(),
        false => Plan::of(set_phase(volume, phase, "")),
    };
    let Some(named) = volume.claim.as_ref().filter(|named| !named.uid.is_empty()) else {
        return in_phase("Available");
    };
    match view.claim.filter(|claim| claim.uid == named.uid) {
        // Its claim takes it, or has it.
        Some(claim) if claim.volume.is_empty() => Plan::idle(),
        Some(claim) if claim.volume == volume.name => in_phase("Bound"),
        // Made for a claim that has got another one meanwhile.
        Some(_) if volume.provisioner.is_some() && volume.reclaim == "Delete" => released(view),
        Some(_) => Plan::of(let_go(volume)),
        None => released(view),
    }
}

/// The volume is no longer a claim's that has another one.
fn let_go(volume: &Volume) -> Action {
    use pal_resources::volumes::BOUND_BY_CONTROLLER;
    if volume.bound_by_controller {
        let annotations = json!({ BOUND_BY_CONTROLLER: null });
        return change_volume(
            volume,
            json!({ "metadata": { "annotations": annotations }, "spec": { "claimRef": null } }),
        );
    }
    // A user has named the claim: any of that name may come.
    change_volume(volume, json!({ "spec": { "claimRef": { "uid": Value::Null, "resourceVersion": Value::Null } } }))
}

fn released(view: &View<'_>) -> Plan {
    let volume = view.volume;
    let mut plan = Plan::idle();
    let known = matches!(volume.phase.as_str(), "Released" | "Failed");
    if !known {
        plan.push(set_phase(volume, "Released", ""));
        return plan;
    }
    match (volume.reclaim.as_str(), volume.provisioner.as_deref()) {
        ("Delete", Some(PROVISIONER)) => remove(view, &mut plan),
        // Who made it sees to it.
        ("Delete", Some(_)) | ("Retain", _) => {}
        ("Delete", None) => {
            let why =
                format!("error getting deleter volume plugin for volume {:?}: no volume plugin matched", volume.name);
            fail(volume, "VolumeFailedDelete", &why, &mut plan);
        }
        ("Recycle", _) => {
            fail(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!", &mut plan);
        }
        _ => fail(
            volume,
            "VolumeUnknownReclaimPolicy",
            "Volume has unrecognized PersistentVolumeReclaimPolicy",
            &mut plan,
        ),
    }
    plan
}

/// First the directory goes and then the volume. With a node that is no more, its directories have gone.
fn remove(view: &View<'_>, plan: &mut Plan) {
    let volume = view.volume;
    let directories = view.nodes.iter().map(|node| Action::RemoveDirectory {
        node: node.clone(),
        volume: volume.name.clone(),
        about: about_volume(volume),
    });
    plan.actions.extend(directories);
    if view.item.finalizers.iter().any(|own| own == DIRECTORY) {
        plan.push(without_finalizer(view.item, DIRECTORY));
    }
    if !volume.deleting {
        let target = view.item.target.clone();
        plan.push(Action::Delete { target, grace_seconds: None, propagation: None, announce: None });
    }
}

fn fail(volume: &Volume, reason: &'static str, why: &str, plan: &mut Plan) {
    if volume.phase != "Failed" || volume.message != why {
        plan.push(set_phase(volume, "Failed", why));
        plan.push(tell(about_volume(volume), Severity::Warning, reason, why));
    }
}
