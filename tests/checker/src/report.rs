//! What was found.

use std::fmt;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No order of the operations on one key explains what their clients saw.
    NotLinearizable,
    /// Two commits have one revision, or one revision was seen with different contents.
    RevisionReused,
    /// A revision is not above one that was answered before the operation was called.
    RevisionWentBack,
    /// A read shows something else than the commits up to its revision make.
    ReadDiffers,
    /// A commit that was acknowledged, or what it wrote, is not in the sequence of commits.
    Lost,
    /// A commit that was refused, or that failed for certain, or that nobody asked for, happened all the same.
    Unasked,
    /// One write happened at two revisions.
    AppliedTwice,
    /// A transaction was committed although its guards did not hold.
    GuardIgnored,
    /// A watcher missed an event.
    WatchGap,
    /// A watcher saw an event again, or out of order.
    WatchRepeat,
    /// A watcher saw an event that never happened or that is not for it.
    WatchForeign,
    /// The history itself makes no sense.
    Malformed,
}

/// One thing that is wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What kind of thing.
    pub kind: Kind,
    /// Where, and what was expected.
    pub text: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong: the first few of each kind.
    pub violations: Vec<Violation>,
    /// Keys for which the search was given up: neither right nor wrong.
    pub undecided: Vec<String>,
    /// How many keys were judged.
    pub keys: usize,
    /// How many violations were left out.
    pub left_out: usize,
}

/// So many violations of one kind are told.
const TOLD: usize = 5;

impl Report {
    /// Whether nothing is wrong and everything was decided.
    pub fn holds(&self) -> bool {
        self.violations.is_empty() && self.undecided.is_empty()
    }

    /// The kinds of what is wrong, each once.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.violations.iter().map(|violation| violation.kind).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    pub(crate) fn add(&mut self, kind: Kind, text: String) {
        if self.violations.iter().filter(|violation| violation.kind == kind).count() < TOLD {
            self.violations.push(Violation { kind, text });
        } else {
            self.left_out += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds() {
            return write!(f, "{} keys: everything holds", self.keys);
        }
        for violation in &self.violations {
            writeln!(f, "{:?}: {}", violation.kind, violation.text)?;
        }
        if self.left_out > 0 {
            writeln!(f, "and {} more", self.left_out)?;
        }
        for key in &self.undecided {
            writeln!(f, "undecided: the search for an order of the operations on {key} was given up")?;
        }
        Ok(())
    }
}
