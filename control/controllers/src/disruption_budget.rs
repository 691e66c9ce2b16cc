//! PodDisruptionBudgets: how many of the pods that one chooses may be evicted now.
//!
//! The status is what evictions ask (`policy/v1`, KEP-85): it is written before they are allowed, and each that is allowed is
//! noted in it until the pod is seen to go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::action::{Action, Note, Plan, Severity, Target, reference};
use crate::deployment::budget::{Rounding, scaled};
use crate::members::{count, says_the_same};
use crate::object::{as_seen, controller, is_deleting, name, remaining};
use crate::pods::is_ready;

const COMPONENT: &str = "controllermanager";
const ALLOWED: &str = "DisruptionAllowed";
/// A pod that was to be evicted and is still there after this time counts again.
const BELIEVED: Duration = Duration::from_secs(120);

/// Everything that a budget's reconcile looks at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub budget: &'a PodDisruptionBudget,
    /// The pods that it chooses.
    pub pods: &'a [Arc<Pod>],
    /// How many pods the controller wants that an owner reference names; `None` where there is none, an error where that
    /// cannot be told.
    pub scale: &'a dyn Fn(&OwnerReference) -> Result<Option<Scale>, String>,
}

/// What controls pods, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    pub uid: String,
    pub replicas: i32,
}

/// Brings the status to what the pods are.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let budget = view.budget;
    let Some(spec) = budget.spec.as_ref().filter(|_| !is_deleting(&budget.metadata)) else { return plan };
    let status = budget.status.clone().unwrap_or_default();
    let known_generation = status.observed_generation == budget.metadata.generation;
    let mut wanted = match healthy_and_wanted(view, spec) {
        Ok((expected, desired)) => {
            let disrupted = disrupted(&status, view.pods, now, &mut plan);
            let counts = |pod: &&Arc<Pod>| {
                !is_deleting(&pod.metadata) && is_ready(pod) && !disrupted.contains_key(name(&pod.metadata))
            };
            let healthy = count(view.pods.iter().filter(counts).count());
            let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
            let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
            let mut noted = json!(disrupted);
            for gone in
                status.disrupted_pods.iter().flat_map(BTreeMap::keys).filter(|pod| !disrupted.contains_key(*pod))
            {
                noted[gone] = Value::Null;
            }
            json!({
                "currentHealthy": healthy,
                "desiredHealthy": desired,
                "expectedPods": expected,
                "disruptionsAllowed": allowed,
                "disruptedPods": noted,
                "conditions": conditions(budget, &status, allowed > 0, reason, "", now),
            })
        }
        Err(why) => {
            let conditions = conditions(budget, &status, false, "SyncFailed", &why, now);
            json!({"disruptionsAllowed": 0, "conditions": conditions})
        }
    };
    wanted["observedGeneration"] = json!(budget.metadata.generation);
    if !says_the_same(&json!(status), &wanted) {
        plan.actions.extend(
            troubles(view, spec).into_iter().map(|(reason, message)| tell(budget, Severity::Warning, reason, message)),
        );
        let patch = json!({"metadata": as_seen(&budget.metadata), "status": wanted});
        plan.push(Action::Patch { target: Target::of(budget), subresource: Some("status"), patch, announce: None });
    }
    if view.pods.is_empty() && !known_generation {
        plan.push(tell(budget, Severity::Normal, "NoPods", "No matching pods found".to_owned()));
    }
    plan
}

fn tell(budget: &PodDisruptionBudget, severity: Severity, reason: &'static str, message: String) -> Action {
    Action::Tell(Note { about: reference(budget), component: COMPONENT, severity, reason, message })
}

/// What keeps the status from saying what its author will have meant: reasons and messages.
fn troubles(view: &View<'_>, spec: &PodDisruptionBudgetSpec) -> Vec<(&'static str, String)> {
    let is_relative = spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)));
    if !is_relative {
        return Vec::new();
    }
    let mut troubles = Vec::new();
    if let Err(why) = expected(view) {
        let message = format!("Failed to calculate the number of expected pods: {why}");
        troubles.push(("CalculateExpectedPodCountFailed", message));
    }
    if view.pods.iter().any(|pod| controller(&pod.metadata).is_none()) {
        let message = "Pods selected by this PodDisruptionBudget were found to be unmanaged: they do not count. \
                       An integer as \".spec.minAvailable\" accounts for them.";
        troubles.push(("UnmanagedPods", message.to_owned()));
    }
    troubles
}

/// How many pods there should be, and how many of them must be healthy.
fn healthy_and_wanted(view: &View<'_>, spec: &PodDisruptionBudgetSpec) -> Result<(i32, i32), String> {
    if let Some(unavailable) = &spec.max_unavailable {
        let expected = expected(view)?;
        return Ok((expected, (expected - scaled(unavailable, expected, Rounding::Up)).max(0)));
    }
    match &spec.min_available {
        Some(IntOrString::Int(least)) => Ok((count(view.pods.len()), *least)),
        Some(share) => {
            let expected = expected(view)?;
            Ok((expected, scaled(share, expected, Rounding::Up)))
        }
        None => Ok((0, 0)),
    }
}

/// How many pods those that control the chosen ones want together. Pods that nobody controls do not count.
fn expected(view: &View<'_>) -> Result<i32, String> {
    let mut seen = BTreeSet::new();
    let mut sum = 0_i32;
    for pod in view.pods {
        let Some(owner) = controller(&pod.metadata) else { continue };
        let found = (view.scale)(owner)?;
        let scale = found.ok_or_else(|| format!("found no controllers for pod {:?}", name(&pod.metadata)))?;
        if seen.insert(scale.uid) {
            sum = sum.saturating_add(scale.replicas);
        }
    }
    Ok(sum)
}

/// The noted evictions whose pods are still there and may still go.
fn disrupted(
    status: &PodDisruptionBudgetStatus,
    pods: &[Arc<Pod>],
    now: Timestamp,
    plan: &mut Plan,
) -> BTreeMap<String, Time> {
    let stays: BTreeSet<&str> =
        pods.iter().filter(|pod| !is_deleting(&pod.metadata)).map(|pod| name(&pod.metadata)).collect();
    let noted = status.disrupted_pods.iter().flatten();
    noted
        .filter(|(pod, since)| {
            let left = remaining(since.0, BELIEVED, now).filter(|_| stays.contains(pod.as_str()));
            left.inspect(|left| plan.look_again(*left)).is_some()
        })
        .map(|(pod, since)| (pod.clone(), since.clone()))
        .collect()
}

fn conditions(
    budget: &PodDisruptionBudget,
    status: &PodDisruptionBudgetStatus,
    allowed: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Value {
    let holds = if allowed { "True" } else { "False" };
    let known = status.conditions.iter().flatten().find(|condition| condition.type_ == ALLOWED);
    let since =
        known.filter(|known| known.status == holds).map_or(Time(now), |known| known.last_transition_time.clone());
    let others = status.conditions.iter().flatten().filter(|condition| condition.type_ != ALLOWED);
    let mut conditions: Vec<Value> = others.map(|condition| json!(condition)).collect();
    conditions.push(json!({
        "type": ALLOWED,
        "status": holds,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
        "observedGeneration": budget.metadata.generation,
    }));
    conditions.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
    }

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        let metadata =
            json!({"name": "b", "namespace": "default", "uid": "u", "resourceVersion": "7", "generation": 2});
        let mut value = json!({"metadata": metadata, "spec": spec, "status": status});
        value["spec"]["selector"] = json!({"matchLabels": {"app": "a"}});
        serde_json::from_value(value).expect("a budget")
    }

    /// Pods of a controller; the first so many are ready.
    fn pods(all: usize, ready: usize) -> Vec<Arc<Pod>> {
        let pod = |number: usize| {
            let ready = if number < ready { "True" } else { "False" };
            let owner =
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "s", "uid": "s", "controller": true});
            let value = json!({
                "metadata": {"name": format!("p{number}"), "labels": {"app": "a"}, "ownerReferences": [owner]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
            });
            Arc::new(serde_json::from_value(value).expect("a pod"))
        };
        (0..all).map(pod).collect()
    }

    /// The status that is written, none when it stays.
    fn status(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], replicas: Option<i32>, now: Timestamp) -> Option<Value> {
        let scale = |_: &OwnerReference| match replicas {
            Some(-1) => Err("jobs.batch does not implement the scale subresource".to_owned()),
            replicas => Ok(replicas.map(|replicas| Scale { uid: "s".into(), replicas })),
        };
        let plan = reconcile(&View { budget, pods, scale: &scale }, now);
        plan.actions.into_iter().find_map(|action| match action {
            Action::Patch { patch, subresource: Some("status"), .. } => Some(patch["status"].clone()),
            _ => None,
        })
    }

    #[test]
    fn what_may_be_evicted_follows_from_what_is_healthy() {
        let check = |spec: Value, found: (usize, usize), replicas: Option<i32>, expected: [i64; 4], reason: &str| {
            let status = status(&budget(spec.clone(), json!({})), &pods(found.0, found.1), replicas, at(0));
            let status = status.expect("it is written");
            let number = |field: &str| status[field].as_i64().unwrap_or(-1);
            let told = ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"].map(number);
            assert_eq!((told, &status["conditions"][0]["reason"]), (expected, &json!(reason)), "{spec} {found:?}");
            assert_eq!(status["observedGeneration"], 2);
        };
        check(json!({"minAvailable": 2}), (3, 3), None, [3, 2, 3, 1], "SufficientPods");
        check(json!({"minAvailable": 2}), (3, 2), None, [3, 2, 2, 0], "InsufficientPods");
        check(json!({"minAvailable": "50%"}), (3, 3), Some(5), [5, 3, 3, 0], "InsufficientPods");
        check(json!({"maxUnavailable": 1}), (3, 3), Some(3), [3, 2, 3, 1], "SufficientPods");
        check(json!({"maxUnavailable": "30%"}), (10, 10), Some(10), [10, 7, 10, 3], "SufficientPods");
        check(json!({"maxUnavailable": 5}), (3, 3), Some(3), [3, 0, 3, 3], "SufficientPods");
        check(json!({"maxUnavailable": 1}), (0, 0), Some(3), [0, 0, 0, 0], "InsufficientPods");
        check(json!({"maxUnavailable": 1}), (1, 1), None, [-1, -1, -1, 0], "SyncFailed");
        let why = |replicas: Option<i32>| {
            let status = status(&budget(json!({"maxUnavailable": 1}), json!({})), &pods(1, 1), replicas, at(0));
            status.expect("it is written")["conditions"][0]["message"].as_str().map(str::to_owned)
        };
        assert_eq!(why(None).as_deref(), Some("found no controllers for pod \"p0\""));
        assert_eq!(why(Some(-1)).as_deref(), Some("jobs.batch does not implement the scale subresource"));
    }

    #[test]
    fn evictions_are_noted_until_their_pods_go_or_for_two_minutes() {
        let spec = json!({"minAvailable": 1});
        let noted = json!({"disruptedPods": {"p0": at(0).to_string(), "p9": at(0).to_string()}});
        let found = status(&budget(spec.clone(), noted.clone()), &pods(3, 3), None, at(60)).expect("it is written");
        assert_eq!(found["disruptedPods"], json!({"p0": at(0).to_string(), "p9": null}));
        assert_eq!(found["disruptionsAllowed"], 1);
        let found = status(&budget(spec, noted), &pods(3, 3), None, at(121)).expect("it is written");
        assert_eq!(found["disruptedPods"], json!({"p0": null, "p9": null}));
        assert_eq!(found["disruptionsAllowed"], 2);
    }

    #[test]
    fn what_keeps_the_numbers_from_being_right_is_told() {
        let check = |spec: Value, pods: &[Arc<Pod>], replicas: Option<i32>, expected: &[&str]| {
            let scale = |_: &OwnerReference| Ok(replicas.map(|replicas| Scale { uid: "s".into(), replicas }));
            let plan = reconcile(&View { budget: &budget(spec.clone(), json!({})), pods, scale: &scale }, at(0));
            let told = plan.actions.iter().filter_map(|action| match action {
                Action::Tell(note) => Some(note.reason),
                _ => None,
            });
            assert_eq!(told.collect::<Vec<_>>(), expected, "{spec}");
        };
        let mut alone = (*pods(1, 1)[0]).clone();
        alone.metadata.owner_references = None;
        let alone = [Arc::new(alone)];
        check(json!({"maxUnavailable": 1}), &pods(1, 1), Some(1), &[]);
        check(json!({"maxUnavailable": 1}), &pods(1, 1), None, &["CalculateExpectedPodCountFailed"]);
        check(json!({"maxUnavailable": 1}), &alone, None, &["UnmanagedPods"]);
        check(json!({"minAvailable": "50%"}), &alone, None, &["UnmanagedPods"]);
        check(json!({"minAvailable": 1}), &alone, None, &[]);
        check(json!({"minAvailable": 1}), &[], None, &["NoPods"]);
    }

    #[test]
    fn a_status_that_is_right_stays() {
        let spec = json!({"minAvailable": 2});
        let first = status(&budget(spec.clone(), json!({})), &pods(3, 3), None, at(0)).expect("it is written");
        assert_eq!(status(&budget(spec, first), &pods(3, 3), None, at(9)), None);
    }
}
