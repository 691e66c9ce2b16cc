//! The cluster's object store: revisioned, ordered, durable.
//!
//! It knows bytes, keys and revisions, not kinds. Writes are transactions with guards, go through a Raft log and are on
//! disk before [`Store::commit`] returns; reads are snapshots of a persistent map at one revision; watches follow a
//! bounded history of events.
//!
//! | module | decides or touches |
//! |---|---|
//! | `mvcc`, `history`, `sessions`, `members`, `codec`, `record`, `segment`, `image` | decide: no thread, clock or file |
//! | `core`, `pending`, `taken`, `reads`, `asking`, `lease`, `patience`, `storage`, `log`, `recovery` | the Raft node, what it is asked, its entries and its log, over traits; time is an argument |
//! | `replica` | when to tick, to persist, to install a whole state; time is an argument |
//! | `watch`, `view`, `inbox` | what others share with the driver |
//! | `peer` | streams between servers, and between a server and a tool: tasks on the caller's run time |
//! | `driver`, `persister`, `files`, `stored_state`, `folders`, `sled_state`, `directory`, `backup` | threads and files |
//!
//! A write goes: [`Store::commit`] encodes it and puts it into the inbox; the driver's thread takes all that wait. If this
//! server leads, it proposes them, sends them to the others, writes them as one record and flushes once; else it hands them
//! to the leader. When a majority has them on disk they are applied: the driver shows the new snapshot, pushes the events,
//! answers those that this server's users asked for, and wakes the watchers. Behind its back the persister brings the stored
//! state up to date in batches, each of which carries the log index that it stands for; log segments go when the stored state
//! has durably passed them. A start loads the last image, lays sled's changes over it, and replays the log behind them.

mod asking;
mod backup;
mod codec;
mod config;
mod core;
mod directory;
mod dirty;
mod disk;
mod driver;
mod entry;
mod error;
mod files;
mod folders;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod history;
mod image;
mod inbox;
mod key;
mod lease;
mod log;
mod members;
mod membership;
#[cfg(any(test, feature = "simulation"))]
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
mod recovery;
mod replica;
mod rewind;
mod segment;
mod sessions;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
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
pub use config::{Identity, Start, StoreConfig, Timing};
pub use entry::{Entry, Memo};
pub use error::{StoreError, WatchError};
pub use history::{Change, Event};
pub use key::{Key, Revision};
pub use membership::{Member, MemberStatus, Membership, NotAServerId, Progress, ServerId, Standing};
pub use peer::{BoxFuture, BoxedStream, Dial, Peer, PeerError, Refused};
pub use snapshot::Snapshot;
pub use store::{Announced, Store};
pub use txn::{Guard, Op, Outcome, Txn};
pub use view::Role;
pub use watch::{Stand, Watcher};
