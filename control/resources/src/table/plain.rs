//! The rows of kinds that need no working out.

use super::duration::Clock;
use serde_json::Value;

use super::access::{age, ago, items, keys, name, number, text, text_or, text_or_none};
use super::duration::{human_duration, since};

pub(super) fn namespace(object: &Value, now: Clock) -> Vec<Value> {
    vec![name(object), text(&object["status"]["phase"]).into(), age(object, now)]
}

pub(super) fn component_status(object: &Value, _now: Clock) -> Vec<Value> {
    let condition = items(&object["conditions"]).iter().find(|condition| text(&condition["type"]) == "Healthy");
    let state = match condition.map(|condition| text(&condition["status"])) {
        Some("True") => "Healthy",
        Some("False") => "Unhealthy",
        _ => "Unknown",
    };
    let of = |field: &str| text(condition.map_or(&Value::Null, |condition| &condition[field])).to_owned();
    vec![name(object), state.into(), of("message").into(), of("error").into()]
}

pub(super) fn config_map(object: &Value, now: Clock) -> Vec<Value> {
    let count = keys(&object["data"]) + keys(&object["binaryData"]);
    vec![name(object), count.into(), age(object, now)]
}

pub(super) fn secret(object: &Value, now: Clock) -> Vec<Value> {
    let count = keys(&object["data"]);
    vec![name(object), text(&object["type"]).into(), count.into(), age(object, now)]
}

pub(super) fn service_account(object: &Value, now: Clock) -> Vec<Value> {
    vec![name(object), items(&object["secrets"]).len().into(), age(object, now)]
}

pub(super) fn lease(object: &Value, now: Clock) -> Vec<Value> {
    let holder = text(&object["spec"]["holderIdentity"]);
    vec![name(object), holder.into(), age(object, now)]
}

pub(super) fn other(object: &Value, _now: Clock) -> Vec<Value> {
    let created = text_or(&object["metadata"]["creationTimestamp"], "<unknown>");
    vec![name(object), created.into()]
}

pub(super) fn event(object: &Value, now: Clock) -> Vec<Value> {
    let involved = &object["involvedObject"];
    let first = since(&object["firstTimestamp"], now).unwrap_or_else(|| ago(&object["eventTime"], now));
    let series = &object["series"];
    let (last, count) = if series.is_null() {
        let last = since(&object["lastTimestamp"], now).unwrap_or_else(|| first.clone());
        (last, number(&object["count"]).max(1))
    } else {
        (ago(&series["lastObservedTime"], now), number(&series["count"]))
    };
    let kind = text(&involved["kind"]).to_lowercase();
    let target = match text(&involved["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        last.into(),
        text(&object["type"]).into(),
        text(&object["reason"]).into(),
        target.into(),
        text(&involved["fieldPath"]).into(),
        event_source(object).into(),
        text(&object["message"]).trim().into(),
        first.into(),
        count.into(),
        name(object),
    ]
}

fn event_source(event: &Value) -> String {
    let source = &event["source"];
    let component = text_or(&source["component"], text(&event["reportingComponent"]));
    match text_or(&source["host"], text(&event["reportingInstance"])) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}

pub(super) fn signing_request(object: &Value, now: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let duration = match spec["expirationSeconds"].as_i64() {
        Some(seconds) => human_duration(seconds),
        None => "<none>".to_owned(),
    };
    vec![
        name(object),
        age(object, now),
        text_or_none(&spec["signerName"]).into(),
        text(&spec["username"]).into(),
        duration.into(),
        signing_state(&object["status"]).into(),
    ]
}

fn signing_state(status: &Value) -> String {
    let has = |kind: &str| items(&status["conditions"]).iter().any(|c| text(&c["type"]) == kind);
    let decided = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    };
    let mut state = decided.to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&status["certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}

pub(super) fn binding(object: &Value, now: Clock) -> Vec<Value> {
    let role = &object["roleRef"];
    let of = |kind: &str| {
        let subjects = items(&object["subjects"]).iter().filter(|s| text(&s["kind"]) == kind);
        let shown = subjects.map(|subject| match text(&subject["namespace"]) {
            namespace if kind == "ServiceAccount" => {
                format!("{namespace}/{}", text(&subject["name"]))
            }
            _ => text(&subject["name"]).to_owned(),
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    vec![
        name(object),
        format!("{}/{}", text(&role["kind"]), text(&role["name"])).into(),
        age(object, now),
        of("User").into(),
        of("Group").into(),
        of("ServiceAccount").into(),
    ]
}
