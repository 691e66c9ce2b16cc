//! The state machine: every server that applies the same transactions at the same indexes holds the same state.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use raft::eraftpb::ConfState;

use crate::entry::Entry;
use crate::history::{Change, Event};
use crate::key::{Key, Revision};
use crate::members::{Change as MemberChange, Members};
use crate::point::Point;
use crate::proposals::Context;
use crate::sessions::Sessions;
use crate::snapshot::Snapshot;
use crate::txn::{Guard, Op, Outcome, Txn};

/// All objects and where in the log they come from.
#[derive(Clone, Default)]
pub(crate) struct State {
    objects: OrdMap<Key, Arc<Entry>>,
    revision: Revision,
    /// The last log entry that was applied, and its term.
    index: u64,
    term: u64,
    /// When each bucket changed last, so that a watch of an idle bucket survives a restart.
    changed: BTreeMap<Arc<str>, Revision>,
    members: Arc<Members>,
    sessions: Sessions,
}

/// What applying a transaction brought about.
#[derive(Debug, PartialEq)]
pub(crate) struct Applied {
    pub outcome: Outcome,
    pub events: Vec<Arc<Event>>,
}

impl State {
    /// A state as it was stored.
    pub fn restored(objects: OrdMap<Key, Arc<Entry>>, changed: BTreeMap<Arc<str>, Revision>, point: &Point) -> State {
        let Point { index, term, revision, ref members, ref sessions, .. } = *point;
        State { objects, revision, index, term, changed, members: members.clone(), sessions: sessions.clone() }
    }

    /// Where it stands, when these are the members that raft has.
    pub fn point(&self, conf_state: ConfState) -> Point {
        let State { revision, index, term, ref members, ref sessions, .. } = *self;
        Point { index, term, revision, conf_state, members: members.clone(), sessions: sessions.clone() }
    }

    /// Who belongs to the cluster.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// Whether this proposal was applied, or given up by its origin.
    pub fn holds(&self, origin: u64, seq: u64) -> bool {
        self.sessions.holds(origin, seq)
    }

    /// Notes that log entry `index` holds this proposal. False when it was applied before: it must then be passed.
    pub fn admit(&mut self, context: &Context, index: u64) -> bool {
        index > self.index && self.sessions.admit(context.origin, context.seq, context.low, index)
    }

    /// Forgets that the last revision was given.
    #[cfg(any(test, feature = "simulation"))]
    pub fn rewind_revision(&mut self) {
        self.revision.0 = self.revision.0.saturating_sub(1);
    }

    /// Notes a change of members.
    pub fn change_members(&mut self, change: &MemberChange) {
        Arc::make_mut(&mut self.members).apply(change);
    }

    /// What is large of it: the objects, and when each bucket changed last.
    pub fn into_parts(self) -> (OrdMap<Key, Arc<Entry>>, BTreeMap<Arc<str>, Revision>) {
        (self.objects, self.changed)
    }

    /// The last log entry that was applied.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The term of that entry.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// When each bucket changed last.
    pub fn changed(&self) -> &BTreeMap<Arc<str>, Revision> {
        &self.changed
    }

    /// The objects as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.objects.clone(), self.revision, self.index)
    }

    /// Notes that a log entry without a transaction was passed. False when it had been applied before.
    pub fn pass(&mut self, index: u64, term: u64) -> bool {
        if index <= self.index {
            return false;
        }
        self.index = index;
        self.term = term;
        true
    }

    /// Applies the transaction of a log entry; `None` when it had been applied before.
    pub fn apply(&mut self, txn: Txn, index: u64, term: u64) -> Option<Applied> {
        if !self.pass(index, term) {
            return None;
        }
        if let Some(outcome) = self.refusal(&txn.guards) {
            return Some(Applied { outcome, events: Vec::new() });
        }
        let revision = Revision(self.revision.0 + 1);
        let mut entries = Vec::with_capacity(txn.ops.len());
        let mut events = Vec::with_capacity(txn.ops.len());
        for op in txn.ops {
            let change = match op {
                Op::Put { key, value, revision_at } => Some(self.put(key, value, revision_at, revision)),
                Op::Delete { key } => self.delete(&key, revision),
            };
            let event = change.map(|change| Arc::new(Event { revision, change }));
            entries.push(event.as_ref().map(|event| event.entry().clone()));
            events.extend(event);
        }
        if !events.is_empty() {
            self.revision = revision;
            self.note_buckets(&events, revision);
        }
        let outcome = Outcome::Committed { revision: self.revision, entries };
        Some(Applied { outcome, events })
    }

    fn refusal(&self, guards: &[Guard]) -> Option<Outcome> {
        for (position, guard) in guards.iter().enumerate() {
            let current = self.objects.get(guard.key());
            let holds = match guard {
                Guard::Absent(_) => current.is_none(),
                Guard::Present(_) => current.is_some(),
                Guard::Unchanged(_, modified) => current.is_some_and(|entry| entry.modified() == *modified),
            };
            if !holds {
                return Some(Outcome::Refused { guard: position, current: current.cloned() });
            }
        }
        None
    }

    fn put(&mut self, key: Key, value: bytes::Bytes, revision_at: Option<u32>, revision: Revision) -> Change {
        let previous = self.objects.get(&key).cloned();
        let created = previous.as_ref().map_or(revision, |entry| entry.created());
        let entry = Entry::put(key.clone(), value, created, revision, revision_at);
        self.objects.insert(key, entry.clone());
        Change::Put { entry, previous }
    }

    fn delete(&mut self, key: &Key, revision: Revision) -> Option<Change> {
        let previous = self.objects.remove(key)?;
        let tombstone = previous.tombstone(revision);
        Some(Change::Delete { tombstone, previous })
    }

    fn note_buckets(&mut self, events: &[Arc<Event>], revision: Revision) {
        for event in events {
            let bucket = event.key().bucket();
            match self.changed.get_mut(bucket) {
                Some(changed) => *changed = revision,
                None => {
                    self.changed.insert(bucket.into(), revision);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "mvcc_tests.rs"]
mod tests;
