//! What is written on a node when its connection goes or comes: conditions, and the taints that follow from them.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{COMPONENT, Life, NOT_READY, UNREACHABLE, condition, life};
use crate::action::{Action, Announce, Plan, Severity, Target, Words, reference};
use crate::object::{as_seen, is_deleting, name, since};
use crate::ports::Timing;

/// The conditions that nobody vouches for on a dead node.
const REPORTED: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
const CORDON: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep new pods away while they hold.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Everything that a node's reconcile looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub node: &'a Node,
    /// How long ago the node's connection lived; `None` when this server never saw it.
    pub last_seen: Option<Duration>,
    /// When the controllers started to look.
    pub started: Timestamp,
    /// When a disruption ended, if there was one: time before that counts against no node.
    pub resumed: Option<Timestamp>,
    pub timing: &'a Timing,
}

/// Brings conditions and taints to what the node's connection says. A changed condition is written first; the taints
/// follow with the next look, which that write causes.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    if is_deleting(&view.node.metadata) {
        return plan;
    }
    let started = view.resumed.map_or(view.started, |resumed| resumed.max(view.started));
    let last_seen = view.last_seen.map(|gone| view.resumed.map_or(gone, |resumed| gone.min(since(now, resumed))));
    match life(view.node, last_seen, started, view.timing, now) {
        Life::Alive => plan.look_again(view.timing.node_grace),
        Life::Waiting(rest) => plan.look_again(rest + Duration::from_millis(10)),
        Life::Dead => {
            if let Some(action) = lose(view.node, now) {
                plan.push(action);
                return plan;
            }
        }
    }
    plan.actions.extend(taint(view.node, now));
    plan
}

/// The write that says that nothing is known of the node, if it does not say so already.
fn lose(node: &Node, now: Timestamp) -> Option<Action> {
    let mut conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let before = conditions.clone();
    for kind in REPORTED {
        match conditions.iter_mut().find(|condition| condition.type_ == *kind) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                known.status = "Unknown".to_owned();
                known.reason = Some("NodeStatusUnknown".to_owned());
                known.message = Some("Kubelet stopped posting node status.".to_owned());
                known.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: (*kind).to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    if conditions == before {
        return None;
    }
    let was_ready = condition(node, "Ready").is_some_and(|ready| ready.status == "True");
    let text = format!("Node {} status is now: NodeNotReady", name(&node.metadata));
    let words = Words { severity: Severity::Normal, reason: "NodeNotReady", text, with_detail: false };
    Some(Action::Patch {
        target: Target::of(node),
        subresource: Some("status"),
        patch: json!({ "metadata": as_seen(&node.metadata), "status": { "conditions": conditions } }),
        announce: was_ready.then(|| Announce {
            about: reference(node),
            component: COMPONENT,
            done: Some(words),
            failed: None,
        }),
    })
}

/// The write that gives the node the taints that its conditions and its cordon call for, if it has not got them.
fn taint(node: &Node, now: Timestamp) -> Option<Action> {
    let current = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted = wanted_taints(node);
    let same = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let mut taints: Vec<Taint> = current
        .iter()
        .filter(|taint| !is_ours(taint) || wanted.iter().any(|wanted| same(taint, wanted)))
        .cloned()
        .collect();
    for wanted in &wanted {
        if !taints.iter().any(|taint| same(taint, wanted)) {
            let (key, effect) = *wanted;
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                value: None,
                time_added: Some(Time(now)),
            });
        }
    }
    if taints == current {
        return None;
    }
    let taints = if taints.is_empty() { serde_json::Value::Null } else { json!(taints) };
    Some(Action::Patch {
        target: Target::of(node),
        subresource: None,
        patch: json!({ "metadata": as_seen(&node.metadata), "spec": { "taints": taints } }),
        announce: None,
    })
}

/// Keys and effects. A node that has said nothing yet is kept free of pods by the scheduler, not by a taint.
fn wanted_taints(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    match condition(node, "Ready").map(|ready| ready.status.as_str()) {
        Some("False") => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        Some("Unknown") => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        _ => {}
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((CORDON, "NoSchedule"));
    }
    for (kind, key) in PRESSURES {
        if condition(node, kind).is_some_and(|pressure| pressure.status == "True") {
            wanted.push((key, "NoSchedule"));
        }
    }
    wanted
}

/// Whether the taint is one that only this controller sets.
fn is_ours(taint: &Taint) -> bool {
    match taint.effect.as_str() {
        "NoExecute" => matches!(taint.key.as_str(), NOT_READY | UNREACHABLE),
        "NoSchedule" => {
            matches!(taint.key.as_str(), NOT_READY | UNREACHABLE | CORDON)
                || PRESSURES.iter().any(|(_, key)| *key == taint.key)
        }
        _ => false,
    }
}
