//! The paths that a configuration speaks of: what its applier owns.

use serde_json::Value;

use super::element::Element;
use super::set::{FieldSet, Node};
use super::shape::{List, Object, Shape};
use super::walk::{Plan, element, items, plan};

/// The paths of a value that has been validated.
pub(crate) fn owned(value: &Value, shape: Shape<'_>) -> FieldSet {
    node(value, shape).below
}

fn node(value: &Value, shape: Shape<'_>) -> Node {
    match plan(shape, Some(value)) {
        Plan::Scalar(_) => Node::leaf(),
        Plan::Object(object) if object.atomic => Node::leaf(),
        Plan::Object(object) => Node { member: false, below: of_object(value, &object) },
        Plan::List(list) if list.is_whole() => Node::leaf(),
        Plan::List(list) => Node { member: false, below: of_list(value, &list) },
        Plan::Nothing => Node::default(),
    }
}

fn of_object(value: &Value, object: &Object<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    for (name, value) in value.as_object().into_iter().flatten() {
        let child = object.child(name);
        let mut inner = node(value, child.shape);
        let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        inner.member |= empty || !child.declared;
        set.put(Element::field(name.as_str()), inner);
    }
    set.settle();
    set
}

fn of_list(value: &Value, list: &List<'_>) -> FieldSet {
    let items = items(Some(value)).iter().enumerate();
    let mut steps: Vec<(Element, &Value)> =
        items.filter_map(|(at, item)| Some((element(list, at, item).ok()?, item))).collect();
    steps.sort_by(|a, b| a.0.cmp(&b.0));
    let mut set = FieldSet::default();
    for same in steps.chunk_by(|a, b| a.0 == b.0) {
        let (step, item) = &same[0];
        // What is there twice is owned as one.
        let inner = if same.len() > 1 { Node::leaf() } else { Node { member: true, ..node(item, list.item) } };
        set.put(step.clone(), inner);
    }
    set
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_owns_what_it_says() {
        fn check(value: Value, expected: Value) {
            let shape = Shape::of_kind("", "v1", "Pod").expect("a kind");
            let found: Value = serde_json::from_str(&owned(&value, shape).to_json()).expect("JSON");
            assert_eq!(found, expected, "{value}");
        }
        check(
            json!({"metadata": {"name": "a", "labels": {"x": "y"}, "annotations": {}}}),
            json!({"f:metadata": {"f:name": {}, "f:labels": {"f:x": {}}, "f:annotations": {}}}),
        );
        check(
            json!({"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{}], "containers": [
                {"name": "a", "ports": [{"containerPort": 1}], "command": ["x"], "resources": {}},
            ]}}),
            json!({"f:spec": {"f:nodeSelector": {}, "f:tolerations": {}, "f:containers": {"k:{\"name\":\"a\"}": {
                ".": {}, "f:name": {}, "f:command": {}, "f:resources": {},
                "f:ports": {"k:{\"containerPort\":1,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
            }}}}),
        );
        check(
            json!({"metadata": {"finalizers": ["b", "a", "a"], "labels": null}}),
            json!({"f:metadata": {"f:finalizers": {"v:\"a\"": {}, "v:\"b\"": {}}, "f:labels": {}}}),
        );
        check(
            json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "a"}]}}),
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {}}}}),
        );
        check(json!({"spec": {"containers": []}}), json!({}));
    }
}
