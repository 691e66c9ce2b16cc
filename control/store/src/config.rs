//! What a store is told when it is opened, and who it then is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::membership::ServerId;
use crate::peer::Dial;

/// Where the store lies, and its limits.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The directory; made if need be.
    pub dir: PathBuf,
    /// How many events each bucket keeps for watchers.
    pub history: usize,
    /// How many bytes those events may hold in each bucket.
    pub history_bytes: usize,
    /// How many writes may wait.
    pub queue: usize,
    /// How many bytes the waiting writes may have.
    pub queue_bytes: usize,
    /// The largest transaction; never more than 12 MiB, which is what fits between servers.
    pub max_txn_bytes: usize,
    /// The size of the log's files.
    pub segment_bytes: u64,
    /// The applied state is written when so many bytes have changed,
    pub persist_bytes: usize,
    /// or when this much time has passed since the first of them.
    pub persist_after: Duration,
    /// After the applied state could not be written, it is left alone for so long.
    pub persist_retry: Duration,
    /// What people call this server; the other members' names differ.
    pub name: String,
    /// `host:port` under which the others reach this server; empty for a server that stays alone.
    pub address: String,
    /// What an empty directory becomes; of no matter when it holds a store already.
    pub start: Start,
    /// How this server reaches the others; a server without it can have none.
    pub dialer: Option<Arc<dyn Dial>>,
    /// How soon a lost leader is noticed.
    pub timing: Timing,
}

/// What a server with an empty directory does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// It founds a cluster of its own, with a random id.
    #[default]
    Found,
    /// It waits for the members of a cluster, one of which was asked to add it, to bring it up to date.
    Join {
        /// The cluster's id.
        cluster: String,
        /// The id under which it was added, which nobody ever had before.
        server: ServerId,
    },
}

/// Raft's clock. All members must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The unit.
    pub tick: Duration,
    /// So many ticks lie between two heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// After so many ticks without a leader, and up to twice as many, a server stands for election.
    pub election_ticks: usize,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { tick: Duration::from_millis(20), heartbeat_ticks: 5, election_ticks: 15 }
    }
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            dir: PathBuf::new(),
            history: 4096,
            history_bytes: 16 << 20,
            queue: 4096,
            queue_bytes: 64 << 20,
            max_txn_bytes: 8 << 20,
            segment_bytes: 8 << 20,
            persist_bytes: 16 << 20,
            persist_after: Duration::from_secs(10),
            persist_retry: Duration::from_secs(2),
            name: String::new(),
            address: String::new(),
            start: Start::Found,
            dialer: None,
            timing: Timing::default(),
        }
    }
}

/// Who a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster, a UUID.
    pub cluster: String,
    /// This server in it.
    pub server: ServerId,
}
