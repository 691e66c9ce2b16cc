//! From one template to the next, node by node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::fit::Fit;
use super::{Look, Place};
use crate::deployment::budget::{Rounding, scaled};
use crate::members::count;
use crate::pods::{Availability, availability, is_active};

/// Nodes that get one more pod, and pods that go.
#[derive(Default)]
pub(super) struct Step<'a> {
    pub(super) nodes: Vec<&'a str>,
    pub(super) pods: Vec<&'a Arc<Pod>>,
}

/// The pods of one node, by their template.
struct Pair<'a> {
    node: &'a str,
    /// Whether the next pod belongs there, too.
    runs: bool,
    new: Option<&'a Arc<Pod>>,
    old: Option<&'a Arc<Pod>>,
}

impl<'a> Look<'a> {
    /// The next step of a rollout. No more nodes are without an available pod than may be: old pods that are not available
    /// go at once, the others as far as that allows. With a surge the new pod comes first.
    pub(super) fn update(&self) -> Step<'a> {
        let strategy = self.spec.update_strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return Step::default();
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let desired = self.places.iter().filter(|place| place.fit == Fit::Runs).count();
        let concerned = |place: &&Place<'a>| match place.fit {
            Fit::Runs => true,
            // Nothing new comes there, and what is old goes.
            Fit::Stays => !place.pods.is_empty(),
            Fit::Never => false,
        };
        let pairs: Vec<Pair<'a>> = self.places.iter().filter(concerned).map(|place| self.pair(place)).collect();
        let of_nodes = |value: &Option<IntOrString>, default: i32| {
            let value = value.clone().unwrap_or(IntOrString::Int(default));
            usize::try_from(scaled(&value, count(desired), Rounding::Up)).unwrap_or(0)
        };
        let surge = of_nodes(&rolling.max_surge, 0);
        let unavailable = if surge > 0 { 0 } else { of_nodes(&rolling.max_unavailable, 1).max(1) };
        if surge > 0 { self.surge(&pairs, surge, desired) } else { self.replace(&pairs, unavailable) }
    }

    fn pair(&self, place: &Place<'a>) -> Pair<'a> {
        let find = |new: bool| place.pods.iter().copied().find(|pod| is_active(pod) && self.is_new(pod) == new);
        Pair { node: place.node, runs: place.fit == Fit::Runs, new: find(true), old: find(false) }
    }

    fn replace(&self, pairs: &[Pair<'a>], most: usize) -> Step<'a> {
        let mut pods = Vec::new();
        let mut candidates = Vec::new();
        let mut without = 0;
        for pair in pairs {
            match (pair.new, pair.old) {
                (Some(new), None) => without += usize::from(!self.is_available(new)),
                (None, Some(old)) if self.is_available(old) => candidates.push(old),
                (None, Some(old)) => {
                    without += 1;
                    pods.push(old);
                }
                (None, None) => without += 1,
                // Both only come of a surge that is no longer wanted.
                (Some(_), Some(old)) => pods.push(old),
            }
        }
        pods.extend(candidates.into_iter().take(most.saturating_sub(without)));
        Step { nodes: Vec::new(), pods }
    }

    fn surge(&self, pairs: &[Pair<'a>], most: usize, desired: usize) -> Step<'a> {
        let mut step = Step::default();
        let (mut candidates, mut misplaced) = (Vec::new(), Vec::new());
        let (mut surging, mut available) = (0, 0);
        for pair in pairs {
            available += usize::from(pair.old.or(pair.new).is_some_and(|pod| self.is_available(pod)));
            match (pair.new, pair.old) {
                (Some(new), Some(old)) if self.is_available(new) => step.pods.push(old),
                (Some(_), Some(_)) => surging += 1,
                (None, Some(old)) => match (self.is_available(old), pair.runs) {
                    (true, true) => candidates.push(pair.node),
                    (false, true) => step.nodes.push(pair.node),
                    (true, false) => misplaced.push(old),
                    (false, false) => step.pods.push(old),
                },
                (_, None) => {}
            }
        }
        step.nodes.extend(candidates.into_iter().take(most.saturating_sub(surging)));
        // Whoever asks for a surge wants as many available as ever: what goes without a successor waits for others' pods.
        step.pods.extend(misplaced.into_iter().take(available.saturating_sub(desired)));
        step
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        availability(pod, min_ready, self.now) == Availability::Available
    }
}
