//! What a node may not change of its own Node object and of its pods (the NodeRestriction admission plugin): a node that
//! falls into wrong hands must not draw workloads or traffic to itself that were kept from it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use pal_resources::{Resource, Status};
use serde_json::Value;

use crate::meta;
use crate::options::Actor;

/// Labels of Kubernetes' own namespaces that a node says of itself.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
];
/// Namespaces, and those below them, whose labels a node sets as it likes.
const OWN_NAMESPACES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Namespaces that are Kubernetes' own.
const RESERVED: &[&str] = &["kubernetes.io", "k8s.io"];
/// What no node may set, whatever is added to the lists above.
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// Checks what a node wants to create or change; `old` is what is stored.
pub(crate) fn check(actor: &Actor, resource: &Resource, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    let Some(node) = node_of(actor) else { return Ok(()) };
    let refuse = |why: String| Err(Status::forbidden(resource, meta::called(new), &why));
    match (&*resource.group, &*resource.plural) {
        ("", "nodes") => {}
        // Nothing but the status of a pod is a node's to write, and that takes labels along.
        ("", "pods") if old.is_some() && !changed(old, new).is_empty() => {
            return refuse(format!("node {node:?} cannot update labels through pod status"));
        }
        _ => return Ok(()),
    }
    // Who holds a block of addresses gets what is sent to them, so that it is not a node's to choose.
    match old {
        None if !blocks(new).is_empty() => {
            return refuse(format!("node {node:?} is not allowed to set podCIDR"));
        }
        Some(old) if blocks(old) != blocks(new) => {
            return refuse(format!("node {node:?} is not allowed to modify podCIDR"));
        }
        _ => {}
    }
    if let Some(old) = old {
        if owners(old) != owners(new) {
            return refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
        }
        if taints(old) != taints(new) {
            return refuse(format!("node {node:?} is not allowed to modify taints"));
        }
    }
    let forbidden: Vec<&str> = changed(old, new).into_iter().filter(|label| is_forbidden(label)).collect();
    match (forbidden.is_empty(), old) {
        (true, _) => Ok(()),
        (false, None) => {
            let labels = forbidden.join(", ");
            refuse(format!("node {node:?} is not allowed to set the following labels: {labels}"))
        }
        (false, Some(_)) => refuse(format!("is not allowed to modify labels: {}", forbidden.join(", "))),
    }
}

fn node_of(actor: &Actor) -> Option<&str> {
    let name = actor.user.strip_prefix("system:node:")?;
    actor.groups.iter().any(|group| group == "system:nodes").then_some(name)
}

fn taints(node: &Value) -> &[Value] {
    node["spec"]["taints"].as_array().map_or(&[], Vec::as_slice)
}

/// `podCIDR` and `podCIDRs`, of which the one follows from the other.
fn blocks(node: &Value) -> BTreeSet<&str> {
    let spec = &node["spec"];
    let several = spec["podCIDRs"].as_array().into_iter().flatten();
    several.chain([&spec["podCIDR"]]).filter_map(Value::as_str).filter(|block| !block.is_empty()).collect()
}

fn owners(node: &Value) -> &[Value] {
    node["metadata"]["ownerReferences"].as_array().map_or(&[], Vec::as_slice)
}

fn labels(node: &Value) -> BTreeMap<&str, &Value> {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    labels.map(|(key, value)| (key.as_str(), value)).collect()
}

/// The keys whose values differ, in order.
fn changed<'a>(old: Option<&'a Value>, new: &'a Value) -> BTreeSet<&'a str> {
    let (old, new) = (old.map(labels).unwrap_or_default(), labels(new));
    old.keys().chain(new.keys()).copied().filter(|key| old.get(key) != new.get(key)).collect()
}

fn is_forbidden(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
    let within = |root: &str| namespace.strip_suffix(root).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let own = OWN_LABELS.contains(&label) || OWN_NAMESPACES.iter().copied().any(within);
    within(RESTRICTED) || RESERVED.iter().copied().any(within) && !own
}

#[cfg(test)]
mod tests {
    use pal_resources::resource;
    use serde_json::json;

    use super::*;

    fn node(labels: Value, taints: Value) -> Value {
        json!({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}})
    }

    fn verdict(actor: &Actor, old: Option<&Value>, new: &Value) -> Result<(), String> {
        let nodes = resource::find("", "v1", "nodes").expect("nodes are built in");
        check(actor, &nodes, old, new).map_err(|status| status.message)
    }

    #[test]
    fn a_node_sets_the_labels_of_a_kubelet_and_no_others_of_kubernetes() {
        let actor =
            Actor { user: "system:node:n1".to_owned(), groups: vec!["system:nodes".to_owned()], ..Actor::default() };
        let plain = node(json!({}), json!([]));
        let check = |label: &str, allowed: bool| {
            let new = node(json!({label: "x"}), json!([]));
            let words = |action: &str| {
                let refusal = format!("nodes \"n1\" is forbidden: {action}: {label}");
                if allowed { Ok(()) } else { Err(refusal) }
            };
            assert_eq!(verdict(&actor, Some(&plain), &new), words("is not allowed to modify labels"), "{label}");
            assert_eq!(
                verdict(&actor, Some(&new), &plain),
                words("is not allowed to modify labels"),
                "{label} taken away"
            );
            assert_eq!(
                verdict(&actor, None, &new),
                words("node \"n1\" is not allowed to set the following labels"),
                "{label} at creation"
            );
        };
        check("tier", true);
        check("example.com/tier", true);
        check("kubernetes.io/hostname", true);
        check("topology.kubernetes.io/zone", true);
        check("kubelet.kubernetes.io/x", true);
        check("special.node.kubernetes.io/x", true);
        check("node-role.kubernetes.io/control-plane", false);
        check("kubernetes.io/other", false);
        check("x.k8s.io/other", false);
        check("node-restriction.kubernetes.io/x", false);
        check("a.node-restriction.kubernetes.io/x", false);
    }

    #[test]
    fn a_node_changes_neither_owners_nor_the_labels_of_pods() {
        let actor =
            Actor { user: "system:node:n1".to_owned(), groups: vec!["system:nodes".to_owned()], ..Actor::default() };
        let plain = node(json!({}), json!([]));
        let mut owned = plain.clone();
        owned["metadata"]["ownerReferences"] = json!([{"kind": "Pod", "name": "p"}]);
        let refusal = "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify ownerReferences";
        assert_eq!(verdict(&actor, Some(&plain), &owned), Err(refusal.to_owned()));

        let pods = resource::find("", "v1", "pods").expect("pods are built in");
        let pod = |label: &str| json!({"metadata": {"name": "p", "labels": {"app": label}}, "status": {}});
        let verdict = |new: &Value| check(&actor, &pods, Some(&pod("a")), new).map_err(|status| status.message);
        let refusal = "pods \"p\" is forbidden: node \"n1\" cannot update labels through pod status";
        assert_eq!(verdict(&pod("b")), Err(refusal.to_owned()));
        let mut running = pod("a");
        running["status"]["phase"] = "Running".into();
        assert_eq!(verdict(&running), Ok(()));
    }

    #[test]
    fn a_node_does_not_choose_its_addresses() {
        let actor =
            Actor { user: "system:node:n1".to_owned(), groups: vec!["system:nodes".to_owned()], ..Actor::default() };
        let plain = node(json!({}), json!(null));
        let with = |field: &str, value: Value| {
            let mut node = plain.clone();
            node["spec"][field] = value;
            node
        };
        let refusal =
            |action: &str| Err(format!("nodes \"n1\" is forbidden: node \"n1\" is not allowed to {action} podCIDR"));
        for new in [with("podCIDR", json!("100.64.0.0/20")), with("podCIDRs", json!(["100.64.0.0/20"]))] {
            assert_eq!(verdict(&actor, None, &new), refusal("set"));
            assert_eq!(verdict(&actor, Some(&plain), &new), refusal("modify"));
            assert_eq!(verdict(&actor, Some(&new), &plain), refusal("modify"));
            assert_eq!(verdict(&actor, Some(&new), &new), Ok(()));
            let system = Actor { user: "system:kube-controller-manager".to_owned(), ..Actor::default() };
            assert_eq!(verdict(&system, Some(&plain), &new), Ok(()));
        }
        assert_eq!(verdict(&actor, None, &with("podCIDR", json!(""))), Ok(()));
    }

    #[test]
    fn a_node_brings_its_taints_and_does_not_change_them() {
        let actor =
            Actor { user: "system:node:n1".to_owned(), groups: vec!["system:nodes".to_owned()], ..Actor::default() };
        let tainted = node(json!({}), json!([{"key": "a", "effect": "NoSchedule"}]));
        let plain = node(json!({}), json!(null));
        let refusal = || Err("nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints".to_owned());
        assert_eq!(verdict(&actor, None, &tainted), Ok(()));
        assert_eq!(verdict(&actor, Some(&tainted), &tainted), Ok(()));
        assert_eq!(verdict(&actor, Some(&tainted), &plain), refusal());
        assert_eq!(verdict(&actor, Some(&plain), &tainted), refusal());
        let admin = Actor { user: "admin".to_owned(), groups: vec!["system:masters".to_owned()], ..Actor::default() };
        assert_eq!(verdict(&admin, Some(&plain), &tainted), Ok(()));
    }
}
