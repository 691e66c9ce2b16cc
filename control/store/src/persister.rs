//! Writing the applied state behind the log's back: lazily, in batches, on a thread of its own.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::entry::Entry;
use crate::error::StoreError;
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
}

/// Where the applied state is kept.
pub(crate) trait StateDisk: Send + 'static {
    /// Writes all of a batch or nothing of it, and makes it durable. After an error or a panic it is called again with
    /// at least the same. A batch that is behind what is stored already changes nothing.
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Makes a whole state durable beside the present one, which stays what it is. It takes the place of one that was
    /// staged before.
    fn stage(&mut self, image: &Image) -> Result<(), StoreError>;

    /// Puts the staged state in the place of the present one. After a crash either of them is there; if it is the staged
    /// one and the log was not reset, [`crate::log::Log::open`] is told so and resets it.
    fn adopt(&mut self) -> Result<(), StoreError>;

    /// Forgets the staged state, if there is one.
    fn discard(&mut self);
}

/// What has been applied and is not in the stored state yet, in two generations. Only the older one is ever written: the
/// log still has the younger one, and replaying it at the next start brings the watches' history back.
#[derive(Default)]
pub(crate) struct Dirty {
    objects: BTreeMap<Key, Option<Arc<Entry>>>,
    changed: BTreeMap<Arc<str>, Revision>,
    bytes: usize,
    /// The older generation, with the state as it was when the younger one began.
    old: Option<Batch>,
}

impl Dirty {
    /// Notes what an event changed, in the younger generation.
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

    /// About how many bytes of changes the younger generation was told of.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins a new generation: the younger one becomes the older one, standing at `image`, which is the state as it is
    /// now; the older one, if there was one, is given out to be written.
    pub fn turn(&mut self, image: Image) -> Option<Batch> {
        let objects = std::mem::take(&mut self.objects);
        let changed = std::mem::take(&mut self.changed);
        self.bytes = 0;
        self.old.replace(Batch { image, objects, changed })
    }

    /// Takes the older generation, to be written.
    pub fn take_old(&mut self) -> Option<Batch> {
        self.old.take()
    }

    /// Takes both generations as one batch.
    pub fn take(&mut self, image: Image) -> Batch {
        let old = self.turn(image);
        if let Some(old) = old {
            self.put_back(old);
        }
        self.old.take().unwrap_or_default()
    }

    /// Puts back a batch that could not be written, into the older generation; what was noted since is newer.
    pub fn put_back(&mut self, batch: Batch) {
        let Some(old) = &mut self.old else {
            self.old = Some(batch);
            return;
        };
        for (key, entry) in batch.objects {
            old.objects.entry(key).or_insert(entry);
        }
        for (bucket, revision) in batch.changed {
            old.changed.entry(bucket).or_insert(revision);
        }
    }

    /// Forgets everything: the state was replaced by one that is stored as a whole.
    pub fn clear(&mut self) {
        *self = Dirty::default();
    }
}

/// What became of what the persister was given.
pub(crate) enum Persisted {
    /// The stored state stands at this log entry.
    Done { index: u64 },
    /// The batch could not be written.
    Failed { batch: Box<Batch>, error: StoreError },
    /// An image was staged, or could not be.
    Staged(Result<(), StoreError>),
}

/// What the thread is asked for.
enum Job {
    Write(Box<Batch>),
    Stage(Box<Image>),
    Adopt(SyncSender<Result<(), StoreError>>),
    Discard,
}

/// One of each kind at most.
const JOBS: usize = 4;

/// Adopting is one small file to write; but a batch may be under way, on a slow disk.
const ADOPT_LIMIT: Duration = Duration::from_secs(60);

/// sled panics on some errors of the disk, which must not leave the driver waiting. The disk's own state is sound after a
/// panic: a try begins anew.
fn guarded(work: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(StoreError::Failed("the applied state's database panicked".to_owned())))
}

fn gone() -> StoreError {
    StoreError::Failed("the thread that writes the applied state is gone".to_owned())
}

/// The thread that writes the stored state, one thing at a time.
pub(crate) struct Persister {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Persister {
    /// Starts the thread. It calls `done` after every batch and every staging.
    pub fn start(mut disk: impl StateDisk, done: impl Fn(Persisted) + Send + 'static) -> std::io::Result<Persister> {
        let (jobs, queue) = sync_channel::<Job>(JOBS);
        let thread = std::thread::Builder::new().name("store-state".to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                match job {
                    Job::Write(batch) => done(match guarded(|| disk.write(&batch)) {
                        Ok(()) => Persisted::Done { index: batch.image.state.index() },
                        Err(error) => Persisted::Failed { batch, error },
                    }),
                    Job::Stage(image) => done(Persisted::Staged(guarded(|| disk.stage(&image)))),
                    Job::Adopt(reply) => {
                        // Whoever asked may have given up.
                        let _ = reply.send(guarded(|| disk.adopt()));
                    }
                    Job::Discard => disk.discard(),
                }
            }
        })?;
        Ok(Persister { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands over a batch; only when the last one is done. Returns it when the thread is gone.
    pub fn write(&self, batch: Box<Batch>) -> Result<(), Box<Batch>> {
        self.ask(Job::Write(batch)).map_err(|job| match job {
            Job::Write(batch) => batch,
            _ => Box::default(),
        })
    }

    /// Hands over an image to be staged; only when the last one is done. What becomes of it is reported, unless the thread
    /// is gone.
    pub fn stage(&self, image: Box<Image>) -> Result<(), StoreError> {
        self.ask(Job::Stage(image)).map_err(|_| gone())
    }

    /// Puts the staged state in place, and waits for that. When it fails, whoever asked does not know which state is in
    /// place until the next start.
    pub fn adopt(&self) -> Result<(), StoreError> {
        let (reply, adopted) = sync_channel(1);
        self.ask(Job::Adopt(reply)).map_err(|_| gone())?;
        adopted.recv_timeout(ADOPT_LIMIT).map_err(|_| gone())?
    }

    /// Forgets the staged state.
    pub fn discard(&self) {
        // If the thread is gone, the next start removes what was staged.
        let _ = self.ask(Job::Discard);
    }

    fn ask(&self, job: Job) -> Result<(), Job> {
        match &self.jobs {
            Some(jobs) => jobs.try_send(job).map_err(|refused| match refused {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }),
            None => Err(job),
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

    fn image(index: u64) -> Image {
        let mut image = Image::default();
        image.state.pass(index, 1);
        image
    }

    /// Fails twice, in different ways.
    struct Failing(usize);

    impl Failing {
        fn again(&mut self) -> Result<(), StoreError> {
            self.0 += 1;
            match self.0 {
                1 => Err(StoreError::Full { path: "state".into() }),
                2 => panic!("as sled does"),
                _ => Ok(()),
            }
        }
    }

    impl StateDisk for Failing {
        fn write(&mut self, _: &Batch) -> Result<(), StoreError> {
            self.again()
        }

        fn stage(&mut self, _: &Image) -> Result<(), StoreError> {
            self.again()
        }

        fn adopt(&mut self) -> Result<(), StoreError> {
            self.again()
        }

        fn discard(&mut self) {
            self.0 = 0;
        }
    }

    const FULL: Option<&str> = Some("state: the disk is full");
    const PANICKED: Option<&str> = Some("the store takes no more writes since: the applied state's database panicked");

    #[test]
    fn every_batch_is_reported_whatever_happens_to_it() {
        let (reports, reported) = std::sync::mpsc::channel();
        let persister = Persister::start(Failing(0), move |persisted| reports.send(persisted).unwrap()).unwrap();
        let check = |expected: Option<&str>| {
            let batch = Box::new(Dirty::default().take(image(4)));
            assert!(persister.write(batch).is_ok());
            match reported.recv().unwrap() {
                Persisted::Done { index } => assert_eq!((index, None), (4, expected)),
                Persisted::Failed { batch, error } => {
                    let index = batch.image.state.index();
                    assert_eq!((index, Some(error.to_string().as_str())), (4, expected));
                }
                Persisted::Staged(_) => panic!("nothing was staged"),
            }
        };
        check(FULL);
        check(PANICKED);
        check(None);
    }

    #[test]
    fn staging_is_reported_and_adopting_is_answered() {
        let (reports, reported) = std::sync::mpsc::channel();
        let persister = Persister::start(Failing(0), move |persisted| reports.send(persisted).unwrap()).unwrap();
        let staged = || {
            persister.stage(Box::new(image(4))).unwrap();
            let Ok(Persisted::Staged(staged)) = reported.recv() else { panic!("not reported") };
            staged.err().map(|error| error.to_string())
        };
        for expected in [FULL, PANICKED, None] {
            assert_eq!(staged().as_deref(), expected);
        }
        assert!(persister.adopt().is_ok());
        persister.discard();
        let refused = persister.adopt().err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), FULL);
    }

    fn seen(batch: &Batch) -> Vec<(&str, u64)> {
        let modified = |entry: &Option<Arc<Entry>>| entry.as_ref().map_or(0, |entry| entry.modified().0);
        batch.objects.iter().map(|(key, entry)| (key.as_str(), modified(entry))).collect()
    }

    #[test]
    fn only_what_is_older_than_the_youngest_generation_is_given_out() {
        let mut dirty = Dirty::default();
        dirty.note(&put("a/1", 1));
        assert!(dirty.turn(image(1)).is_none());
        assert_eq!(dirty.bytes(), 0);
        dirty.note(&put("a/1", 2));
        dirty.note(&put("a/2", 3));
        let batch = dirty.turn(image(3)).unwrap();
        assert_eq!((batch.image.state.index(), seen(&batch)), (1, vec![("a/1", 1)]));
        dirty.note(&put("a/3", 4));
        // It could not be written, and what came later wins over it.
        dirty.put_back(batch);
        let batch = dirty.take_old().unwrap();
        assert_eq!((batch.image.state.index(), seen(&batch)), (3, vec![("a/1", 2), ("a/2", 3)]));
        assert_eq!(batch.changed.into_values().collect::<Vec<_>>(), [Revision(3)]);
        assert_eq!(seen(&dirty.take(image(4))), [("a/3", 4)]);
    }

    #[test]
    fn a_batch_that_failed_goes_below_what_came_later() {
        let mut dirty = Dirty::default();
        dirty.note(&put("a/1", 1));
        dirty.note(&put("b/1", 2));
        let failed = dirty.take(image(2));
        assert_eq!(dirty.bytes(), 0);
        dirty.note(&put("a/1", 3));
        dirty.put_back(failed);
        let batch = dirty.take(image(3));
        assert_eq!(batch.image.state.index(), 3);
        assert_eq!(seen(&batch), [("a/1", 3), ("b/1", 2)]);
        assert_eq!(batch.changed.into_values().collect::<Vec<_>>(), [Revision(3), Revision(2)]);
    }
}
