//! Waiting until what was applied is there: what that means for each kind, and following it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{self, Api};
use crate::apply::Applied;
use crate::error::CliError;

/// How often the objects are looked at again.
const INTERVAL: Duration = Duration::from_millis(25);
const SLOWER: Duration = Duration::from_millis(250);
const ASK_PODS: Duration = Duration::from_secs(2);

/// How far an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Ready,
    /// Not yet; what is missing.
    Waiting(String),
    /// It will not become ready.
    Failed(String),
}

/// Decides how far an object of that kind is.
pub fn state(kind: &str, object: &Value) -> State {
    match kind {
        "Deployment" => deployment(object),
        "ReplicaSet" => {
            let (want, ready) = (number(&object["spec"]["replicas"]), number(&object["status"]["readyReplicas"]));
            if ready >= want { State::Ready } else { State::Waiting(format!("{ready} of {want} pods are ready")) }
        }
        "Pod" => pod(object),
        "Namespace" if object["status"]["phase"] != "Active" => State::Waiting("it is not active".to_owned()),
        _ => State::Ready,
    }
}

fn deployment(object: &Value) -> State {
    let (spec, status) = (&object["spec"], &object["status"]);
    let want = spec["replicas"].as_i64().unwrap_or(1);
    if number(&status["observedGeneration"]) < number(&object["metadata"]["generation"]) {
        return State::Waiting("it has just been changed".to_owned());
    }
    let condition = |kind: &str| api::array(&status["conditions"]).iter().find(|c| c["type"] == kind);
    if let Some(progress) = condition("Progressing").filter(|c| c["reason"] == "ProgressDeadlineExceeded") {
        return State::Failed(api::text(&progress["message"]));
    }
    let (updated, available) = (number(&status["updatedReplicas"]), number(&status["availableReplicas"]));
    let total = number(&status["replicas"]);
    if updated < want || available < updated || total > updated {
        return State::Waiting(format!("{} of {want} pods are available", available.min(updated)));
    }
    State::Ready
}

fn pod(object: &Value) -> State {
    let status = &object["status"];
    match status["phase"].as_str().unwrap_or_default() {
        "Succeeded" => return State::Ready,
        "Failed" => return State::Failed(why(object).unwrap_or_else(|| "it failed".to_owned())),
        _ => {}
    }
    if is_ready(object) {
        return State::Ready;
    }
    State::Waiting(why(object).unwrap_or_else(|| "it is starting".to_owned()))
}

fn is_ready(pod: &Value) -> bool {
    api::array(&pod["status"]["conditions"]).iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// What keeps a pod from being ready, where its status says.
fn why(pod: &Value) -> Option<String> {
    let status = &pod["status"];
    let unscheduled = api::array(&status["conditions"])
        .iter()
        .find(|c| c["type"] == "PodScheduled" && c["status"] == "False")
        .map(|c| api::text(&c["message"]));
    let statuses = ["initContainerStatuses", "containerStatuses"].into_iter().flat_map(|f| api::array(&status[f]));
    let mut reasons = statuses.filter_map(|container| {
        let state = &container["state"];
        let (reason, message) = match (&state["waiting"], &state["terminated"]) {
            (Value::Object(w), _) => (w.get("reason"), w.get("message")),
            (_, Value::Object(t)) if t.get("exitCode") != Some(&Value::from(0)) => (t.get("reason"), t.get("message")),
            _ => return None,
        };
        let reason = reason.and_then(Value::as_str).filter(|r| *r != "ContainerCreating" && *r != "PodInitializing")?;
        let message = message.and_then(Value::as_str).unwrap_or_default();
        let name = api::text(&container["name"]);
        Some(if message.is_empty() { format!("{name}: {reason}") } else { format!("{name}: {reason}: {message}") })
    });
    unscheduled.or_else(|| reasons.next())
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// Decides whether a Service leads anywhere, of the pods that it selects and of its EndpointSlices. One that selects no ready
/// pod waits for none.
fn service(pods: &Value, slices: &Value) -> State {
    let selects_ready =
        api::array(&pods["items"]).iter().any(|one| one["metadata"]["deletionTimestamp"].is_null() && is_ready(one));
    let mut endpoints = api::array(&slices["items"]).iter().flat_map(|slice| api::array(&slice["endpoints"]));
    if !selects_ready || endpoints.any(|endpoint| endpoint["conditions"]["ready"] == true) {
        return State::Ready;
    }
    State::Waiting("no endpoint is ready".to_owned())
}

/// Asks for an object and for what else tells how far it is.
async fn look(api: &Api, item: &Applied) -> Result<(State, Value), CliError> {
    let object = api.get(&item.resource.path(item.namespace.as_deref(), Some(&item.name))).await?;
    let spec = &object["spec"];
    let selector = spec["selector"].as_object().filter(|labels| !labels.is_empty() && spec["type"] != "ExternalName");
    let (true, Some(selector)) = (is_service(item), selector) else {
        return Ok((state(&item.resource.kind, &object), object));
    };
    let namespace = item.namespace.as_deref().unwrap_or("default");
    let labels = [("labelSelector", label_selector(selector))];
    let pods = api.get(&format!("/api/v1/namespaces/{namespace}/pods{}", api::query(&labels))).await?;
    let labels = [("labelSelector", format!("kubernetes.io/service-name={}", item.name))];
    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices{}", api::query(&labels));
    Ok((service(&pods, &api.get(&slices).await?), object))
}

fn is_service(item: &Applied) -> bool {
    item.resource.plural == "services"
}

fn label_selector(labels: &serde_json::Map<String, Value>) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.join(",")
}

/// Waits until all are ready, and then until a ready pod stands behind each of the Services, so that their addresses answer;
/// tells `note` what is still missing. An error names what was not ready in time, and why.
pub async fn ready(
    api: &Api,
    applied: &[Applied],
    limit: Duration,
    mut note: impl FnMut(&str),
) -> Result<(), CliError> {
    let started = Instant::now();
    let (services, others): (Vec<&Applied>, Vec<&Applied>) = applied.iter().partition(|item| is_service(item));
    for items in [others, services] {
        all_ready(api, &items, started, limit, &mut note).await?;
    }
    Ok(())
}

async fn all_ready(
    api: &Api,
    items: &[&Applied],
    started: Instant,
    limit: Duration,
    note: &mut impl FnMut(&str),
) -> Result<(), CliError> {
    let mut asked = started;
    let mut trouble = String::new();
    let mut waiting: BTreeMap<usize, String> = (0..items.len()).map(|i| (i, String::new())).collect();
    loop {
        for index in waiting.keys().copied().collect::<Vec<_>>() {
            let item = items[index];
            let (state, object) = look(api, item).await?;
            let label = format!("{}/{}", item.resource.singular, item.name);
            match state {
                State::Ready => drop(waiting.remove(&index)),
                State::Waiting(why) => drop(waiting.insert(index, format!("{label}: {why}"))),
                State::Failed(why) => {
                    let detail = pods_trouble(api, item, &object).await.unwrap_or_default();
                    return Err(CliError::other(format!("{label} failed: {why}{detail}")));
                }
            }
        }
        let Some((index, first)) = waiting.first_key_value() else { return Ok(()) };
        let out_of_time = started.elapsed() > limit;
        // What keeps the pods back is worth a look now and then, not at every turn.
        if out_of_time || asked.elapsed() > ASK_PODS {
            asked = Instant::now();
            let item = items[*index];
            let (_, object) = look(api, item).await?;
            trouble = pods_trouble(api, item, &object).await.unwrap_or_default();
        }
        if out_of_time {
            let all: Vec<&str> = waiting.values().map(String::as_str).collect();
            return Err(CliError::other(format!(
                "not ready within {} s: {}{trouble}",
                limit.as_secs(),
                all.join("; ")
            )));
        }
        note(&format!("{first}{trouble}"));
        tokio::time::sleep(if started.elapsed() < Duration::from_secs(3) { INTERVAL } else { SLOWER }).await;
    }
}

/// What the pods of a workload say is wrong with them, for the end of an error.
async fn pods_trouble(api: &Api, item: &Applied, object: &Value) -> Option<String> {
    let labels = object["spec"]["selector"]["matchLabels"].as_object()?;
    let path = format!("/api/v1/namespaces/{}/pods", item.namespace.as_deref()?);
    let parameters = api::query(&[("labelSelector", label_selector(labels))]);
    let pods = api.get(&format!("{path}{parameters}")).await.ok()?;
    let lines: Vec<String> = api::array(&pods["items"])
        .iter()
        .filter_map(|pod| why(pod).map(|why| format!("\n  pod/{}: {why}", api::text(&pod["metadata"]["name"]))))
        .take(5)
        .collect();
    Some(lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(kind: &str, object: Value, expected: State) {
        assert_eq!(state(kind, &object), expected);
    }

    #[test]
    fn a_deployment_is_ready_when_all_of_its_pods_are_new_and_available() {
        let object = |generation: i64, updated: i64, available: i64, total: i64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": {"observedGeneration": generation,
                   "updatedReplicas": updated, "availableReplicas": available, "replicas": total}})
        };
        let waiting = |text: &str| State::Waiting(text.to_owned());
        check("Deployment", object(2, 2, 2, 2), State::Ready);
        check("Deployment", object(1, 2, 2, 2), waiting("it has just been changed"));
        check("Deployment", object(2, 2, 1, 2), waiting("1 of 2 pods are available"));
        check("Deployment", object(2, 2, 2, 3), waiting("2 of 2 pods are available"));
    }

    #[test]
    fn a_pod_that_cannot_start_says_why() {
        check(
            "Pod",
            json!({"status": {"phase": "Pending", "containerStatuses": [{"name": "app",
                   "state": {"waiting": {"reason": "ErrImagePull", "message": "image x is not found"}}}]}}),
            State::Waiting("app: ErrImagePull: image x is not found".to_owned()),
        );
        check(
            "Pod",
            json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                   "message": "0/1 nodes are available"}]}}),
            State::Waiting("0/1 nodes are available".to_owned()),
        );
        check("Pod", json!({"status": {"phase": "Succeeded"}}), State::Ready);
        check("ConfigMap", json!({}), State::Ready);
    }

    #[test]
    fn a_service_waits_for_an_endpoint_of_the_ready_pods_that_it_selects() {
        let check = |pods: Value, endpoints: Value, expected: State| {
            let slices = json!({"items": [{"endpoints": null}, {"endpoints": endpoints}]});
            assert_eq!(service(&json!({"items": pods}), &slices), expected, "{pods} {slices}");
        };
        let ready = || json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let mut leaving = ready();
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let waiting = || State::Waiting("no endpoint is ready".to_owned());
        check(json!([ready()]), json!([]), waiting());
        check(json!([leaving.clone(), ready()]), json!([{"conditions": {"ready": false}}]), waiting());
        check(
            json!([ready()]),
            json!([{"conditions": {"ready": false}}, {"conditions": {"ready": true}}]),
            State::Ready,
        );
        check(json!([]), json!([]), State::Ready);
        check(json!([leaving, {"status": {"phase": "Pending"}}]), json!([]), State::Ready);
    }
}
