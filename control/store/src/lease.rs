//! The leader's lease: until when nobody else can lead, so that it can answer reads without asking anybody.
//!
//! Whoever hears its leader vows not to vote for anybody else, nor to stand itself, for one election timeout of its own
//! clock. A heartbeat carries when it was sent, by the leader's clock, and its answer brings that back. So from the moment at
//! which what a majority answered was sent, the leader knows that for an election timeout nobody else can be elected. It
//! counts on two thirds of that, so that one clock may go half again as fast as another.
//!
//! What could break a vow, and what is done about it:
//! - A server that starts has forgotten what it vowed. It votes for nobody until an election timeout has passed.
//! - A leader that hands over has its successor elected in spite of the vows. Once it has told somebody to stand, it has no
//!   more lease in that term: the word may be long on its way.
//! - A change of the voters might lead to majorities that have nothing in common. Between one change and the next they have
//!   (the joint state sees to that), and while one is under way there is no lease.
//! - A clock that stands still while its server does. The clock here goes on while the process is stopped, and while the
//!   machine sleeps. A hypervisor that stops a machine together with its clocks for longer than the margin, and without
//!   telling it, is not guarded against.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use raft::eraftpb::{ConfState, MessageType};

use crate::config::Timing;

/// How long a vow binds.
pub(crate) fn vow(timing: &Timing) -> Duration {
    timing.tick * u32::try_from(timing.election_ticks).unwrap_or(u32::MAX)
}

/// How long a leader counts on it.
pub(crate) fn trust(timing: &Timing) -> Duration {
    vow(timing) * 2 / 3
}

/// A leader's right to answer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Everything that was ever answered lies at or before this log entry.
    pub index: u64,
    /// When the right ends.
    pub until: Duration,
}

/// What a leader knows of the others' vows, in one term.
#[derive(Debug, Default)]
pub(crate) struct Vows {
    term: u64,
    /// When each of them was sent what it has answered last.
    answered: BTreeMap<u64, Duration>,
    /// Somebody was told to stand.
    given_away: bool,
}

impl Vows {
    /// Those of this term; those of an earlier one count no more.
    pub fn of(&mut self, term: u64) -> &mut Vows {
        if self.term != term {
            *self = Vows { term, ..Vows::default() };
        }
        self
    }

    /// A server has answered what it was sent at this time.
    pub fn answered(&mut self, from: u64, sent: Duration) {
        let last = self.answered.entry(from).or_default();
        *last = sent.max(*last);
    }

    /// Somebody is told to stand.
    pub fn give_away(&mut self) {
        self.given_away = true;
    }

    /// The latest time of which it is known that a majority of the voters, in a joint state one of each of the two sets,
    /// answered what they were sent then or later. This server, `me`, hears itself `now`.
    pub fn since(&self, conf: &ConfState, me: u64, now: Duration) -> Option<Duration> {
        if self.given_away {
            return None;
        }
        let majority = |voters: &[u64]| {
            let answered = |voter: &u64| if *voter == me { Some(now) } else { self.answered.get(voter).copied() };
            let mut times: Vec<Option<Duration>> = voters.iter().map(answered).collect();
            times.sort_unstable_by(|one, other| other.cmp(one));
            times.get(voters.len() / 2).copied().flatten()
        };
        let since = majority(&conf.voters)?;
        if conf.voters_outgoing.is_empty() { Some(since) } else { Some(since.min(majority(&conf.voters_outgoing)?)) }
    }
}

const STAMP_BYTES: usize = 8;

/// A heartbeat's context with the time at which it is sent.
pub(crate) fn stamp(context: &[u8], now: Duration) -> Bytes {
    let mut stamped = BytesMut::with_capacity(context.len() + STAMP_BYTES);
    stamped.extend_from_slice(context);
    stamped.put_u64_le(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    stamped.freeze()
}

/// Takes the time out of what `stamp` made.
pub(crate) fn take_stamp(context: &mut Bytes) -> Option<Duration> {
    let at = context.len().checked_sub(STAMP_BYTES)?;
    let stamp = context.split_off(at);
    Some(Duration::from_nanos(u64::from_le_bytes(stamp[..].try_into().ok()?)))
}

/// Whether a message comes from a leader that is heard by it.
pub(crate) fn is_leaders(kind: MessageType) -> bool {
    matches!(kind, MessageType::MsgHeartbeat | MessageType::MsgAppend)
}

/// Whether a message asks for a vote.
pub(crate) fn asks_for_a_vote(kind: MessageType) -> bool {
    matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
}

/// The clock that leases are counted by. It never goes back, and goes on while the process is stopped and, on Linux, while
/// the machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Duration,
}

impl Clock {
    /// A clock that shows zero now.
    pub fn start() -> Clock {
        Clock { started: read() }
    }

    /// The time since it was started.
    pub fn now(&self) -> Duration {
        read().saturating_sub(self.started)
    }
}

fn read() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    // Neither is ever negative: both count from the machine's start.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u64 = 1;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_majority_of_each_set_of_voters_has_answered_since() {
        fn check(voters: &[u64], outgoing: &[u64], answered: &[(u64, u64)], expected: Option<u64>) {
            let mut vows = Vows::default();
            answered.iter().for_each(|(from, sent)| vows.of(7).answered(*from, ms(*sent)));
            let conf =
                ConfState { voters: voters.to_vec(), voters_outgoing: outgoing.to_vec(), ..ConfState::default() };
            assert_eq!(vows.since(&conf, ME, ms(100)), expected.map(ms), "{voters:?} {outgoing:?} {answered:?}");
        }
        check(&[1], &[], &[], Some(100));
        check(&[1, 2], &[], &[], None);
        check(&[1, 2], &[], &[(2, 30)], Some(30));
        check(&[1, 2, 3], &[], &[(2, 30)], Some(30));
        check(&[3, 2, 1], &[], &[(2, 30), (3, 40), (3, 20)], Some(40));
        check(&[1, 2, 3], &[], &[(9, 90)], None);
        check(&[1, 2, 3, 4], &[], &[(2, 30), (3, 40)], Some(30));
        check(&[1, 2, 3, 4, 5], &[], &[(2, 30), (3, 40)], Some(30));
        check(&[1, 2, 3, 4, 5], &[], &[(2, 30), (3, 40), (4, 50)], Some(40));
        // A leader that does not vote does not count.
        check(&[2, 3], &[], &[(2, 30)], None);
        check(&[2, 3], &[], &[(2, 30), (3, 40)], Some(30));
        check(&[1, 2, 3], &[1, 4, 5], &[(2, 30)], None);
        check(&[1, 2, 3], &[1, 4, 5], &[(2, 30), (5, 20)], Some(20));
        check(&[], &[], &[], None);
    }

    #[test]
    fn vows_count_in_their_term_and_until_somebody_is_told_to_stand() {
        let conf = ConfState { voters: vec![1, 2], ..ConfState::default() };
        let mut vows = Vows::default();
        vows.of(7).answered(2, ms(30));
        assert_eq!(vows.of(8).since(&conf, ME, ms(100)), None);
        vows.of(8).answered(2, ms(40));
        assert_eq!(vows.of(8).since(&conf, ME, ms(100)), Some(ms(40)));
        vows.give_away();
        vows.of(8).answered(2, ms(50));
        assert_eq!(vows.of(8).since(&conf, ME, ms(100)), None);
    }

    #[test]
    fn a_stamp_comes_back_and_leaves_the_context_as_it_was() {
        fn check(context: &'static [u8]) {
            let mut stamped = stamp(context, ms(12_345));
            assert_eq!(take_stamp(&mut stamped), Some(ms(12_345)));
            assert_eq!(stamped, context);
        }
        check(b"");
        check(b"asked");
        assert_eq!(take_stamp(&mut Bytes::from_static(b"short")), None);
    }
}
