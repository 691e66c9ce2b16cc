//! Paths taken out of an object.

use serde_json::{Map, Value};

use super::set::FieldSet;
use super::shape::Shape;
use super::walk::{Plan, element, items, plan};

/// The object without what lies at the paths. `None`: nothing is left of it.
pub(crate) fn remove(value: &Value, paths: &FieldSet, shape: Shape<'_>) -> Option<Value> {
    if paths.is_empty() {
        return Some(value.clone());
    }
    match plan(shape, Some(value)) {
        Plan::Object(object) if !object.atomic => {
            let mut left = Map::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                match paths.field_node(name) {
                    Some(node) if node.member => {}
                    Some(node) => {
                        // A map that lost all its entries is no map any more, as an empty one would be one that is set.
                        let value = remove(value, &node.below, object.field(name)).unwrap_or(Value::Null);
                        left.insert(name.clone(), value);
                    }
                    None => {
                        left.insert(name.clone(), value.clone());
                    }
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Plan::List(list) if !list.is_whole() => {
            let mut left = Vec::new();
            for (at, item) in items(Some(value)).iter().enumerate() {
                let node = element(&list, at, item).ok().and_then(|step| paths.node(&step));
                match node {
                    Some(node) if node.member => {}
                    Some(node) => left.push(remove(item, &node.below, list.item).unwrap_or(Value::Null)),
                    None => left.push(item.clone()),
                }
            }
            (!left.is_empty()).then_some(Value::Array(left))
        }
        _ => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_lies_at_a_path_goes() {
        fn check(value: Value, paths: Value, expected: Option<Value>) {
            let shape = Shape::of_kind("", "v1", "Pod").expect("a kind");
            let paths: FieldSet = serde_json::from_value(paths).expect("a set");
            assert_eq!(remove(&value, &paths, shape), expected, "{value}");
        }
        let object = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]}});
        check(
            object.clone(),
            json!({"f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {"v:\"x\"": {}}}}),
            Some(json!({"metadata": {"labels": {"b": "2"}, "finalizers": ["y"]}})),
        );
        check(
            object.clone(),
            json!({"f:metadata": {"f:labels": {".": {}}, "f:finalizers": {"v:\"x\"": {}, "v:\"y\"": {}}}}),
            Some(json!({"metadata": {"finalizers": null}})),
        );
        check(object.clone(), json!({}), Some(object.clone()));
        check(object, json!({"f:metadata": {}}), None);
        check(
            json!({"spec": {"containers": [{"name": "a", "image": "1", "tty": true}, {"name": "b"}]}}),
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {"f:tty": {}}, "k:{\"name\":\"b\"}": {}}}}),
            Some(json!({"spec": {"containers": [{"name": "a", "image": "1"}]}})),
        );
    }
}
