//! The `scale` subresource.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Resource;
use crate::selector::LabelSelector;

/// The object's `scale` subresource (an `autoscaling/v1` Scale); `None` for kinds without one.
pub fn scale_of(resource: &Resource, object: &Value) -> Option<Value> {
    resource.subresource("scale")?;
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let mut status = json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)});
    if let Some(selector) = selector_of(resource, &object["spec"]["selector"]) {
        status["selector"] = Value::String(selector.to_string());
    }
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut spec = Map::new();
    if replicas != 0 {
        spec.insert("replicas".to_owned(), json!(replicas));
    }
    Some(json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }))
}

/// What the object's pods are found by: a ReplicationController's are labels alone.
fn selector_of(resource: &Resource, selector: &Value) -> Option<LabelSelector> {
    match &*resource.kind {
        "ReplicationController" => {
            BTreeMap::deserialize(selector).ok().map(|labels| LabelSelector::from_labels(&labels))
        }
        _ => LabelSelector::from_object(&SelectorObject::deserialize(selector).ok()?).ok(),
    }
}

/// The object with that many replicas wanted.
pub fn apply_scale(_resource: &Resource, object: &Value, replicas: i32) -> Value {
    let mut scaled = object.clone();
    if let Some(spec) = scaled.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".to_owned(), json!(replicas));
    }
    scaled
}
