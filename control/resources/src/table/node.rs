//! The row of a node.

use std::collections::BTreeSet;

use super::duration::Clock;
use serde_json::Value;

use super::access::{age, items, joined, name, text, text_or};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub(super) fn cells(node: &Value, now: Clock) -> Vec<Value> {
    let info = &node["status"]["nodeInfo"];
    vec![
        name(node),
        state(node).into(),
        roles(node).into(),
        age(node, now),
        text(&info["kubeletVersion"]).into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        text_or(&info["osImage"], "<unknown>").into(),
        text_or(&info["kernelVersion"], "<unknown>").into(),
        text_or(&info["containerRuntimeVersion"], "<unknown>").into(),
    ]
}

fn state(node: &Value) -> String {
    let conditions = items(&node["status"]["conditions"]);
    let ready = conditions.iter().find(|c| text(&c["type"]) == "Ready");
    let state = match ready.map(|condition| text(&condition["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match node["spec"]["unschedulable"].as_bool() {
        Some(true) => format!("{state},SchedulingDisabled"),
        _ => state.to_owned(),
    }
}

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object();
    let role = |(key, value): (&'_ String, &'_ Value)| {
        let role = match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => role.to_owned(),
            None if key == ROLE_LABEL => text(value).to_owned(),
            None => String::new(),
        };
        (!role.is_empty()).then_some(role)
    };
    let roles: BTreeSet<String> = labels.into_iter().flatten().filter_map(role).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    joined(&roles, ",")
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    items(&node["status"]["addresses"])
        .iter()
        .find(|address| text(&address["type"]) == kind)
        .map_or("<none>", |address| text(&address["address"]))
}
