//! Which pods go first when there are too many.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::object::{annotation, created, name, since};
use crate::pods::{is_ready, node, phase, ready_since};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What pods are compared by, the first to go being the smallest: not bound before bound, pending before running, not
/// ready before ready, cheap before dear, crowded nodes first, ready for a short time (by orders of magnitude) before
/// long, often restarted first, young before old.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    bound: bool,
    phase: u8,
    ready: bool,
    cost: i64,
    neighbours: Reverse<usize>,
    ready_magnitude: Option<u32>,
    restarts: Reverse<i32>,
    age_magnitude: u32,
    name: &'a str,
}

/// That many of the pods, the most dispensable ones.
pub(super) fn victims<'a>(pods: &[&'a Arc<Pod>], count: usize, now: Timestamp) -> Vec<&'a Arc<Pod>> {
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for pod in pods {
        *crowd.entry(node(pod).unwrap_or_default()).or_default() += 1;
    }
    let mut ranked: Vec<(Rank<'_>, &'a Arc<Pod>)> = pods.iter().map(|pod| (rank(pod, &crowd, now), *pod)).collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    ranked.into_iter().take(count).map(|(_, pod)| pod).collect()
}

fn rank<'a>(pod: &'a Pod, crowd: &HashMap<&str, usize>, now: Timestamp) -> Rank<'a> {
    let restarts = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref())
        .into_iter()
        .flatten()
        .map(|container| container.restart_count)
        .max();
    Rank {
        bound: node(pod).is_some(),
        phase: match phase(pod) {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        },
        ready: is_ready(pod),
        cost: annotation(&pod.metadata, DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
        neighbours: Reverse(crowd.get(node(pod).unwrap_or_default()).copied().unwrap_or(0)),
        ready_magnitude: ready_since(pod).map(|start| magnitude(start, now)),
        restarts: Reverse(restarts.unwrap_or(0)),
        age_magnitude: magnitude(created(&pod.metadata), now),
        name: name(&pod.metadata),
    }
}

/// Times are compared by their order of magnitude, so that it is not always the same young pods that go.
fn magnitude(start: Timestamp, now: Timestamp) -> u32 {
    since(now, start).as_secs().checked_ilog2().map_or(0, |log| log + 1)
}
