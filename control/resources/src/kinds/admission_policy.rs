//! Policies of admission and their bindings (`admissionregistration.k8s.io`), without their expressions: those are compiled
//! where they are evaluated.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Env;
use super::kind::Errors;
use super::loose::{Rules, fill, items, items_mut, text};
use super::names;
use super::registration::{one_of, required, validate_conditions, validate_rule};
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

    fn validate(_name: &str, object: &Value, errors: &mut Errors) {
        let (spec, path) = (&object["spec"], FieldPath::new("spec"));
        validate_policy(spec, None, &path, errors);
        validate_validations(spec, &path, errors);
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
        for field in ["apiVersion", "kind"] {
            required(&spec["paramKind"], field, &path.child("paramKind"), errors);
        }
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
        required(variable, "name", &path, errors);
        if !name.is_empty() && !is_identifier(name) {
            errors.push(FieldError::invalid(&path.child("name"), name, "name is not a valid CEL identifier"));
        }
        if text(variable, "expression").trim().is_empty() {
            errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
        }
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
        one_of(validation, "reason", REASONS, &path.child("reason"), errors);
    }
    for (index, annotation) in items(spec, "auditAnnotations") {
        let path = path.child("auditAnnotations").index(index);
        required(annotation, "key", &path, errors);
        required(annotation, "valueExpression", &path, errors);
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
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in items(resources, list) {
            validate_rule(rule, false, &path.child(list).index(index), errors);
        }
    }
    let Some(allowed) = operations else { return };
    let named = items(resources, "resourceRules").flat_map(|(_, rule)| items(rule, "operations"));
    for operation in named.filter_map(|(_, operation)| operation.as_str()).filter(|one| !allowed.contains(one)) {
        let path = path.child("resourceRules").child("operations");
        errors.push(FieldError::not_supported(&path, operation, allowed));
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
        errors.push(FieldError::required(&list, ""));
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
