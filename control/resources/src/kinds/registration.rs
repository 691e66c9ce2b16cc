//! What others register with the API: webhooks and policies of admission (`admissionregistration.k8s.io`). Webhooks are
//! not called and policies not evaluated; the objects are kept as kube-apiserver keeps them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kind::Errors;
use super::loose::{Rules, fill, items, items_mut, text};
use super::names;
use crate::{FieldError, FieldPath};

/// Versions of reviews that servers send.
const REVIEWS: &[&str] = &["v1", "v1beta1"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];

/// `ValidatingWebhookConfiguration`
pub(super) struct Validating;
/// `MutatingWebhookConfiguration`
pub(super) struct Mutating;
/// `ValidatingAdmissionPolicy`
pub(super) struct Policy;
/// `ValidatingAdmissionPolicyBinding`
pub(super) struct PolicyBinding;

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

impl Rules for Policy {
    const STATUS: bool = true;

    fn fill(object: &mut Value) {
        let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
        fill(spec, "failurePolicy", "Fail");
        if let Some(constraints) = spec.get_mut("matchConstraints").filter(|given| given.is_object()) {
            fill_match(constraints);
        }
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        validate_policy(&object["spec"], &FieldPath::new("spec"), errors);
    }
}

impl Rules for PolicyBinding {
    fn fill(object: &mut Value) {
        let resources = object.get_mut("spec").and_then(|spec| spec.get_mut("matchResources"));
        if let Some(resources) = resources.filter(|given| given.is_object()) {
            fill_match(resources);
        }
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        validate_binding(&object["spec"], &FieldPath::new("spec"), errors);
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

fn fill_match(resources: &mut Value) {
    fill(resources, "matchPolicy", "Equivalent");
    fill(resources, "namespaceSelector", json!({}));
    fill(resources, "objectSelector", json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        items_mut(resources, list).for_each(|rule| fill(rule, "scope", "*"));
    }
}

fn one_of(object: &Value, field: &str, known: &[&str], path: &FieldPath, errors: &mut Errors) {
    if let Some(given) = object[field].as_str().filter(|given| !known.contains(given)) {
        errors.push(FieldError::not_supported(path, given, known));
    }
}

fn required(object: &Value, field: &str, path: &FieldPath, errors: &mut Errors) {
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
        errors.extend(names::dns1123_subdomain(name).iter().map(|fault| FieldError::invalid(&at, name, fault)));
        if name.split('.').count() < 3 {
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
    if text(webhook, "sideEffects").is_empty() {
        let why = format!("must specify one of {}", SIDE_EFFECTS.join(", "));
        errors.push(FieldError::required(&effects, &why));
    }
    one_of(webhook, "sideEffects", SIDE_EFFECTS, &effects, errors);
    if let Some(seconds) = webhook["timeoutSeconds"].as_i64().filter(|seconds| !(1..=30).contains(seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&path.child("timeoutSeconds"), seconds, why));
    }
    validate_client(&webhook["clientConfig"], &path.child("clientConfig"), errors);
    validate_conditions(webhook, path, errors);
    validate_reviews(webhook, &path.child("admissionReviewVersions"), errors);
}

fn validate_client(config: &Value, path: &FieldPath, errors: &mut Errors) {
    let (url, service) = (&config["url"], &config["service"]);
    if url.is_null() == service.is_null() {
        errors.push(FieldError::required(path, "exactly one of url or service is required"));
    } else if let Some(url) = url.as_str() {
        let path = path.child("url");
        if !url.starts_with("https://") {
            let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            errors.push(FieldError::invalid(&path, url, why));
        }
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
        if let Some(given) = service["path"].as_str().filter(|given| !given.starts_with('/')) {
            errors.push(FieldError::invalid(&path.child("path"), given, "must start with a '/'"));
        }
    }
}

fn validate_conditions(holder: &Value, path: &FieldPath, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (index, condition) in items(holder, "matchConditions") {
        let path = path.child("matchConditions").index(index);
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            let faults = names::qualified_name(name);
            errors.extend(faults.iter().map(|fault| FieldError::invalid(&path.child("name"), name, fault)));
            if !names.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        required(condition, "expression", &path, errors);
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

fn validate_rule(rule: &Value, operations_of_webhooks: bool, path: &FieldPath, errors: &mut Errors) {
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
    one_of(rule, "scope", &["*", "Cluster", "Namespaced"], &path.child("scope"), errors);
}

fn validate_policy(spec: &Value, path: &FieldPath, errors: &mut Errors) {
    one_of(spec, "failurePolicy", &["Fail", "Ignore"], &path.child("failurePolicy"), errors);
    if spec["paramKind"].is_object() {
        for field in ["apiVersion", "kind"] {
            required(&spec["paramKind"], field, &path.child("paramKind"), errors);
        }
    }
    let constraints = path.child("matchConstraints");
    if !spec["matchConstraints"].is_object() {
        errors.push(FieldError::required(&constraints, ""));
    } else {
        validate_match(&spec["matchConstraints"], true, &constraints, errors);
    }
    validate_conditions(spec, path, errors);
    for (index, variable) in items(spec, "variables") {
        let path = path.child("variables").index(index);
        required(variable, "name", &path, errors);
        required(variable, "expression", &path, errors);
    }
    let (validations, annotations) = (items(spec, "validations").count(), items(spec, "auditAnnotations").count());
    if validations == 0 && annotations == 0 {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required(&path.child("validations"), why));
        errors.push(FieldError::required(&path.child("auditAnnotations"), why));
    }
    const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
    for (index, validation) in items(spec, "validations") {
        let path = path.child("validations").index(index);
        if text(validation, "expression").trim().is_empty() {
            errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
        }
        one_of(validation, "reason", REASONS, &path.child("reason"), errors);
    }
    for (index, annotation) in items(spec, "auditAnnotations") {
        let path = path.child("auditAnnotations").index(index);
        required(annotation, "key", &path, errors);
        required(annotation, "valueExpression", &path, errors);
    }
}

fn validate_match(resources: &Value, rules_required: bool, path: &FieldPath, errors: &mut Errors) {
    one_of(resources, "matchPolicy", &["Equivalent", "Exact"], &path.child("matchPolicy"), errors);
    if rules_required && items(resources, "resourceRules").count() == 0 {
        errors.push(FieldError::required(&path.child("resourceRules"), ""));
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in items(resources, list) {
            validate_rule(rule, false, &path.child(list).index(index), errors);
        }
    }
}

fn validate_binding(spec: &Value, path: &FieldPath, errors: &mut Errors) {
    required(spec, "policyName", path, errors);
    let param = &spec["paramRef"];
    if param.is_object() {
        let path = path.child("paramRef");
        if text(param, "name").is_empty() == param["selector"].is_null() {
            errors.push(FieldError::required(&path.child("name"), "one of name or selector must be specified"));
        }
        const ACTIONS: &[&str] = &["Allow", "Deny"];
        let action = path.child("parameterNotFoundAction");
        if text(param, "parameterNotFoundAction").is_empty() {
            errors.push(FieldError::required(&action, ""));
        }
        one_of(param, "parameterNotFoundAction", ACTIONS, &action, errors);
    }
    if spec["matchResources"].is_object() {
        validate_match(&spec["matchResources"], false, &path.child("matchResources"), errors);
    }
    const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
    let list = path.child("validationActions");
    let actions: Vec<&str> = items(spec, "validationActions").filter_map(|(_, one)| one.as_str()).collect();
    if actions.is_empty() {
        errors.push(FieldError::required(&list, ""));
    }
    for (index, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(action) {
            errors.push(FieldError::not_supported(&list.index(index), *action, ACTIONS));
        }
        if actions[..index].contains(action) {
            errors.push(FieldError::duplicate(&list.index(index), *action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        errors.push(FieldError::invalid(&list, json!(actions), why));
    }
}
