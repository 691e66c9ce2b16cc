//! ReplicaSets, and ReplicationControllers, which are the same in an older form: as many pods of one template as were asked
//! for.

pub mod controller;
mod rank;
mod status;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use pal_resources::selector::LabelSelector;

use crate::action::Plan;
use crate::members::Owner;
use crate::object::is_deleting;
use crate::pods::is_active;

/// Pods that one look creates or deletes at most.
const BURST: usize = 500;
/// Who tells of ReplicaSets.
pub const COMPONENT: &str = "replicaset-controller";

/// Everything that a ReplicaSet's reconcile looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub set: &'a ReplicaSet,
    /// What the set is to its pods: itself, or the ReplicationController that it stands for.
    pub owner: &'a Owner<'a>,
    /// The pods of its namespace that it controls, and those that nobody controls. What was written by earlier looks is
    /// in it: that, and one look at a time, is why no pod is created twice.
    pub pods: &'a [Arc<Pod>],
    /// Why the last creation or deletion failed, if it did.
    pub failure: Option<&'a Failure>,
}

/// Which kind of write failed, and in which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Create(String),
    Delete(String),
}

/// Brings the number of pods to what the set asks for, and its status to what there is.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let set = view.set;
    let Some(spec) = &set.spec else { return plan };
    // A selector that was accepted can be read.
    let Ok(selector) = LabelSelector::from_object(&spec.selector) else { return plan };
    let owned = view.owner.claimed(&selector, view.pods, is_active, &mut plan);
    let active: Vec<&Arc<Pod>> = owned.iter().copied().filter(|pod| is_active(pod)).collect();
    // Writes are done in their order, and what failed may fail again: then the status comes first.
    if view.failure.is_some() {
        status::report(view, &owned, &active, now, &mut plan);
    }
    if !is_deleting(&set.metadata) {
        scale(view, &active, now, &mut plan);
    }
    if view.failure.is_none() {
        status::report(view, &owned, &active, now, &mut plan);
    }
    plan
}

fn scale(view: &View<'_>, active: &[&Arc<Pod>], now: Timestamp, plan: &mut Plan) {
    let (set, owner) = (view.set, view.owner);
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST);
        let body = owner.pod_of(set.spec.as_ref().and_then(|spec| spec.template.as_ref()));
        plan.actions.extend((0..missing).map(|_| owner.create(body.clone())));
    } else if active.len() > wanted {
        let surplus = (active.len() - wanted).min(BURST);
        let victims = rank::victims(active, surplus, now);
        plan.actions.extend(victims.into_iter().map(|pod| owner.delete(pod)));
    }
}

/// How many replicas are asked for; one when nothing is said.
pub(crate) fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}
