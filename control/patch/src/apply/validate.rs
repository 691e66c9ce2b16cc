//! Whether a value has its shape. The words are those of Kubernetes' library, types' names of Go included.

use pal_resources::go::type_of;
use serde_json::Value;

use super::element::Element;
use super::shape::{List, Object, Scalar, Shape};
use super::walk::{Faults, Plan, element, plan};
use crate::go_text;

/// Whether items of lists may be there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twice {
    Allowed,
    Refused,
}

/// Checks a value.
pub(crate) fn validate(value: &Value, shape: Shape<'_>, twice: Twice) -> Result<(), Faults> {
    faults(value, shape, twice).into_result()
}

fn faults(value: &Value, shape: Shape<'_>, twice: Twice) -> Faults {
    match plan(shape, Some(value)) {
        Plan::Object(object) => of_object(value, &object, twice),
        Plan::List(list) => of_list(value, &list, twice),
        Plan::Scalar(kind) => scalar(kind, value).map_or_else(Faults::default, |words| one(&words)),
        Plan::Nothing => one("schema error: invalid atom: inlined"),
    }
}

fn one(words: &str) -> Faults {
    let mut faults = Faults::default();
    faults.push(words);
    faults
}

/// What is wrong with a scalar.
fn scalar(kind: Scalar, value: &Value) -> Option<String> {
    match (kind, value) {
        (_, Value::Null) | (Scalar::Any, _) | (Scalar::Number, Value::Number(_)) => None,
        (Scalar::String, Value::String(_)) | (Scalar::Bool, Value::Bool(_)) => None,
        (Scalar::Number, other) => Some(format!("expected numeric (int or float), got {}", type_of(other))),
        (Scalar::String, other) => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(other)))
        }
        (Scalar::Bool, other) => Some(format!("expected boolean, got &{{{}}}", go_text(other))),
    }
}

/// A value as Go's `%#v` has it.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let fields: Vec<String> =
                names.into_iter().map(|name| format!("{name:?}:{}", go_syntax(&fields[name]))).collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn of_object(value: &Value, object: &Object<'_>, twice: Twice) -> Faults {
    let mut all = Faults::default();
    let fields = match value {
        Value::Null => return all,
        Value::Object(fields) => fields,
        other => return one(&format!("expected map, got &{{{}}}", go_text(other))),
    };
    for (name, value) in fields {
        let shape = object.field(name);
        let below = if matches!(shape, Shape::Undeclared) {
            one("field not declared in schema")
        } else {
            faults(value, shape, twice)
        };
        if !below.is_empty() {
            all.extend_below(&Element::field(name.as_str()), below);
        }
    }
    all
}

fn of_list(value: &Value, list: &List<'_>, twice: Twice) -> Faults {
    let mut all = Faults::default();
    let items = match value {
        Value::Null => return all,
        Value::Array(items) => items,
        other => return one(&format!("expected list, got &{{{}}}", go_text(other))),
    };
    let mut seen = std::collections::BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let step = match element(list, at, item) {
            Ok(step) => step,
            Err(words) => {
                all.push(format!("element {at}: {words}"));
                return all;
            }
        };
        let below = faults(item, list.item, twice);
        if !below.is_empty() {
            all.extend_below(&step, below);
        }
        if twice == Twice::Refused && !list.is_whole() && !seen.insert(step.clone()) {
            all.push(format!("duplicate entries for key {step}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_refused_in_kubernetes_words() {
        fn check(value: Value, expected: &str) {
            let shape = Shape::of_kind("apps", "v1", "Deployment").expect("a kind");
            let found =
                validate(&value, shape, Twice::Refused).map_or_else(|faults| faults.to_string(), |()| String::new());
            assert_eq!(found, expected, "{value}");
        }
        check(json!({"kind": "Deployment", "metadata": {"name": "a", "labels": null}, "spec": {"replicas": 1}}), "");
        check(json!({"spec": {"nope": 1}}), ".spec.nope: field not declared in schema");
        check(json!({"spec": {"replicas": "1"}}), ".spec.replicas: expected numeric (int or float), got string");
        check(
            json!({"metadata": {"labels": {"a": 1}}}),
            ".metadata.labels.a: expected string, got &value.valueUnstructured{Value:1}",
        );
        check(json!({"spec": {"paused": "yes"}}), ".spec.paused: expected boolean, got &{yes}");
        check(json!({"spec": []}), ".spec: expected map, got &{[]}");
        let containers = |items: Value| json!({"spec": {"template": {"spec": {"containers": items}}}});
        check(containers(json!({"a": 1})), ".spec.template.spec.containers: expected list, got &{map[a:1]}");
        check(
            containers(json!([{"name": "a"}, {"name": "a"}])),
            ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        );
        check(
            containers(json!([{"image": "a"}, {"image": "b"}])),
            ".spec.template.spec.containers: duplicate entries for key [name=\"\"]",
        );
        check(
            containers(json!([{"name": "a", "x": 1, "stdin": 1}])),
            "errors:\n  .spec.template.spec.containers[name=\"a\"].stdin: expected boolean, got &{1}\n  \
             .spec.template.spec.containers[name=\"a\"].x: field not declared in schema",
        );
    }
}
