//! What happened in one bucket lately: a bounded ring that all of the bucket's watchers share.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::WatchError;
use crate::key::{Key, Revision};

/// One change of one key.
#[derive(Debug, PartialEq)]
pub struct Event {
    /// The commit's revision. Events of one commit share it.
    pub revision: Revision,
    /// What changed.
    pub change: Change,
}

/// How a key changed.
#[derive(Debug, PartialEq)]
pub enum Change {
    /// The key was created or replaced.
    Put {
        /// The new entry.
        entry: Arc<Entry>,
        /// What it replaced.
        previous: Option<Arc<Entry>>,
    },
    /// The key was removed.
    Delete {
        /// The last value with the delete's revision spliced in.
        tombstone: Arc<Entry>,
        /// What was removed.
        previous: Arc<Entry>,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &Key {
        self.entry().key()
    }

    /// The new entry, or the tombstone.
    pub fn entry(&self) -> &Arc<Entry> {
        match &self.change {
            Change::Put { entry, .. } => entry,
            Change::Delete { tombstone, .. } => tombstone,
        }
    }

    /// About how many bytes the history keeps alive for this event.
    fn weight(&self) -> usize {
        const OVERHEAD: usize = 256;
        OVERHEAD + self.entry().value().len()
    }
}

/// How much history a bucket keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub events: usize,
    pub bytes: usize,
}

/// The bucket's last events. A position counts the events that were ever pushed, so that a reader can tell what it has
/// missed.
pub(crate) struct Ring {
    events: VecDeque<Arc<Event>>,
    first: u64,
    floor: Revision,
    bytes: usize,
    limits: Limits,
    /// What was pushed since every reader was last told.
    untold: Limits,
}

/// Every reader is told when this part of what fits has been pushed.
const TOLD_PART: usize = 8;

impl Ring {
    /// An empty ring that knows nothing of what happened up to `floor`.
    pub fn new(floor: Revision, limits: Limits) -> Ring {
        Ring { events: VecDeque::new(), first: 0, floor, bytes: 0, limits, untold: Limits { events: 0, bytes: 0 } }
    }

    /// Nothing up to here is known.
    pub fn floor(&self) -> Revision {
        self.floor
    }

    /// Adds an event, dropping the oldest ones that no longer fit. The newest one always stays.
    pub fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.weight();
        self.untold.bytes += event.weight();
        self.untold.events += 1;
        self.events.push_back(event);
        while self.events.len() > 1 && (self.events.len() > self.limits.events || self.bytes > self.limits.bytes) {
            if let Some(oldest) = self.events.pop_front() {
                self.first += 1;
                self.bytes -= oldest.weight();
                self.floor = oldest.revision;
            }
        }
    }

    /// Whether so much was pushed that readers of whatever prefix must follow, or they would fall behind without having
    /// missed anything. Begins to count anew if so.
    pub fn must_tell_all(&mut self) -> bool {
        let Limits { events, bytes } = &self.untold;
        let much = *events > self.limits.events / TOLD_PART || *bytes > self.limits.bytes / TOLD_PART;
        if much {
            self.untold = Limits { events: 0, bytes: 0 };
        }
        much
    }

    /// Forgets everything up to `floor`, some of which never came here: whoever reads the ring has missed something.
    pub fn reset(&mut self, floor: Revision) {
        self.first += self.events.len() as u64 + 1;
        self.events.clear();
        self.bytes = 0;
        self.floor = floor;
    }

    /// The position of the first event behind the revision `after`.
    pub fn position_after(&self, after: Revision) -> Result<u64, WatchError> {
        if after < self.floor {
            return Err(WatchError::Compacted { oldest: self.floor });
        }
        let skipped = self.events.partition_point(|event| event.revision <= after);
        Ok(self.first + skipped as u64)
    }

    /// The event at a position, `None` when it has not happened yet.
    pub fn at(&self, position: u64) -> Result<Option<&Arc<Event>>, WatchError> {
        let offset = position.checked_sub(self.first).ok_or(WatchError::Lagged)?;
        Ok(usize::try_from(offset).ok().and_then(|offset| self.events.get(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn event(revision: u64) -> Arc<Event> {
        let revision = Revision(revision);
        let value = Bytes::from(vec![0; 100]);
        let entry = Entry::put("a/b".into(), value, revision, revision, None);
        Arc::new(Event { revision, change: Change::Put { entry, previous: None } })
    }

    fn ring(floor: u64, limits: Limits, revisions: &[u64]) -> Ring {
        let mut ring = Ring::new(Revision(floor), limits);
        for revision in revisions {
            ring.push(event(*revision));
        }
        ring
    }

    /// The revisions that a reader from behind `after` sees.
    fn seen(ring: &Ring, after: u64) -> Result<Vec<u64>, WatchError> {
        let mut position = ring.position_after(Revision(after))?;
        let mut seen = Vec::new();
        while let Some(event) = ring.at(position)? {
            seen.push(event.revision.0);
            position += 1;
        }
        Ok(seen)
    }

    #[test]
    fn a_reader_sees_what_came_after_its_revision() {
        let wide = Limits { events: 4, bytes: usize::MAX };
        let check = |floor: u64, pushed: &[u64], after: u64, expected: Result<&[u64], u64>| {
            let expected =
                expected.map(<[u64]>::to_vec).map_err(|oldest| WatchError::Compacted { oldest: Revision(oldest) });
            assert_eq!(seen(&ring(floor, wide, pushed), after), expected);
        };
        check(0, &[], 0, Ok(&[]));
        check(5, &[], 4, Err(5));
        check(5, &[], 5, Ok(&[]));
        check(5, &[], 9, Ok(&[]));
        check(0, &[2, 3, 7], 0, Ok(&[2, 3, 7]));
        check(0, &[2, 3, 7], 3, Ok(&[7]));
        check(0, &[2, 3, 7], 5, Ok(&[7]));
        check(0, &[2, 3, 3, 7], 2, Ok(&[3, 3, 7]));
        check(0, &[1, 2, 3, 4, 5, 6], 1, Err(2));
        check(0, &[1, 2, 3, 4, 5, 6], 2, Ok(&[3, 4, 5, 6]));
        check(0, &[1, 3, 3, 3, 3], 1, Ok(&[3, 3, 3, 3]));
        check(0, &[3, 3, 3, 3, 3], 2, Err(3));
    }

    #[test]
    fn bytes_bound_the_ring_too_but_the_newest_event_stays() {
        let check = |bytes: usize, expected: usize| {
            let ring = ring(0, Limits { events: 100, bytes }, &[1, 2, 3, 4]);
            assert_eq!(ring.events.len(), expected);
        };
        check(usize::MAX, 4);
        check(2 * 356, 2);
        check(1, 1);
    }

    #[test]
    fn a_reset_ring_loses_all_its_readers() {
        let mut ring = ring(0, Limits { events: 4, bytes: usize::MAX }, &[1, 2]);
        let positions = [0, 2].map(|after| ring.position_after(Revision(after)).unwrap());
        ring.reset(Revision(9));
        assert_eq!(positions.map(|position| ring.at(position).map(drop)), [Err(WatchError::Lagged); 2]);
        assert_eq!(seen(&ring, 8), Err(WatchError::Compacted { oldest: Revision(9) }));
        ring.push(event(10));
        assert_eq!(seen(&ring, 9), Ok(vec![10]));
    }

    #[test]
    fn a_reader_that_was_overtaken_has_lagged() {
        let mut ring = ring(0, Limits { events: 2, bytes: usize::MAX }, &[1, 2]);
        let position = ring.position_after(Revision(0)).unwrap();
        ring.push(event(3));
        assert_eq!(ring.at(position), Err(WatchError::Lagged));
        assert_eq!(ring.at(position + 1).unwrap().unwrap().revision, Revision(2));
    }
}
