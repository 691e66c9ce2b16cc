//! How often watchers are looked after when much happens to much that many watch.
//!
//! To wake a watcher costs more than to tell it one event more: a frame, a record of TLS, a write to its socket. Where each
//! of a thousand were woken at each event, that would be all that the server does. So what they cost is counted, and when it
//! comes to more than the machine has time for, each watcher rests for as long as the others take, and gets together what came
//! meanwhile. While little happens, everybody is told everything at once.
//!
//! All watches of one connection rest until the same moment, so that what they are told goes out together.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What a watcher with a connection of its own costs to be told something, of one processor's time, with as much again for who
/// writes.
pub(super) const ALONE: Duration = Duration::from_micros(24);
/// The same where many share a connection: what is written to it for all of them goes out together.
pub(super) const SHARING: Duration = Duration::from_micros(6);
/// Who is told much at a time costs this at least: there is the more to send, and the more is saved by sending it together.
pub(super) const BUSY: Duration = Duration::from_micros(22);
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

    /// Until when a watcher that was told something now, which cost so much, rests before it is looked after again; `None` when
    /// it need not.
    pub(super) fn rest(&self, now: Instant, cost: Duration, together: &Together) -> Option<Instant> {
        let since = nanos(now.saturating_duration_since(self.began));
        let ahead = self.ahead(since, cost);
        let until = match together.resting(since) {
            Some(until) => until,
            None if ahead < SHORTEST => return None,
            None => together.rest(since + nanos(ahead)),
        };
        Some(self.began + Duration::from_nanos(until))
    }

    /// How far what was spent before is ahead of what is earned by now, as so much more is spent.
    fn ahead(&self, now: u64, cost: Duration) -> Duration {
        let next = |even| Some(spent(even, now, nanos(cost / self.processors)));
        let before = self.even.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(now);
        Duration::from_nanos(before.saturating_sub(now))
    }
}

/// When the watches of one connection look again that rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Together(Arc<AtomicU64>);

impl Together {
    /// Until when others of the connection rest.
    fn resting(&self, now: u64) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|until| *until > now)
    }

    fn rest(&self, until: u64) -> u64 {
        self.0.store(until, Ordering::Relaxed);
        until
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

    /// How far the spending is ahead, in microseconds, after so many were told something in a time.
    fn ahead(processors: usize, cost: Duration, told: u64, within: Duration) -> u128 {
        let pace = Pace::new(NonZero::new(processors).expect("some"));
        for number in 0..told {
            pace.ahead(nanos(within) * number / told, cost);
        }
        pace.ahead(nanos(within), cost).as_micros()
    }

    #[test]
    fn the_more_are_told_the_longer_they_rest_and_not_at_all_while_there_is_time() {
        let (at_once, second) = (Duration::ZERO, Duration::from_secs(1));
        let check = |processors: usize, told: u64, within: Duration, expected: std::ops::RangeInclusive<u128>| {
            let ahead = ahead(processors, ALONE, told, within);
            assert!(expected.contains(&ahead), "{told} in {within:?} on {processors}: {ahead} µs");
        };
        check(2, 0, at_once, 0..=0);
        check(2, 40, at_once, 480..=480);
        check(2, 200, at_once, 2_400..=2_400);
        check(2, 1_000, at_once, 12_000..=12_000);
        check(8, 1_000, at_once, 3_000..=3_000);
        check(2, 1_000_000, at_once, 100_000..=100_000);
        check(2, 80_000, second, 0..=20);
        check(2, 200_000, second, 99_000..=100_000);
        check(2, 1_000, Duration::from_millis(8), 4_000..=4_020);
        assert_eq!(ahead(2, SHARING, 1_000, at_once), 3_000);
    }

    #[test]
    fn nobody_rests_for_less_than_is_worth_it() {
        let pace = Pace::new(NonZero::new(2).expect("some"));
        let now = Instant::now();
        let rests: Vec<_> = (0..400).map(|_| pace.rest(now, ALONE, &Together::default())).collect();
        let first = rests.iter().position(Option::is_some).expect("some rest");
        assert!((150..=170).contains(&first), "{first}");
        assert!(rests[first..].iter().all(|until| until.is_some_and(|until| until >= now + SHORTEST)));
        assert!(rests[first..].is_sorted());
    }

    #[test]
    fn watches_of_one_connection_rest_until_the_same_moment() {
        let pace = Pace::new(NonZero::new(2).expect("some"));
        let now = Instant::now();
        for _ in 0..200 {
            let _ = pace.rest(now, ALONE, &Together::default());
        }
        let (mine, theirs) = (Together::default(), Together::default());
        let first = pace.rest(now, SHARING, &mine).expect("a rest");
        assert!((0..50).all(|_| pace.rest(now, SHARING, &mine.clone()) == Some(first)));
        let other = pace.rest(now, SHARING, &theirs).expect("a rest");
        assert!(other > first, "others take their turn behind them");
        assert_eq!(pace.rest(first - Duration::from_nanos(1), SHARING, &mine), Some(first));
        assert!(pace.rest(other, SHARING, &mine).is_none_or(|until| until > other), "what is over is over");
    }
}
