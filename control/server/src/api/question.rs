//! What is wrong with a question about who may what (kube-apiserver's validation of `authorization.k8s.io`).

use pal_resources::kinds::names;
use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

/// Who a review is about, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About<'a> {
    /// Who asks.
    Oneself,
    /// Whoever is named.
    Anybody,
    /// The same, in a namespace.
    Local(&'a str),
}

/// What is wrong with a review.
pub(super) fn faults(review: &Value, about: About<'_>) -> Vec<FieldError> {
    let spec = &review["spec"];
    let field = |name: &str| FieldPath::new("spec").child(name);
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut errors = Vec::new();
    match (resource.is_object(), other.is_object()) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            errors.push(FieldError::invalid(&field("nonResourceAttributes"), other.clone(), why));
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(FieldError::invalid(&field("resourceAttributes"), "null", why));
        }
        _ => {}
    }
    let unnamed = text(spec, "user").is_empty() && spec["groups"].as_array().is_none_or(Vec::is_empty);
    if about != About::Oneself && unnamed {
        errors.push(FieldError::invalid(&field("user"), "", "at least one of user or group must be specified"));
    }
    for (name, labels) in [("fieldSelector", false), ("labelSelector", true)] {
        let path = field("resourceAttributes").child(name);
        if resource[name].is_object() {
            selection(&resource[name], labels, &path, &mut errors);
        }
    }
    let metadata = &review["metadata"];
    let is_local = matches!(about, About::Local(_));
    let kept = |name: &str| name != "managedFields" && !(is_local && name == "namespace");
    if metadata.as_object().into_iter().flatten().any(|(name, value)| kept(name) && !is_empty(value)) {
        let why = if is_local { "must be empty except for namespace" } else { "must be empty" };
        errors.push(FieldError::invalid(&FieldPath::new("metadata"), metadata.clone(), why));
    }
    if let About::Local(namespace) = about {
        let given = text(resource, "namespace");
        if resource.is_object() && given != namespace {
            let path = field("resourceAttributes").child("namespace");
            errors.push(FieldError::invalid(&path, given, "must match metadata.namespace"));
        }
        if other.is_object() {
            let why = "disallowed on this kind of request";
            errors.push(FieldError::invalid(&field("nonResourceAttributes"), other.clone(), why));
        }
    }
    errors
}

/// A selection is a text or requirements. Operators that are not known here may be known to newer clients.
fn selection(selector: &Value, labels: bool, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let (raw, none) = (text(selector, "rawSelector"), Vec::new());
    let requirements = selector["requirements"].as_array().unwrap_or(&none);
    if !raw.is_empty() && !requirements.is_empty() {
        let why = "may not specified at the same time as requirements";
        errors.push(FieldError::invalid(&path.child("rawSelector"), raw, why));
    }
    let path_of_all = path.child("requirements");
    if raw.is_empty() && requirements.is_empty() {
        let why = format!("when {path} is specified, requirements or rawSelector is required");
        errors.push(FieldError::required(&path_of_all, &why));
    }
    for (index, requirement) in requirements.iter().enumerate() {
        let path = path_of_all.index(index);
        let key = text(requirement, "key");
        if !labels && key.is_empty() {
            errors.push(FieldError::required(&path.child("key"), "must be specified"));
        }
        let values = requirement["values"].as_array().unwrap_or(&none);
        let field = path.child("values");
        match (text(requirement, "operator"), values.is_empty()) {
            ("In" | "NotIn", true) => {
                errors.push(FieldError::required(&field, "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            ("Exists" | "DoesNotExist", false) => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(&field, why));
            }
            _ => {}
        }
        if labels {
            let faults = names::qualified_name(key).into_iter();
            errors.extend(faults.map(|fault| FieldError::invalid(&path.child("key"), key, &fault)));
            for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
                let faults = names::label_value(value).into_iter();
                errors.extend(faults.map(|fault| FieldError::invalid(&field.index(index), value, &fault)));
            }
        }
    }
}

/// Whether it says no more than a field that is not there.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn questions_are_about_one_thing_and_about_somebody() {
        let check = |spec: Value, about: About<'_>, expected: &[&str]| {
            let told = faults(&json!({"spec": spec}), about);
            assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{spec}");
        };
        let one = "spec.resourceAttributes: Invalid value: \"null\": exactly one of nonResourceAttributes or \
                   resourceAttributes must be specified";
        let somebody = "spec.user: Invalid value: \"\": at least one of user or group must be specified";
        check(json!({}), About::Oneself, &[one]);
        check(json!({}), About::Anybody, &[one, somebody]);
        check(json!({"resourceAttributes": {}}), About::Anybody, &[somebody]);
        check(json!({"resourceAttributes": {}, "groups": ["g"]}), About::Anybody, &[]);
        let both = json!({"user": "me", "resourceAttributes": {}, "nonResourceAttributes": {}});
        let why =
            "spec.nonResourceAttributes: Invalid value: {}: cannot be specified in combination with resourceAttributes";
        check(both, About::Anybody, &[why]);
        let there = json!({"user": "me", "resourceAttributes": {"namespace": "a"}});
        check(there.clone(), About::Local("a"), &[]);
        let why = "spec.resourceAttributes.namespace: Invalid value: \"a\": must match metadata.namespace";
        check(there, About::Local("b"), &[why]);
        let path = json!({"user": "me", "nonResourceAttributes": {"path": "/"}});
        let why = "spec.nonResourceAttributes: Invalid value: {\"path\":\"/\"}: disallowed on this kind of request";
        check(path, About::Local("b"), &[why]);
    }

    #[test]
    fn questions_have_no_names() {
        let check = |metadata: Value, about: About<'_>, expected: Option<&str>| {
            let review =
                json!({"metadata": metadata, "spec": {"user": "me", "resourceAttributes": {"namespace": "a"}}});
            let told = faults(&review, about).first().map(ToString::to_string);
            assert_eq!(told.as_deref(), expected, "{review}");
        };
        check(json!({"creationTimestamp": null, "labels": {}, "managedFields": [{}]}), About::Oneself, None);
        check(json!({"namespace": "a"}), About::Local("a"), None);
        check(json!({"name": "x"}), About::Anybody, Some("metadata: Invalid value: {\"name\":\"x\"}: must be empty"));
        let why = "metadata: Invalid value: {\"name\":\"x\"}: must be empty except for namespace";
        check(json!({"name": "x"}), About::Local("a"), Some(why));
    }

    #[test]
    fn questions_may_be_about_a_selection() {
        let check = |selector: &str, given: Value, expected: &[&str]| {
            let spec = json!({"resourceAttributes": {selector: given}});
            let path = format!("spec.resourceAttributes.{selector}.");
            let told = faults(&json!({"spec": spec}), About::Oneself);
            let told: Vec<String> = told.iter().map(|fault| fault.to_string().replace(&path, "")).collect();
            assert_eq!(told, expected, "{spec}");
        };
        let (fields, labels) = ("fieldSelector", "labelSelector");
        let with = |key: &str, operator: &str, values: &[&str]| json!({"requirements": [{"key": key, "operator": operator, "values": values}]});
        check(fields, json!({"rawSelector": "a=b"}), &[]);
        check(fields, with("a", "In", &["b"]), &[]);
        check(fields, with("a", "Newer", &["b", "c"]), &[]);
        check(
            fields,
            json!({"rawSelector": "foo", "requirements": [{"key": "a", "operator": "Exists"}]}),
            &["rawSelector: Invalid value: \"foo\": may not specified at the same time as requirements"],
        );
        let why = "requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or \
                   rawSelector is required";
        check(labels, json!({}), &[why]);
        let none = "requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'";
        check(fields, with("", "NotIn", &[]), &["requirements[0].key: Required value: must be specified", none]);
        let some =
            "requirements[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        check(labels, with("a", "DoesNotExist", &["b"]), &[some]);
        let spec = json!({"resourceAttributes": {labels: with("a b", "In", &["c d"])}});
        let told = faults(&json!({"spec": spec}), About::Oneself);
        let paths: Vec<String> = told.iter().map(|fault| fault.path.to_string()).collect();
        let at = |field: &str| format!("spec.resourceAttributes.labelSelector.requirements[0].{field}");
        assert_eq!(paths, [at("key"), at("values[0]")]);
    }
}
