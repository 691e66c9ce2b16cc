//! Whether so many nodes are silent at once that the fault is more likely on this side, and pods are left where they are.
//!
//! The thresholds are those of kube-controller-manager for one zone. Where that evicts slowly in a cluster of more than
//! fifty nodes, this stops too.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;

use super::{Life, condition, life};
use crate::ports::Timing;

/// That many nodes may be gone without a question, in a cluster of any size.
const FEW: usize = 2;
/// Above [`FEW`], the share of nodes that may not be gone, in hundredths.
const TOO_MANY_PERCENT: usize = 55;

/// How the nodes are, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Normal,
    /// Most nodes are gone.
    Partial,
    /// No node is ready.
    Full,
}

/// The state of a cluster with that many nodes.
pub fn state(ready: usize, not_ready: usize) -> State {
    let too_many = not_ready * 100 >= (ready + not_ready) * TOO_MANY_PERCENT;
    match (ready, not_ready) {
        (0, 1..) => State::Full,
        (_, gone) if gone > FEW && too_many => State::Partial,
        _ => State::Normal,
    }
}

/// Whether a node counts as ready: it says so, and its connection is not long gone.
pub fn is_ready(node: &Node, last_seen: Option<Duration>, started: Timestamp, timing: &Timing, now: Timestamp) -> bool {
    condition(node, "Ready").is_some_and(|ready| ready.status == "True")
        && life(node, last_seen, started, timing, now) != Life::Dead
}

/// What is remembered of disruptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disruption {
    /// How the nodes were when last looked at.
    pub state: State,
    /// How many were ready then.
    pub ready: usize,
    /// When the last one ended: silence before that is held against no node.
    pub resumed: Option<Timestamp>,
}

impl Disruption {
    /// Takes in how many nodes are ready. True when a disruption has ended just now.
    pub fn observe(&mut self, ready: usize, not_ready: usize, now: Timestamp) -> bool {
        self.ready = ready;
        let before = std::mem::replace(&mut self.state, state(ready, not_ready));
        let ended = before != State::Normal && self.state == State::Normal;
        if ended {
            self.resumed = Some(now);
        }
        ended
    }

    /// What holds for the pods of a node whose connection lived `last_seen` ago.
    pub fn evictions(&self, last_seen: Option<Duration>, started: Timestamp, timing: &Timing) -> Evictions {
        if self.state != State::Normal {
            return Evictions::Stopped;
        }
        let patience = if last_seen.is_some() { timing.node_grace } else { timing.node_first_contact };
        let again = self.resumed.map(|resumed| resumed.saturating_add(patience).unwrap_or(Timestamp::MAX));
        Evictions::Since(again.map_or(started, |again| again.max(started)))
    }
}

/// Whether pods are driven from nodes that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evictions {
    Stopped,
    /// Time before that is held against no pod.
    Since(Timestamp),
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_cluster_is_disrupted_when_no_node_or_less_than_half_of_many_are_ready() {
        let check = |ready, not_ready, expected| assert_eq!(state(ready, not_ready), expected, "{ready} {not_ready}");
        check(0, 0, State::Normal);
        check(0, 1, State::Full);
        check(0, 3, State::Full);
        check(1, 1, State::Normal);
        check(1, 2, State::Normal);
        check(1, 3, State::Partial);
        check(2, 3, State::Partial);
        check(3, 3, State::Normal);
        check(45, 55, State::Partial);
        check(46, 54, State::Normal);
    }

    #[test]
    fn after_a_disruption_every_node_gets_its_time_again() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let after = |seconds| start + SignedDuration::from_secs(seconds);
        let timing = Timing::default();
        let (seen, unseen) = (Some(Duration::from_secs(100)), None);
        let mut disruption = Disruption::default();
        assert!(!disruption.observe(2, 1, start));
        assert_eq!(disruption.evictions(seen, start, &timing), Evictions::Since(start));
        assert!(!disruption.observe(0, 3, after(10)));
        assert_eq!(disruption.evictions(seen, start, &timing), Evictions::Stopped);
        assert!(disruption.observe(1, 2, after(100)));
        assert!(!disruption.observe(1, 2, after(101)));
        assert_eq!(disruption.evictions(seen, start, &timing), Evictions::Since(after(106)));
        assert_eq!(disruption.evictions(unseen, start, &timing), Evictions::Since(after(120)));
    }
}
