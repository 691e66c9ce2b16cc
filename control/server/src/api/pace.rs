//! How often watchers are looked after when much happens to much that many watch.
//!
//! To wake a watcher costs more than to tell it one event more: a frame, a record of TLS, a write to its socket. Where each
//! of a thousand were woken at each event, that would be all that the server does. So what they cost is counted, and when it
//! comes to more than the machine has time for, each watcher rests for as long as the others take, and gets together what came
//! meanwhile. While little happens, everybody is told everything at once.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What a watcher with a connection of its own costs to be told something, of one processor's time, with as much again for who
/// writes.
pub(super) const ALONE: Duration = Duration::from_micros(24);
/// The same where many share a connection: what is written to it for all of them goes out together.
pub(super) const SHARING: Duration = Duration::from_micros(6);
/// Shorter rests save nothing: who rests is woken once more, while others are still being told.
const SHORTEST: Duration = Duration::from_millis(2);
/// No watcher waits longer than this for events that are there.
pub(super) const LONGEST: Duration = Duration::from_millis(100);

/// Counts what is spent on watchers.
pub(crate) struct Pace {
    began: Instant,
    processors: u32,
    /// When all that was spent is earned, in nanoseconds from the beginning.
    even: AtomicU64,
}

impl Pace {
    /// For a machine with so many processors.
    pub(crate) fn new(processors: NonZero<usize>) -> Self {
        let processors = u32::try_from(processors.get()).unwrap_or(u32::MAX);
        Self { began: Instant::now(), processors, even: AtomicU64::new(0) }
    }

    /// For how long a watcher that was told something now, which cost so much, rests before it is looked after again.
    pub(super) fn rest(&self, now: Instant, cost: Duration) -> Duration {
        let now = nanos(now.saturating_duration_since(self.began));
        let next = |even| Some(spent(even, now, nanos(cost / self.processors)));
        let before = self.even.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(now);
        let ahead = Duration::from_nanos(before.saturating_sub(now));
        if ahead < SHORTEST { Duration::ZERO } else { ahead }
    }
}

/// When all is earned that was to be earned by `even`, and `cost` besides.
fn spent(even: u64, now: u64, cost: u64) -> u64 {
    (even.max(now) + cost).min(now + nanos(LONGEST))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest, in microseconds, after so many others were told something in a time.
    fn rest(processors: usize, cost: Duration, told: u32, within: Duration) -> u128 {
        let pace = Pace::new(NonZero::new(processors).expect("some"));
        let begun = Instant::now();
        for number in 0..told {
            pace.rest(begun + within * number / told, cost);
        }
        pace.rest(begun + within, cost).as_micros()
    }

    #[test]
    fn nobody_rests_while_there_is_time_and_everybody_when_there_is_not() {
        let (at_once, second) = (Duration::ZERO, Duration::from_secs(1));
        let check = |processors: usize, told: u32, within: Duration, expected: std::ops::RangeInclusive<u128>| {
            let rest = rest(processors, ALONE, told, within);
            assert!(expected.contains(&rest), "{told} in {within:?} on {processors}: {rest} µs");
        };
        check(2, 0, at_once, 0..=0);
        check(2, 40, at_once, 0..=0);
        check(2, 100, at_once, 0..=0);
        check(2, 200, at_once, 2_200..=2_500);
        check(2, 1_000, at_once, 11_000..=12_100);
        check(8, 1_000, at_once, 2_500..=3_100);
        check(2, 1_000_000, at_once, 99_000..=100_000);
        check(2, 80_000, second, 0..=0);
        check(2, 200_000, second, 99_000..=100_000);
        check(2, 1_000, Duration::from_millis(8), 3_000..=4_100);
        assert!((2_900..=3_010).contains(&rest(2, SHARING, 1_000, at_once)));
    }
}
