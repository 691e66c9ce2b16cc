//! Mistakes that are made on purpose, to see that the simulation finds them.

use std::fmt;
use std::str::FromStr;

use crate::core;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Writes are acknowledged before they are on disk.
    AcknowledgeBeforeFlush,
    /// Consistent reads are answered from whatever the server has applied.
    SkipReadIndex,
    /// A new leader counts on from a revision that was given already.
    ReuseRevision,
    /// A write that is in the log twice is applied twice.
    SkipDedup,
    /// A server forgets at its start for whom it voted.
    ForgetVote,
    /// A leader counts for too long on nobody else being elected.
    LongLease,
}

const NAMES: [(Planted, &str); 6] = [
    (Planted::AcknowledgeBeforeFlush, "ack-before-flush"),
    (Planted::SkipReadIndex, "skip-read-index"),
    (Planted::ReuseRevision, "reuse-revision"),
    (Planted::SkipDedup, "skip-dedup"),
    (Planted::ForgetVote, "forget-vote"),
    (Planted::LongLease, "long-lease"),
];

impl Planted {
    /// The core's own, if it makes the mistake itself.
    pub(crate) fn in_core(self) -> Option<core::Planted> {
        match self {
            Planted::AcknowledgeBeforeFlush => Some(core::Planted::AcknowledgeBeforeFlush),
            Planted::SkipReadIndex => Some(core::Planted::SkipReadIndex),
            Planted::ReuseRevision => Some(core::Planted::ReuseRevision),
            Planted::SkipDedup => Some(core::Planted::SkipDedup),
            Planted::ForgetVote => None,
            Planted::LongLease => Some(core::Planted::LongLease),
        }
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(planted, _)| planted == self);
        f.write_str(name.map_or("unknown", |(_, name)| name))
    }
}

impl FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Planted, String> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map(|(planted, _)| *planted).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
            format!("{text:?} is no planted bug; there are {}", names.join(", "))
        })
    }
}
