//! metrics.k8s.io: what nodes and pods use, asked of the nodes when somebody asks. Nothing of it is stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use pal_registry::{List, ListOptions, Object};
use pal_resources::quantity::Quantity;
use pal_resources::selector::FieldSelector;
use pal_resources::{Resource, ResourceVersion, Status, codec, kinds, resource};
use serde_json::{Value, json};

use super::{Api, At, Call, nodes, read};
use crate::Body;

/// The group.
const GROUP: &str = "metrics.k8s.io";
/// What a node's summary says holds so long.
const FRESH: Duration = Duration::from_secs(10);
/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many nodes are asked at a time.
const TOGETHER: usize = 32;
const SUMMARY_LIMIT: usize = 16 * 1024 * 1024;

/// What nodes have said lately.
#[derive(Default)]
pub(super) struct Summaries(Mutex<HashMap<String, Summary>>);

/// What a node has said, and when.
#[derive(Clone)]
struct Summary {
    at: Instant,
    time: Timestamp,
    said: Arc<Value>,
}

impl Summaries {
    fn fresh(&self, node: &str) -> Option<Summary> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, summary| summary.at.elapsed() < FRESH);
        all.get(node).cloned()
    }

    fn keep(&self, node: &str, summary: Summary) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), summary);
    }
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq)]
pub struct PodUsed {
    pub pod: String,
    /// When the node said so, and over how many seconds it is the average.
    pub at: Timestamp,
    pub window_seconds: f64,
    /// Of each container its name, billionths of a core, and bytes.
    pub containers: Vec<(String, u64, u64)>,
}

/// What pods use, for those who ask within the process.
#[derive(Clone)]
pub struct Usage(pub(crate) Arc<Api>);

impl Usage {
    /// What the given pods of a namespace use, each named with its node.
    pub async fn pods(&self, namespace: &str, pods: Vec<(String, String)>) -> Vec<PodUsed> {
        let summaries = ask(&self.0, pods.iter().map(|(_, node)| node.clone()).collect()).await;
        let used = |(pod, node): &(String, String)| used(namespace, pod, summaries.get(node)?);
        pods.iter().filter_map(used).collect()
    }
}

fn used(namespace: &str, pod: &str, summary: &Summary) -> Option<PodUsed> {
    let number = |of: &Value| of.as_u64().unwrap_or(0);
    let container = |of: &Value| {
        let (nanos, bytes) = (number(&of["cpu"]["usageNanoCores"]), number(&of["memory"]["workingSetBytes"]));
        Some((of["name"].as_str()?.to_owned(), nanos, bytes))
    };
    Some(PodUsed {
        pod: pod.to_owned(),
        at: summary.time,
        window_seconds: summary.said["windowSeconds"].as_f64().unwrap_or(0.0),
        containers: told_of(namespace, pod, summary)?["containers"].as_array()?.iter().filter_map(container).collect(),
    })
}

/// What a node says of a pod.
fn told_of<'a>(namespace: &str, pod: &str, summary: &'a Summary) -> Option<&'a Value> {
    let is = |told: &&Value| told["podRef"]["name"] == pod && told["podRef"]["namespace"] == namespace;
    summary.said["pods"].as_array()?.iter().find(is)
}

/// Whether the resource is one of what is used.
pub(super) fn are(resource: &Resource) -> bool {
    resource.group == GROUP
}

/// `GET` of one, or of those that are selected.
pub(super) async fn answer(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let of_pods = at.resource.plural == "pods";
    let plural = if of_pods { "pods" } else { "nodes" };
    let described = resource::find("", "v1", plural).ok_or_else(Status::unknown_path)?;
    let options = call.query.list()?;
    let field = selectable(&at.resource, options.field.clone())?;
    let of = ListOptions { label: options.label, ..ListOptions::default() };
    let mut found = call.registry().list(&described, at.namespace(), of).await?;
    let selected = |object: &Object| {
        field.as_ref().is_none_or(|field| {
            field.matches(|name| match name {
                "metadata.namespace" => object.namespace(),
                _ => Some(object.name()),
            })
        })
    };
    found.items.retain(|object| at.name.as_deref().is_none_or(|name| name == object.name()) && selected(object));
    let node_of = |object: &Object| {
        if of_pods { object.index().field("spec.nodeName").map(str::to_owned) } else { Some(object.name().to_owned()) }
    };
    let asked: Vec<String> = found.items.iter().filter_map(node_of).filter(|node| !node.is_empty()).collect();
    let summaries = ask(call.api, asked).await;
    let shown = found.items.iter().filter_map(|object| {
        let summary = summaries.get(&node_of(object)?)?;
        if of_pods { pod(object, summary) } else { node(object, summary) }
    });
    let shown: Vec<Value> = shown.collect();
    if let Some(name) = &at.name {
        let named = Resource { plural: at.resource.kind.to_lowercase().into(), ..(*at.resource).clone() };
        let place = at.namespace().map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
        let one = shown.into_iter().next().ok_or_else(|| Status::not_found(&named, &place))?;
        return read::one(call, at, StatusCode::OK, &object(&at.resource, one));
    }
    let items = shown.into_iter().map(|one| Object::made(codec::to_json(&one).into(), ResourceVersion(0))).collect();
    let list = List { version: ResourceVersion(0), items, continue_token: None, remaining: None };
    call.shown(at)?.list(list, call.accepted)
}

/// What is used can be selected by place and labels alone.
fn selectable(resource: &Resource, field: Option<FieldSelector>) -> Result<Option<FieldSelector>, Status> {
    let requirements = field.iter().flat_map(FieldSelector::requirements);
    let known = |field: &str| matches!(field, "metadata.name" | "metadata.namespace");
    match requirements.map(|requirement| &requirement.field).find(|field| !known(field)) {
        Some(other) => Err(kinds::unselectable(resource, other)),
        None => Ok(field),
    }
}

fn object(resource: &Resource, mut fields: Value) -> Object {
    fields["kind"] = resource.kind.to_string().into();
    fields["apiVersion"] = resource.api_version().into();
    Object::made(codec::to_json(&fields).into(), ResourceVersion(0))
}

/// What the nodes say; those that do not answer are left out.
async fn ask(api: &Api, mut names: Vec<String>) -> BTreeMap<String, Summary> {
    names.sort_unstable();
    names.dedup();
    let answers = futures::stream::iter(names).map(|name| async move {
        let summary = match api.summaries.fresh(&name) {
            Some(summary) => summary,
            None => {
                let said = tokio::time::timeout(PATIENCE, fetch(api, &name)).await.ok().flatten()?;
                let summary = Summary { at: Instant::now(), time: Timestamp::now(), said: Arc::new(said) };
                api.summaries.keep(&name, summary.clone());
                summary
            }
        };
        Some((name, summary))
    });
    answers.buffer_unordered(TOGETHER).filter_map(std::future::ready).collect().await
}

async fn fetch(api: &Api, node: &str) -> Option<Value> {
    let answer =
        nodes::ask(api, node, "/stats/summary").await.ok().filter(|answer| answer.status() == StatusCode::OK)?;
    let body = Limited::new(answer.into_body(), SUMMARY_LIMIT).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

fn metadata(object: &Object, time: Timestamp) -> Value {
    let mut metadata = json!({"name": object.name(), "creationTimestamp": seconds(time)});
    if let Some(namespace) = object.namespace() {
        metadata["namespace"] = namespace.into();
    }
    let labels = object.index().sorted_labels();
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    metadata
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// Cores and bytes as quantities.
fn usage(of: &Value) -> Value {
    let nanos = of["cpu"]["usageNanoCores"].as_u64().unwrap_or(0);
    let cpu = if nanos == 0 { "0".to_owned() } else { format!("{nanos}n") };
    let bytes = of["memory"]["workingSetBytes"].as_i64().unwrap_or(0);
    // Whole kibibytes, as metrics-server tells them.
    json!({"cpu": cpu, "memory": Quantity::from_bytes(bytes / 1024 * 1024).to_string()})
}

fn window(said: &Value) -> String {
    format!("{:.3}s", said["windowSeconds"].as_f64().unwrap_or(0.0))
}

fn node(object: &Object, summary: &Summary) -> Option<Value> {
    let of = summary.said.get("node")?;
    Some(json!({
        "metadata": metadata(object, summary.time), "timestamp": seconds(summary.time),
        "window": window(&summary.said), "usage": usage(of)
    }))
}

fn pod(object: &Object, summary: &Summary) -> Option<Value> {
    let found = told_of(object.namespace()?, object.name(), summary)?;
    let containers: Vec<Value> = found["containers"]
        .as_array()?
        .iter()
        .map(|container| json!({"name": container["name"], "usage": usage(container)}))
        .collect();
    Some(json!({
        "metadata": metadata(object, summary.time), "timestamp": seconds(summary.time),
        "window": window(&summary.said), "containers": containers
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_told_of_its_pods() {
        let said = json!({"windowSeconds": 1.5, "node": {}, "pods": [
            {"podRef": {"name": "p", "namespace": "n"}, "containers": [
                {"name": "c", "cpu": {"usageNanoCores": 250}, "memory": {"workingSetBytes": 2_097_160}}]}]});
        let summary = Summary { at: Instant::now(), time: Timestamp::UNIX_EPOCH, said: Arc::new(said) };
        let named = |name: &str| {
            let json = json!({"metadata": {"name": name, "namespace": "n", "labels": {"a": "b"}}}).to_string();
            Object::made(json.into(), ResourceVersion(0))
        };
        let told = pod(&named("p"), &summary).expect("it is told of");
        assert_eq!(told["containers"], json!([{"name": "c", "usage": {"cpu": "250n", "memory": "2Mi"}}]));
        assert_eq!((&told["window"], &told["metadata"]["labels"]), (&json!("1.500s"), &json!({"a": "b"})));
        assert_eq!(pod(&named("other"), &summary), None);
        assert_eq!(usage(&json!({})), json!({"cpu": "0", "memory": "0"}));
    }
}
