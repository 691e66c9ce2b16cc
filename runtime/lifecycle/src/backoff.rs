//! How long to wait before trying again.

use std::time::Duration;

/// Delays that double up to a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    /// The delay that comes next.
    next: Duration,
}

impl Backoff {
    /// For containers that end and are restarted: the first restart is immediate, then 10 s doubling to 5 min.
    pub(crate) fn crashes() -> Self {
        Self { first: Duration::from_secs(10), limit: Duration::from_secs(300), next: Duration::ZERO }
    }

    /// As it is after that many crashes, of which nothing else is known any more.
    pub(crate) fn after_crashes(crashes: u32) -> Self {
        let mut backoff = Self::crashes();
        // Later ones are at the limit as well.
        for _ in 0..crashes.min(8) {
            backoff.delay();
        }
        backoff
    }

    /// For images and for what could not be created: 10 s doubling to 5 min.
    pub(crate) fn attempts() -> Self {
        Self { next: Duration::from_secs(10), ..Self::crashes() }
    }

    /// For what may come up soon, as a ConfigMap: 1 s doubling to 10 s.
    pub(crate) fn quick() -> Self {
        let first = Duration::from_secs(1);
        Self { first, limit: Duration::from_secs(10), next: first }
    }

    /// The delay now; the one after it is longer.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (self.next * 2).clamp(self.first, self.limit);
        delay
    }

    /// The delay after a run of that length: a run of 10 minutes or more makes up for earlier crashes.
    pub(crate) fn after_run(&mut self, length: Duration) -> Duration {
        if length >= Duration::from_secs(600) {
            *self = Self::crashes();
        }
        self.delay()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut backoff: Backoff, runs: &[u64], expected: &[u64]) {
        let delays: Vec<u64> = runs.iter().map(|s| backoff.after_run(Duration::from_secs(*s)).as_secs()).collect();
        assert_eq!(delays, expected);
    }

    #[test]
    fn crashes_are_restarted_at_once_then_slower_and_a_long_run_is_forgiven() {
        check(Backoff::crashes(), &[1; 9], &[0, 10, 20, 40, 80, 160, 300, 300, 300]);
        check(Backoff::crashes(), &[1, 1, 1, 600, 1], &[0, 10, 20, 0, 10]);
        check(Backoff::quick(), &[1; 6], &[1, 2, 4, 8, 10, 10]);
        check(Backoff::attempts(), &[1; 3], &[10, 20, 40]);
        check(Backoff::after_crashes(0), &[1; 2], &[0, 10]);
        check(Backoff::after_crashes(4), &[1; 2], &[80, 160]);
        check(Backoff::after_crashes(u32::MAX), &[1; 2], &[300, 300]);
    }
}
