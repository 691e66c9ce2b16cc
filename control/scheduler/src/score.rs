//! Which of the nodes that can take a pod is the best.

use crate::affinity::{Labelled, preference, tolerates};
use crate::candidate::Candidate;
use crate::cluster::{Cluster, NodeState};
use crate::liking::Liking;

/// The best mark of each criterion.
const TOP: i64 = 100;
/// Spreading weighs more than room: replicas are there to survive a node.
const SPREAD_WEIGHT: i64 = 3;
const PREFERENCE_WEIGHT: i64 = 2;
const TAINT_WEIGHT: i64 = 3;
const PULL_WEIGHT: i64 = 2;

/// The marks of one node before those that depend on the others are known.
struct Marks {
    room: i64,
    crowd: i64,
    preferred: i64,
    disliked: i64,
    pull: i64,
}

/// The total mark of each node, in the order given.
pub(crate) fn scores(cluster: &Cluster, candidate: &Candidate, nodes: &[(&str, &NodeState)]) -> Vec<i64> {
    let liking = Liking::of(cluster, candidate, nodes);
    let marks: Vec<Marks> = nodes.iter().map(|(name, node)| mark(candidate, &liking, name, node)).collect();
    let most = |value: fn(&Marks) -> i64| marks.iter().map(value).max().unwrap_or(0).max(1);
    let (crowded, preferred, disliked) = (most(|m| m.crowd), most(|m| m.preferred), most(|m| m.disliked));
    let least_pull = marks.iter().map(|m| m.pull).min().unwrap_or(0);
    let pulls = marks.iter().map(|m| m.pull.saturating_sub(least_pull)).max().unwrap_or(0).max(1);
    marks
        .iter()
        .map(|m| {
            m.room
                + SPREAD_WEIGHT * share(crowded - m.crowd, crowded)
                + PREFERENCE_WEIGHT * share(m.preferred, preferred)
                + TAINT_WEIGHT * share(disliked - m.disliked, disliked)
                + PULL_WEIGHT * share(m.pull.saturating_sub(least_pull), pulls)
        })
        .collect()
}

/// A part of the whole, of the best mark.
fn share(part: i64, whole: i64) -> i64 {
    (i128::from(TOP) * i128::from(part) / i128::from(whole)) as i64
}

fn mark(candidate: &Candidate, liking: &Liking<'_>, name: &str, node: &NodeState) -> Marks {
    let spec = candidate.pod.spec.as_ref();
    let tolerations = spec.and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    let disliked = node
        .taints
        .iter()
        .filter(|taint| taint.effect == "PreferNoSchedule")
        .filter(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
        .count();
    let labelled = Labelled { name, labels: &node.labels };
    Marks {
        room: room(candidate, node),
        crowd: liking.crowd(node),
        preferred: spec.map_or(0, |spec| preference(spec, &labelled)),
        disliked: i64::try_from(disliked).unwrap_or(i64::MAX),
        pull: liking.pull(node),
    }
}

/// How much of the node would be left, averaged over processor and memory.
fn room(candidate: &Candidate, node: &NodeState) -> i64 {
    let left = |want: i64, used: i64, have: i64| {
        let free = have.saturating_sub(used).saturating_sub(want).max(0);
        if have <= 0 { 0 } else { (i128::from(free) * i128::from(TOP) / i128::from(have)) as i64 }
    };
    let (want, used, have) = (&candidate.estimated, &node.estimated, &node.allocatable);
    (left(want.milli_cpu, used.milli_cpu, have.milli_cpu) + left(want.memory, used.memory, have.memory)) / 2
}
