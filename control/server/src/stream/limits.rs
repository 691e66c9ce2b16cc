//! How long streams may last.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How long nothing may go over a stream in either direction, as kubelet's `streamingConnectionIdleTimeout`.
pub(crate) const IDLE: Duration = Duration::from_secs(4 * 3600);
/// How long a client may take to read what is left, once all was sent, and to close its side.
pub(crate) const FINISH: Duration = Duration::from_secs(5 * 60);
/// How long a connection may take to become streams once that was answered.
pub(crate) const SWITCH: Duration = Duration::from_secs(10);
/// How often a client is sent a sign of life.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(30);

/// When something last went over a stream.
pub(crate) struct Idle(Mutex<Instant>);

impl Idle {
    /// Counts from now.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Something went over the stream.
    pub(crate) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns once nothing went over the stream for that long.
    pub(crate) async fn over(&self, limit: Duration) {
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let left = limit.saturating_sub(last.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_over_when_nothing_went_over_it_for_long() {
        let idle = Idle::new();
        let limit = Duration::from_millis(30);
        let began = Instant::now();
        idle.touch();
        idle.over(limit).await;
        assert!(began.elapsed() >= limit);
        idle.touch();
        assert!(tokio::time::timeout(limit / 3, idle.over(limit * 100)).await.is_err(), "not yet");
    }
}
