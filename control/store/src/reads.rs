//! Reads that wait until this server has applied what the leader had committed when they came.
//!
//! All that come while one question to the leader is on its way share the next one.

use std::collections::VecDeque;
use std::time::Duration;

use raft::ReadState;

use crate::codec::write_number;
use crate::core::{LEADERLESS, Reply};
use crate::error::StoreError;
use crate::snapshot::Snapshot;

/// So many questions may be on their way at once: more would only cost messages.
const QUESTIONS: usize = 2;

struct Waiting {
    reply: Reply<Snapshot>,
    deadline: Duration,
}

/// A question to the leader.
struct Question {
    /// No other question of any server has it.
    context: Vec<u8>,
    asked: Duration,
    /// What must be applied first, once the leader has said so.
    index: Option<u64>,
    reads: Vec<Waiting>,
}

/// The reads of this server's users.
pub(crate) struct Reads {
    origin: u64,
    next: u64,
    waiting: Vec<Waiting>,
    questions: VecDeque<Question>,
}

impl Reads {
    pub fn new(origin: u64) -> Reads {
        Reads { origin, next: 0, waiting: Vec::new(), questions: VecDeque::new() }
    }

    pub fn add(&mut self, reply: Reply<Snapshot>, now: Duration) {
        self.waiting.push(Waiting { reply, deadline: now + LEADERLESS });
    }

    /// The context of a question for all that wait, if one is to be asked now.
    pub fn ask(&mut self, now: Duration) -> Option<Vec<u8>> {
        let open = self.questions.iter().filter(|question| question.index.is_none()).count();
        if self.waiting.is_empty() || open >= QUESTIONS {
            return None;
        }
        let mut context = Vec::with_capacity(20);
        write_number(&mut context, self.origin);
        write_number(&mut context, self.next);
        self.next += 1;
        let reads = std::mem::take(&mut self.waiting);
        self.questions.push_back(Question { context: context.clone(), asked: now, index: None, reads });
        Some(context)
    }

    /// Notes what the leader said. Some of it may answer questions that were given up.
    pub fn note(&mut self, states: Vec<ReadState>) {
        for state in states {
            let question = self.questions.iter_mut().find(|question| question.context == state.request_ctx);
            if let Some(question) = question {
                question.index = Some(state.index);
            }
        }
    }

    /// Gives up the questions that were asked before `since` and not answered: their reads ask again.
    pub fn ask_again(&mut self, since: Duration) {
        for question in &mut self.questions {
            if question.index.is_none() && question.asked <= since {
                self.waiting.append(&mut question.reads);
            }
        }
        self.questions.retain(|question| !question.reads.is_empty());
    }

    /// Refuses the reads that waited too long, and forgets those that nobody waits for.
    pub fn expire(&mut self, now: Duration) {
        let questions = self.questions.iter_mut().map(|question| &mut question.reads);
        for reads in questions.chain([&mut self.waiting]) {
            for read in reads.extract_if(.., |read| read.deadline <= now || read.reply.is_closed()) {
                // Whoever asked may have gone.
                let _ = read.reply.send(Err(StoreError::NoLeader));
            }
        }
        self.questions.retain(|question| !question.reads.is_empty());
    }

    /// Answers those that need no more than what is applied.
    pub fn answer(&mut self, applied: u64, snapshot: impl Fn() -> Snapshot) {
        let is_due = |question: &Question| question.index.is_some_and(|index| index <= applied);
        while let Some(at) = self.questions.iter().position(is_due) {
            for read in self.questions.remove(at).into_iter().flat_map(|question| question.reads) {
                let _ = read.reply.send(Ok(snapshot()));
            }
        }
    }

    /// Refuses all.
    pub fn refuse(&mut self, error: &StoreError) {
        let questions = self.questions.drain(..).flat_map(|question| question.reads);
        for read in questions.chain(self.waiting.drain(..)) {
            let _ = read.reply.send(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    fn read(reads: &mut Reads) -> oneshot::Receiver<Result<Snapshot, StoreError>> {
        let (reply, answer) = oneshot::channel();
        reads.add(reply, Duration::ZERO);
        answer
    }

    fn state(context: &[u8], index: u64) -> Vec<ReadState> {
        vec![ReadState { index, request_ctx: context.to_vec() }]
    }

    #[test]
    fn reads_that_wait_share_a_question() {
        let mut reads = Reads::new(9);
        assert_eq!(reads.ask(TICK), None);
        let mut first = [read(&mut reads), read(&mut reads)];
        let context = reads.ask(TICK).unwrap();
        let mut second = read(&mut reads);
        let other = reads.ask(TICK).unwrap();
        assert_ne!(context, other);
        let mut third = read(&mut reads);
        assert_eq!(reads.ask(TICK), None, "two are on their way");
        reads.note(state(&context, 5));
        reads.answer(4, Snapshot::default);
        assert!(first.iter_mut().all(|answer| answer.try_recv().is_err()));
        reads.answer(5, Snapshot::default);
        assert!(first.iter_mut().all(|answer| answer.try_recv().unwrap().is_ok()));
        assert!(second.try_recv().is_err());
        let last = reads.ask(TICK).unwrap();
        reads.note(state(&other, 6));
        reads.note(state(&last, 6));
        reads.answer(6, Snapshot::default);
        assert!(second.try_recv().unwrap().is_ok() && third.try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_question_without_an_answer_is_asked_again_and_given_up_in_the_end() {
        let mut reads = Reads::new(9);
        let mut answer = read(&mut reads);
        let lost = reads.ask(TICK).unwrap();
        reads.ask_again(Duration::ZERO);
        assert_eq!(reads.ask(TICK), None);
        reads.ask_again(TICK);
        let again = reads.ask(2 * TICK).unwrap();
        assert_ne!(lost, again);
        reads.note(state(&lost, 1));
        reads.answer(9, Snapshot::default);
        assert!(answer.try_recv().is_err(), "the lost question's answer counts no more");
        reads.expire(LEADERLESS - TICK);
        assert!(answer.try_recv().is_err());
        reads.expire(LEADERLESS);
        assert!(matches!(answer.try_recv(), Ok(Err(StoreError::NoLeader))));
        assert!(reads.questions.is_empty());
    }
}
