//! A claim: which volume it gets, or what it waits for.

use std::sync::Arc;

use pal_resources::volumes::{BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONER};
use pal_scheduler::volumes::{Claim, Class, Volume, best, mismatch};
use serde_json::{Value, json};

use super::{about_claim, change_claim, change_volume, claim_target, provision, set_phase, take, tell, write};
use crate::action::{Action, Plan, Severity};

/// Everything that is looked at for one claim.
pub struct View<'a> {
    pub claim: &'a Claim,
    /// All volumes, in the order of their names.
    pub volumes: &'a [Arc<Volume>],
    /// The claim's class.
    pub class: Option<&'a Class>,
    /// The class of claims that name none.
    pub default_class: Option<&'a str>,
    /// The nodes that can have volumes, in the order of their names.
    pub nodes: &'a [Site],
    /// The names of the pods that use the claim and have no node yet.
    pub waiting: &'a [String],
}

/// A node on which volumes can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub node: String,
    /// The value of its hostname label.
    pub hostname: String,
    /// Whether it is ready and takes pods.
    pub is_open: bool,
}

impl View<'_> {
    fn volume(&self, name: &str) -> Option<&Volume> {
        let at = self.volumes.binary_search_by(|volume| volume.name.as_str().cmp(name));
        at.ok().map(|at| &*self.volumes[at])
    }

    pub(super) fn tell(&self, severity: Severity, reason: &'static str, message: impl Into<String>) -> Action {
        tell(about_claim(self.claim), severity, reason, message)
    }

    fn pending(&self, why: Option<Action>) -> Plan {
        let mut plan = Plan { actions: why.into_iter().collect(), again: None };
        if self.claim.phase != "Pending" {
            plan.push(phase(self.claim, "Pending"));
        }
        plan
    }
}

/// Decides on one claim.
pub fn reconcile(view: &View<'_>) -> Plan {
    let claim = view.claim;
    if claim.is_bound {
        return bound(view);
    }
    if claim.deleting {
        return Plan::idle();
    }
    if !claim.volume.is_empty() {
        return named(view);
    }
    let waits = view.class.is_some_and(|class| class.waits) && claim.selected_node.is_none();
    if let Some(volume) = best(claim, view.volumes.iter().map(Arc::as_ref), waits, |_| true) {
        return Plan { actions: bind(claim, volume), again: None };
    }
    if let (None, Some(class)) = (&claim.class, view.default_class) {
        return Plan::of(change_claim(claim, json!({ "spec": { "storageClassName": class } })));
    }
    if waits {
        let why = match view.waiting {
            [] => view.tell(
                Severity::Normal,
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
            ),
            pods => view.tell(
                Severity::Normal,
                "WaitForPodScheduled",
                format!("waiting for pod {} to be scheduled", pods.join(",")),
            ),
        };
        return view.pending(Some(why));
    }
    if claim.class_name().is_empty() {
        let why = "no persistent volumes available for this claim and no storage class is set";
        return view.pending(Some(view.tell(Severity::Normal, "FailedBinding", why)));
    }
    let mut plan = view.pending(None);
    provision::plan(view, &mut plan);
    plan
}

/// A user has named the volume.
fn named(view: &View<'_>) -> Plan {
    let claim = view.claim;
    let Some(volume) = view.volume(&claim.volume) else { return view.pending(None) };
    match &volume.claim {
        Some(named) if named.names(claim) => Plan { actions: bind(claim, volume), again: None },
        Some(_) => {
            let why = format!("volume {:?} already bound to a different claim.", volume.name);
            view.pending(Some(view.tell(Severity::Warning, "FailedBinding", why)))
        }
        None => match mismatch(claim, volume) {
            None => Plan { actions: bind(claim, volume), again: None },
            Some(why) => {
                let why = format!("Cannot bind to requested volume {:?}: {}", volume.name, why.text());
                view.pending(Some(view.tell(Severity::Warning, "VolumeMismatch", why)))
            }
        },
    }
}

fn bound(view: &View<'_>) -> Plan {
    let claim = view.claim;
    let lost = |reason: &'static str, message: &str| {
        let mut plan = Plan::idle();
        if claim.phase != "Lost" {
            plan.push(phase(claim, "Lost"));
            plan.push(view.tell(Severity::Warning, reason, message));
        }
        plan
    };
    if claim.volume.is_empty() {
        return lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    }
    let Some(volume) = view.volume(&claim.volume) else {
        return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    };
    if volume.claim.as_ref().is_some_and(|named| !named.names(claim)) {
        let why = "Two claims are bound to the same volume, this one is bound incorrectly";
        return lost("ClaimMisbound", why);
    }
    let mut actions = bind(claim, volume);
    let made_here = volume.provisioner.as_deref() == Some(PROVISIONER);
    if actions.is_empty() && !claim.deleting && made_here {
        actions = grow(view, volume);
    }
    Plan { actions, again: None }
}

/// What is missing so that the claim and the volume are each other's.
fn bind(claim: &Claim, volume: &Volume) -> Vec<Action> {
    let mut actions: Vec<Action> = take(claim, volume).into_iter().collect();
    if volume.phase != "Bound" {
        actions.push(set_phase(volume, "Bound", ""));
    }
    if claim.volume.is_empty() || !claim.is_bound {
        let mut annotations = json!({ BIND_COMPLETED: "yes" });
        if claim.volume.is_empty() {
            annotations[BOUND_BY_CONTROLLER] = json!("yes");
        }
        let spec = json!({ "volumeName": volume.name });
        actions.push(change_claim(claim, json!({ "metadata": { "annotations": annotations }, "spec": spec })));
    }
    if claim.phase != "Bound" || claim.capacity.is_none() {
        let mut status = json!({ "phase": "Bound", "accessModes": volume.modes });
        if claim.capacity.is_none() {
            status["capacity"] = json!({ "storage": volume.capacity.to_string() });
        }
        actions.push(set_status(claim, status));
    }
    actions
}

/// A directory is as large as its disk: that a claim asks for more is noted on both sides.
fn grow(view: &View<'_>, volume: &Volume) -> Vec<Action> {
    let claim = view.claim;
    if volume.capacity < claim.asked {
        let capacity = json!({ "storage": claim.asked.to_string() });
        return vec![change_volume(volume, json!({ "spec": { "capacity": capacity } }))];
    }
    if claim.capacity.is_some_and(|capacity| capacity < claim.asked) {
        let capacity = json!({ "storage": volume.capacity.to_string() });
        let done = view.tell(Severity::Normal, "VolumeResizeSuccessful", "Resize volume succeeded");
        return vec![set_status(claim, json!({ "capacity": capacity })), done];
    }
    Vec::new()
}

fn phase(claim: &Claim, phase: &str) -> Action {
    set_status(claim, json!({ "phase": phase }))
}

fn set_status(claim: &Claim, status: Value) -> Action {
    write(claim_target(claim), Some("status"), json!({ "metadata": { "uid": claim.uid }, "status": status }))
}
