//! What clients did and saw.

use std::collections::BTreeMap;

/// A value. Whoever writes a history sees to it that no value is written twice to the same key: so a read tells which
/// write it saw.
pub type Value = u64;

/// Everything that the clients of one store did and saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// What keys held before the first operation, if they held anything.
    pub initial: BTreeMap<String, Value>,
    /// The store's revision before the first operation; watches and reads are judged from there on.
    pub base: u64,
    /// In any order.
    pub operations: Vec<Operation>,
    /// One for each watcher.
    pub watches: Vec<Watch>,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Who asked, for the report.
    pub client: u64,
    /// Which server was asked, for the report.
    pub server: String,
    /// When it was called, in nanoseconds of one clock that all clients share.
    pub called: u64,
    /// What was asked.
    pub call: Call,
    /// What came back, and when. `None` when nothing did: it may have happened at any time since, or never.
    pub returned: Option<Returned>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// A linearizable read of keys at one revision.
    Read {
        /// The keys.
        keys: Vec<String>,
    },
    /// A read of what a server has applied, at one revision, however old.
    Stale {
        /// The keys.
        keys: Vec<String>,
    },
    /// A transaction: all writes at one revision if all guards hold, else nothing.
    Txn {
        /// What must hold.
        guards: Vec<Guard>,
        /// What is written. No key is named twice.
        writes: Vec<Write>,
    },
}

/// A condition on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It does not exist.
    Absent(String),
    /// It exists.
    Present(String),
    /// It holds this value. A guard on the revision at which this value was written says the same.
    Is(String, Value),
}

impl Guard {
    /// The key that is guarded.
    pub fn key(&self) -> &str {
        match self {
            Guard::Absent(key) | Guard::Present(key) | Guard::Is(key, _) => key,
        }
    }
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: String,
    /// Its new value; `None` removes it.
    pub value: Option<Value>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// When it came, on the clock of `called`.
    pub at: u64,
    /// What it was.
    pub outcome: Outcome,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A read's answer: for each key, what it holds, and the revision of all of it if it was told.
    Read {
        /// In the order of the call's keys.
        found: Vec<Option<Found>>,
        /// The revision that was read.
        revision: Option<u64>,
    },
    /// The transaction happened.
    Committed {
        /// Its revision if it was told; `None` too when nothing had to be changed.
        revision: Option<u64>,
    },
    /// The transaction did not happen, for a guard did not hold.
    Refused {
        /// The position of the first guard that failed.
        guard: usize,
        /// What its key held, if that was told.
        current: Option<Option<Value>>,
    },
    /// It may happen at any time, or never: a timeout, a lost connection.
    Unknown,
    /// It did not happen and will not.
    Failed,
}

/// What a read saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: Value,
    /// The revision that wrote it, if it was told.
    pub modified: Option<u64>,
}

/// What one watcher saw, on whatever servers it was connected to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Who watches, for the report.
    pub watcher: u64,
    /// The keys that begin with this.
    pub prefix: String,
    /// In the order in which the watcher saw them.
    pub steps: Vec<Step>,
}

/// What a watcher did or saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It began, or went on with another connection or server, behind this revision.
    Started {
        /// The server.
        server: String,
        /// Events up to and including those of this revision are not wanted.
        after: u64,
    },
    /// A change.
    Event {
        /// The commit's revision; several changes may share it.
        revision: u64,
        /// The key.
        key: String,
        /// Its new value; `None` when it was removed.
        value: Option<Value>,
    },
    /// The server says that everything up to this revision has been delivered.
    Complete {
        /// The revision.
        revision: u64,
    },
    /// The server says honestly that it cannot go on without a gap (410 Gone, lagged, compacted): the watcher has to list.
    Broken,
    /// The watcher listed: these are all the keys with the prefix, at one revision. A `Started` behind that follows.
    Listed {
        /// The list's revision.
        revision: u64,
        /// All keys with the prefix.
        found: BTreeMap<String, Value>,
    },
    /// The connection ended, for whatever reason; a `Started` may follow, behind any revision that was told.
    Ended,
}
