//! What the node tells of itself in Events, as a kubelet does.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference};

use crate::events::Occurrence;

/// Conditions that a node registers with, their status, and the reasons by which that is told.
const WELL: [(&str, &str, &str); 4] = [
    ("MemoryPressure", "False", "NodeHasSufficientMemory"),
    ("DiskPressure", "False", "NodeHasNoDiskPressure"),
    ("PIDPressure", "False", "NodeHasSufficientPID"),
    ("Ready", "True", "NodeReady"),
];

/// What is told when an agent has begun.
pub(crate) fn started(name: &str, at: Timestamp) -> Occurrence {
    occurrence(name, "Starting", "Starting kubelet.".to_owned(), at)
}

/// What is told when the node was registered well, which `known` was not: conditions that it had otherwise.
pub(crate) fn registered(name: &str, known: Option<&Node>, at: Timestamp) -> Vec<Occurrence> {
    let conditions = known.and_then(|node| node.status.as_ref()?.conditions.as_deref()).unwrap_or_default();
    let news = WELL.into_iter().filter(|(kind, status, _)| {
        !conditions.iter().any(|condition| condition.type_ == *kind && condition.status == *status)
    });
    news.map(|(_, _, reason)| now(name, reason, at)).collect()
}

/// What is told when pods may be placed on the node again, or may no longer.
pub(crate) fn cordoned(name: &str, cordoned: bool, at: Timestamp) -> Occurrence {
    now(name, if cordoned { "NodeNotSchedulable" } else { "NodeSchedulable" }, at)
}

fn now(name: &str, reason: &'static str, at: Timestamp) -> Occurrence {
    occurrence(name, reason, format!("Node {name} status is now: {reason}"), at)
}

/// Kubelets put the node's name in the place of its uid, and those who look for a node's Events look for both.
fn occurrence(name: &str, reason: &'static str, message: String, at: Timestamp) -> Occurrence {
    let about = ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(name.to_owned()),
        ..ObjectReference::default()
    };
    Occurrence { about: Arc::new(about), field_path: None, warning: false, reason, message, at }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_new_of_a_node_is_told() {
        let check = |known: Value, expected: &[&str]| {
            let known: Option<Node> = serde_json::from_value(known.clone()).unwrap();
            let told = registered("n", known.as_ref(), Timestamp::UNIX_EPOCH);
            assert_eq!(told.iter().map(|told| told.reason).collect::<Vec<_>>(), expected, "{known:?}");
        };
        let conditions = |ready: &str| {
            let well = |kind: &str| json!({"type": kind, "status": "False"});
            let ready = json!({"type": "Ready", "status": ready});
            json!({"status": {"conditions": [well("MemoryPressure"), well("DiskPressure"), well("PIDPressure"), ready]}})
        };
        let all = ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"];
        check(json!(null), &all);
        check(json!({}), &all);
        check(conditions("Unknown"), &["NodeReady"]);
        check(conditions("True"), &[]);
        let told = cordoned("n", true, Timestamp::UNIX_EPOCH);
        assert_eq!(told.message, "Node n status is now: NodeNotSchedulable");
        assert_eq!((told.about.uid.as_deref(), told.about.namespace.as_deref()), (Some("n"), None));
    }
}
