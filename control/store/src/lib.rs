//! The cluster's object store: revisioned, ordered, durable.
//!
//! It knows bytes, keys and revisions, not kinds. Writes are transactions with guards, go through a Raft log and are on
//! disk before [`Store::commit`] returns; reads are snapshots of a persistent map at one revision; watches follow a
//! bounded history of events.
//!
//! | module | decides or touches |
//! |---|---|
//! | `mvcc`, `history`, `codec`, `record`, `segment` | decide: no thread, clock or file |
//! | `core`, `storage`, `log` | the Raft node, its entries and its log, over the traits of `disk`; no thread or clock |
//! | `watch`, `view` | what readers share with the driver |
//! | `driver`, `persister`, `files`, `stored_state`, `folders`, `sled_state`, `directory` | threads and files |
//!
//! A write goes: [`Store::commit`] encodes it and queues it; the driver's thread proposes all that wait, writes them as one
//! record, flushes once, applies them, shows the new snapshot, pushes the events, answers, and wakes the watchers. Behind
//! its back the persister brings sled up to date in batches, each of which carries the log index that it stands for; log
//! segments go when sled has durably passed them. A start loads sled and replays the log behind it.

mod backup;
mod codec;
mod core;
mod directory;
mod disk;
mod driver;
mod entry;
mod error;
mod files;
mod folders;
mod history;
mod image;
mod inbox;
mod key;
mod log;
mod members;
mod membership;
#[cfg(test)]
mod memory_disk;
mod mvcc;
mod patience;
pub mod peer;
mod pending;
mod persister;
mod point;
mod proposals;
mod reads;
mod record;
mod replica;
mod segment;
mod sessions;
mod sled_state;
mod slog_bridge;
mod snapshot;
mod storage;
mod store;
mod stored_state;
mod taken;
mod txn;
mod view;
mod watch;

pub use backup::{Backup, BackupInfo};
pub use entry::Entry;
pub use error::{StoreError, WatchError};
pub use history::{Change, Event};
pub use key::{Key, Revision};
pub use membership::{Member, MemberStatus, Membership, NotAServerId, Progress, ServerId, Standing};
pub use peer::{BoxFuture, BoxedStream, Dial, Peer, PeerError, Refused};
pub use snapshot::Snapshot;
pub use store::{Identity, Start, Store, StoreConfig, Timing};
pub use txn::{Guard, Op, Outcome, Txn};
pub use view::Role;
pub use watch::Watcher;
