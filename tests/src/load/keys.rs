//! Keys as ConfigMaps: paths, bodies, and what an object says.

use pal_checker::{Found, Value};
use serde_json::json;

use super::NAMESPACE;

/// Keys of one time.
pub(crate) const KEYS: usize = 6;
/// What every key's name begins with.
pub(super) const PREFIX: &str = "k-";

/// An object as a client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub key: String,
    pub value: Value,
    pub revision: u64,
}

impl Object {
    /// What a JSON object is, where it is one of ours.
    pub(super) fn of(json: &serde_json::Value) -> Option<Self> {
        let key = json["metadata"]["name"].as_str()?.to_owned();
        let value = json["data"]["value"].as_str()?.parse().ok()?;
        Some(Self { key, value, revision: revision(json)? })
    }

    pub(super) fn found(&self) -> Found {
        Found { value: self.value, modified: Some(self.revision) }
    }
}

/// The name of a key.
pub(super) fn name(epoch: u64, number: usize) -> String {
    format!("{PREFIX}{epoch}-{number}")
}

/// The path of all keys.
pub(super) fn all() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

/// The path of one.
pub(super) fn one(key: &str) -> String {
    format!("{}/{key}", all())
}

/// The resourceVersion of an object or a list.
pub(super) fn revision(json: &serde_json::Value) -> Option<u64> {
    json["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

/// What is sent to give a key a value; with a revision it must be at that one.
pub(super) fn body(key: &str, value: Value, at: Option<u64>) -> serde_json::Value {
    let mut body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": key, "namespace": NAMESPACE }, "data": { "value": value.to_string() },
    });
    if let Some(at) = at {
        body["metadata"]["resourceVersion"] = at.to_string().into();
    }
    body
}
