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
/// the same.
pub fn reconcile(nodes: &[Arc<Node>]) -> Plan {
    let mut plan = Plan::idle();
    let mut used: BTreeSet<u32> = nodes.iter().filter_map(|node| block_of(node)).collect();
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

fn cidr(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty())
}

/// The number of the node's block, if it has one of the range.
fn block_of(node: &Node) -> Option<u32> {
    let (address, _) = cidr(node)?.split_once('/')?;
    let offset = u32::from(address.parse::<Ipv4Addr>().ok()?).checked_sub(BASE)?;
    Some(offset >> BITS).filter(|block| *block < BLOCKS)
}
