//! Everything that a server decides with its core: when to tick, to persist, to stage and to install.
//!
//! It has no thread and no clock: whoever owns it passes the time, and a simulation passes its own. raft-rs draws its election
//! timeouts from a generator that nobody can seed. Here they are fixed (`min_election_tick` and `max_election_tick` leave one
//! value), and the core itself draws how long it waits, from the seed in its parts: it lets raft's own count run out
//! when the time has come. So a run is a function of its seeds and of what is passed in.

use crate::error::StoreError;
use crate::image::Image;
use crate::persister::Batch;

/// Keeps the applied state on disk, on a thread of its own or at once. It is asked for one thing at a time.
pub(crate) trait Keeper: Send + 'static {
    /// Has a batch written; what became of it comes back through `Replica::persisted`. Returns it when that cannot be.
    fn write(&mut self, batch: Box<Batch>) -> Result<(), Box<Batch>>;

    /// Has an image written beside the present state; what became of it comes back through `Replica::staged`.
    fn stage(&mut self, image: Box<Image>) -> Result<(), StoreError>;

    /// Makes the staged image the state on disk, and returns when that is durable.
    fn adopt(&mut self) -> Result<(), StoreError>;

    /// Removes the staged image.
    fn discard(&mut self);
}
