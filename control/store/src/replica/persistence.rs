//! When what was applied is handed to the keeper, and what becomes of it.

use std::time::Duration;

use super::{Keeper, Replica};
use crate::dirty::Batch;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::persister::Persisted;

/// So many log entries that changed nothing may lie behind the stored state.
const IDLE_ENTRIES: u64 = 10_000;

/// So many generations make up a batch.
const GENERATIONS: usize = 4;

/// What is persisted, and what is to be.
#[derive(Default)]
pub(super) struct Persistence {
    /// A batch is being written.
    pub is_writing: bool,
    /// The log entry at which the stored state stands.
    pub index: u64,
    /// When generations have waited long enough.
    pub turn: Option<Duration>,
    /// When a batch that could not be written is tried again.
    pub retry: Option<Duration>,
}

impl Persistence {
    /// The stored state stands at log entry `index`.
    pub fn at(index: u64) -> Persistence {
        Persistence { index, ..Persistence::default() }
    }
}

impl<D: Disk, K: Keeper> Replica<D, K> {
    /// Begins a new generation when the youngest one is large or old enough, and hands the oldest to the keeper.
    pub(super) fn persist(&mut self) {
        // What failed may have stopped within an entry: a state with half of it must never be stored.
        if self.failed.is_some() {
            return;
        }
        // Also while the keeper writes: what it is given next shall not lie far behind, for the log is kept from there on.
        let bytes = self.core.dirty().bytes();
        if bytes >= self.laziness.bytes.div_ceil(GENERATIONS) && self.core.dirty().has_room() {
            self.turn();
        }
        if self.persistence.is_writing || self.persistence.retry.is_some_and(|retry| retry > self.now) {
            return;
        }
        let batches = match self.persistence.retry.take() {
            Some(_) => self.core.dirty().take_beyond(0, 0),
            None => self.core.dirty().take_beyond(self.laziness.bytes, self.laziness.bytes),
        };
        let batches = if batches.is_empty() { self.take_late() } else { batches };
        if !batches.is_empty() {
            self.hand_over(batches);
        }
    }

    fn turn(&mut self) {
        let image = self.core.image();
        self.core.dirty().turn(image, self.now);
        self.persistence.turn = None;
    }

    /// What is to be written though it is little, because of its age.
    fn take_late(&mut self) -> Vec<Batch> {
        let dirty = self.core.dirty();
        let (grows, waits) = (dirty.bytes() > 0, dirty.waiting() > 0);
        if grows || waits {
            let turn = *self.persistence.turn.get_or_insert(self.now + self.laziness.after);
            if turn > self.now {
                return Vec::new();
            }
            self.persistence.turn = None;
            if grows {
                self.turn();
            }
            return self.take_aged();
        }
        // Entries that changed nothing matter only in that the log cannot be cut before them.
        if self.core.applied().saturating_sub(self.persistence.index) < IDLE_ENTRIES {
            return Vec::new();
        }
        let image = self.core.image();
        self.core.dirty().take(image)
    }

    /// What ended long enough ago that no watch is expected to go on from before it.
    fn take_aged(&mut self) -> Vec<Batch> {
        let by = self.now.saturating_sub(self.laziness.after);
        self.core.dirty().take_ended(by)
    }

    fn hand_over(&mut self, batches: Vec<Batch>) {
        match self.keeper.write(batches) {
            Ok(()) => self.persistence.is_writing = true,
            Err(batches) => self.put_back(Batch::merged(batches)),
        }
    }

    fn put_back(&mut self, batch: Batch) {
        // A state that was installed since has everything.
        if batch.image.state.index() > self.persistence.index {
            self.core.dirty().put_back(batch);
            self.persistence.retry = Some(self.now + self.laziness.retry);
        }
    }

    /// Takes the keeper's report.
    pub fn persisted(&mut self, persisted: Persisted) {
        match persisted {
            Persisted::Done { index } => {
                self.persistence.is_writing = false;
                if index > self.persistence.index {
                    self.persistence.index = index;
                    self.core.log().release(index);
                }
            }
            Persisted::Failed { batch, error } => {
                self.persistence.is_writing = false;
                tracing::warn!(%error, "the applied state could not be written; the log keeps what it lacks");
                self.put_back(*batch);
            }
            Persisted::Staged(staged) => {
                if let Some(staging) = self.staging.take() {
                    self.install(staging, staged);
                }
            }
        }
    }

    /// Hands the older generations to the keeper, so that the next start has no more to replay than the youngest. True
    /// when there is something to wait for. What could not be written is not tried again: the log has it.
    pub fn write_out(&mut self) -> bool {
        self.core.abandon(&StoreError::Closed);
        if !self.persistence.is_writing && self.persistence.retry.is_none() {
            let batches = self.core.dirty().take_beyond(self.laziness.bytes, 1);
            if !batches.is_empty() {
                self.hand_over(batches);
            }
        }
        self.persistence.is_writing
    }
}
