//! The applied state on a simulated disk. sled is not in it: what it would do is done to a map, at the moment when it
//! would be durable, so that a crash leaves either all of a step or nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dirty::Batch;
use crate::entry::Entry;
use crate::error::StoreError;
use crate::image::Image;
use crate::key::{Key, Revision};
use crate::memory_disk::MemoryDisk;
use crate::mvcc::State;
use crate::persister::Persisted;
use crate::point::Point;
use crate::replica::Keeper;
use crate::stored_state::Loaded;

/// What a keeper was asked for.
enum Job {
    Write(Box<Batch>),
    Stage(Box<Image>),
}

#[derive(Clone)]
struct Present {
    objects: BTreeMap<Key, Arc<Entry>>,
    changed: BTreeMap<Arc<str>, Revision>,
    point: Point,
    installed: bool,
}

#[derive(Default)]
struct Content {
    present: Option<Present>,
    staged: Option<Image>,
    /// In the order in which they came; the numbers count up.
    jobs: VecDeque<(u64, Job)>,
    /// What was done and not reported yet.
    done: BTreeMap<u64, Persisted>,
    count: u64,
    /// How many of them the world knows of.
    told: u64,
    is_full: bool,
    wrong: Option<String>,
}

/// The disk; clones share it.
#[derive(Clone)]
pub(crate) struct Stable {
    content: Arc<Mutex<Content>>,
    /// The same machine's other disk: they die together.
    machine: MemoryDisk,
}

impl Stable {
    pub fn new(machine: MemoryDisk) -> Stable {
        Stable { content: Arc::default(), machine }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a founded cluster begins.
    pub fn found(&self, image: &Image) {
        self.lock().present = Some(Present::of(image, false));
    }

    /// What a start finds; `None` on an empty disk.
    pub fn load(&self) -> Option<Loaded> {
        let mut content = self.lock();
        content.staged = None;
        content.jobs.clear();
        content.done.clear();
        content.told = content.count;
        let Present { objects, changed, point, installed } = content.present.clone()?;
        let state = State::restored(objects.into_iter().collect(), changed, &point);
        Some(Loaded { state, conf_state: point.conf_state, installed })
    }

    /// The disk is full, or has room again.
    pub fn fill(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// A job that came in since this was asked last.
    pub fn next_job(&self) -> Option<u64> {
        let mut content = self.lock();
        (content.told < content.count).then(|| {
            content.told += 1;
            content.told
        })
    }

    /// Does a job, if it was not done already, and gives its report. `None` when it was forgotten or the power went.
    pub fn finish(&self, job: u64) -> Result<Option<Persisted>, String> {
        let mut content = self.lock();
        self.work(&mut content, job);
        if let Some(wrong) = content.wrong.take() {
            return Err(wrong);
        }
        Ok(content.done.remove(&job).filter(|_| !self.machine.is_dead()))
    }

    /// Does everything, and gives the reports.
    pub fn finish_all(&self) -> Result<Vec<Persisted>, String> {
        let mut content = self.lock();
        self.work(&mut content, u64::MAX);
        content.told = content.count;
        match content.wrong.take() {
            Some(wrong) => Err(wrong),
            None => Ok(std::mem::take(&mut content.done).into_values().collect()),
        }
    }

    /// Does all jobs up to this one.
    fn work(&self, content: &mut Content, until: u64) {
        while let Some((number, job)) = content.jobs.pop_front_if(|(number, _)| *number <= until) {
            let refused = if self.machine.change().is_err() {
                Some(StoreError::Failed("the power was cut".to_owned()))
            } else {
                content.is_full.then(|| StoreError::Full { path: "state".into() })
            };
            let report = match (job, refused) {
                (Job::Write(batch), Some(error)) => Persisted::Failed { batch, error },
                (Job::Stage(_), Some(error)) => Persisted::Staged(Err(error)),
                (Job::Write(batch), None) => {
                    content.write(&batch);
                    Persisted::Done { index: batch.image.state.index() }
                }
                (Job::Stage(image), None) => {
                    content.staged = Some(*image);
                    Persisted::Staged(Ok(()))
                }
            };
            content.done.insert(number, report);
        }
    }

    fn add(&self, job: Job) {
        let mut content = self.lock();
        content.count += 1;
        let number = content.count;
        content.jobs.push_back((number, job));
    }
}

impl Content {
    /// Brings the stored state to where a batch stands.
    fn write(&mut self, batch: &Batch) {
        let point = batch.image.point();
        let present = self.present.get_or_insert_with(|| Present::of(&Image::default(), false));
        if point.index <= present.point.index {
            return;
        }
        for (key, entry) in &batch.objects {
            match entry {
                Some(entry) => _ = present.objects.insert(key.clone(), entry.clone()),
                None => _ = present.objects.remove(key),
            }
        }
        present.changed.extend(batch.changed.iter().map(|(name, revision)| (name.clone(), *revision)));
        present.point = point;
        present.installed = false;
        let whole = Present::of(&batch.image, false);
        if whole.objects != present.objects || whole.changed != present.changed {
            self.wrong = Some("the stored state with a batch's changes is not the batch's image".to_owned());
        }
    }
}

impl Present {
    fn of(image: &Image, installed: bool) -> Present {
        let snapshot = image.state.snapshot();
        let objects = snapshot.range("", None).map(|entry| (entry.key().clone(), entry.clone())).collect();
        Present { objects, changed: image.state.changed().clone(), point: image.point(), installed }
    }
}

impl Keeper for Stable {
    fn write(&mut self, batches: Vec<Batch>) -> Result<(), Vec<Batch>> {
        self.add(Job::Write(Box::new(Batch::merged(batches))));
        Ok(())
    }

    fn stage(&mut self, image: Box<Image>) -> Result<(), StoreError> {
        self.add(Job::Stage(image));
        Ok(())
    }

    fn adopt(&mut self) -> Result<(), StoreError> {
        let mut content = self.lock();
        // One thread does one thing after another.
        self.work(&mut content, u64::MAX);
        if self.machine.change().is_err() {
            return Err(StoreError::Failed("the power was cut".to_owned()));
        }
        let Some(image) = content.staged.take() else {
            return Err(StoreError::Failed("nothing was staged".to_owned()));
        };
        content.present = Some(Present::of(&image, true));
        Ok(())
    }

    fn discard(&mut self) {
        self.lock().staged = None;
    }
}
