//! ReplicationControllers as ReplicaSets.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, ReplicationController, ReplicationControllerCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use serde_json::json;

use super::{Failure, View};
use crate::action::{Action, Plan};
use crate::members::{Owner, says_the_same};

const COMPONENT: &str = "replication-controller";

/// Brings the number of a ReplicationController's pods to what it asks for, as [`super::reconcile`] does.
pub fn reconcile(
    controller: &ReplicationController,
    pods: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> Plan {
    let set = as_set(controller);
    let owner = Owner::of(controller, COMPONENT);
    let mut plan = super::reconcile(&View { set: &set, owner: &owner, pods, failure }, now);
    let current = json!(controller.status);
    plan.actions.retain_mut(|action| {
        let Action::Patch { subresource: Some("status"), patch, .. } = action else { return true };
        if let Some(status) = patch["status"].as_object_mut() {
            // The older form does not count them.
            status.remove("terminatingReplicas");
        }
        !says_the_same(&current, &patch["status"])
    });
    plan
}

fn as_set(controller: &ReplicationController) -> ReplicaSet {
    let spec = controller.spec.clone().unwrap_or_default();
    let status = controller.status.clone().unwrap_or_default();
    let condition = |condition: ReplicationControllerCondition| ReplicaSetCondition {
        type_: condition.type_,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        last_transition_time: condition.last_transition_time,
    };
    ReplicaSet {
        metadata: controller.metadata.clone(),
        spec: Some(ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: spec.replicas,
            selector: LabelSelector { match_labels: spec.selector, match_expressions: None },
            template: spec.template,
        }),
        status: Some(ReplicaSetStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            terminating_replicas: None,
        }),
    }
}
