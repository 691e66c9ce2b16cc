//! Reads that ask the leader how far this server must have applied, without the driver's help.
//!
//! All that come while one question is on its way share the next one. A question that gets lost is no harm: whoever reads
//! waits for it for [`QUICK`] only, and then has the driver ask in raft's way.

use std::time::Duration;

use crate::core::Reply;
use crate::snapshot::Snapshot;

/// So long a read waits for an answer that way.
pub(crate) const QUICK: Duration = Duration::from_millis(100);

/// The reads of this server's users that wait for the leader's word.
#[derive(Default)]
pub(crate) struct Asking {
    last: u64,
    waiting: Vec<Reply<Snapshot>>,
    open: Option<Question>,
}

/// A question to the leader.
struct Question {
    number: u64,
    to: u64,
    asked: Duration,
    reads: Vec<Reply<Snapshot>>,
}

impl Asking {
    /// Adds a read, which the next question is for.
    pub fn add(&mut self, reply: Reply<Snapshot>) {
        self.waiting.push(reply);
    }

    /// The number of the question that is to be sent to this leader now, if one is.
    pub fn ask(&mut self, leader: u64, now: Duration) -> Option<u64> {
        let is_open = self.open.as_ref().is_some_and(|open| open.to == leader && now < open.asked + QUICK);
        if self.waiting.is_empty() || is_open {
            return None;
        }
        self.last += 1;
        let reads = std::mem::take(&mut self.waiting);
        // Those of a question that is given up have other ways by now, or soon.
        self.open = Some(Question { number: self.last, to: leader, asked: now, reads });
        Some(self.last)
    }

    /// The reads of a question that this server has answered; none if it was given up.
    pub fn told(&mut self, from: u64, number: u64) -> Vec<Reply<Snapshot>> {
        let answered = self.open.take_if(|open| (open.to, open.number) == (from, number));
        answered.map_or_else(Vec::new, |open| open.reads)
    }

    /// The reads of the question that this server was asked and will not answer.
    pub fn lost(&mut self, to: u64) -> Vec<Reply<Snapshot>> {
        self.open.take_if(|open| open.to == to).map_or_else(Vec::new, |open| open.reads)
    }
}

/// Reads that wait until this server has applied a log entry.
#[derive(Default)]
pub(crate) struct Awaiting {
    reads: Vec<(u64, Reply<Snapshot>)>,
}

impl Awaiting {
    /// Adds a read that needs this entry.
    pub fn add(&mut self, index: u64, reply: Reply<Snapshot>) {
        // Those that nobody waits for any more do not pile up.
        self.reads.retain(|(_, reply)| !reply.is_closed());
        self.reads.push((index, reply));
    }

    /// Takes out those that need no more than this entry.
    pub fn take(&mut self, applied: u64) -> Vec<Reply<Snapshot>> {
        self.reads.extract_if(.., |(index, _)| *index <= applied).map(|(_, reply)| reply).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn read() -> Reply<Snapshot> {
        oneshot::channel().0
    }

    #[test]
    fn reads_that_wait_share_the_next_question() {
        let mut asking = Asking::default();
        let at = Duration::from_millis;
        assert_eq!(asking.ask(2, at(0)), None);
        asking.add(read());
        assert_eq!(asking.ask(2, at(0)), Some(1));
        asking.add(read());
        asking.add(read());
        assert_eq!(asking.ask(2, at(1)), None);
        assert_eq!(asking.told(3, 1).len(), 0);
        assert_eq!(asking.told(2, 1).len(), 1);
        assert_eq!(asking.ask(2, at(2)), Some(2));
        assert_eq!(asking.told(2, 1).len(), 0);
        assert_eq!(asking.told(2, 2).len(), 2);
    }

    #[test]
    fn a_question_that_is_lost_or_asked_of_who_led_before_holds_nobody_up() {
        let mut asking = Asking::default();
        asking.add(read());
        assert_eq!(asking.ask(2, Duration::ZERO), Some(1));
        asking.add(read());
        assert_eq!(asking.ask(3, Duration::ZERO), Some(2));
        asking.add(read());
        assert_eq!(asking.ask(3, QUICK), Some(3));
        assert_eq!(asking.lost(2).len(), 0);
        assert_eq!(asking.lost(3).len(), 1);
        assert_eq!(asking.ask(3, QUICK), None);
    }

    #[test]
    fn a_read_waits_for_its_entry() {
        let mut awaiting = Awaiting::default();
        let (reply, _answer) = oneshot::channel();
        awaiting.add(5, reply);
        awaiting.add(4, read());
        let (reply, _other) = oneshot::channel();
        awaiting.add(6, reply);
        assert_eq!(awaiting.take(4).len(), 0, "nobody waits for the one at 4");
        assert_eq!(awaiting.take(5).len(), 1);
        assert_eq!(awaiting.take(9).len(), 1);
    }
}
