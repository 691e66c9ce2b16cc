//! What each kind defaults to, refuses and keeps: the decisions that a write of an object runs through.
//!
//! Objects come in and go out as JSON values; decisions are made on k8s-openapi's types.

pub mod names;

use jiff::Timestamp;
use serde_json::Value;

use crate::{Resource, Status, Uid};

/// Everything that a decision may know beside the object.
#[derive(Clone, Debug)]
pub struct Env {
    /// The time of the write.
    pub now: Timestamp,
    /// A fresh uid, for an object that is created.
    pub uid: Uid,
    /// How long a pod tolerates a node that is not ready or not reachable, unless it says.
    pub toleration_seconds: i64,
}

/// The object as it is stored when a client creates it: what clients may not set is reset, what they left out is
/// defaulted, `metadata` gets its uid, creation time and generation, and the whole is validated.
///
/// `generateName` is resolved by the caller before.
pub fn create(_resource: &Resource, object: Value, _env: &Env) -> Result<Value, Status> {
    Ok(object)
}

/// The object as it is stored when a client replaces `old`, or one of its subresources (`Some("status")`).
///
/// What may not change is kept, the generation goes up when what is wanted changed, and the whole is validated.
pub fn update(
    _resource: &Resource,
    _subresource: Option<&str>,
    _old: &Value,
    new: Value,
    _env: &Env,
) -> Result<Value, Status> {
    Ok(new)
}

/// The fields that field selectors can ask for, with this object's values.
pub fn field_labels(_resource: &Resource, _object: &Value) -> Vec<(&'static str, String)> {
    Vec::new()
}

/// Whether field selectors of that resource can ask for `field`.
pub fn selectable(_resource: &Resource, field: &str) -> bool {
    matches!(field, "metadata.name" | "metadata.namespace")
}

/// The grace period in seconds that a delete of the object gets unless it names one; `None`: it goes at once.
pub fn default_grace(_resource: &Resource, _object: &Value) -> Option<i64> {
    None
}

/// The object's `scale` subresource (an `autoscaling/v1` Scale); `None` for kinds without one.
pub fn scale_of(_resource: &Resource, _object: &Value) -> Option<Value> {
    None
}

/// The object with that many replicas wanted.
pub fn apply_scale(_resource: &Resource, object: &Value, _replicas: i32) -> Value {
    object.clone()
}
