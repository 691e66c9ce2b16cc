//! Which addresses the pods of a node get: a block of 4,096 of the carrier-grade NAT range for each
//! node, since a node runs thousands of pods and its block never changes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::action::{Action, Note, Plan, Severity, Target, reference};
use crate::object::{is_deleting, same_object};

/// 100.64.0.0, whose first ten bits are the range.
const BASE: u32 = u32::from_be_bytes([100, 64, 0, 0]);
/// The addresses of a block, as a power of two.
const BITS: u32 = 12;
/// Blocks in the range.
const BLOCKS: u32 = 1 << (22 - BITS);

/// Gives every node that has no block the lowest one that is free. It looks at all nodes at once, so that no two get
/// the same. A block never changes, so that of two nodes that were given the same by hand, the younger is told of.
pub fn reconcile(nodes: &[Arc<Node>]) -> Plan {
    let mut plan = Plan::idle();
    let mut used: BTreeSet<u32> = nodes.iter().flat_map(|node| blocks_of(node)).collect();
    for node in conflicting(nodes) {
        plan.push(Action::Tell(Note {
            about: reference(&**node),
            component: "cidrAllocator",
            severity: Severity::Warning,
            reason: "CIDRConflict",
            message: format!("podCIDR {} overlaps that of an older node", cidr(node).unwrap_or_default()),
        }));
    }
    let mut next = 0;
    for node in nodes.iter().filter(|node| cidr(node).is_none() && !is_deleting(&node.metadata)) {
        while used.contains(&next) {
            next += 1;
        }
        if next >= BLOCKS {
            plan.push(Action::Tell(Note {
                about: reference(&**node),
                component: "cidrAllocator",
                severity: Severity::Normal,
                reason: "CIDRNotAvailable",
                message: "Node status is now: CIDRNotAvailable".to_owned(),
            }));
            continue;
        }
        used.insert(next);
        let cidr = format!("{}/{}", Ipv4Addr::from(BASE + (next << BITS)), 32 - BITS);
        let target = Target::of(&**node);
        plan.push(Action::Patch {
            patch: json!({ "metadata": same_object(&target), "spec": { "podCIDR": cidr, "podCIDRs": [cidr] } }),
            target,
            subresource: None,
            announce: None,
        });
    }
    plan
}

/// The node's block of pod addresses.
pub(crate) fn cidr(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty())
}

/// The nodes whose addresses an older node has, wholly or in part.
fn conflicting(nodes: &[Arc<Node>]) -> Vec<&Arc<Node>> {
    let mut nodes: Vec<&Arc<Node>> = nodes.iter().filter(|node| cidr(node).is_some()).collect();
    nodes.sort_by_key(|node| (node.metadata.creation_timestamp.as_ref().map(|time| time.0), &node.metadata.name));
    let mut used = BTreeSet::new();
    nodes.retain(|node| {
        let own: Vec<u32> = blocks_of(node).collect();
        let taken = own.iter().any(|block| used.contains(block));
        used.extend(own);
        taken
    });
    nodes
}

/// The numbers of the blocks of the range that the node's addresses lie in.
fn blocks_of(node: &Node) -> impl Iterator<Item = u32> + use<> {
    range(node).into_iter().flatten()
}

fn range(node: &Node) -> Option<std::ops::Range<u32>> {
    let (address, length) = cidr(node)?.split_once('/')?;
    let length = length.parse::<u32>().ok().filter(|length| *length <= 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    let first = address.parse::<Ipv4Addr>().ok()?.to_bits() & mask;
    let last = first | !mask;
    let (first, last) = (first.max(BASE), last.min(BASE + (BLOCKS << BITS) - 1));
    (first <= last).then(|| (first - BASE) >> BITS..((last - BASE) >> BITS) + 1)
}
