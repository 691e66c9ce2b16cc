//! Which pod is placed next, and how long one that could not be placed waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);
/// Pods that fit nowhere are tried again after this long even when nothing seems to have changed.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Why an attempt did not place the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It fits nowhere: worth another try once the cluster changes.
    Unschedulable,
    /// Something went wrong on the way: worth another try after the back-off.
    Error,
    /// Others are at work for it: worth another try as soon as the cluster changes, without a back-off, and after it
    /// anyway.
    Held,
}

#[derive(Clone, Debug)]
enum State {
    Active(Rank),
    /// Popped; no word yet on what became of it.
    Attempted,
    /// Tried again at that time.
    BackOff(Instant),
    /// Tried again when the cluster changes, though not before the first time, and at the second in any case.
    Waiting {
        not_before: Instant,
        until: Instant,
    },
}

/// Higher priorities first, then who came first.
type Rank = (std::cmp::Reverse<i32>, u64);

#[derive(Clone, Debug)]
struct Item {
    state: State,
    priority: i32,
    attempts: u32,
}

/// How many pods wait for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLengths {
    /// Nothing but their turn.
    pub active: usize,
    /// The end of their back-off.
    pub backoff: usize,
    /// A change of the cluster.
    pub waiting: usize,
}

/// The pods that wait for a node, by key.
#[derive(Clone, Debug)]
pub struct Queue<K> {
    items: HashMap<K, Item>,
    active: BTreeMap<Rank, K>,
    timed: BTreeSet<(Instant, K)>,
    waiting: usize,
    next: u64,
}

impl<K: Clone + Eq + Hash + Ord> Default for Queue<K> {
    fn default() -> Self {
        Self { items: HashMap::new(), active: BTreeMap::new(), timed: BTreeSet::new(), waiting: 0, next: 0 }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pods are known here, in whatever state.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// How many pods wait for what.
    pub fn lengths(&self) -> QueueLengths {
        let timed = self.timed.len();
        QueueLengths { active: self.active.len(), backoff: timed.saturating_sub(self.waiting), waiting: self.waiting }
    }

    /// Whether no pod waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// A pod wants a node. Nothing changes for one that is known already.
    pub fn add(&mut self, key: K, priority: i32) {
        if self.items.contains_key(&key) {
            return;
        }
        let state = State::Active(self.activate(key.clone(), priority));
        self.items.insert(key, Item { state, priority, attempts: 0 });
    }

    /// A pod was bound or went away.
    pub fn remove(&mut self, key: &K) {
        if let Some(item) = self.items.remove(key) {
            self.unlink(key, &item.state);
        }
    }

    /// The pod to place now; what became of it is told by [`Queue::remove`] or [`Queue::failed`].
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        self.wake(now);
        let (_, key) = self.active.pop_first()?;
        if let Some(item) = self.items.get_mut(&key) {
            item.state = State::Attempted;
            item.attempts = item.attempts.saturating_add(1);
        }
        Some(key)
    }

    /// The attempt at a popped pod failed.
    pub fn failed(&mut self, key: &K, failure: Failure, now: Instant) {
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        if !matches!(item.state, State::Attempted) {
            return;
        }
        let doubled = FIRST_BACK_OFF.saturating_mul(1 << item.attempts.saturating_sub(1).min(8));
        let not_before = now + doubled.min(LONGEST_BACK_OFF);
        item.state = match failure {
            Failure::Error => {
                self.timed.insert((not_before, key.clone()));
                State::BackOff(not_before)
            }
            Failure::Unschedulable | Failure::Held => {
                let (not_before, until) = match failure {
                    Failure::Held => (now, not_before),
                    _ => (not_before, now + LONGEST_WAIT),
                };
                self.timed.insert((until, key.clone()));
                self.waiting += 1;
                State::Waiting { not_before, until }
            }
        };
    }

    /// Something changed that may let any pod fit: those that wait for that are tried again, each after its back-off.
    pub fn cluster_changed(&mut self) {
        self.retry(|_| true);
    }

    /// Something changed that helps some of the pods that wait for a change: those are tried again, each after its back-off.
    pub fn retry(&mut self, helps: impl Fn(&K) -> bool) {
        if self.waiting == 0 {
            return;
        }
        for (key, item) in &mut self.items {
            if let State::Waiting { not_before, until } = item.state
                && helps(key)
            {
                self.timed.remove(&(until, key.clone()));
                self.timed.insert((not_before, key.clone()));
                item.state = State::BackOff(not_before);
                self.waiting -= 1;
            }
        }
    }

    /// When [`Queue::pop`] should be asked again; `None` when only a call here can change anything.
    pub fn next_wake(&self) -> Option<Instant> {
        self.timed.first().map(|(at, _)| *at)
    }

    /// Whether a pod could be placed at once.
    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    fn wake(&mut self, now: Instant) {
        while self.timed.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.timed.pop_first() else {
                return;
            };
            let Some(priority) = self.items.get(&key).map(|item| item.priority) else {
                continue;
            };
            let state = State::Active(self.activate(key.clone(), priority));
            if let Some(item) = self.items.get_mut(&key) {
                if matches!(item.state, State::Waiting { .. }) {
                    self.waiting -= 1;
                }
                item.state = state;
            }
        }
    }

    fn activate(&mut self, key: K, priority: i32) -> Rank {
        let rank = (std::cmp::Reverse(priority), self.next);
        self.next += 1;
        self.active.insert(rank, key);
        rank
    }

    fn unlink(&mut self, key: &K, state: &State) {
        match state {
            State::Active(rank) => {
                self.active.remove(rank);
            }
            State::Attempted => {}
            State::BackOff(at) => {
                self.timed.remove(&(*at, key.clone()));
            }
            State::Waiting { until, .. } => {
                self.timed.remove(&(*until, key.clone()));
                self.waiting -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn pods_come_out_by_priority_and_then_in_the_order_in_which_they_came() {
        let now = Instant::now();
        let mut queue = Queue::new();
        for (key, priority) in [("a", 0), ("b", 0), ("c", 10), ("a", 99)] {
            queue.add(key, priority);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(now)).collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[test]
    fn a_failed_attempt_is_repeated_after_a_back_off_that_doubles_up_to_ten_seconds() {
        let mut now = Instant::now();
        let mut queue = Queue::new();
        queue.add("a", 0);
        for expected in [1, 2, 4, 8, 10, 10] {
            assert_eq!(queue.pop(now), Some("a"));
            queue.failed(&"a", Failure::Error, now);
            assert_eq!(queue.next_wake(), Some(after(now, expected)));
            assert_eq!(queue.pop(now), None);
            now = after(now, expected);
        }
    }

    #[test]
    fn a_pod_that_fits_nowhere_waits_for_a_change_of_the_cluster() {
        let now = Instant::now();
        let mut queue = Queue::new();
        queue.add("a", 0);
        queue.pop(now);
        queue.failed(&"a", Failure::Unschedulable, now);
        assert_eq!(queue.lengths(), QueueLengths { waiting: 1, ..QueueLengths::default() });
        assert_eq!(queue.pop(after(now, 299)), None);
        queue.cluster_changed();
        assert_eq!(queue.lengths(), QueueLengths { backoff: 1, ..QueueLengths::default() });
        assert_eq!(queue.pop(now), None, "the back-off holds");
        assert_eq!(queue.pop(after(now, 1)), Some("a"));
    }

    #[test]
    fn a_pod_that_others_are_at_work_for_does_not_back_off() {
        let now = Instant::now();
        let mut queue = Queue::new();
        queue.add("a", 0);
        for _ in 0..3 {
            assert_eq!(queue.pop(now), Some("a"));
            queue.failed(&"a", Failure::Held, now);
            assert_eq!(queue.pop(now), None);
            queue.cluster_changed();
        }
        queue.pop(now);
        queue.failed(&"a", Failure::Held, now);
        assert_eq!(queue.pop(after(now, 10)), Some("a"), "though nothing has changed");
    }

    #[test]
    fn a_change_brings_back_those_that_it_helps() {
        let now = Instant::now();
        let mut queue = Queue::new();
        for key in ["a", "b"] {
            queue.add(key, 0);
            queue.pop(now);
            queue.failed(&key, Failure::Unschedulable, now);
        }
        queue.retry(|key| *key == "b");
        assert_eq!(queue.lengths(), QueueLengths { backoff: 1, waiting: 1, ..QueueLengths::default() });
        assert_eq!((queue.pop(after(now, 10)), queue.pop(after(now, 10))), (Some("b"), None));
    }

    #[test]
    fn a_pod_that_fits_nowhere_is_tried_again_in_the_end_without_a_change() {
        let now = Instant::now();
        let mut queue = Queue::new();
        queue.add("a", 0);
        queue.pop(now);
        queue.failed(&"a", Failure::Unschedulable, now);
        assert_eq!(queue.pop(after(now, 300)), Some("a"));
    }

    #[test]
    fn a_removed_pod_never_comes_out() {
        let now = Instant::now();
        let mut queue = Queue::new();
        for key in ["a", "b", "c"] {
            queue.add(key, 0);
        }
        queue.pop(now);
        queue.failed(&"a", Failure::Error, now);
        queue.pop(now);
        queue.failed(&"b", Failure::Unschedulable, now);
        for key in ["a", "b", "c"] {
            queue.remove(&key);
        }
        queue.cluster_changed();
        assert_eq!(queue.pop(after(now, 1000)), None);
        assert_eq!(queue.next_wake(), None);
        assert!(queue.is_empty());
    }
}
