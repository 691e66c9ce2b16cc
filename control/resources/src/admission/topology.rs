//! PodTopologyLabels: a pod tells by labels where its node is (KEP-4742).

use serde_json::{Map, Value};

const COPIED: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// The node that a pod names.
pub fn node_of_pod(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())
}

/// The node that a binding names, which must say that it is one.
pub fn node_of_binding(binding: &Value) -> Option<&str> {
    let target = Some(&binding["target"]).filter(|target| target["kind"] == "Node");
    target.and_then(|target| target["name"].as_str()).filter(|name| !name.is_empty())
}

/// Gives a pod, or a binding of one, the labels by which its node says where it is, whatever it says itself.
pub fn label<'a>(node: impl Iterator<Item = (&'a str, &'a str)>, object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    for (key, value) in node.filter(|(key, _)| COPIED.contains(key)) {
        let labels = given(object, "metadata").and_then(|metadata| given(metadata, "labels"));
        let Some(labels) = labels else { return };
        labels.insert(key.to_owned(), value.into());
    }
}

/// The field, which is an empty object where there is none.
fn given<'a>(of: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    let value = of.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = Map::new().into();
    }
    value.as_object_mut()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ZONE: &str = "topology.kubernetes.io/zone";
    const REGION: &str = "topology.kubernetes.io/region";

    #[test]
    fn a_pod_takes_over_where_its_node_is() {
        let check = |node: &[(&str, &str)], own: Value, expected: Value| {
            let mut pod = json!({"metadata": {"labels": own}});
            label(node.iter().copied(), &mut pod);
            assert_eq!(pod["metadata"]["labels"], expected);
        };
        let node = [(ZONE, "z"), (REGION, "r"), ("topology.kubernetes.io/rack", "k"), ("kubernetes.io/hostname", "n")];
        check(&node, Value::Null, json!({ZONE: "z", REGION: "r"}));
        check(&node, json!({"app": "a", ZONE: "own"}), json!({"app": "a", ZONE: "z", REGION: "r"}));
        check(&node[..1], json!({REGION: "own"}), json!({ZONE: "z", REGION: "own"}));
        check(&node[2..], Value::Null, Value::Null);
        check(&[("topology.k8s.io/zone", "z"), ("a.topology.kubernetes.io/zone", "z")], json!({}), json!({}));
    }

    #[test]
    fn pods_and_bindings_name_nodes() {
        let check = |node: fn(&Value) -> Option<&str>, object: Value, expected: Option<&str>| {
            assert_eq!(node(&object), expected, "{object}");
        };
        check(node_of_binding, json!({"target": {"kind": "Node", "name": "n"}}), Some("n"));
        check(node_of_binding, json!({"target": {"name": "n"}}), None);
        check(node_of_pod, json!({"spec": {"nodeName": "n"}}), Some("n"));
        check(node_of_pod, json!({"spec": {"nodeName": ""}}), None);
        check(node_of_pod, json!({"spec": {}}), None);
    }
}
