//! One decision.

use std::collections::BTreeMap;
use std::fmt;

use crate::candidate::Candidate;
use crate::cluster::Cluster;
use crate::filter::{Refusal, refusals};
use crate::score::scores;
use crate::surroundings::Surroundings;
use crate::volumes::{Choice, Hindrance, Needs};

/// Where the pod goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    pub node: String,
    /// What is to become of the pod's claims before it goes there; empty when all have their volumes.
    pub claims: Vec<Choice>,
}

/// Why the pod fits nowhere: how many nodes there are, and how many refuse for which reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unschedulable {
    pub nodes: usize,
    pub reasons: BTreeMap<Refusal, usize>,
    /// What keeps the pod from all nodes alike.
    pub hindrance: Option<Hindrance>,
    /// Nodes on which room alone lacks.
    pub lacking_room: usize,
    /// What came of making room.
    pub remedy: Remedy,
}

/// Whether other pods go for one that fits nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remedy {
    /// There are none that could.
    #[default]
    None,
    /// Some do.
    Preempted,
    /// Some are on their way out.
    Awaited,
    /// The pod asks for none.
    Unwanted,
}

/// What Kubernetes' scheduler says first of what could help: devices' claims that nobody uses. Here are none.
const NO_CLAIMS: &str = "no new claims to deallocate";

impl std::error::Error for Unschedulable {}

impl fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (reason, count) in &self.reasons {
            *counts.entry(reason.to_string()).or_default() += count;
        }
        let mut reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        reasons.extend(self.hindrance.as_ref().map(Hindrance::to_string));
        let nodes = self.nodes;
        write!(f, "0/{nodes} nodes are available: {}.", reasons.join(", "))?;
        match self.remedy {
            Remedy::None => {}
            Remedy::Preempted => return Ok(()),
            Remedy::Awaited => {
                let why = "not eligible due to a terminating pod on the nominated node.";
                return write!(f, " {NO_CLAIMS}, preemption: {why}");
            }
            Remedy::Unwanted => {
                return write!(f, " {NO_CLAIMS}, preemption: not eligible due to preemptionPolicy=Never.");
            }
        }
        let mut preemption = Vec::new();
        if self.lacking_room > 0 {
            preemption.push(format!("{} No preemption victims found for incoming pod", self.lacking_room));
        }
        if nodes > self.lacking_room {
            preemption.push(format!("{} Preemption is not helpful for scheduling", nodes - self.lacking_room));
        }
        preemption.sort();
        write!(f, " {NO_CLAIMS}, preemption: 0/{nodes} nodes are available: {}.", preemption.join(", "))
    }
}

/// Picks a node for the pod. `random` decides between nodes that are equally good.
pub fn schedule(cluster: &Cluster, candidate: &Candidate, random: u64) -> Result<Placement, Unschedulable> {
    let mut fitting = Vec::new();
    let mut unschedulable = Unschedulable::default();
    let needs = match Needs::of(cluster, candidate) {
        Ok(needs) => needs,
        Err(hindrance) => {
            let nodes = cluster.nodes().count();
            return Err(Unschedulable { nodes, hindrance: Some(hindrance), ..Unschedulable::default() });
        }
    };
    let around = Surroundings::of(cluster, candidate);
    for (name, node) in cluster.nodes() {
        unschedulable.nodes += 1;
        let full = cluster.with_nominated(candidate, name, node);
        let mut reasons = refusals(candidate, name, full.as_ref().unwrap_or(node));
        if reasons.is_empty() {
            reasons.extend(needs.on_node(name, node).err().or_else(|| around.refusal(node)));
        }
        if reasons.is_empty() {
            fitting.push((name, node));
            continue;
        }
        if reasons.iter().all(Refusal::is_about_room) {
            unschedulable.lacking_room += 1;
        }
        for reason in reasons {
            *unschedulable.reasons.entry(reason).or_default() += 1;
        }
    }
    let marks = scores(cluster, candidate, &fitting);
    let Some(best) = marks.iter().max() else {
        return Err(unschedulable);
    };
    let best: Vec<&str> =
        fitting.iter().zip(&marks).filter(|(_, mark)| *mark == best).map(|((name, _), _)| *name).collect();
    // `best` holds at least the node with the highest mark.
    let choice = (random % best.len() as u64) as usize;
    let node = best[choice];
    let claims = cluster.node(node).and_then(|state| needs.on_node(node, state).ok()).unwrap_or_default();
    Ok(Placement { node: node.to_owned(), claims })
}

#[cfg(test)]
mod company_tests;
#[cfg(test)]
mod tests;
