//! One stored value and what the store knows about it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::key::{Key, Revision};

/// What the store's user keeps with an entry, see [`Entry::memo`].
pub type Memo = Box<dyn Any + Send + Sync>;

/// One version of one key's value. Always shared behind an `Arc`, never changed.
pub struct Entry {
    key: Key,
    value: Bytes,
    created: Revision,
    modified: Revision,
    revision_at: Option<u32>,
    memo: OnceLock<Memo>,
}

impl Entry {
    /// An entry whose value was stored already, the revision spliced in at `revision_at`.
    pub(crate) fn stored(
        key: Key,
        value: Bytes,
        created: Revision,
        modified: Revision,
        revision_at: Option<u32>,
    ) -> Arc<Entry> {
        Arc::new(Entry { key, value, created, modified, revision_at, memo: OnceLock::new() })
    }

    /// An entry as a `put` at `modified` makes it: the revision's text is inserted into `value`.
    pub(crate) fn put(
        key: Key,
        value: Bytes,
        created: Revision,
        modified: Revision,
        revision_at: Option<u32>,
    ) -> Arc<Entry> {
        let value = match revision_at {
            Some(at) => splice(&value, at as usize, 0, modified),
            None => value,
        };
        Entry::stored(key, value, created, modified, revision_at)
    }

    /// This entry as its delete at `revision` leaves it: the same value with the delete's revision in it.
    pub(crate) fn tombstone(&self, revision: Revision) -> Arc<Entry> {
        let value = match self.revision_at {
            Some(at) => splice(&self.value, at as usize, decimal_len(self.modified), revision),
            None => self.value.clone(),
        };
        Entry::stored(self.key.clone(), value, self.created, revision, self.revision_at)
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The value, the commit's revision spliced in when the write asked for that.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// The revision at which the key came to be (again).
    pub fn created(&self) -> Revision {
        self.created
    }

    /// The revision of this version; of a tombstone, that of the delete.
    pub fn modified(&self) -> Revision {
        self.modified
    }

    /// Where the revision's text stands in the value.
    pub(crate) fn revision_at(&self) -> Option<u32> {
        self.revision_at
    }

    /// What `make` derives from the value, computed once and kept with the entry.
    ///
    /// # Panics
    /// When two callers ask for different types: a store has one user, which keeps one type of memo.
    pub fn memo<T: Any + Send + Sync>(&self, make: impl FnOnce(&Bytes) -> T) -> &T {
        let memo = self.memo.get_or_init(|| Box::new(make(&self.value)));
        // The store's user derives one type from its entries, so the stored type is the asked one.
        memo.downcast_ref::<T>().expect("one type of memo per store")
    }
}

impl Entry {
    /// Takes what its writer made of the value before it was written, unless something was made meanwhile.
    pub(crate) fn keep(&self, memo: Memo) {
        let _ = self.memo.set(memo);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.key == other.key
            && self.value == other.value
            && self.created == other.created
            && self.modified == other.modified
            && self.revision_at == other.revision_at
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("value", &self.value)
            .field("created", &self.created.0)
            .field("modified", &self.modified.0)
            .finish()
    }
}

/// `value` with `old_len` bytes at `at` replaced by the revision's decimal text. `at` was checked against the value
/// when the transaction was accepted; a position past the end appends.
fn splice(value: &Bytes, at: usize, old_len: usize, revision: Revision) -> Bytes {
    let at = at.min(value.len());
    let rest = (at + old_len).min(value.len());
    let text = revision.0.to_string();
    let mut spliced = Vec::with_capacity(value.len() - (rest - at) + text.len());
    spliced.extend_from_slice(&value[..at]);
    spliced.extend_from_slice(text.as_bytes());
    spliced.extend_from_slice(&value[rest..]);
    spliced.into()
}

fn decimal_len(revision: Revision) -> usize {
    revision.0.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_spliced_on_put_and_replaced_on_delete() {
        fn check(
            value: &'static str,
            at: Option<u32>,
            put: u64,
            delete: u64,
            expected_put: &str,
            expected_delete: &str,
        ) {
            let value = Bytes::from_static(value.as_bytes());
            let entry = Entry::put("a/b".into(), value, Revision(1), Revision(put), at);
            assert_eq!(entry.value(), expected_put.as_bytes());
            let tombstone = entry.tombstone(Revision(delete));
            assert_eq!(tombstone.value(), expected_delete.as_bytes());
            assert_eq!((tombstone.created(), tombstone.modified()), (Revision(1), Revision(delete)));
        }
        check("<>", Some(1), 7, 8, "<7>", "<8>");
        check("<>", Some(1), 9, 10, "<9>", "<10>");
        check("<>", Some(1), 99, 1000, "<99>", "<1000>");
        check("<>", Some(0), 12, 13, "12<>", "13<>");
        check("<>", Some(2), 12, 13, "<>12", "<>13");
        check("plain", None, 5, 6, "plain", "plain");
        check("", Some(0), 5, 6, "5", "6");
    }

    #[test]
    fn a_memo_is_made_once() {
        let entry = Entry::put("a/b".into(), Bytes::from_static(b"abc"), Revision(1), Revision(1), None);
        assert_eq!(*entry.memo(|value| value.len()), 3);
        assert_eq!(*entry.memo::<usize>(|_| panic!("made twice")), 3);
    }
}
