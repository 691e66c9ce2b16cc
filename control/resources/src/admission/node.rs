//! New nodes (the TaintNodesByCondition admission plugin).

use serde_json::{Map, Value, json};

/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Keeps pods away from a new node until the node controller has seen that it is ready.
pub fn taint(node: &mut Value) {
    let Some(node) = node.as_object_mut() else { return };
    let Some(spec) = given(node, "spec", json!({})).as_object_mut() else { return };
    let taints = given(spec, "taints", json!([]));
    let is_it = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
    if let Some(list) = taints.as_array_mut().filter(|list| !list.iter().any(is_it)) {
        list.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
}

/// The field, which is this where there is none.
fn given<'a>(of: &'a mut Map<String, Value>, field: &str, otherwise: Value) -> &'a mut Value {
    let value = of.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = otherwise;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_gets_no_pods_until_it_is_ready() {
        let check = |mut node: Value, expected: Value| {
            taint(&mut node);
            assert_eq!(node, expected);
        };
        let own = json!({"key": NOT_READY, "effect": "NoSchedule"});
        let other = json!({"key": NOT_READY, "effect": "NoExecute"});
        check(json!({}), json!({"spec": {"taints": [own]}}));
        check(json!({"spec": null}), json!({"spec": {"taints": [own]}}));
        check(json!({"spec": {"taints": null}}), json!({"spec": {"taints": [own]}}));
        check(json!({"spec": {"taints": [other]}}), json!({"spec": {"taints": [other, own]}}));
        check(json!({"spec": {"taints": [own]}}), json!({"spec": {"taints": [own]}}));
    }
}
