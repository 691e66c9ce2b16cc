//! Transactions: what a writer asks for, and what became of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Entry, Memo};
use crate::error::StoreError;
use crate::key::{Key, Revision};

/// A condition on one key that must hold when the transaction is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key must not exist.
    Absent(Key),
    /// The key must exist and have been modified last at this revision.
    Unchanged(Key, Revision),
    /// The key must exist.
    Present(Key),
}

impl Guard {
    /// The key that is guarded.
    pub fn key(&self) -> &Key {
        match self {
            Guard::Absent(key) | Guard::Unchanged(key, _) | Guard::Present(key) => key,
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets the key's value.
    Put {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// Where the decimal text of the commit's revision is inserted in `value`.
        revision_at: Option<u32>,
    },
    /// Removes the key; no change when it does not exist.
    Delete {
        /// The key.
        key: Key,
    },
}

impl Op {
    /// The key that is changed.
    pub fn key(&self) -> &Key {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }
}

/// All of it happens at one revision, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What is done; no key may be named twice.
    pub ops: Vec<Op>,
}

impl Txn {
    /// A transaction without conditions.
    pub fn of(ops: Vec<Op>) -> Txn {
        Txn { guards: Vec::new(), ops }
    }

    /// Refuses what the state machine could not apply sensibly.
    pub(crate) fn validate(&self) -> Result<(), StoreError> {
        let mut seen = BTreeSet::new();
        for op in &self.ops {
            let key = op.key();
            if key.as_str().is_empty() {
                return Err(StoreError::Invalid("a key is empty".to_owned()));
            }
            if !seen.insert(key) {
                return Err(StoreError::Invalid(format!("{key} is changed twice")));
            }
            if let Op::Put { value, revision_at: Some(at), .. } = op
                && *at as usize > value.len()
            {
                let len = value.len();
                return Err(StoreError::Invalid(format!("{key}: revision_at {at} is past the value's {len} bytes")));
            }
        }
        Ok(())
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was applied and is durable.
    Committed {
        /// The commit's revision; the store's current one when nothing had to be changed.
        revision: Revision,
        /// One for each op: the new entry, or for a delete the tombstone (the last value with the delete's revision
        /// spliced in), `None` if the key was absent.
        entries: Vec<Option<Arc<Entry>>>,
    },
    /// A guard did not hold; nothing was changed.
    Refused {
        /// The position of the first guard that failed.
        guard: usize,
        /// What its key holds.
        current: Option<Arc<Entry>>,
    },
}

impl Outcome {
    /// Has the first entry that was put keep what its writer made of the value.
    pub(crate) fn keep(&self, memo: Memo) {
        if let Outcome::Committed { entries, .. } = self
            && let Some(Some(entry)) = entries.first()
        {
            entry.keep(memo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, revision_at: Option<u32>) -> Op {
        Op::Put { key: key.into(), value: Bytes::from_static(b"abc"), revision_at }
    }

    #[test]
    fn ambiguous_transactions_are_refused() {
        fn check(ops: Vec<Op>, expected: Option<&str>) {
            let refused = Txn::of(ops).validate().err().map(|error| error.to_string());
            assert_eq!(refused.as_deref(), expected);
        }
        check(vec![], None);
        check(vec![put("a/b", Some(3)), Op::Delete { key: "a/c".into() }], None);
        check(
            vec![put("a/b", None), Op::Delete { key: "a/b".into() }],
            Some("invalid transaction: a/b is changed twice"),
        );
        check(vec![put("", None)], Some("invalid transaction: a key is empty"));
        check(vec![put("a/b", Some(4))], Some("invalid transaction: a/b: revision_at 4 is past the value's 3 bytes"));
    }
}
