//! What happened in a run: a hash of all of it, and the last lines for a reader.

use std::collections::VecDeque;

use super::MS;

/// Two runs of one seed must have the same hash.
pub(crate) struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    /// Whether lines are made at all: they cost more than the run.
    kept: usize,
}

impl Trace {
    /// Keeps so many lines.
    pub fn new(kept: usize) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), kept }
    }

    /// Notes something that happened: the numbers go into the hash, the words are for a reader.
    pub fn note(&mut self, now: u64, numbers: &[u64], words: impl FnOnce() -> String) {
        self.mix(now);
        numbers.iter().for_each(|number| self.mix(*number));
        if self.kept == 0 {
            return;
        }
        let words = words();
        if words.is_empty() {
            return;
        }
        let line = format!("{:>6}.{:03} ms  {words}", now / MS, now % MS / 1000);
        if self.lines.len() == self.kept {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
