//! The rows of Deployments, ReplicaSets and scales.

use super::duration::Clock;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;
use serde::Deserialize;
use serde_json::Value;

use super::access::{age, items, joined, name, number, text};
use crate::selector::LabelSelector;

pub(super) fn deployment(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let ready = format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]));
    let mut cells = vec![
        name(object),
        ready.into(),
        number(&status["updatedReplicas"]).into(),
        number(&status["availableReplicas"]).into(),
        age(object, now),
    ];
    cells.extend(template_cells(spec));
    cells
}

pub(super) fn replica_set(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let mut cells = vec![
        name(object),
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age(object, now),
    ];
    cells.extend(template_cells(spec));
    cells
}

pub(super) fn scale(object: &Value, now: Clock) -> Vec<Value> {
    vec![
        name(object),
        number(&object["spec"]["replicas"]).into(),
        number(&object["status"]["replicas"]).into(),
        age(object, now),
    ]
}

/// Containers, images and selector.
pub(super) fn template_cells(spec: &Value) -> [Value; 3] {
    let containers = items(&spec["template"]["spec"]["containers"]);
    let all = |field: &str| {
        let texts: Vec<&str> = containers.iter().map(|c| text(&c[field])).collect();
        texts.join(",")
    };
    [all("name").into(), all("image").into(), selector(&spec["selector"]).into()]
}

pub(super) fn selector(field: &Value) -> String {
    let selector = SelectorObject::deserialize(field).ok();
    match selector.and_then(|selector| LabelSelector::from_object(&selector).ok()) {
        Some(selector) if !selector.is_empty() => selector.to_string(),
        Some(_) => joined(&[], ","),
        None => "<error>".to_owned(),
    }
}
