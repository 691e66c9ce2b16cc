//! Waiting awake.
//!
//! A processor without work is put to sleep, and to wake it takes longer than to answer a short request. Whoever asks one thing
//! after another would pay that each time. So where one connection alone is served, and its requests have followed at once, the
//! next is looked for again and again for a moment, while other work of the process goes first.
//!
//! Where others want the processors, who never sleeps waits longest for its turn: then it is slept again for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// So long a request is waited for awake. An answer's way to its asker is most of it.
const AWAKE: Duration = Duration::from_micros(100);
/// Who was waited for asleep may take longer by a processor's waking.
const ASLEEP: Duration = Duration::from_micros(200);

/// Who looks again and again and could not for so long had to leave the processor to others,
const HINDERED: Duration = Duration::from_millis(1);
/// and sleeps so long.
const REST: Duration = Duration::from_secs(1);

/// Which connection was served last.
pub(crate) struct Lately {
    connections: AtomicU64,
    last: AtomicU64,
    /// Whether the other side can run while this one waits awake.
    roomy: bool,
}

/// How a connection waits for its next request.
pub(crate) struct Eager<'a> {
    lately: &'a Lately,
    number: u64,
    /// When it began to wait.
    since: Instant,
    /// Whether it waits awake.
    awake: bool,
    /// When it looked last, since it waits awake.
    looked: Option<Instant>,
    /// Until then it waits asleep.
    sleeps: Option<Instant>,
    /// What the last request says of the next.
    prompt: bool,
}

impl Lately {
    pub fn new() -> Lately {
        let roomy = available_parallelism().is_ok_and(|count| count.get() > 1);
        Lately { connections: AtomicU64::new(0), last: AtomicU64::new(0), roomy }
    }
}

impl Eager<'_> {
    pub fn of(lately: &Lately, now: Instant) -> Eager<'_> {
        let number = lately.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Eager { lately, number, since: now, awake: false, looked: None, sleeps: None, prompt: false }
    }

    /// A request came.
    pub fn came(&mut self, now: Instant) {
        let alone = self.lately.last.swap(self.number, Ordering::Relaxed) == self.number;
        self.notice(now);
        let rested = self.sleeps.is_none_or(|until| now >= until);
        let prompt = is_prompt(now.duration_since(self.since), self.awake);
        self.prompt = self.lately.roomy && alone && rested && prompt;
    }

    /// Everything is answered.
    pub fn rests(&mut self, now: Instant) {
        self.since = now;
        self.awake = self.prompt;
    }

    /// Ends when it is to be looked again whether a request came: never, when that is to be slept for.
    pub async fn look(&mut self, now: Instant) {
        self.notice(now);
        let alone = self.lately.last.load(Ordering::Relaxed) == self.number;
        if self.awake && alone && now.duration_since(self.since) < AWAKE {
            self.looked = Some(now);
            tokio::task::yield_now().await;
        } else {
            std::future::pending().await
        }
    }

    /// Notices whether it was hindered since it looked last.
    fn notice(&mut self, now: Instant) {
        let hindered = self.looked.take().is_some_and(|looked| now.duration_since(looked) > HINDERED);
        if hindered {
            self.sleeps = Some(now + REST);
        }
    }
}

/// Whether a request that came so long after the last answer says that the next will come while it is waited for awake.
fn is_prompt(after: Duration, awake: bool) -> bool {
    after < if awake { AWAKE } else { ASLEEP }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_waited_for_in_vain_must_come_sooner() {
        let check = |micros, awake, expected| {
            assert_eq!(is_prompt(Duration::from_micros(micros), awake), expected, "{micros} us, awake: {awake}");
        };
        check(99, true, true);
        check(100, true, false);
        check(199, false, true);
        check(200, false, false);
    }

    fn lately(roomy: bool) -> Lately {
        Lately { roomy, ..Lately::new() }
    }

    fn asks(eager: &mut Eager<'_>, now: Instant) {
        eager.came(now);
        eager.rests(now);
    }

    async fn looks(eager: &mut Eager<'_>, now: Instant) -> bool {
        // The first poll of one that waits awake lets others go first, and the second ends.
        let mut look = std::pin::pin!(eager.look(now));
        futures::poll!(look.as_mut()).is_ready() || futures::poll!(look.as_mut()).is_ready()
    }

    #[tokio::test]
    async fn one_whose_requests_follow_at_once_is_waited_for_awake_for_a_moment() {
        let (lately, start) = (lately(true), Instant::now());
        let mut eager = Eager::of(&lately, start);
        assert!(!looks(&mut eager, start).await, "nobody has asked");
        asks(&mut eager, start);
        asks(&mut eager, start);
        assert!(looks(&mut eager, start).await);
        let late = start + AWAKE;
        assert!(!looks(&mut eager, late).await, "the moment is over");
        asks(&mut eager, late);
        assert!(!looks(&mut eager, late).await, "it came late");
    }

    #[tokio::test]
    async fn nobody_is_waited_for_awake_beside_others_or_on_a_single_processor() {
        let (lately, single, now) = (lately(true), lately(false), Instant::now());
        let (mut one, mut other) = (Eager::of(&lately, now), Eager::of(&lately, now));
        asks(&mut one, now);
        asks(&mut one, now);
        assert!(looks(&mut one, now).await);
        other.came(now);
        assert!(!looks(&mut one, now).await, "another asked meanwhile");
        asks(&mut one, now);
        assert!(!looks(&mut one, now).await, "another asked since its last request");
        let mut eager = Eager::of(&single, now);
        asks(&mut eager, now);
        asks(&mut eager, now);
        assert!(!looks(&mut eager, now).await);
    }

    #[tokio::test]
    async fn who_could_not_look_for_long_sleeps_for_a_while() {
        let (lately, start) = (lately(true), Instant::now());
        let mut eager = Eager::of(&lately, start);
        asks(&mut eager, start);
        asks(&mut eager, start);
        assert!(looks(&mut eager, start).await);
        let later = start + HINDERED + Duration::from_micros(1);
        asks(&mut eager, later);
        for now in [later, later + REST - Duration::from_micros(1)] {
            asks(&mut eager, now);
            assert!(!looks(&mut eager, now).await, "after {:?}", now - later);
        }
        let rested = later + REST;
        asks(&mut eager, rested);
        asks(&mut eager, rested);
        assert!(looks(&mut eager, rested).await);
    }
}
