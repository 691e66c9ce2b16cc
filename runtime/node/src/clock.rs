//! The machine's instants.

use std::time::Duration;

use jiff::Timestamp;
use pal_lifecycle::Now;
use tokio::time::Instant;

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
        self.0 + mono
    }
}
