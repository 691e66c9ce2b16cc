//! Which pods have to go so that one of higher priority finds room, chosen as Kubernetes' default preemption does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Pod;

use crate::candidate::Candidate;
use crate::cluster::{Cluster, Placed};
use crate::filter::{Refusal, refusals};
use crate::surroundings::Surroundings;
use crate::volumes::Needs;

/// Nodes that are looked at in one attempt, at most.
const NODES: usize = 100;

/// How important a pod is beside others: by its priority, and then by how long it has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) priority: i32,
    /// When it began to run, in seconds since 1970; the end of time if it has not.
    since: i64,
}

impl Rank {
    pub(crate) fn of(pod: &Pod) -> Self {
        let since = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
        Self {
            priority: pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0),
            since: since.map_or(i64::MAX, |time| time.0.as_second()),
        }
    }

    /// Sorts the more important first.
    fn order(self) -> (Reverse<i32>, i64) {
        (Reverse(self.priority), self.since)
    }
}

/// What disruption budgets still allow.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    /// How many more pods each budget lets go.
    pub allowed: Vec<i32>,
    /// The budgets that choose a pod, as indexes of `allowed`, by its uid.
    pub of_pod: HashMap<String, Vec<usize>>,
}

impl Guards {
    /// For each pod, in that order, whether it goes beyond what some budget allows.
    fn violated<'a>(&self, uids: impl Iterator<Item = &'a str>) -> Vec<bool> {
        let mut left = self.allowed.clone();
        uids.map(|uid| {
            self.of_pod.get(uid).into_iter().flatten().fold(false, |violated, budget| {
                left[*budget] -= 1;
                violated || left[*budget] < 0
            })
        })
        .collect()
    }
}

/// A pod that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// The node on which room is made, and who goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    pub node: String,
    pub victims: Vec<Victim>,
}

/// What a choice costs: budgets that are broken, the highest priority that goes, all of these together, how many go,
/// and how old the most important of them is. The least is taken.
type Cost = (usize, i32, i64, usize, Reverse<i64>);

/// The pods that could be driven out for a candidate: their uids, namespaces and names, for [`Guards`].
pub fn preemptible(cluster: &Cluster, candidate: &Candidate) -> Vec<Victim> {
    cluster.below(candidate.rank.priority).map(|(uid, placed)| victim(uid, placed)).collect()
}

/// Where to make room for a pod that fits nowhere, if it may and there are pods of lower priority whose going helps.
pub fn preempt(cluster: &Cluster, candidate: &Candidate, guards: &Guards) -> Option<Preemption> {
    if candidate.is_meek {
        return None;
    }
    let mut lower: BTreeMap<&str, Vec<(&str, &Placed)>> = BTreeMap::new();
    for (uid, placed) in cluster.below(candidate.rank.priority) {
        lower.entry(&placed.node).or_default().push((uid, placed));
    }
    if lower.is_empty() {
        return None;
    }
    let needs = Needs::of(cluster, candidate).ok()?;
    let around = Surroundings::of(cluster, candidate);
    let helps = |name: &str| {
        cluster.node(name).is_some_and(|node| {
            let elsewhere = needs.on_node(name, node).err().or_else(|| around.refusal(node));
            let mut reasons = refusals(candidate, name, node).into_iter().chain(elsewhere);
            reasons.all(|reason| reason.is_about_room())
        })
    };
    let mut trial = cluster.clone();
    let mut best: Option<(Cost, Preemption)> = None;
    for (node, pods) in lower.into_iter().filter(|(name, _)| helps(name)).take(NODES) {
        let Some((cost, victims)) = on_node(&mut trial, candidate, node, pods, guards) else { continue };
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, Preemption { node: node.to_owned(), victims }));
        }
    }
    best.map(|(_, preemption)| preemption)
}

/// Who goes from one node: as few and as unimportant as may be. The trial is left as it was.
fn on_node(
    trial: &mut Cluster,
    candidate: &Candidate,
    node: &str,
    mut pods: Vec<(&str, &Placed)>,
    guards: &Guards,
) -> Option<(Cost, Vec<Victim>)> {
    for (uid, _) in &pods {
        trial.remove_pod(uid);
    }
    pods.sort_by_key(|(uid, placed)| (placed.rank.order(), *uid));
    let violated = guards.violated(pods.iter().map(|(uid, _)| *uid));
    let mut victims = Vec::new();
    if fits(trial, candidate, node) {
        let (guarded, free): (Vec<_>, Vec<_>) = pods.iter().zip(violated).partition(|(_, violated)| *violated);
        for ((uid, placed), violated) in guarded.into_iter().chain(free) {
            trial.place(uid, (*placed).clone());
            if !fits(trial, candidate, node) {
                trial.remove_pod(uid);
                victims.push((*uid, *placed, violated));
            }
        }
    }
    for (uid, placed) in &pods {
        trial.place(uid, (*placed).clone());
    }
    let highest = victims.iter().map(|(_, placed, _)| placed.rank.priority).max()?;
    let of_highest = victims.iter().filter(|(_, placed, _)| placed.rank.priority == highest);
    let cost = (
        victims.iter().filter(|(.., violated)| *violated).count(),
        highest,
        // Negative priorities must not make more victims cheaper.
        victims.iter().map(|(_, placed, _)| i64::from(placed.rank.priority) - i64::from(i32::MIN)).sum(),
        victims.len(),
        Reverse(of_highest.map(|(_, placed, _)| placed.rank.since).min().unwrap_or(i64::MAX)),
    );
    Some((cost, victims.into_iter().map(|(uid, placed, _)| victim(uid, placed)).collect()))
}

fn fits(cluster: &Cluster, candidate: &Candidate, name: &str) -> bool {
    let refusal = |node| -> Option<Refusal> {
        let full = cluster.with_nominated(candidate, name, node);
        let first = refusals(candidate, name, full.as_ref().unwrap_or(node)).into_iter().next();
        first.or_else(|| Surroundings::of(cluster, candidate).refusal(node))
    };
    let has_volumes = |node| Needs::of(cluster, candidate).is_ok_and(|needs| needs.on_node(name, node).is_ok());
    cluster.node(name).is_some_and(|node| refusal(node).is_none() && has_volumes(node))
}

fn victim(uid: &str, placed: &Placed) -> Victim {
    Victim { namespace: placed.face.namespace.clone(), name: placed.name.clone(), uid: uid.to_owned() }
}

#[cfg(test)]
mod tests;
