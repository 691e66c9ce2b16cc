//! What a ReplicaSet says of itself.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{Failure, View};
use crate::action::Plan;
use crate::members::count;
use crate::object::is_deleting;
use crate::pods::{Availability, availability, is_finished, is_ready};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Adds the write that brings the status up to date, if it is not, and the look that a pod's availability needs.
pub(super) fn report(view: &View<'_>, owned: &[&Arc<Pod>], active: &[&Arc<Pod>], now: Timestamp, plan: &mut Plan) {
    let set = view.set;
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let mut available = 0;
    for pod in active {
        match availability(pod, min_ready, now) {
            Availability::Available => available += 1,
            Availability::After(wait) => plan.look_again(wait),
            Availability::NotReady => {}
        }
    }
    let terminating = owned.iter().filter(|pod| is_deleting(&pod.metadata) && !is_finished(pod)).count();
    let current = set.status.clone().unwrap_or_default();
    let status = ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: nonzero(active.iter().filter(|pod| is_labelled(set, pod)).count()),
        ready_replicas: nonzero(active.iter().filter(|pod| is_ready(pod)).count()),
        available_replicas: nonzero(available),
        terminating_replicas: Some(count(terminating)),
        observed_generation: set.metadata.generation,
        conditions: conditions(&current, view.failure, now),
    };
    if differs(&current, &status) {
        plan.push(view.owner.report(patch(&status)));
    }
}

/// The status as a merge patch: what is absent from it is to go.
fn patch(status: &ReplicaSetStatus) -> serde_json::Value {
    json!({
        "replicas": status.replicas,
        "fullyLabeledReplicas": status.fully_labeled_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "terminatingReplicas": status.terminating_replicas,
        "observedGeneration": status.observed_generation,
        "conditions": status.conditions,
    })
}

/// Zero and absent are the same number.
fn differs(current: &ReplicaSetStatus, status: &ReplicaSetStatus) -> bool {
    let numbers = |status: &ReplicaSetStatus| {
        [
            Some(status.replicas),
            status.fully_labeled_replicas,
            status.ready_replicas,
            status.available_replicas,
            status.terminating_replicas,
        ]
        .map(Option::unwrap_or_default)
    };
    let conditions = |status: &ReplicaSetStatus| status.conditions.clone().unwrap_or_default();
    numbers(current) != numbers(status)
        || current.observed_generation != status.observed_generation
        || conditions(current) != conditions(status)
}

fn conditions(
    current: &ReplicaSetStatus,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = current.conditions.clone().unwrap_or_default();
    let known = conditions.iter().position(|condition| condition.type_ == REPLICA_FAILURE);
    match (failure, known) {
        (None, Some(index)) => {
            conditions.remove(index);
        }
        (None, None) => {}
        (Some(failure), known) => {
            let (reason, message) = match failure {
                Failure::Create(message) => ("FailedCreate", message),
                Failure::Delete(message) => ("FailedDelete", message),
            };
            // The first failure's words stay until it is over, as in Kubernetes.
            let same = known.is_some_and(|index| conditions[index].reason.as_deref() == Some(reason));
            if !same {
                conditions.retain(|condition| condition.type_ != REPLICA_FAILURE);
                conditions.push(ReplicaSetCondition {
                    type_: REPLICA_FAILURE.to_owned(),
                    status: "True".to_owned(),
                    reason: Some(reason.to_owned()),
                    message: Some(message.clone()),
                    last_transition_time: Some(Time(now)),
                });
            }
        }
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// Whether the pod has all labels of the template.
fn is_labelled(set: &ReplicaSet, pod: &Pod) -> bool {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let wanted = template.and_then(|template| template.metadata.as_ref()).and_then(|meta| meta.labels.as_ref());
    wanted
        .into_iter()
        .flatten()
        .all(|(key, value)| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value))
}

fn nonzero(number: usize) -> Option<i32> {
    (number > 0).then(|| count(number))
}
