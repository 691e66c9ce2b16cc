//! Nodes: which are gone, what that means for the pods on them, and which addresses their pods get.

pub mod cidr;
pub mod disruption;
pub mod lifecycle;
pub mod pod;
pub mod taints;
pub mod ttl;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use crate::action::{Note, Severity, reference};
use crate::object::{created, name, since};
use crate::ports::Timing;

/// The taint of a node that says that it is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of a node that says nothing any more.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const COMPONENT: &str = "node-controller";

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Alive,
    /// Its connection is gone, or has not come yet; it is dead after that long if nothing changes.
    Waiting(Duration),
    Dead,
}

/// Judges a node by its connection. `last_seen` is how long ago that lived, as far as this server knows; a node that
/// this server never saw is given time from when the controllers started to look.
pub fn life(node: &Node, last_seen: Option<Duration>, started: Timestamp, timing: &Timing, now: Timestamp) -> Life {
    let (gone, patience) = match last_seen {
        Some(gone) => (gone, timing.node_grace),
        None => (since(now, started.max(created(&node.metadata))), timing.node_first_contact),
    };
    match patience.checked_sub(gone).filter(|rest| !rest.is_zero()) {
        None => Life::Dead,
        Some(rest) if last_seen.is_none() => Life::Waiting(rest),
        // The connection's keep-alive is seconds: one that was heard a moment ago lives.
        Some(rest) if gone > Duration::from_millis(500) => Life::Waiting(rest),
        Some(_) => Life::Alive,
    }
}

/// What is told of a node that came or went.
pub fn registration(before: Option<&Node>, after: Option<&Node>) -> Option<Note> {
    let (node, reason, [did, way]) = match (before, after) {
        (None, Some(node)) => (node, "RegisteredNode", ["Registered", "in"]),
        (Some(node), None) => (node, "RemovingNode", ["Removing", "from"]),
        _ => return None,
    };
    let name = name(&node.metadata);
    let message = format!("Node {name} event: {did} Node {name} {way} Controller");
    Some(Note { about: reference(node), component: COMPONENT, severity: Severity::Normal, reason, message })
}

/// One condition of the node's status.
pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}
