//! Writing the applied state behind the log's back: lazily, in batches, on a thread of its own.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use raft::eraftpb::ConfState;

use crate::entry::Entry;
use crate::error::StoreError;
use crate::history::{Change, Event};
use crate::key::{Key, Revision};

/// Where in the log a state stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub index: u64,
    pub term: u64,
    pub revision: Revision,
    pub conf_state: ConfState,
}

/// What brings a stored state to `point`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Batch {
    pub point: Point,
    /// The entries that changed; `None` where the key was deleted.
    pub objects: BTreeMap<Key, Option<Arc<Entry>>>,
    /// The buckets that changed.
    pub changed: BTreeMap<Arc<str>, Revision>,
}

/// Where the applied state is kept.
pub(crate) trait StateDisk: Send + 'static {
    /// Writes all of a batch or nothing of it, and makes it durable. After an error or a panic it is called again with
    /// at least the same.
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError>;
}

/// What has been applied and is not in the stored state yet.
#[derive(Default)]
pub(crate) struct Dirty {
    objects: BTreeMap<Key, Option<Arc<Entry>>>,
    changed: BTreeMap<Arc<str>, Revision>,
    bytes: usize,
}

impl Dirty {
    /// Notes what an event changed.
    pub fn note(&mut self, event: &Event) {
        const OVERHEAD: usize = 64;
        let key = event.key().clone();
        self.bytes += OVERHEAD + key.as_str().len();
        if !self.changed.contains_key(key.bucket()) {
            self.changed.insert(key.bucket().into(), event.revision);
        } else if let Some(revision) = self.changed.get_mut(key.bucket()) {
            *revision = event.revision;
        }
        let entry = match &event.change {
            Change::Put { entry, .. } => {
                self.bytes += entry.value().len();
                Some(entry.clone())
            }
            Change::Delete { .. } => None,
        };
        self.objects.insert(key, entry);
    }

    /// About how many bytes of changes came in since the last batch.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes everything as one batch.
    pub fn take(&mut self, point: Point) -> Batch {
        let Dirty { objects, changed, .. } = std::mem::take(self);
        Batch { point, objects, changed }
    }

    /// Puts back a batch that could not be written; what was noted since is newer.
    pub fn put_back(&mut self, batch: Batch) {
        for (key, entry) in batch.objects {
            self.objects.entry(key).or_insert(entry);
        }
        for (bucket, revision) in batch.changed {
            self.changed.entry(bucket).or_insert(revision);
        }
    }
}

/// What became of a batch.
pub(crate) enum Persisted {
    /// The stored state stands at this log entry.
    Done { index: u64 },
    /// It could not be written.
    Failed { batch: Box<Batch>, error: StoreError },
}

/// Writes a batch. sled panics on some errors of the disk, which must not leave the driver waiting.
fn write(disk: &mut impl StateDisk, batch: &Batch) -> Result<(), StoreError> {
    // The disk's own state is sound after a panic: a try begins anew.
    let written = std::panic::catch_unwind(AssertUnwindSafe(|| disk.write(batch)));
    written.unwrap_or_else(|_| Err(StoreError::Failed("the applied state's database panicked".to_owned())))
}

/// The thread that writes batches, one at a time.
pub(crate) struct Persister {
    jobs: Option<SyncSender<Box<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Persister {
    /// Starts the thread. It calls `done` after every batch.
    pub fn start(mut disk: impl StateDisk, done: impl Fn(Persisted) + Send + 'static) -> std::io::Result<Persister> {
        let (jobs, queue) = sync_channel::<Box<Batch>>(1);
        let thread = std::thread::Builder::new().name("store-state".to_owned()).spawn(move || {
            while let Ok(batch) = queue.recv() {
                done(match write(&mut disk, &batch) {
                    Ok(()) => Persisted::Done { index: batch.point.index },
                    Err(error) => Persisted::Failed { batch, error },
                });
            }
        })?;
        Ok(Persister { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands over a batch; only when the last one is done. Returns it when the thread is gone.
    pub fn write(&self, batch: Box<Batch>) -> Result<(), Box<Batch>> {
        match &self.jobs {
            Some(jobs) => jobs.try_send(batch).map_err(|refused| match refused {
                std::sync::mpsc::TrySendError::Full(batch) | std::sync::mpsc::TrySendError::Disconnected(batch) => {
                    batch
                }
            }),
            None => Err(batch),
        }
    }
}

impl Drop for Persister {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
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

    /// Fails twice, in different ways.
    struct Failing(usize);

    impl StateDisk for Failing {
        fn write(&mut self, _: &Batch) -> Result<(), StoreError> {
            self.0 += 1;
            match self.0 {
                1 => Err(StoreError::Full { path: "state".into() }),
                2 => panic!("as sled does"),
                _ => Ok(()),
            }
        }
    }

    #[test]
    fn every_batch_is_reported_whatever_happens_to_it() {
        let (reports, reported) = std::sync::mpsc::channel();
        let persister = Persister::start(Failing(0), move |persisted| reports.send(persisted).unwrap()).unwrap();
        let check = |expected: Option<&str>| {
            let batch = Box::new(Dirty::default().take(Point { index: 4, ..Point::default() }));
            persister.write(batch).unwrap();
            match reported.recv().unwrap() {
                Persisted::Done { index } => assert_eq!((index, None), (4, expected)),
                Persisted::Failed { batch, error } => {
                    assert_eq!((batch.point.index, Some(error.to_string().as_str())), (4, expected));
                }
            }
        };
        check(Some("state: the disk is full"));
        check(Some("the store takes no more writes since: the applied state's database panicked"));
        check(None);
    }

    #[test]
    fn a_batch_that_failed_goes_below_what_came_later() {
        let mut dirty = Dirty::default();
        dirty.note(&put("a/1", 1));
        dirty.note(&put("b/1", 2));
        let failed = dirty.take(Point::default());
        assert_eq!(dirty.bytes(), 0);
        dirty.note(&put("a/1", 3));
        dirty.put_back(failed);
        let batch = dirty.take(Point::default());
        let seen: Vec<_> = batch
            .objects
            .iter()
            .map(|(key, entry)| (key.as_str(), entry.as_ref().map_or(0, |entry| entry.modified().0)))
            .collect();
        assert_eq!(seen, [("a/1", 3), ("b/1", 2)]);
        assert_eq!(batch.changed.into_values().collect::<Vec<_>>(), [Revision(3), Revision(2)]);
    }
}
