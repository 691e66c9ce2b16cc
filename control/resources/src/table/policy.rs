//! The rows of what bounds, ranks and scales workloads.

use serde_json::Value;

use super::Column;
use super::access::{age, items, name, number, text, text_or};
use super::columns::{AGE, NAME, number as count, text as column};
use super::duration::Clock;

pub(super) const DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    column("Min Available", "How many pods must stay available."),
    column("Max Unavailable", "How many pods may be unavailable."),
    count("Allowed Disruptions", "How many pods may be evicted now."),
    AGE,
];

pub(super) fn disruption_budget(object: &Value, now: Clock) -> Vec<Value> {
    let share = |field: &str| match &object["spec"][field] {
        Value::Null => "N/A".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    vec![
        name(object),
        share("minAvailable").into(),
        share("maxUnavailable").into(),
        number(&object["status"]["disruptionsAllowed"]).into(),
        age(object, now),
    ]
}

pub(super) const PRIORITY_CLASS: &[Column] = &[
    NAME,
    count("Value", "The priority of pods of the class."),
    Column { kind: "boolean", ..column("Global-Default", "Whether pods without a class get this one.") },
    AGE,
    column("PreemptionPolicy", "Whether pods of the class may take others' places."),
];

pub(super) fn priority_class(object: &Value, now: Clock) -> Vec<Value> {
    vec![
        name(object),
        number(&object["value"]).into(),
        (object["globalDefault"] == true).into(),
        age(object, now),
        text_or(&object["preemptionPolicy"], "<none>").into(),
    ]
}

pub(super) const RUNTIME_CLASS: &[Column] = &[NAME, column("Handler", "What runs the pods of the class."), AGE];

pub(super) fn runtime_class(object: &Value, now: Clock) -> Vec<Value> {
    vec![name(object), text(&object["handler"]).into(), age(object, now)]
}

pub(super) const RESOURCE_QUOTA: &[Column] = &[
    NAME,
    column("Request", "What is requested, of how much that may be."),
    column("Limit", "What limits come to, of how much they may."),
    AGE,
];

pub(super) fn resource_quota(object: &Value, now: Clock) -> Vec<Value> {
    let (hard, used) = (&object["status"]["hard"], &object["status"]["used"]);
    let mut names: Vec<&String> = hard.as_object().into_iter().flat_map(|hard| hard.keys()).collect();
    names.sort();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for name in names {
        let shown = format!("{name}: {}/{}", text_or(&used[name], "0"), text(&hard[name]));
        if name.starts_with("limits") { limits.push(shown) } else { requests.push(shown) }
    }
    vec![name(object), requests.join(", ").into(), limits.join(", ").into(), age(object, now)]
}

pub(super) const AUTOSCALER: &[Column] = &[
    NAME,
    column("Reference", "What is scaled."),
    column("Targets", "What the metrics are, and should be."),
    column("MinPods", "The fewest pods."),
    column("MaxPods", "The most pods."),
    column("Replicas", "How many pods there are."),
    AGE,
];

pub(super) fn autoscaler(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let target = &spec["scaleTargetRef"];
    let least = spec["minReplicas"].as_i64().map_or_else(|| "<unset>".to_owned(), |least| least.to_string());
    vec![
        name(object),
        format!("{}/{}", text(&target["kind"]), text(&target["name"])).into(),
        targets(items(&spec["metrics"]), items(&status["currentMetrics"])).into(),
        least.into(),
        number(&spec["maxReplicas"]).into(),
        number(&status["currentReplicas"]).into(),
        age(object, now),
    ]
}

/// How many metrics a row shows.
const METRICS: usize = 2;

fn targets(wanted: &[Value], current: &[Value]) -> String {
    if wanted.is_empty() {
        return "<none>".to_owned();
    }
    let shown: Vec<String> = wanted
        .iter()
        .enumerate()
        .map(|(index, metric)| target(metric, current.get(index).unwrap_or(&Value::Null)))
        .collect();
    let more = shown.len().saturating_sub(METRICS);
    let first = shown.into_iter().take(METRICS).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} + {more} more...") } else { first }
}

fn target(metric: &Value, current: &Value) -> String {
    let source = match text(&metric["type"]) {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, now) = (&metric[source]["target"], &current[source]["current"]);
    let resource = matches!(source, "resource" | "containerResource");
    let label = if resource { format!("{}: ", text(&metric[source]["name"])) } else { String::new() };
    let amount = |value: &Value| text_or(value, "<unknown>").to_owned();
    if !wanted["averageValue"].is_null() {
        let average = if resource { "" } else { " (avg)" };
        return format!("{label}{}/{}{average}", amount(&now["averageValue"]), text(&wanted["averageValue"]));
    }
    if resource {
        let share = |value: &Value, none: &str| value.as_i64().map_or(none.to_owned(), |share| format!("{share}%"));
        let (now, wanted) = (&now["averageUtilization"], &wanted["averageUtilization"]);
        return format!("{label}{}/{}", share(now, "<unknown>"), share(wanted, "<auto>"));
    }
    format!("{label}{}/{}", amount(&now["value"]), text(&wanted["value"]))
}
