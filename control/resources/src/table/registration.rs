//! The rows of what is registered with the API.

use serde_json::Value;

use super::Column;
use super::access::{age, items, name, number, text, text_or};
use super::columns::{AGE, NAME, number as count, text as column};
use super::duration::Clock;

pub(super) const WEBHOOKS: &[Column] =
    &[NAME, count("Webhooks", "Webhooks indicates the number of webhooks configured in this configuration"), AGE];

pub(super) fn webhooks(object: &Value, now: Clock) -> Vec<Value> {
    vec![name(object), items(&object["webhooks"]).len().into(), age(object, now)]
}

pub(super) const POLICY: &[Column] = &[
    NAME,
    count("Validations", "How many validations the policy has."),
    column("ParamKind", "The kind of its parameters."),
    AGE,
];

pub(super) fn policy(object: &Value, now: Clock) -> Vec<Value> {
    of_policy(object, "validations", now)
}

pub(super) const MUTATING_POLICY: &[Column] = &[
    NAME,
    count("Mutations", "How many mutations the policy has."),
    column("ParamKind", "The kind of its parameters."),
    AGE,
];

pub(super) fn mutating_policy(object: &Value, now: Clock) -> Vec<Value> {
    of_policy(object, "mutations", now)
}

fn of_policy(object: &Value, counted: &str, now: Clock) -> Vec<Value> {
    let kind = &object["spec"]["paramKind"];
    let shown = match (text(&kind["apiVersion"]), text(&kind["kind"])) {
        ("", "") => "<unset>".to_owned(),
        (version, kind) => format!("{version}/{kind}"),
    };
    vec![name(object), items(&object["spec"][counted]).len().into(), shown.into(), age(object, now)]
}

pub(super) const POLICY_BINDING: &[Column] =
    &[NAME, column("PolicyName", "The policy that is bound."), column("ParamRef", "Where its parameters are."), AGE];

pub(super) fn policy_binding(object: &Value, now: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let param = &spec["paramRef"];
    let shown = match (text(&param["namespace"]), text(&param["name"])) {
        (_, "") if param.is_null() => "<unset>".to_owned(),
        ("", name) => text_or(&Value::from(name), "*").to_owned(),
        (namespace, name) => format!("{namespace}/{}", text_or(&Value::from(name), "*")),
    };
    vec![name(object), text(&spec["policyName"]).into(), shown.into(), age(object, now)]
}

pub(super) const API_SERVICE: &[Column] = &[
    NAME,
    column("Service", "The reference to the service that hosts this API endpoint."),
    column("Available", "Whether this service is available."),
    AGE,
];

pub(super) fn api_service(object: &Value, now: Clock) -> Vec<Value> {
    let service = &object["spec"]["service"];
    let shown = if service.is_null() {
        "Local".to_owned()
    } else {
        format!("{}/{}", text(&service["namespace"]), text(&service["name"]))
    };
    let condition = items(&object["status"]["conditions"]).iter().find(|one| text(&one["type"]) == "Available");
    let available = match condition {
        Some(one) if text(&one["status"]) == "False" => format!("False ({})", text(&one["reason"])),
        Some(one) => text(&one["status"]).to_owned(),
        None => "Unknown".to_owned(),
    };
    vec![name(object), shown.into(), available.into(), age(object, now)]
}

pub(super) const FLOW_SCHEMA: &[Column] = &[
    NAME,
    column("PriorityLevel", "The level that the flow belongs to."),
    column("MatchingPrecedence", "The least is asked first."),
    column("DistinguisherMethod", "By what requests of the flow are told apart."),
    AGE,
    column("MissingPL", "Whether the level is not there."),
];

pub(super) fn flow_schema(object: &Value, now: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let dangling = items(&object["status"]["conditions"]).iter().find(|one| text(&one["type"]) == "Dangling");
    vec![
        name(object),
        text(&spec["priorityLevelConfiguration"]["name"]).into(),
        number(&spec["matchingPrecedence"]).into(),
        text_or(&spec["distinguisherMethod"]["type"], "<none>").into(),
        age(object, now),
        dangling.map_or("?", |one| text(&one["status"])).into(),
    ]
}

pub(super) const PRIORITY_LEVEL: &[Column] = &[
    NAME,
    column("Type", "Whether the level is limited."),
    column("NominalConcurrencyShares", "Its share of what is worked on at once."),
    column("Queues", "How many queues it has."),
    column("HandSize", "How many of them a flow may use."),
    column("QueueLengthLimit", "How many requests may wait in one."),
    AGE,
];

pub(super) fn priority_level(object: &Value, now: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let (limited, exempt) = (&spec["limited"], &spec["exempt"]);
    let queuing = &limited["limitResponse"]["queuing"];
    let shown = |value: &Value| value.as_i64().map_or_else(|| "<none>".to_owned(), |number| number.to_string());
    let shares = if limited.is_object() { limited } else { exempt };
    vec![
        name(object),
        text(&spec["type"]).into(),
        shown(&shares["nominalConcurrencyShares"]).into(),
        shown(&queuing["queues"]).into(),
        shown(&queuing["handSize"]).into(),
        shown(&queuing["queueLengthLimit"]).into(),
        age(object, now),
    ]
}
