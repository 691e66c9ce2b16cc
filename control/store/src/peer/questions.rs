//! What is asked and answered beside the drivers: how far a server must have applied before it reads.

use std::sync::{MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::frames::{Kind, write_numbers};
use super::peers::Peers;
use crate::asking::Asking;
use crate::core::Reply;
use crate::driver::Request;
use crate::error::StoreError;
use crate::snapshot::Snapshot;

impl Peers {
    /// The log entry at or before which everything lies that was ever answered, if this server leads and nobody else can.
    pub fn leased(&self) -> Option<u64> {
        self.config.view.leased(|| self.config.clock.now())
    }

    /// Has the leader asked for the sake of a read. Nothing when nobody is known to lead; otherwise the answer, or nothing
    /// if it gets lost.
    pub fn ask(&self) -> Option<oneshot::Receiver<Result<Snapshot, StoreError>>> {
        let leader = self.config.view.leader().filter(|leader| *leader != self.me().0)?;
        let (reply, answer) = oneshot::channel();
        let mut asking = self.asking();
        asking.add(reply);
        self.ask_on(asking, leader);
        Some(answer)
    }

    /// Sends the next question, if one is due.
    fn ask_on(&self, mut asking: MutexGuard<'_, Asking>, leader: u64) {
        let number = asking.ask(leader, self.config.clock.now());
        drop(asking);
        let Some(number) = number else { return };
        let outbox = self.outbox(leader);
        let sent =
            outbox.is_some_and(|outbox| outbox.adding().add(Kind::Ask, |out| write_numbers(out, &[number], &[])));
        if !sent {
            self.lost(leader);
        }
    }

    /// A server has answered a question.
    pub fn told(&self, from: u64, number: u64, index: Option<u64>) {
        let mut asking = self.asking();
        let reads = asking.told(from, number);
        if let Some(leader) = self.config.view.leader().filter(|leader| *leader != self.me().0) {
            self.ask_on(asking, leader);
        } else {
            drop(asking);
        }
        match index {
            Some(index) => reads.into_iter().for_each(|reply| self.config.view.when_applied(index, reply)),
            None => self.hand_on(reads),
        }
    }

    /// What a server was asked will not be answered.
    pub fn lost(&self, to: u64) {
        let reads = self.asking().lost(to);
        self.hand_on(reads);
    }

    /// Has the driver ask in raft's way.
    fn hand_on(&self, reads: Vec<Reply<Snapshot>>) {
        for reply in reads {
            // If it is not taken, whoever waits is told by the reply's end.
            let _ = self.config.inbox.ask(Request::Read { reply });
        }
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        // Each change of it is one call.
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
