//! Deployments: from one template to the next, a ReplicaSet for each, never too few pods and never too many.

pub(crate) mod budget;
mod history;
mod member;
mod recreate;
mod rolling;
mod scale;
mod status;
mod template;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use pal_resources::selector::LabelSelector;

use crate::action::Plan;
use crate::members::Owner;
use crate::object::{controller, is_deleting};

use budget::Budget;
use member::Members;
use status::Report;

/// The label that tells the pods of one template from those of another.
pub const TEMPLATE_HASH: &str = "pod-template-hash";
/// The annotation that numbers a deployment's templates.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const COMPONENT: &str = "deployment-controller";

/// Everything that a Deployment's reconcile looks at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub deployment: &'a Deployment,
    /// The ReplicaSets of its namespace that it controls, and those that nobody controls.
    pub sets: &'a [Arc<ReplicaSet>],
    /// Whether a ReplicaSet of that name is in the namespace, whosever it is.
    pub taken: &'a dyn Fn(&str) -> bool,
}

/// Moves a rollout one step on, and the status to what there is.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let deployment = view.deployment;
    let Some(spec) = &deployment.spec else { return plan };
    // A selector that was accepted can be read.
    let Ok(selector) = LabelSelector::from_object(&spec.selector) else { return plan };
    let claimed = Owner::of(deployment, COMPONENT).claimed(&selector, view.sets, |_| true, &mut plan);
    let owned: Vec<&ReplicaSet> = claimed.into_iter().map(|set| &**set).collect();
    if owned.iter().any(|set| controller(&set.metadata).is_none()) {
        // What is adopted counts from the next look on. To make or size sets without it would be to make too many pods.
        return plan;
    }
    let budget = Budget::of(deployment);
    let mut members = Members::sort(deployment, &owned);
    let mut report = Report::begin(deployment, now);
    if is_deleting(&deployment.metadata) {
        report.counts(&members, &budget);
        report.write(&mut plan);
        return plan;
    }
    report.paused();
    let paused = spec.paused == Some(true);
    if paused || scale::is_due(deployment, &members) {
        template::number_known(deployment, &mut members, &mut report, &mut plan);
        scale::proportionally(deployment, &budget, &mut members);
        report.counts(&members, &budget);
    } else {
        let recreate = budget.recreate;
        let ready = !recreate || recreate::make_way(&mut members);
        template::number_known(deployment, &mut members, &mut report, &mut plan);
        if ready && members.new.is_none() {
            let made = template::make(view, &budget, &mut members, &mut report, &mut plan);
            if !made {
                report.write(&mut plan);
                return plan;
            }
        }
        match (recreate, ready) {
            (true, true) => recreate::fill(&budget, &mut members),
            (true, false) => {}
            (false, _) => rolling::step(&budget, &mut members),
        }
        report.counts(&members, &budget);
        report.progress(&members, &mut plan);
    }
    for member in members.all() {
        member.flush(deployment, &budget, &mut plan);
    }
    if paused || report.is_complete() {
        history::clean(deployment, &members, &mut plan);
    }
    report.write(&mut plan);
    plan
}
