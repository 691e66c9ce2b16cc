//! What raft-rs reads: the voter's state and the log entries that it may still need, in memory.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// The log's tail in memory. It holds what is durable and not yet applied, and what peers may still ask for.
pub(crate) struct Tail {
    server: u64,
    pub hard_state: HardState,
    pub conf_state: ConfState,
    /// The entry before the first one here.
    base_index: u64,
    base_term: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The last entry that was applied, and its term.
    applied: (u64, u64),
    retention: Retention,
}

/// How much a server with peers keeps for those that are behind; one that is further behind needs a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    pub usual: Bounds,
    /// A leader keeps so much of what it knows that another server lacks,
    pub slow: Bounds,
    /// and so much while a whole state is on its way there: if what comes behind that state were gone when it arrives,
    /// another one would have to follow.
    pub snapshot: Bounds,
}

/// So much and no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub entries: usize,
    pub bytes: usize,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            usual: Bounds { entries: 16 << 10, bytes: 8 << 20 },
            slow: Bounds { entries: 256 << 10, bytes: 64 << 20 },
            snapshot: Bounds { entries: 1 << 20, bytes: 256 << 20 },
        }
    }
}

/// What the other servers still need, as far as a leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needed {
    /// The first entry that one of them lacks.
    pub from: u64,
    /// Whether one of them is being sent a whole state.
    pub snapshot: bool,
}

impl Tail {
    /// The entries behind `base_index`.
    pub fn new(
        server: u64,
        hard_state: HardState,
        conf_state: ConfState,
        base_index: u64,
        base_term: u64,
        entries: VecDeque<Entry>,
    ) -> Tail {
        let bytes = entries.iter().map(|entry| entry.data.len()).sum();
        let applied = (base_index, base_term);
        Tail {
            server,
            hard_state,
            conf_state,
            base_index,
            base_term,
            entries,
            bytes,
            applied,
            retention: Retention::default(),
        }
    }

    /// Adds durable entries; they replace those at and behind their indexes.
    pub fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        // Raft never rewrites what was committed, and only committed entries leave the front.
        debug_assert!(first.index > self.base_index && first.index <= self.last() + 1);
        let kept = (first.index - self.base_index - 1) as usize;
        self.entries.drain(kept.min(self.entries.len())..).for_each(|entry| self.bytes -= entry.data.len());
        self.bytes += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        self.entries.extend(entries);
    }

    /// Begins anew behind entry `index`, where these are the members.
    pub fn reset(&mut self, conf_state: ConfState, index: u64, term: u64) {
        self.conf_state = conf_state;
        self.base_index = index;
        self.base_term = term;
        self.entries.clear();
        self.bytes = 0;
        self.applied = (index, term);
    }

    /// Notes the last entry that was applied, with its term, and forgets those up to it, but for what peers are likely to
    /// ask for.
    pub fn forget(&mut self, applied: (u64, u64), needed: Option<Needed>) {
        self.applied = applied;
        let alone = self.is_alone();
        while let Some(entry) = self.entries.front().filter(|entry| entry.index <= applied.0) {
            let bounds = match needed {
                Some(needed) if needed.from <= entry.index && needed.snapshot => self.retention.snapshot,
                Some(needed) if needed.from <= entry.index => self.retention.slow,
                _ => self.retention.usual,
            };
            if !alone && self.entries.len() <= bounds.entries && self.bytes <= bounds.bytes {
                return;
            }
            self.base_index = entry.index;
            self.base_term = entry.term;
            self.bytes -= entry.data.len();
            self.entries.pop_front();
        }
    }

    /// Keeps more or less from now on.
    #[cfg(any(test, feature = "simulation"))]
    pub fn retain(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// Whether this server is the only one of its cluster.
    pub fn is_alone(&self) -> bool {
        let conf = &self.conf_state;
        conf.voters == [self.server]
            && conf.learners.is_empty()
            && conf.voters_outgoing.is_empty()
            && conf.learners_next.is_empty()
    }

    /// The first entry, or where it will be.
    #[cfg(test)]
    pub fn first(&self) -> u64 {
        self.base_index + 1
    }

    /// The last entry.
    pub fn last(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }
}

impl Storage for Tail {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let from = (low - self.base_index - 1) as usize;
        let to = (high - self.base_index - 1) as usize;
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0;
        let within = self.entries.range(from..to).take_while(|entry| {
            let first = size == 0;
            size += entry.data.len() as u64 + 1;
            first || size <= limit
        });
        Ok(within.cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        if index < self.base_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let offset = (index - self.base_index - 1) as usize;
        self.entries.get(offset).map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// Only where the state stands; the state itself goes another way.
    fn snapshot(&self, _: u64, _: u64) -> raft::Result<Snapshot> {
        let (index, term) = self.applied;
        if index == 0 {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = index;
        metadata.term = term;
        metadata.set_conf_state(self.conf_state.clone());
        Ok(snapshot)
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
