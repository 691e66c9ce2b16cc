//! What is to be looked at next: each key once, never while it is being worked on, later after failures.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::figures::Figures;

const FIRST_BACK_OFF: Duration = Duration::from_millis(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// What is counted together.
pub(super) trait Named {
    /// The name of the controller whose look it is.
    fn name(&self) -> &'static str;
}

/// The keys that want a look. Pure: the time is an argument.
#[derive(Debug)]
pub(super) struct WorkQueue<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    /// Being worked on; true when it is wanted again as soon as that is done.
    busy: HashMap<K, bool>,
    timed: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
    figures: Arc<Figures>,
}

impl<K: Clone + Eq + Hash + Ord + Named> WorkQueue<K> {
    pub(super) fn new(figures: Arc<Figures>) -> Self {
        figures.begin();
        Self {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            busy: HashMap::new(),
            timed: BTreeSet::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            figures,
        }
    }

    /// Wants a look now.
    pub(super) fn add(&mut self, key: K) {
        if let Some(again) = self.busy.get_mut(&key) {
            *again = true;
        } else if self.queued.insert(key.clone()) {
            self.unschedule(&key);
            self.figures.added(key.name());
            self.ready.push_back(key);
        }
    }

    /// Wants a look at that time; an earlier one that is wanted already stands.
    pub(super) fn add_at(&mut self, key: K, at: Instant) {
        if self.queued.contains(&key) {
            return;
        }
        match self.due.get(&key) {
            Some(due) if *due <= at => return,
            Some(_) => self.unschedule(&key),
            None => {}
        }
        self.due.insert(key.clone(), at);
        self.timed.insert((at, key));
    }

    /// The next key; it is busy until [`WorkQueue::done`].
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        while self.timed.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.timed.pop_first() else { break };
            self.due.remove(&key);
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.figures.taken(key.name());
        self.busy.insert(key.clone(), false);
        Some(key)
    }

    /// The work on a popped key is over.
    pub(super) fn done(&mut self, key: &K) {
        self.failures.remove(key);
        if self.busy.remove(key) == Some(true) {
            self.add(key.clone());
        }
    }

    /// The work on a popped key failed: it is looked at again after a while that doubles with each failure in a row.
    pub(super) fn failed(&mut self, key: &K, now: Instant) {
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = FIRST_BACK_OFF.saturating_mul(1 << (*failures).min(20)).min(LONGEST_BACK_OFF);
        *failures = failures.saturating_add(1);
        self.busy.remove(key);
        self.figures.retried(key.name());
        // A change that wants it meanwhile has it at once: what failed may not fail any more.
        self.add_at(key.clone(), now + wait);
    }

    /// Forgets a key that will not come again.
    pub(super) fn forget(&mut self, key: &K) {
        self.unschedule(key);
        self.failures.remove(key);
    }

    /// When [`WorkQueue::pop`] has something that it has not now.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.timed.first().map(|(at, _)| *at)
    }

    fn unschedule(&mut self, key: &K) {
        if let Some(at) = self.due.remove(key) {
            self.timed.remove(&(at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Named for &str {
        fn name(&self) -> &'static str {
            "tests"
        }
    }

    fn ms(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_key_is_out_once_and_comes_again_when_it_was_wanted_meanwhile() {
        let now = Instant::now();
        let mut queue = WorkQueue::new(Arc::default());
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.pop(now), Some("a"));
        assert_eq!(queue.pop(now), Some("b"));
        queue.add("a");
        assert_eq!(queue.pop(now), None, "it is being worked on");
        queue.done(&"a");
        queue.done(&"b");
        assert_eq!(queue.pop(now), Some("a"));
        queue.done(&"a");
        assert_eq!(queue.pop(now), None);
    }

    #[test]
    fn the_earliest_of_the_wanted_times_counts() {
        let now = Instant::now();
        let mut queue = WorkQueue::new(Arc::default());
        queue.add_at("a", ms(now, 50));
        queue.add_at("a", ms(now, 20));
        queue.add_at("a", ms(now, 70));
        assert_eq!(queue.next_wake(), Some(ms(now, 20)));
        assert_eq!(queue.pop(ms(now, 19)), None);
        assert_eq!(queue.pop(ms(now, 20)), Some("a"));
        queue.done(&"a");
        assert_eq!(queue.pop(ms(now, 1000)), None);
    }

    #[test]
    fn failures_wait_twice_as_long_each_time_and_success_forgets_them() {
        let mut now = Instant::now();
        let mut queue = WorkQueue::new(Arc::default());
        queue.add("a");
        for wait in [5, 10, 20, 40] {
            assert_eq!(queue.pop(now), Some("a"));
            queue.failed(&"a", now);
            assert_eq!(queue.pop(ms(now, wait - 1)), None);
            now = ms(now, wait);
        }
        assert_eq!(queue.pop(now), Some("a"));
        queue.done(&"a");
        queue.add("a");
        queue.pop(now);
        queue.failed(&"a", now);
        assert_eq!(queue.next_wake(), Some(ms(now, 5)));
    }

    #[test]
    fn the_longest_wait_is_half_a_minute() {
        let now = Instant::now();
        let mut queue = WorkQueue::new(Arc::default());
        for _ in 0..100 {
            queue.add("a");
            queue.pop(now);
            queue.failed(&"a", now);
            queue.unschedule(&"a");
        }
        queue.add("a");
        queue.pop(now);
        queue.failed(&"a", now);
        assert_eq!(queue.next_wake(), Some(now + LONGEST_BACK_OFF));
    }
}
