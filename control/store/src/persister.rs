//! Writing the applied state behind the log's back: lazily, in batches, on a thread of its own.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::dirty::Batch;
use crate::error::StoreError;
use crate::image::Image;

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
    Write(Vec<Batch>),
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
                    Job::Write(batches) => {
                        let batch = Batch::merged(batches);
                        done(match guarded(|| disk.write(&batch)) {
                            Ok(()) => Persisted::Done { index: batch.image.state.index() },
                            Err(error) => Persisted::Failed { batch: Box::new(batch), error },
                        });
                    }
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

    /// Hands over batches, from the oldest on, to be written as one; only when the last are done. Returns them when the
    /// thread is gone.
    pub fn write(&self, batches: Vec<Batch>) -> Result<(), Vec<Batch>> {
        self.ask(Job::Write(batches)).map_err(|job| match job {
            Job::Write(batches) => batches,
            _ => Vec::new(),
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
    use crate::dirty::Dirty;

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
            assert!(persister.write(Dirty::default().take(image(4))).is_ok());
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
}
