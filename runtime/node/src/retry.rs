//! Pauses between attempts: doubling, with jitter, so that many nodes do not come back at once.

use std::time::Duration;

/// The pauses of one thing that is tried again and again.
#[derive(Debug)]
pub(crate) struct Retry {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Retry {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    /// It worked: the next pause is short again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// The pause to make now: half of it to the whole.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(self.limit);
        pause
    }
}
