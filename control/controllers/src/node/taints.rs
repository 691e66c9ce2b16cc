//! Since when nodes have taints: who taints one by hand does not say it.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};

/// When the taints that drive pods away and tell no time were first seen, by the names of their nodes.
#[derive(Debug, Default)]
pub struct Noticed(HashMap<String, Vec<(Taint, Timestamp)>>);

impl Noticed {
    /// Takes in what taints a node has, or that there is no such node.
    pub fn observe(&mut self, name: &str, node: Option<&Node>, now: Timestamp) {
        let taints = node.and_then(|node| node.spec.as_ref()?.taints.as_deref()).unwrap_or_default();
        let timeless = taints.iter().filter(|taint| taint.effect == "NoExecute" && taint.time_added.is_none());
        let known = self.0.remove(name).unwrap_or_default();
        let seen: Vec<_> = timeless
            .map(|taint| {
                let before = known.iter().find(|(other, _)| other == taint);
                (taint.clone(), before.map_or(now, |(_, since)| *since))
            })
            .collect();
        if !seen.is_empty() {
            self.0.insert(name.to_owned(), seen);
        }
    }

    /// When that taint of a node was first seen.
    pub fn since(&self, node: &str, taint: &Taint) -> Option<Timestamp> {
        self.0.get(node)?.iter().find(|(other, _)| other == taint).map(|(_, since)| *since)
    }
}
