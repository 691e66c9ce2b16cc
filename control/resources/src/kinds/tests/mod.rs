mod bounds;
mod config;
mod job_policies;
mod job_status;
mod jobs;
mod metadata;
mod others;
mod pod_rules;
mod pods;
mod properties;
mod refusals;
mod registration;
mod rules;
mod services;
mod sets;
mod sizes;
mod storage;
mod various;
mod workloads;

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Env, create, update};
use crate::{ResourceRef, Status, Uid, resource};

/// What names that may have dots must be.
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                         must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn env() -> Env {
    Env {
        now: Timestamp::from_str("2026-01-01T00:00:00Z").expect("a time"),
        uid: Uid("u-1".to_owned()),
        toleration_seconds: 3,
    }
}

fn of(kind: &str) -> ResourceRef {
    let found = resource::builtin().iter().find(|resource| resource.kind == kind && !resource.verbs.is_empty());
    found.cloned().expect("a built-in kind")
}

/// An object of that name, in namespace `default` where its kind has one.
fn named(kind: &str, mut object: Value) -> Value {
    let resource = of(kind);
    object["apiVersion"] = json!(resource.api_version());
    object["kind"] = json!(kind);
    if object["metadata"]["name"].is_null() {
        object["metadata"]["name"] = json!("x");
    }
    if resource.namespaced && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!("default");
    }
    object
}

fn created(kind: &str, object: Value) -> Value {
    create(&of(kind), named(kind, object), &env()).expect("valid")
}

fn refused(kind: &str, object: Value) -> Status {
    create(&of(kind), named(kind, object), &env()).expect_err("invalid")
}

/// What is wrong, one text for each cause.
fn causes(status: &Status) -> Vec<String> {
    let details = status.details.as_ref().expect("details");
    details.causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

/// Creating the object is refused for exactly these causes.
fn check_refused(kind: &str, object: Value, expected: &[&str]) {
    let status = refused(kind, object.clone());
    assert_eq!(status.code, 422, "{}", status.message);
    assert_eq!(causes(&status), expected, "{object}");
}

/// The update of what `old` was stored as, with `change` merged into it.
fn updated(kind: &str, old: &Value, subresource: Option<&str>, change: Value) -> Result<Value, Status> {
    let mut new = old.clone();
    merge(&mut new, change);
    update(&of(kind), subresource, old, new, &env())
}

/// Changing the object so is refused for exactly these causes.
fn check_change_refused(kind: &str, object: Value, change: Value, expected: &[&str]) {
    let old = created(kind, object);
    let status = updated(kind, &old, None, change.clone()).expect_err("invalid");
    assert_eq!(causes(&status), expected, "{change}");
}

/// A merge patch: maps are merged, null removes, all else replaces.
fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    target.as_object_mut().expect("made so").remove(&key);
                } else {
                    merge(&mut target[key], value);
                }
            }
        }
        other => *target = other,
    }
}
