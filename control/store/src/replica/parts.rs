//! What a replica is given, and what it needs done.

use std::time::Duration;

use raft::eraftpb::Message;

use crate::core::Reply;
use crate::dirty::Batch;
use crate::error::StoreError;
use crate::image::Image;
use crate::proposals::{Forward, Refusal};

/// Keeps the applied state on disk, on a thread of its own or at once. It does one thing after another.
pub(crate) trait Keeper: Send + 'static {
    /// Has batches, from the oldest on, written as one; what became of it comes back through `Replica::persisted`. Returns
    /// them when that cannot be.
    fn write(&mut self, batches: Vec<Batch>) -> Result<(), Vec<Batch>>;

    /// Has an image written beside the present state; what became of it comes back through `Replica::persisted`, but
    /// not after an error.
    fn stage(&mut self, image: Box<Image>) -> Result<(), StoreError>;

    /// Makes the staged image the state on disk, and returns when that is durable. After an error nobody knows which of
    /// the two it is.
    fn adopt(&mut self) -> Result<(), StoreError>;

    /// Forgets the staged image.
    fn discard(&mut self);
}

/// What comes from the other servers.
pub(crate) enum Arrival {
    /// Raft's messages, all of which name the server that they came from as their sender.
    Messages(Vec<Message>),
    /// Proposals that another server hands to this one as the leader.
    Forwarded { from: u64, proposals: Vec<Forward> },
    /// What the leader did not take of this server's proposals.
    Refused { from: u64, refusals: Vec<Refusal> },
    /// A whole state that the leader sent, with raft's message for it. It is answered when it is installed, or refused
    /// when it is not; the sender's [`Arrival::SnapshotSent`] waits for that.
    Received { message: Box<Message>, image: Box<Image>, reply: Reply<()> },
    /// What became of a whole state that was sent to this server.
    SnapshotSent { to: u64, ok: bool },
    /// A server cannot be reached: what was sent to it is lost.
    Unreachable { to: u64 },
    /// A stream to a server was opened: what was handed to it before may be lost.
    Reachable { to: u64 },
    /// The others say that this server is no member any more.
    Removed,
}

/// When the applied state is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Laziness {
    /// When so many bytes have changed,
    pub bytes: usize,
    /// or so long after the first of them.
    pub after: Duration,
    /// How long it is left alone after it could not be written.
    pub retry: Duration,
}
