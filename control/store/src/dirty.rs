//! What the stored state lacks: everything that was applied since it was written, in generations.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::entry::Entry;
use crate::history::{Change, Event};
use crate::image::Image;
use crate::key::{Key, Revision};

/// What brings a stored state to where `image` stands.
#[derive(Clone, Default)]
pub(crate) struct Batch {
    /// The whole state at that point, should it be written anew.
    pub image: Image,
    /// The entries that changed; `None` where the key was deleted.
    pub objects: BTreeMap<Key, Option<Arc<Entry>>>,
    /// The buckets that changed.
    pub changed: BTreeMap<Arc<str>, Revision>,
}

impl Batch {
    /// About how many bytes it writes.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = 16;
        let size = |(key, entry): (&Key, &Option<Arc<Entry>>)| {
            OVERHEAD + key.as_str().len() + entry.as_ref().map_or(0, |entry| entry.value().len())
        };
        self.objects.iter().map(size).sum()
    }

    /// What brings a stored state to where the last of these stands.
    pub fn merged(batches: Vec<Batch>) -> Batch {
        let mut merged = Batch::default();
        for batch in batches {
            merged.image = batch.image;
            // The first is taken as it is.
            merged.objects = laid_over(merged.objects, batch.objects);
            merged.changed = laid_over(merged.changed, batch.changed);
        }
        merged
    }
}

fn laid_over<K: Ord, V>(mut below: BTreeMap<K, V>, above: BTreeMap<K, V>) -> BTreeMap<K, V> {
    if below.is_empty() {
        return above;
    }
    below.extend(above);
    below
}

/// What has been applied and is not in the stored state yet, in generations. The youngest are not written: the log still
/// has them, and replaying it at the next start brings the watches' history back.
#[derive(Default)]
pub(crate) struct Dirty {
    /// The one that grows.
    young: Generation,
    /// From the oldest on, each with the state as it was when it ended.
    older: VecDeque<Generation>,
}

#[derive(Default)]
struct Generation {
    /// Without an image while it grows.
    batch: Batch,
    /// About how many bytes of changes it was told of.
    bytes: usize,
    ended: Duration,
}

impl Dirty {
    /// So many generations may wait; each holds what it overwrote.
    const MOST: usize = 16;

    /// Notes what an event changed, in the youngest generation.
    pub fn note(&mut self, event: &Event) {
        const OVERHEAD: usize = 64;
        let Generation { batch, bytes, .. } = &mut self.young;
        let key = event.key().clone();
        *bytes += OVERHEAD + key.as_str().len();
        if !batch.changed.contains_key(key.bucket()) {
            batch.changed.insert(key.bucket().into(), event.revision);
        } else if let Some(revision) = batch.changed.get_mut(key.bucket()) {
            *revision = event.revision;
        }
        let entry = match &event.change {
            Change::Put { entry, .. } => {
                *bytes += entry.value().len();
                Some(entry.clone())
            }
            // As much is to go from disk.
            Change::Delete { previous, .. } => {
                *bytes += previous.value().len();
                None
            }
        };
        batch.objects.insert(key, entry);
    }

    /// About how many bytes of changes the youngest generation was told of.
    pub fn bytes(&self) -> usize {
        self.young.bytes
    }

    /// Whether another generation may begin.
    pub fn has_room(&self) -> bool {
        self.older.len() < Self::MOST
    }

    /// Begins a new generation. The one before ends now, at `image`, which is the state as it is.
    pub fn turn(&mut self, image: Image, now: Duration) {
        let mut generation = std::mem::take(&mut self.young);
        generation.batch.image = image;
        generation.ended = now;
        self.older.push_back(generation);
    }

    /// Takes the oldest generations, to be written, if they were told of `least` bytes: as many as leave younger ones that
    /// were told of `kept` bytes.
    pub fn take_beyond(&mut self, kept: usize, least: usize) -> Vec<Batch> {
        let mut rest = self.young.bytes + self.older.iter().map(|generation| generation.bytes).sum::<usize>();
        let (mut count, mut bytes) = (0, 0);
        for generation in &self.older {
            rest -= generation.bytes;
            if rest < kept {
                break;
            }
            count += 1;
            bytes += generation.bytes;
        }
        if bytes < least { Vec::new() } else { self.take_first(count) }
    }

    /// Takes the generations that had ended by then, but never the youngest one that changed something.
    pub fn take_ended(&mut self, by: Duration) -> Vec<Batch> {
        let ended = self.older.partition_point(|generation| generation.ended <= by);
        self.take_first(ended.min(self.waiting()))
    }

    /// So many generations wait to be written: all but the youngest one that changed something.
    pub fn waiting(&self) -> usize {
        self.older.len().saturating_sub(usize::from(self.young.bytes == 0))
    }

    /// Takes everything; what has not ended yet ends at `image`.
    pub fn take(&mut self, image: Image) -> Vec<Batch> {
        self.turn(image, Duration::MAX);
        self.take_first(self.older.len())
    }

    fn take_first(&mut self, count: usize) -> Vec<Batch> {
        self.older.drain(..count).map(|generation| generation.batch).collect()
    }

    /// Puts back what could not be written, as the oldest generation.
    pub fn put_back(&mut self, batch: Batch) {
        let bytes = batch.bytes();
        self.older.push_front(Generation { batch, bytes, ended: Duration::ZERO });
    }

    /// Forgets everything: the state was replaced by one that is stored as a whole.
    pub fn clear(&mut self) {
        *self = Dirty::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn put(key: &str, revision: u64) -> Event {
        let revision = Revision(revision);
        let entry = Entry::put(key.into(), Bytes::from_static(b"value"), revision, revision, None);
        Event { revision, change: Change::Put { entry, previous: None } }
    }

    fn image(index: u64) -> Image {
        let mut image = Image::default();
        image.state.pass(index, 1);
        image
    }

    fn seen(batch: &Batch) -> Vec<(&str, u64)> {
        let modified = |entry: &Option<Arc<Entry>>| entry.as_ref().map_or(0, |entry| entry.modified().0);
        batch.objects.iter().map(|(key, entry)| (key.as_str(), modified(entry))).collect()
    }

    #[test]
    fn the_youngest_generations_stay() {
        let mut dirty = Dirty::default();
        let each = {
            dirty.note(&put("a/1", 1));
            dirty.bytes()
        };
        for revision in 2..=5 {
            dirty.turn(image(revision - 1), Duration::from_secs(revision));
            assert_eq!(dirty.bytes(), 0);
            dirty.note(&put("a/1", revision));
        }
        let taken = |batches: Vec<Batch>| batches.iter().map(|batch| batch.image.state.index()).collect::<Vec<_>>();
        // Four have ended, and one grows.
        assert_eq!(taken(dirty.take_beyond(5 * each, 0)), []);
        assert_eq!(taken(dirty.take_beyond(3 * each, 3 * each)), [], "two are too few");
        assert_eq!(taken(dirty.take_beyond(3 * each, 2 * each)), [1, 2]);
        assert_eq!(taken(dirty.take_ended(Duration::from_secs(3))), []);
        assert_eq!(taken(dirty.take_ended(Duration::from_secs(4))), [3]);
        assert_eq!(dirty.waiting(), 1);
        dirty.turn(image(5), Duration::from_secs(6));
        assert_eq!(dirty.waiting(), 1, "the last one stays");
        assert_eq!(taken(dirty.take_ended(Duration::MAX)), [4]);
        assert_eq!(taken(dirty.take_ended(Duration::MAX)), []);
        assert_eq!(taken(dirty.take(image(6))), [5, 6]);
    }

    #[test]
    fn generations_end_as_long_as_there_is_room() {
        let mut dirty = Dirty::default();
        let mut count = 0;
        while dirty.has_room() {
            count += 1;
            dirty.turn(image(count), Duration::ZERO);
        }
        assert_eq!(count, Dirty::MOST as u64);
        assert_eq!(dirty.take_beyond(0, 0).len(), Dirty::MOST);
        assert!(dirty.has_room());
    }

    #[test]
    fn a_batch_that_failed_goes_below_what_came_later() {
        let mut dirty = Dirty::default();
        dirty.note(&put("a/1", 1));
        dirty.note(&put("b/1", 2));
        let failed = Batch::merged(dirty.take(image(2)));
        assert_eq!(dirty.bytes(), 0);
        dirty.note(&put("a/1", 3));
        dirty.turn(image(3), Duration::ZERO);
        dirty.note(&put("a/2", 4));
        dirty.put_back(failed);
        let batch = Batch::merged(dirty.take(image(4)));
        assert_eq!(batch.image.state.index(), 4);
        assert_eq!(seen(&batch), [("a/1", 3), ("a/2", 4), ("b/1", 2)]);
        assert_eq!(batch.changed.into_values().collect::<Vec<_>>(), [Revision(4), Revision(2)]);
    }
}
