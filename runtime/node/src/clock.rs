//! The machine's instants.

use std::time::Duration;

use jiff::Timestamp;
use pal_lifecycle::Now;
use tokio::time::Instant;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Both clocks, the monotonic one counted from the agent's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: Timestamp::now(), mono: self.0.elapsed() }
    }

    /// The moment at which [`Now::mono`] is that.
    pub(crate) fn instant(&self, mono: Duration) -> Instant {
        // What no clock will ever show is as good as a year from now: whoever waits for it looks again.
        self.0.checked_add(mono).unwrap_or_else(|| Instant::now() + YEAR)
    }
}
