//! Policies of admission and their bindings (`admissionregistration.k8s.io`), without their expressions: those are compiled
//! where they are evaluated.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Env;
use super::kind::Errors;
use super::loose::{Rules, fill, items, items_mut, text};
use super::names;
use super::registration::{one_of, required, validate_conditions, validate_rule};
use super::workload::validate_selector_parts;
use crate::{FieldError, FieldPath};

/// `ValidatingAdmissionPolicy`
pub(super) struct Validating;
/// `ValidatingAdmissionPolicyBinding`
pub(super) struct ValidatingBinding;
/// `MutatingAdmissionPolicy`
pub(super) struct Mutating;
/// `MutatingAdmissionPolicyBinding`
pub(super) struct MutatingBinding;

impl Rules for Validating {
    const STATUS: bool = true;
    const OBSERVED: bool = true;

    /// Expressions are checked when they are written, so nothing is left to warn of.
    fn status(_object: &Value, _env: &Env) -> Value {
        json!({"observedGeneration": 1, "typeChecking": {}})
    }

    fn fill(object: &mut Value) {
        fill_policy(object);
    }

    fn validate(name: &str, object: &Value, errors: &mut Errors) {
        let (spec, path) = (&object["spec"], FieldPath::new("spec"));
        validate_policy(spec, None, &path, errors);
        validate_validations(spec, &path, errors);
        validate_annotations(name, spec, &path, errors);
    }
}

impl Rules for Mutating {
    fn fill(object: &mut Value) {
        fill_policy(object);
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        let (spec, path) = (&object["spec"], FieldPath::new("spec"));
        validate_policy(spec, Some(MUTABLE), &path, errors);
        validate_mutations(spec, &path, errors);
    }
}

impl Rules for ValidatingBinding {
    fn fill(object: &mut Value) {
        fill_binding(object);
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        let path = FieldPath::new("spec");
        validate_binding(&object["spec"], None, &path, errors);
        validate_actions(&object["spec"], &path, errors);
    }
}

impl Rules for MutatingBinding {
    fn fill(object: &mut Value) {
        fill_binding(object);
    }

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        validate_binding(&object["spec"], Some(MUTABLE), &FieldPath::new("spec"), errors);
    }
}

/// The operations with which there is something to change.
const MUTABLE: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];

fn fill_policy(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    fill(spec, "failurePolicy", "Fail");
    if let Some(constraints) = spec.get_mut("matchConstraints").filter(|given| given.is_object()) {
        fill_match(constraints);
    }
}

fn fill_binding(object: &mut Value) {
    let resources = object.get_mut("spec").and_then(|spec| spec.get_mut("matchResources"));
    if let Some(resources) = resources.filter(|given| given.is_object()) {
        fill_match(resources);
    }
}

fn fill_match(resources: &mut Value) {
    fill(resources, "matchPolicy", "Equivalent");
    fill(resources, "namespaceSelector", json!({}));
    fill(resources, "objectSelector", json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        items_mut(resources, list).for_each(|rule| fill(rule, "scope", "*"));
    }
}

/// What all policies have. `operations` are those that rules may name, if not all.
fn validate_policy(spec: &Value, operations: Option<&[&str]>, path: &FieldPath, errors: &mut Errors) {
    one_of(spec, "failurePolicy", &["Fail", "Ignore"], &path.child("failurePolicy"), errors);
    if spec["paramKind"].is_object() {
        validate_param_kind(&spec["paramKind"], &path.child("paramKind"), errors);
    }
    let constraints = path.child("matchConstraints");
    if !spec["matchConstraints"].is_object() {
        errors.push(FieldError::required(&constraints, ""));
    } else {
        validate_match(&spec["matchConstraints"], true, operations, &constraints, errors);
    }
    validate_conditions(spec, path, errors);
    for (index, variable) in items(spec, "variables") {
        let path = path.child("variables").index(index);
        let name = text(variable, "name");
        if name.trim().is_empty() {
            errors.push(FieldError::required(&path.child("name"), "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(FieldError::invalid(&path.child("name"), name, "name is not a valid CEL identifier"));
        }
        if text(variable, "expression").trim().is_empty() {
            errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
        }
    }
}

/// What kind the parameters of a policy are.
fn validate_param_kind(kind: &Value, path: &FieldPath, errors: &mut Errors) {
    let given = text(kind, "apiVersion");
    let at = path.child("apiVersion");
    let mut wrong = |value: &str, why: &str| errors.push(FieldError::invalid(&at, value, why));
    let parts: Vec<&str> = given.split('/').collect();
    match parts.as_slice() {
        _ if given.is_empty() => required(kind, "apiVersion", path, errors),
        [version] | [_, version] => {
            let faults = if parts.len() > 1 { names::dns1123_subdomain(parts[0]) } else { Vec::new() };
            if !parts[0].is_empty() && !faults.is_empty() {
                wrong(parts[0], &faults.join(","));
            }
            let faults = names::dns1035_label(version);
            if version.is_empty() {
                wrong(given, "version must be specified");
            } else if !faults.is_empty() {
                wrong(version, &faults.join(","));
            }
        }
        _ => wrong(given, &format!("unexpected GroupVersion string: {given}")),
    }
    let name = text(kind, "kind");
    required(kind, "kind", path, errors);
    let faults = names::dns1035_label(&name.to_lowercase());
    if !name.is_empty() && !faults.is_empty() {
        let why = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
        errors.push(FieldError::invalid(&path.child("kind"), name, &why));
    }
}

fn is_identifier(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
    first && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) && !names::CEL_KEYWORDS.contains(&name)
}

fn validate_validations(spec: &Value, path: &FieldPath, errors: &mut Errors) {
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
        let (own, computed) = (text(validation, "message"), text(validation, "messageExpression"));
        if !computed.is_empty() && computed.trim().is_empty() {
            let path = path.child("messageExpression");
            errors.push(FieldError::invalid(&path, computed, "must be non-empty if specified"));
        }
        let why = match own.trim() {
            "" if !own.is_empty() => "message must be non-empty if specified",
            told if told.contains(['\n', '\r']) => "message must not contain line breaks",
            _ => "",
        };
        if !why.is_empty() {
            errors.push(FieldError::invalid(&path.child("message"), own, why));
        }
        one_of(validation, "reason", REASONS, &path.child("reason"), errors);
    }
}

/// How many annotations a policy makes at most.
const ANNOTATIONS: usize = 20;

/// What a policy of that name writes into the audit log: each under a name below its own.
fn validate_annotations(name: &str, spec: &Value, path: &FieldPath, errors: &mut Errors) {
    let list = path.child("auditAnnotations");
    if items(spec, "auditAnnotations").count() > ANNOTATIONS {
        let why = format!("must not have more than {ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid(&list, spec["auditAnnotations"].clone(), &why));
    }
    let mut taken = HashSet::new();
    for (index, annotation) in items(spec, "auditAnnotations") {
        let (key, path) = (text(annotation, "key"), list.index(index));
        let whole = format!("{name}/{key}");
        for fault in names::qualified_name(&whole) {
            errors.push(FieldError::invalid(&path.child("key"), whole.as_str(), &fault));
        }
        if text(annotation, "valueExpression").trim().is_empty() {
            let why = "valueExpression is not specified";
            errors.push(FieldError::required(&path.child("valueExpression"), why));
        }
        if !taken.insert(key) {
            errors.push(FieldError::duplicate(&path.child("key"), key));
        }
    }
}

/// The forms of a mutation, and where the expression of each stands.
const PATCHES: [(&str, &str); 2] = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];

fn validate_mutations(spec: &Value, path: &FieldPath, errors: &mut Errors) {
    if items(spec, "mutations").count() == 0 {
        errors.push(FieldError::required(&path.child("mutations"), "mutations must contain at least one item"));
    }
    for (index, mutation) in items(spec, "mutations") {
        let path = path.child("mutations").index(index);
        let wanted = text(mutation, "patchType");
        required(mutation, "patchType", &path, errors);
        one_of(mutation, "patchType", &PATCHES.map(|(name, _)| name), &path.child("patchType"), errors);
        if !PATCHES.iter().any(|(name, _)| *name == wanted) {
            continue;
        }
        for (name, field) in PATCHES {
            let (own, path) = (name == wanted, path.child(field));
            match mutation[field].is_object() {
                true if !own => {
                    let why = format!("must not be specified when patchType is {wanted}");
                    errors.push(FieldError::invalid(&path, format!("{{{field}}}"), &why));
                }
                false if own => {
                    let why = format!("must be specified when patchType is {wanted}");
                    errors.push(FieldError::required(&path, &why));
                }
                true if text(&mutation[field], "expression").trim().is_empty() => {
                    errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
                }
                _ => {}
            }
        }
    }
    required(spec, "reinvocationPolicy", path, errors);
    if !text(spec, "reinvocationPolicy").is_empty() {
        one_of(spec, "reinvocationPolicy", &["IfNeeded", "Never"], &path.child("reinvocationPolicy"), errors);
    }
}

fn validate_match(
    resources: &Value,
    rules_required: bool,
    operations: Option<&[&str]>,
    path: &FieldPath,
    errors: &mut Errors,
) {
    one_of(resources, "matchPolicy", &["Equivalent", "Exact"], &path.child("matchPolicy"), errors);
    if rules_required && items(resources, "resourceRules").count() == 0 {
        errors.push(FieldError::required(&path.child("resourceRules"), ""));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        if let Ok(selector) = LabelSelector::deserialize(&resources[field]) {
            validate_selector_parts(&selector, &path.child(field), errors);
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in items(resources, list) {
            let path = path.child(list).index(index);
            validate_resource_names(rule, &path.child("resourceNames"), errors);
            validate_rule(rule, false, &path, errors);
        }
    }
    let Some(allowed) = operations else { return };
    let named = items(resources, "resourceRules").flat_map(|(_, rule)| items(rule, "operations"));
    for operation in named.filter_map(|(_, operation)| operation.as_str()).filter(|one| !allowed.contains(one)) {
        let path = path.child("resourceRules").child("operations");
        errors.push(FieldError::not_supported(&path, operation, allowed));
    }
}

fn validate_resource_names(rule: &Value, path: &FieldPath, errors: &mut Errors) {
    let mut taken = HashSet::new();
    for (index, name) in items(rule, "resourceNames") {
        let (name, path) = (name.as_str().unwrap_or(""), path.index(index));
        errors.extend(names::path_segment(name).iter().map(|fault| FieldError::invalid(&path, name, fault)));
        if !taken.insert(name) {
            errors.push(FieldError::duplicate(&path, name));
        }
    }
}

fn validate_binding(spec: &Value, operations: Option<&[&str]>, path: &FieldPath, errors: &mut Errors) {
    required(spec, "policyName", path, errors);
    let name = text(spec, "policyName");
    if !name.is_empty() {
        let path = path.child("policyName");
        errors.extend(names::dns1123_subdomain(name).iter().map(|fault| FieldError::invalid(&path, name, fault)));
    }
    validate_param_ref(&spec["paramRef"], &path.child("paramRef"), errors);
    if spec["matchResources"].is_object() {
        validate_match(&spec["matchResources"], false, operations, &path.child("matchResources"), errors);
    }
}

fn validate_param_ref(param: &Value, path: &FieldPath, errors: &mut Errors) {
    if !param.is_object() {
        return;
    }
    let (named, selected) = (!text(param, "name").is_empty(), !param["selector"].is_null());
    if named && selected {
        let why = "name and selector are mutually exclusive";
        errors.push(FieldError::forbidden(&path.child("name"), why));
        errors.push(FieldError::forbidden(&path.child("selector"), why));
    }
    if !named && !selected {
        errors.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    let action = path.child("parameterNotFoundAction");
    if text(param, "parameterNotFoundAction").is_empty() {
        errors.push(FieldError::required(&action, ""));
    }
    one_of(param, "parameterNotFoundAction", &["Deny", "Allow"], &action, errors);
}

fn validate_actions(spec: &Value, path: &FieldPath, errors: &mut Errors) {
    const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
    let list = path.child("validationActions");
    let actions: Vec<&str> = items(spec, "validationActions").filter_map(|(_, one)| one.as_str()).collect();
    if actions.is_empty() {
        errors.push(FieldError::required(&list, "at least one validation action is required"));
    }
    let mut seen = HashSet::new();
    for (index, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(action) {
            errors.push(FieldError::not_supported(&list.index(index), *action, ACTIONS));
        }
        if !seen.insert(action) {
            errors.push(FieldError::duplicate(&list.index(index), *action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        errors.push(FieldError::invalid(&list, json!(actions), why));
    }
}
