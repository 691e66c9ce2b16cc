//! Pods that are driven out for one of higher priority: whether, which, and what is written of it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use pal_registry::budget_chooses;
use pal_scheduler::{Candidate, Cluster, Guards, Preemption, Remedy, Unschedulable, preempt, preemptible};
use serde_json::json;

use super::cache::Place;
use super::place::COMPONENT;
use crate::action::{Action, Announce, Severity, Target, Words, reference};
use crate::object::{as_seen, is_deleting, uid};
use crate::pods::disrupted;

/// The disruption budgets that there are.
pub(super) type Budgets = HashMap<Place, Arc<PodDisruptionBudget>>;

/// Chooses who goes for a pod that fits nowhere, and keeps their room for it. What came of it is noted in `why`.
pub(super) fn make_room(
    cluster: &mut Cluster,
    candidate: &Candidate,
    budgets: &Budgets,
    pod_at: impl Fn(&Place) -> Option<Arc<Pod>>,
    why: &mut Unschedulable,
) -> Option<Preemption> {
    if candidate.is_meek() {
        why.remedy = Remedy::Unwanted;
        return None;
    }
    if cluster.is_being_cleared_for(candidate) {
        why.remedy = Remedy::Awaited;
        return None;
    }
    if why.lacking_room == 0 {
        return None;
    }
    let guards = match budgets.is_empty() {
        true => Guards::default(),
        false => guards(cluster, candidate, budgets, pod_at),
    };
    let preemption = preempt(cluster, candidate, &guards)?;
    cluster.nominate(candidate, &preemption.node);
    why.remedy = Remedy::Preempted;
    Some(preemption)
}

/// What the budgets allow of the pods that could go.
fn guards(
    cluster: &Cluster,
    candidate: &Candidate,
    budgets: &Budgets,
    pod_at: impl Fn(&Place) -> Option<Arc<Pod>>,
) -> Guards {
    let mut guards = Guards::default();
    let mut chosen: Vec<(&str, &PodDisruptionBudget)> = Vec::new();
    for ((namespace, _), budget) in budgets {
        let allowed = budget.status.as_ref().and_then(|status| status.disruptions_allowed);
        guards.allowed.push(allowed.unwrap_or(0));
        chosen.push((namespace, budget));
    }
    for victim in preemptible(cluster, candidate) {
        let Some(pod) = pod_at(&(victim.namespace.clone(), victim.name)) else { continue };
        let own = chosen
            .iter()
            .enumerate()
            .filter(|(_, (namespace, budget))| *namespace == victim.namespace && budget_chooses(budget, &pod));
        let own: Vec<usize> = own.map(|(index, _)| index).collect();
        if !own.is_empty() {
            guards.of_pod.insert(victim.uid, own);
        }
    }
    guards
}

/// Says of each victim why it goes, and deletes them.
pub(super) fn drive_out(
    preemption: &Preemption,
    preemptor: &Pod,
    pod_at: impl Fn(&Place) -> Option<Arc<Pod>>,
) -> Vec<Action> {
    let (mut said, mut deletes) = (Vec::new(), Vec::new());
    for victim in &preemption.victims {
        let Some(pod) = pod_at(&(victim.namespace.clone(), victim.name.clone())) else { continue };
        if uid(&pod.metadata) != victim.uid || is_deleting(&pod.metadata) {
            continue;
        }
        let why = format!("{COMPONENT}: preempting to accommodate a higher priority pod");
        let status = json!({ "conditions": disrupted(&pod, "PreemptionByScheduler", why, Timestamp::now()) });
        let told = Words {
            severity: Severity::Normal,
            reason: "Preempted",
            text: format!("Preempted by pod {} on node {}", uid(&preemptor.metadata), preemption.node),
            with_detail: false,
        };
        let target = Target::of(&*pod);
        let announce = Announce { about: reference(&*pod), component: COMPONENT, done: Some(told), failed: None };
        said.push(Action::Patch {
            target: target.clone(),
            subresource: Some("status"),
            patch: json!({ "metadata": as_seen(&pod.metadata), "status": status }),
            announce: None,
        });
        deletes.push(Action::Delete { target, grace_seconds: None, propagation: None, announce: Some(announce) });
    }
    said.append(&mut deletes);
    said
}
