//! What a leader has taken of other servers' proposals and not applied yet.

use std::collections::BTreeMap;

/// So much of one origin may be on its way into the log.
const MOST_PROPOSALS: usize = 8192;
const MOST_BYTES: usize = 64 << 20;

/// Proposals by their origins. Only a leader has any, and only those of its term.
#[derive(Default)]
pub(crate) struct Taken {
    origins: BTreeMap<u64, Line>,
}

#[derive(Default)]
struct Line {
    bytes: usize,
    proposals: BTreeMap<u64, usize>,
}

impl Taken {
    /// Whether this one is on its way already.
    pub fn holds(&self, origin: u64, seq: u64) -> bool {
        self.origins.get(&origin).is_some_and(|line| line.proposals.contains_key(&seq))
    }

    /// Notes a proposal of so many bytes. False when there is too much of its origin; one may always be there.
    pub fn add(&mut self, origin: u64, seq: u64, bytes: usize) -> bool {
        let line = self.origins.entry(origin).or_default();
        let (proposals, sum) = (line.proposals.len() + 1, line.bytes + bytes);
        if proposals > 1 && (proposals > MOST_PROPOSALS || sum > MOST_BYTES) {
            return false;
        }
        line.bytes = sum;
        line.proposals.insert(seq, bytes);
        true
    }

    /// This one was applied, or could not be proposed.
    pub fn release(&mut self, origin: u64, seq: u64) {
        let Some(line) = self.origins.get_mut(&origin) else { return };
        line.bytes -= line.proposals.remove(&seq).unwrap_or(0);
        if line.proposals.is_empty() {
            self.origins.remove(&origin);
        }
    }

    /// Forgets all: this server does not lead any more, or again.
    pub fn clear(&mut self) {
        self.origins.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_has_its_own_bound() {
        let mut taken = Taken::default();
        assert!(taken.add(1, 0, 2 * MOST_BYTES), "one may always be there");
        assert!(!taken.add(1, 1, 1));
        assert!(taken.add(2, 0, MOST_BYTES));
        assert!(!taken.add(2, 1, 1));
        assert!(taken.holds(2, 0) && !taken.holds(2, 1));
        taken.release(2, 0);
        taken.release(2, 0);
        assert!(taken.add(2, 1, 1));
        for seq in 0..MOST_PROPOSALS as u64 {
            assert!(taken.add(3, seq, 1));
        }
        assert!(!taken.add(3, MOST_PROPOSALS as u64, 1));
        taken.clear();
        assert!(taken.add(3, 0, 1) && taken.add(1, 0, 1));
    }
}
