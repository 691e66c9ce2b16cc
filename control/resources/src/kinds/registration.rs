//! What others register with the API: webhooks of admission (`admissionregistration.k8s.io`). They are not called; the
//! objects are kept as kube-apiserver keeps them.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use super::kind::Errors;
use super::loose::{Rules, fill, items, items_mut, text};
use super::names;
use super::workload::validate_selector_parts;
use crate::{FieldError, FieldPath};

/// Versions of reviews that servers send.
const REVIEWS: &[&str] = &["v1", "v1beta1"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];

/// `ValidatingWebhookConfiguration`
pub(super) struct Validating;
/// `MutatingWebhookConfiguration`
pub(super) struct Mutating;
impl Rules for Validating {
    fn fill(object: &mut Value) {
        items_mut(object, "webhooks").for_each(fill_webhook);
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        validate_webhooks(object, errors);
    }
}

impl Rules for Mutating {
    fn fill(object: &mut Value) {
        for webhook in items_mut(object, "webhooks") {
            fill_webhook(webhook);
            fill(webhook, "reinvocationPolicy", "Never");
        }
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        validate_webhooks(object, errors);
        for (index, webhook) in items(object, "webhooks") {
            let path = FieldPath::new("webhooks").index(index).child("reinvocationPolicy");
            one_of(webhook, "reinvocationPolicy", &["IfNeeded", "Never"], &path, errors);
        }
    }
}

fn fill_webhook(webhook: &mut Value) {
    fill(webhook, "failurePolicy", "Fail");
    fill(webhook, "matchPolicy", "Equivalent");
    fill(webhook, "namespaceSelector", json!({}));
    fill(webhook, "objectSelector", json!({}));
    fill(webhook, "timeoutSeconds", 10);
    let service = webhook.get_mut("clientConfig").and_then(|config| config.get_mut("service"));
    if let Some(service) = service.filter(|service| service.is_object()) {
        fill(service, "port", 443);
    }
    items_mut(webhook, "rules").for_each(|rule| fill(rule, "scope", "*"));
}

pub(super) fn one_of(object: &Value, field: &str, known: &[&str], path: &FieldPath, errors: &mut Errors) {
    if let Some(given) = object[field].as_str().filter(|given| !known.contains(given)) {
        errors.push(FieldError::not_supported(path, given, known));
    }
}

pub(super) fn required(object: &Value, field: &str, path: &FieldPath, errors: &mut Errors) {
    if text(object, field).is_empty() {
        errors.push(FieldError::required(&path.child(field), ""));
    }
}

fn validate_webhooks(object: &Value, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (index, webhook) in items(object, "webhooks") {
        let path = FieldPath::new("webhooks").index(index);
        validate_webhook(webhook, &path, errors);
        let name = text(webhook, "name");
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
}

fn validate_webhook(webhook: &Value, path: &FieldPath, errors: &mut Errors) {
    let (name, at) = (text(webhook, "name"), path.child("name"));
    if name.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        let faults = names::dns1123_subdomain(name);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&at, name, &faults.join(",")));
        } else if name.split('.').count() < 3 {
            let why = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(&at, name, why));
        }
    }
    for (index, rule) in items(webhook, "rules") {
        validate_rule(rule, true, &path.child("rules").index(index), errors);
    }
    one_of(webhook, "failurePolicy", &["Fail", "Ignore"], &path.child("failurePolicy"), errors);
    one_of(webhook, "matchPolicy", &["Equivalent", "Exact"], &path.child("matchPolicy"), errors);
    let effects = path.child("sideEffects");
    if webhook["sideEffects"].is_null() {
        let why = format!("must specify one of {}", SIDE_EFFECTS.join(", "));
        errors.push(FieldError::required(&effects, &why));
    }
    one_of(webhook, "sideEffects", SIDE_EFFECTS, &effects, errors);
    if let Some(seconds) = webhook["timeoutSeconds"].as_i64().filter(|seconds| !(1..=30).contains(seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&path.child("timeoutSeconds"), seconds, why));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = serde_json::from_value::<LabelSelector>(webhook[field].clone());
        if let Ok(selector) = &selector {
            validate_selector_parts(selector, &path.child(field), errors);
        }
    }
    validate_client(&webhook["clientConfig"], &path.child("clientConfig"), errors);
    validate_conditions(webhook, path, errors);
    validate_reviews(webhook, &path.child("admissionReviewVersions"), errors);
}

/// A URL that says where a webhook is, and nothing else.
fn validate_url(url: &str, path: &FieldPath, errors: &mut Errors) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
        errors.push(FieldError::invalid(path, scheme, why));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split('/').next().unwrap_or_default();
    let (user, host) = host.rsplit_once('@').unwrap_or(("", host));
    if host.is_empty() {
        let why = "host must be provided; desired format: https://host[/path]";
        errors.push(FieldError::invalid(path, host, why));
    }
    let extra = [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ];
    for (given, why) in extra.into_iter().filter(|(given, _)| !given.is_empty()) {
        errors.push(FieldError::invalid(path, given, why));
    }
}

fn validate_client(config: &Value, path: &FieldPath, errors: &mut Errors) {
    let (url, service) = (&config["url"], &config["service"]);
    if url.is_null() == service.is_null() {
        errors.push(FieldError::required(path, "exactly one of url or service is required"));
    } else if let Some(url) = url.as_str() {
        let path = path.child("url");
        validate_url(url, &path, errors);
    } else {
        let path = path.child("service");
        for (field, what) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
            if text(service, field).is_empty() {
                errors.push(FieldError::required(&path.child(field), what));
            }
        }
        if let Some(port) = service["port"].as_i64().filter(|port| !(1..=65535).contains(port)) {
            let why = "port is not valid: must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(&path.child("port"), port, why));
        }
        if let Some(given) = service["path"].as_str() {
            validate_service_path(given, &path.child("path"), errors);
        }
    }
}

/// Where a webhook is at its service.
fn validate_service_path(given: &str, path: &FieldPath, errors: &mut Errors) {
    let mut refuse = |why: &str| errors.push(FieldError::invalid(path, given, why));
    match given {
        "" | "/" => return,
        "//" => return refuse("segment[0] may not be empty"),
        _ => {}
    }
    let rest = given.strip_prefix('/');
    if rest.is_none() {
        refuse("must start with a '/'");
    }
    let rest = rest.unwrap_or_else(|| given.split_at(given.chars().next().map_or(0, char::len_utf8)).1);
    for (index, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            refuse(&format!("segment[{index}] may not be empty"));
            continue;
        }
        names::dns1123_subdomain(step).iter().for_each(|fault| refuse(&format!("segment[{index}]: {fault}")));
    }
}

pub(super) fn validate_conditions(holder: &Value, path: &FieldPath, errors: &mut Errors) {
    const MOST: usize = 64;
    let list = path.child("matchConditions");
    let count = items(holder, "matchConditions").count();
    if count > MOST {
        errors.push(FieldError::too_many(&list, count, MOST));
    }
    let mut taken = BTreeSet::new();
    for (index, condition) in items(holder, "matchConditions") {
        let path = list.index(index);
        let name = text(condition, "name");
        if text(condition, "expression").trim().is_empty() {
            errors.push(FieldError::required(&path.child("expression"), ""));
        }
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
            continue;
        }
        let faults = names::qualified_name(name);
        errors.extend(faults.iter().map(|fault| FieldError::invalid(&path.child("name"), name, fault)));
        if !taken.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
}

fn validate_reviews(webhook: &Value, path: &FieldPath, errors: &mut Errors) {
    let versions: Vec<&str> = items(webhook, "admissionReviewVersions").filter_map(|(_, one)| one.as_str()).collect();
    if versions.is_empty() {
        errors.push(FieldError::required(path, &format!("must specify one of {}", REVIEWS.join(", "))));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, version) in versions.iter().enumerate() {
        if !seen.insert(version) {
            errors.push(FieldError::invalid(&path.index(index), *version, "duplicate version"));
        }
        let faults = names::dns1035_label(version);
        errors.extend(faults.iter().map(|fault| FieldError::invalid(&path.index(index), *version, fault)));
    }
    if !versions.iter().any(|version| REVIEWS.contains(version)) {
        let why = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(FieldError::invalid(path, json!(versions), &why));
    }
}

pub(super) fn validate_rule(rule: &Value, operations_of_webhooks: bool, path: &FieldPath, errors: &mut Errors) {
    const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    let list = |field: &str| -> Vec<&str> { items(rule, field).filter_map(|(_, one)| one.as_str()).collect() };
    let operations = list("operations");
    if operations.is_empty() {
        errors.push(FieldError::required(&path.child("operations"), ""));
    }
    if operations.len() > 1 && operations.contains(&"*") {
        let why = "if '*' is present, must not specify other operations";
        errors.push(FieldError::invalid(&path.child("operations"), json!(operations), why));
    }
    for (index, operation) in operations.iter().enumerate().filter(|(_, operation)| !OPERATIONS.contains(operation)) {
        errors.push(FieldError::not_supported(&path.child("operations").index(index), *operation, OPERATIONS));
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let given = list(field);
        if given.is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        }
        if given.len() > 1 && given.contains(&"*") {
            let why = format!("if '*' is present, must not specify other {what}");
            errors.push(FieldError::invalid(&path.child(field), json!(given), &why));
        }
        for (index, _) in given.iter().enumerate().filter(|(_, one)| field == "apiVersions" && one.is_empty()) {
            errors.push(FieldError::required(&path.child(field).index(index), ""));
        }
    }
    let resources = list("resources");
    if resources.is_empty() {
        errors.push(FieldError::required(&path.child("resources"), ""));
    }
    for (index, _) in resources.iter().enumerate().filter(|(_, one)| one.is_empty()) {
        errors.push(FieldError::required(&path.child("resources").index(index), ""));
    }
    if operations_of_webhooks && resources.len() > 1 && resources.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(&path.child("resources"), json!(resources), why));
    }
    validate_wildcards(&resources, &path.child("resources"), errors);
    one_of(rule, "scope", &["*", "Cluster", "Namespaced"], &path.child("scope"), errors);
}

/// What a pattern means already is not said again.
fn validate_wildcards(resources: &[&str], path: &FieldPath, errors: &mut Errors) {
    let (mut whole, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    for (index, pattern) in resources.iter().enumerate() {
        let Some((resource, part)) = pattern.split_once('/') else { continue };
        let patterns =
            [(whole.contains(resource), format!("{resource}/*")), (everywhere.contains(part), format!("*/{part}"))];
        for (_, wider) in patterns.iter().filter(|(present, _)| *present) {
            let why = format!("if '{wider}' is present, must not specify {pattern}");
            errors.push(FieldError::invalid(&path.index(index), *pattern, &why));
        }
        if part == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(part);
        }
    }
    let alone = |pattern: &&&str| !pattern.contains('/') && !matches!(**pattern, "*" | "");
    if resources.contains(&"*") && resources.iter().any(|pattern| alone(&pattern)) {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, json!(resources), why));
    }
}
