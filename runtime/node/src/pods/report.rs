//! Writing a pod's status, and asking for its deletion.

use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::Shared;

/// How long the server may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// With the version that the object has since.
    Done(u64),
    /// There is no such pod any more.
    NoSuchPod,
    /// The server refuses it, and would again.
    Refused(String),
    /// To be tried again.
    Failed(String),
}

fn outcome(result: Result<Result<u64, kube::Error>, tokio::time::error::Elapsed>) -> Written {
    match result {
        Ok(Ok(version)) => Written::Done(version),
        Ok(Err(kube::Error::Api(status))) => match status.code {
            404 => Written::NoSuchPod,
            // There is another of its name.
            422 if is_about_uid(&status) => Written::NoSuchPod,
            400 | 422 => Written::Refused(status.message.clone()),
            _ => Written::Failed(status.message.clone()),
        },
        // The answer is the whole pod; that it cannot be read does not undo the write.
        Ok(Err(kube::Error::SerdeError(_))) => Written::Done(0),
        Ok(Err(other)) => Written::Failed(crate::join::root_cause(&other)),
        Err(_) => Written::Failed("no answer in time".to_owned()),
    }
}

fn is_about_uid(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

/// Writes the status; `before` is what was written last. It is the pod with this uid or none.
pub(super) async fn write_status(
    shared: &Shared,
    pod: &Pod,
    status: &PodStatus,
    before: Option<&PodStatus>,
) -> Written {
    let Ok(_permit) = shared.writes.acquire().await else { return Written::Failed("stopping".to_owned()) };
    let api = api(shared, pod);
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let (params, patch) = (PatchParams::default(), Patch::Strategic(status_patch(pod, status, before)));
    let write = api.patch_status(name, &params, &patch).map_ok(|object| version(&object.metadata));
    outcome(tokio::time::timeout(LIMIT, write).await)
}

/// Deletes the object for good.
pub(super) async fn remove(shared: &Shared, pod: &Pod) -> Written {
    let Ok(_permit) = shared.writes.acquire().await else { return Written::Failed("stopping".to_owned()) };
    let api = api(shared, pod);
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    let params =
        DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
    let delete = api.delete(name, &params).map_ok(|_| 0);
    outcome(tokio::time::timeout(LIMIT, delete).await)
}

/// The pod's answer is not looked at, so that it is not taken apart.
fn api(shared: &Shared, pod: &Pod) -> Api<kube::core::PartialObjectMeta<Pod>> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Api::namespaced(shared.client.clone(), namespace)
}

/// Conditions that go when they hold no more, instead of becoming false.
const PASSING: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

fn has(status: &PodStatus, condition: &str) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == condition)
}

fn status_patch(pod: &Pod, status: &PodStatus, before: Option<&PodStatus>) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        // What is not said is not removed by a patch.
        for field in ["reason", "message"] {
            map.entry(field).or_insert(Value::Null);
        }
        // Conditions are merged by their type, each field on its own.
        for condition in map.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            for field in ["reason", "message"] {
                if condition[field].is_null() {
                    condition[field] = Value::Null;
                }
            }
        }
    }
    let gone = PASSING.iter().filter(|kind| {
        let known = [pod.status.as_ref(), before].into_iter().flatten();
        known.into_iter().any(|status| has(status, kind)) && !has(status, kind)
    });
    if let Some(conditions) = value["conditions"].as_array_mut() {
        conditions.extend(gone.map(|kind| json!({"$patch": "delete", "type": kind})));
    }
    json!({"metadata": {"uid": pod.metadata.uid}, "status": value})
}

/// What the machine knows of the foreign conditions that the readiness gates name.
pub(super) fn gates(pod: &Pod, names: &[String]) -> Vec<bool> {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    names.iter().map(|name| conditions.iter().any(|c| c.type_ == *name && c.status == "True")).collect()
}

/// Which of two states of an object is the later one.
pub(super) fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Whether two statuses say the same of what others act on.
pub(super) fn agree(one: &PodStatus, other: &PodStatus) -> bool {
    let condition = |status: &PodStatus, name: &str| {
        status.conditions.iter().flatten().find(|c| c.type_ == name).is_some_and(|c| c.status == "True")
    };
    let same = |name| condition(one, name) == condition(other, name);
    one.phase == other.phase && one.pod_ip == other.pod_ip && same("Ready") && same("ContainersReady")
}

/// Since when the pod is bound.
pub(super) fn scheduled_at(pod: &Pod) -> Option<jiff::Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == "PodScheduled")?.last_transition_time.as_ref().map(|t| t.0)
}

/// A status that both are kept in.
pub(super) type SharedStatus = Arc<PodStatus>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_condition_has_no_more_is_removed() {
        let status: PodStatus = serde_json::from_value(json!({"phase": "Succeeded", "conditions": [
            {"type": "Ready", "status": "False", "reason": "PodCompleted"}, {"type": "Initialized", "status": "True"},
        ]}))
        .unwrap();
        let patch = status_patch(&Pod::default(), &status, None);
        let said = |i: usize| {
            let condition = patch["status"]["conditions"][i].as_object().unwrap();
            (condition.get("reason").cloned(), condition.get("message").cloned())
        };
        assert_eq!(said(0), (Some(json!("PodCompleted")), Some(Value::Null)));
        assert_eq!(said(1), (Some(Value::Null), Some(Value::Null)));
        assert_eq!(patch["status"]["conditions"].as_array().unwrap().len(), 2);
        let before: PodStatus =
            serde_json::from_value(json!({"conditions": [{"type": "PodResizePending", "status": "True"}]})).unwrap();
        let gone = status_patch(&Pod::default(), &status, Some(&before));
        assert_eq!(gone["status"]["conditions"][2], json!({"$patch": "delete", "type": "PodResizePending"}));
        assert_eq!((&patch["status"]["reason"], &patch["status"]["phase"]), (&Value::Null, &json!("Succeeded")));
    }
}
