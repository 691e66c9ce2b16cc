//! The cluster's object store: revisioned, ordered, durable.
//!
//! It knows bytes, keys and revisions, not kinds. Writes are transactions with guards, go through a Raft log and are on
//! disk before [`Store::commit`] returns; reads are snapshots of a persistent map at one revision; watches follow a
//! bounded history of events.
//!
//! | module | decides or touches |
//! |---|---|
//! | `mvcc`, `history`, `codec`, `record` | decide: no thread, clock or file |
//! | `log`, `storage`, `core` | the Raft driver's state, over the [`disk`] traits |
//! | `driver`, `persister`, `files`, `sled_state`, `directory` | threads and files |

mod codec;
mod core;
mod directory;
pub mod disk;
mod driver;
mod entry;
mod error;
mod files;
mod history;
mod key;
mod log;
#[cfg(test)]
mod memory_disk;
mod mvcc;
mod persister;
mod record;
mod segment;
mod sled_state;
mod slog_bridge;
mod snapshot;
mod storage;
mod store;
mod txn;
mod view;
mod watch;

pub use entry::Entry;
pub use error::{StoreError, WatchError};
pub use history::{Change, Event};
pub use key::{Key, Revision};
pub use snapshot::Snapshot;
pub use store::{Identity, Store, StoreConfig};
pub use txn::{Guard, Op, Outcome, Txn};
pub use view::Role;
pub use watch::Watcher;
