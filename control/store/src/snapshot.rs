//! The store's content at one revision.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::entry::Entry;
use crate::key::{Key, Revision};

/// All entries at one revision. Cheap to clone, and never changes.
#[derive(Clone, Default)]
pub struct Snapshot {
    objects: OrdMap<Key, Arc<Entry>>,
    revision: Revision,
    index: u64,
}

impl Snapshot {
    /// The entries as they were at a revision, when this log entry had been applied.
    pub(crate) fn new(objects: OrdMap<Key, Arc<Entry>>, revision: Revision, index: u64) -> Snapshot {
        Snapshot { objects, revision, index }
    }

    /// The last log entry that had been applied.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// All entries by their keys.
    pub(crate) fn objects(&self) -> &OrdMap<Key, Arc<Entry>> {
        &self.objects
    }

    /// The revision of the last commit that this snapshot holds.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// As it was at an earlier revision, when there was something else, or nothing, at these keys.
    pub(crate) fn rewound(
        &self,
        revision: Revision,
        before: impl IntoIterator<Item = (Key, Option<Arc<Entry>>)>,
    ) -> Snapshot {
        let mut objects = self.objects.clone();
        for (key, entry) in before {
            match entry {
                Some(entry) => objects.insert(key, entry),
                None => objects.remove(&key),
            };
        }
        Snapshot { objects, revision, index: self.index }
    }

    /// The entry at this key.
    pub fn get(&self, key: impl AsRef<str>) -> Option<&Arc<Entry>> {
        self.objects.get(key.as_ref())
    }

    /// The entries whose keys begin with `prefix`, in the order of their keys, from behind `after` if given.
    pub fn range<'a, 'p>(
        &'a self,
        prefix: &'p str,
        after: Option<&'p Key>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a, 'p> {
        let from = match after {
            Some(key) if key.as_str() >= prefix => Bound::Excluded(key.as_str()),
            _ => Bound::Included(prefix),
        };
        // Most ranges are empty, which the first entry tells. Of the others only the end is looked for: to compare all keys would
        // take a tenth of a long list's time, for they lie all over the memory.
        let first = self.objects.range::<_, str>((from, Bound::Unbounded)).next();
        let some = first.filter(|(key, _)| key.as_str().starts_with(prefix));
        let behind = some.and_then(|_| successor(prefix));
        let to = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = some.map(|_| self.objects.range::<_, str>((from, to)));
        range.into_iter().flatten().map(|(_, entry)| entry)
    }

    /// How many entries there are in all.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// The least text that is greater than all that begin with `prefix`, if there is one.
fn successor(prefix: &str) -> Option<String> {
    let mut chars = prefix.chars();
    while let Some(last) = chars.next_back() {
        let next = (last..=char::MAX).nth(1);
        if let Some(next) = next {
            return Some(format!("{}{next}", chars.as_str()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_range_holds_its_prefix_from_behind_a_key() {
        let mut objects = OrdMap::new();
        for key in ["a/", "a/1", "a/2", "a/20", "a/3", "a0", "b/1"] {
            let entry = Entry::put(key.into(), Bytes::new(), Revision(1), Revision(1), None);
            objects.insert(Key::from(key), entry);
        }
        let snapshot = Snapshot::new(objects, Revision(1), 1);
        let check = |prefix: &str, after: Option<&str>, expected: &[&str]| {
            let after = after.map(Key::from);
            let found: Vec<&str> = snapshot.range(prefix, after.as_ref()).map(|entry| entry.key().as_str()).collect();
            assert_eq!(found, expected);
        };
        check("a/", None, &["a/", "a/1", "a/2", "a/20", "a/3"]);
        check("a/2", None, &["a/2", "a/20"]);
        check("a/", Some("a/2"), &["a/20", "a/3"]);
        check("a/", Some("a/25"), &["a/3"]);
        check("a/", Some("a"), &["a/", "a/1", "a/2", "a/20", "a/3"]);
        check("a/", Some("b"), &[]);
        check("c", None, &[]);
        check("", Some("a/3"), &["a0", "b/1"]);
        check("", None, &["a/", "a/1", "a/2", "a/20", "a/3", "a0", "b/1"]);
    }

    #[test]
    fn ranges_are_what_comparing_every_key_makes_them() {
        let keys = |count: u64| {
            (0..count).map(|turn| format!("{}/{:03}", ["a", "b", "bb", "b0", "c"][turn as usize % 5], turn))
        };
        for count in [0, 1, 5, 63, 64, 65, 1_000, 5_000] {
            let mut objects = OrdMap::new();
            for key in keys(count) {
                let entry = Entry::put(key.as_str().into(), Bytes::new(), Revision(1), Revision(1), None);
                objects.insert(Key::from(key), entry);
            }
            let snapshot = Snapshot::new(objects, Revision(1), 1);
            for prefix in ["", "a", "a/", "a/0", "a/9", "b", "b/", "b0/", "bb/1", "c/", "c0", "d", "\u{10ffff}"] {
                for after in [None, Some("a/000"), Some("a/5"), Some("b/001"), Some("bb/"), Some("c/999"), Some("z")] {
                    let after = after.map(Key::from);
                    let behind = |key: &str| after.as_ref().is_none_or(|after| key > after.as_str());
                    let all = snapshot.objects().keys().map(Key::as_str);
                    let expected: Vec<&str> = all.filter(|key| key.starts_with(prefix) && behind(key)).collect();
                    let found: Vec<&str> =
                        snapshot.range(prefix, after.as_ref()).map(|entry| entry.key().as_str()).collect();
                    assert_eq!(found, expected, "{count} {prefix:?} {after:?}");
                }
            }
        }
    }

    #[test]
    fn a_successor_is_behind_all_that_begin_alike() {
        let check = |prefix: &str, expected: Option<&str>| assert_eq!(successor(prefix).as_deref(), expected);
        check("", None);
        check("a/", Some("a0"));
        check("a\u{d7ff}", Some("a\u{e000}"));
        check("a\u{10ffff}", Some("b"));
        check("\u{10ffff}", None);
    }
}
