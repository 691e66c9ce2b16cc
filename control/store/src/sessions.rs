//! Which proposals were applied, so that one that comes twice is applied once.
//!
//! A server that does not hear what became of its proposal hands it in again, perhaps to another leader, and both copies may
//! end up in the log. Every entry therefore names its origin (a start of a server's process), a number that this origin
//! gives once, and the lowest number that the origin still waits for: nothing below that comes again.

use std::collections::BTreeMap;

use crate::codec::{DecodeError, Reader, write_number};

/// So many origins are remembered: those that were heard of last. A server has one for each start of its process, and
/// hands nothing in again after a few seconds.
const ORIGINS: usize = 64;

/// What each origin's proposals have come to. Part of the replicated state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sessions {
    origins: BTreeMap<u64, Session>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Session {
    /// Nothing below comes again.
    low: u64,
    /// The log entry that was its last.
    used: u64,
    /// What was applied at or above `low`: ranges without their ends, ascending, with gaps between them.
    applied: Vec<(u64, u64)>,
}

impl Sessions {
    /// Notes that log entry `index` holds the proposal `seq` of this origin. False when it was applied before.
    pub fn admit(&mut self, origin: u64, seq: u64, low: u64, index: u64) -> bool {
        let session = self.origins.entry(origin).or_default();
        session.used = index;
        let fresh = session.admit(seq);
        session.raise(low);
        if self.origins.len() > ORIGINS {
            let oldest = self.origins.iter().min_by_key(|(_, session)| session.used).map(|(origin, _)| *origin);
            oldest.and_then(|origin| self.origins.remove(&origin));
        }
        fresh
    }

    /// Whether this proposal was applied, or is given up by its origin.
    pub fn holds(&self, origin: u64, seq: u64) -> bool {
        self.origins.get(&origin).is_some_and(|session| session.holds(seq))
    }

    /// Appends the bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_number(out, self.origins.len() as u64);
        for (origin, session) in &self.origins {
            write_number(out, *origin);
            write_number(out, session.low);
            write_number(out, session.used);
            write_number(out, session.applied.len() as u64);
            for (start, end) in &session.applied {
                write_number(out, *start);
                write_number(out, *end);
            }
        }
    }

    /// What `write` wrote.
    pub fn read(reader: &mut Reader<'_>) -> Result<Sessions, DecodeError> {
        let mut origins = BTreeMap::new();
        for _ in 0..reader.number()? {
            let origin = reader.number()?;
            let (low, used) = (reader.number()?, reader.number()?);
            let mut applied = Vec::new();
            for _ in 0..reader.number()? {
                applied.push((reader.number()?, reader.number()?));
            }
            origins.insert(origin, Session { low, used, applied });
        }
        Ok(Sessions { origins })
    }
}

impl Session {
    fn holds(&self, seq: u64) -> bool {
        let behind = self.applied.partition_point(|(start, _)| *start <= seq);
        seq < self.low || behind > 0 && seq < self.applied[behind - 1].1
    }

    fn admit(&mut self, seq: u64) -> bool {
        if self.holds(seq) {
            return false;
        }
        let behind = self.applied.partition_point(|(start, _)| *start <= seq);
        let joins_left = behind > 0 && self.applied[behind - 1].1 == seq;
        let joins_right = self.applied.get(behind).is_some_and(|(start, _)| *start == seq + 1);
        match (joins_left, joins_right) {
            (true, true) => {
                let (_, end) = self.applied.remove(behind);
                self.applied[behind - 1].1 = end;
            }
            (true, false) => self.applied[behind - 1].1 = seq + 1,
            (false, true) => self.applied[behind].0 = seq,
            (false, false) => self.applied.insert(behind, (seq, seq + 1)),
        }
        true
    }

    fn raise(&mut self, low: u64) {
        if low <= self.low {
            return;
        }
        self.low = low;
        let gone = self.applied.partition_point(|(_, end)| *end <= low);
        self.applied.drain(..gone);
        if let Some((start, _)) = self.applied.first_mut() {
            *start = low.max(*start);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_proposal_is_admitted_once() {
        fn check(proposals: &[(u64, u64)], expected: &[bool]) {
            let mut sessions = Sessions::default();
            let admitted: Vec<bool> =
                (1..).zip(proposals).map(|(index, (seq, low))| sessions.admit(7, *seq, *low, index)).collect();
            assert_eq!(admitted, expected, "{proposals:?}");
        }
        check(&[(0, 0), (1, 0), (2, 0), (1, 0)], &[true, true, true, false]);
        check(&[(2, 0), (0, 0), (1, 0), (2, 0), (0, 0)], &[true, true, true, false, false]);
        // What was given up is not applied any more, though it never was.
        check(&[(5, 3), (2, 0), (3, 0), (5, 3)], &[true, false, true, false]);
        check(&[(0, 0), (9, 9), (0, 0), (9, 9), (10, 9)], &[true, true, false, false, true]);
    }

    #[test]
    fn the_origins_that_were_heard_of_last_are_kept() {
        let mut sessions = Sessions::default();
        for index in 0..ORIGINS as u64 {
            assert!(sessions.admit(index, 0, 0, index));
        }
        assert!(sessions.admit(0, 1, 0, 100));
        assert!(sessions.admit(1000, 0, 0, 101));
        assert_eq!(sessions.origins.len(), ORIGINS);
        assert!(sessions.holds(0, 0));
        assert!(!sessions.holds(1, 0), "the one that was used longest ago goes");
    }

    proptest! {
        #[test]
        fn ranges_say_what_a_set_says(seqs in proptest::collection::vec((0..40u64, 0..10u64), 0..80)) {
            let mut sessions = Sessions::default();
            let (mut set, mut floor) = (BTreeSet::new(), 0);
            for (index, (seq, behind)) in (1..).zip(seqs) {
                let low = seq.saturating_sub(behind);
                let expected = seq >= floor && set.insert(seq);
                floor = floor.max(low);
                prop_assert_eq!(sessions.admit(3, seq, low, index), expected);
            }
            let mut bytes = Vec::new();
            sessions.write(&mut bytes);
            let bytes = Bytes::from(bytes);
            prop_assert_eq!(Sessions::read(&mut Reader::new(&bytes)), Ok(sessions));
        }
    }
}
