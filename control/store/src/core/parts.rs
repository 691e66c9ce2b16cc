//! What a core is made of, and what it needs of others.

use std::sync::Arc;

use raft::eraftpb::{ConfState, HardState, Message};
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::image::Image;
use crate::log::{Log, Recovered};
use crate::members::Members;
use crate::membership::Member;
use crate::mvcc::State;
use crate::proposals::{Forward, Refusal};
use crate::store::Timing;
use crate::view::View;
use crate::watch::Hub;

/// Where a founded cluster's log begins: not at its first entry, so that a server that joins needs a snapshot, which also
/// tells it who the members are.
pub(crate) const FOUNDED_AT: u64 = 1;

/// Takes what is said to the other servers. It may lose it, but not hold up its caller.
pub(crate) trait Transport: Send + 'static {
    /// Sends raft's messages, each to the server that it names. None of them is a `MsgSnapshot`.
    fn send(&mut self, messages: Vec<Message>);

    /// Hands proposals to the leader. They may be lost, but none may arrive twice for one call: a refused one may be
    /// answered as such, and must not be taken later.
    fn forward(&mut self, to: u64, proposals: Vec<Forward>);

    /// Tells a server which of its proposals were not taken.
    fn refuse(&mut self, to: u64, refusals: Vec<Refusal>);

    /// Sends a whole state, with raft's message for it. Whatever becomes of it, `Replica::snapshot_sent` is told.
    fn send_snapshot(&mut self, message: Message, image: Image);

    /// These are the members now: the others among them are to be reached, and nobody else.
    fn members(&mut self, members: &Members);
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A bug that a test plants, to see that it is found.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Writes are acknowledged before they are on disk.
    AcknowledgeBeforeFlush,
    /// Reads are answered from whatever this server has applied.
    SkipReadIndex,
    /// A new leader counts on from a revision that was given already.
    ReuseRevision,
    /// A proposal that is in the log twice is applied twice.
    SkipDedup,
    /// A leader counts on the others' vows for much longer than they hold.
    LongLease,
    /// A server that was started votes at once, whatever it vowed before.
    #[cfg(test)]
    ForgetVow,
}

/// Everything that a core is made of.
pub(crate) struct Parts<D: Disk> {
    /// This server, as it wants to be known. With an empty name and address, what is known of it stays as it is.
    pub record: Member,
    /// A random number for this start of the process.
    pub origin: u64,
    /// From which the election timeouts are drawn.
    pub seed: u64,
    pub timing: Timing,
    pub log: Log<D>,
    pub recovered: Recovered,
    pub state: State,
    pub conf_state: ConfState,
    pub hub: Arc<Hub>,
    pub view: Arc<View>,
    pub transport: Box<dyn Transport>,
    #[cfg(any(test, feature = "simulation"))]
    pub planted: Option<Planted>,
}

/// The voter's state before it ever wrote one.
pub(crate) fn founding_state(applied: u64, term: u64) -> HardState {
    HardState { term, commit: applied, ..HardState::default() }
}
