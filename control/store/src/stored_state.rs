//! The applied state on disk: an image, files of what changed much at a time, and what changed since in sled.
//!
//! sled takes small changes well, but its files grow to several times what is live and hardly shrink. So it holds only
//! what changed little by little since the last image; what changed much at a time goes into files beside the image, as long as
//! sled has nothing. When image and changes together pass the bound, the state is written as a new image into a fresh folder,
//! while the store goes on, and the folder before is removed. A start reads the image from one end to the other and lays the
//! changes over it. So an object of a load of creates is written twice: to the log and to a file of changes.

use std::fs::File;
use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use raft::eraftpb::ConfState;

use crate::directory::ADVICE;
use crate::dirty::Batch;
use crate::error::StoreError;
use crate::folders::{Current, Folders};
use crate::image::{Image, ImageError, ImageReader};
use crate::mvcc::State;
use crate::persister::StateDisk;
use crate::sled_state::{SledState, Unwritten};

/// On disk the state may take a quarter more than is live, and so many bytes more. While it is written anew, both are
/// there: with the log, which grows meanwhile, that is less than three times what is live. So many batches make up the
/// bytes more.
const SLACK_BATCHES: u64 = 1;
const MOST_SLACK_BYTES: u64 = 1 << 40;
/// sled writes every change about so often,
const SLED_WRITES: u64 = 3;
/// and takes room in steps: so much can be gone before the first change.
const SLED_ROOM: u64 = 2 << 20;
/// A batch of more than this, or of this part of the largest ones, comes of a load under which the log grows fast. sled would
/// take about as long for it as an image takes that is eight times as large.
const LARGE_BATCH: u64 = 1 << 20;
const LARGE_PART: u64 = 16;
/// What an entry takes beside its key and value, about.
const ENTRY_OVERHEAD: u64 = 16;

/// What was found on disk.
pub(crate) struct Loaded {
    pub state: State,
    pub conf_state: ConfState,
    /// The state came from another server, and nothing was written behind it yet.
    pub installed: bool,
}

/// The applied state on disk.
pub(crate) struct StoredState {
    folders: Folders,
    current: Option<Current>,
    /// Of the current folder; gone after an error, until the next write opens it again.
    sled: Option<SledState>,
    staged: Option<Staged>,
    next_number: u64,
    /// The log entry at which the stored state stands.
    index: u64,
    /// The log entry at which image and files of changes stand, without the database.
    base: u64,
    live: Live,
    slack: u64,
    /// A batch of more bytes is large.
    large: u64,
    /// It is not known which folder counts, for `current` could not be replaced cleanly, or the folder's database hangs. Only
    /// a fresh folder helps.
    unsure: bool,
    /// A rebuild failed: it is tried again when the folder has grown to this.
    patience: u64,
}

/// A state that waits for its turn.
struct Staged {
    number: u64,
    index: u64,
    live: Live,
}

/// About how much is live. Counting takes a walk over all objects, so it is done only after much has changed.
#[derive(Default)]
struct Live {
    bytes: u64,
    objects: u64,
    /// Has changed since the count.
    changed: u64,
}

impl Live {
    fn note(&mut self, batch: &Batch) -> u64 {
        let mean = self.bytes / self.objects.max(1);
        let written = batch.bytes() as u64;
        self.changed += mean.saturating_mul(batch.objects.len() as u64).max(written);
        written
    }

    fn of(state: &State) -> Live {
        let (mut bytes, mut objects) = (0, 0);
        for entry in state.snapshot().range("", None) {
            bytes += (entry.key().as_str().len() + entry.value().len()) as u64 + ENTRY_OVERHEAD;
            objects += 1;
        }
        Live { bytes, objects, changed: 0 }
    }

    fn is_stale(&self, slack: u64) -> bool {
        self.changed > (self.bytes / 8).max(slack / 8)
    }
}

/// Where a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A file of its own beside the image.
    File,
    /// The database above them.
    Database,
}

impl StoredState {
    /// The state in `dir`, which is made if need be. It is written in batches of about so many bytes.
    pub fn open(dir: &Path, batch_bytes: usize) -> Result<StoredState, StoreError> {
        let (folders, current) = Folders::open(dir)?;
        Ok(StoredState {
            folders,
            current,
            sled: None,
            staged: None,
            next_number: current.map_or(1, |current| current.number + 1),
            index: 0,
            base: 0,
            live: Live::default(),
            slack: SLACK_BATCHES.saturating_mul(batch_bytes as u64).min(MOST_SLACK_BYTES),
            large: LARGE_BATCH.min(batch_bytes as u64 / LARGE_PART),
            unsure: false,
            patience: 0,
        })
    }

    /// Reads everything; `None` when nothing was ever written.
    pub fn load(&mut self) -> Result<Option<Loaded>, StoreError> {
        let loaded = self.read()?;
        self.folders.remove_leftovers(self.current)?;
        Ok(loaded)
    }

    fn read(&mut self) -> Result<Option<Loaded>, StoreError> {
        let Some(current) = self.current else { return Ok(None) };
        let mut base = Image::default();
        if current.image {
            base = read(&self.folders.image(current.number), ImageReader::new())?;
        }
        for file in 1..=current.changes {
            base = read(&self.folders.changes(current.number, file), ImageReader::above(base))?;
        }
        self.base = base.state.index();
        let image = self.lay_changes_over(base, current)?;
        if image.state.index() == 0 {
            return Ok(None);
        }
        self.index = image.state.index();
        self.live = Live::of(&image.state);
        Ok(Some(Loaded { state: image.state, conf_state: image.conf_state, installed: current.installed }))
    }

    fn lay_changes_over(&self, base: Image, current: Current) -> Result<Image, StoreError> {
        if !self.folders.has_sled(current.number)? {
            return Ok(base);
        }
        let dir = self.folders.sled(current.number);
        let above = self.above(current);
        // It panics on some kinds of damage. Its memory is given back after this; the first write opens it again.
        let load = |base| {
            let load = || SledState::open(&dir, above)?.load(base);
            let loaded = std::panic::catch_unwind(AssertUnwindSafe(load));
            let why = || format!("its database cannot be read; {ADVICE}");
            loaded.unwrap_or_else(|_| Err(StoreError::Corrupt { file: dir.clone(), why: why() }))
        };
        match load(base.clone()) {
            // sled writes when it opens. A server that starts on a full disk can at least be read.
            Err(StoreError::Full { .. }) if self.folders.release_reserve() => load(base),
            loaded => loaded,
        }
    }

    /// Where the state stands that a folder's database lies above, if there is one.
    fn above(&self, current: Current) -> Option<u64> {
        current.image.then_some(self.base)
    }

    /// Where a batch goes, if it does not go into a fresh folder.
    fn place(&self, current: Current, written: u64) -> Result<Place, StoreError> {
        let is_file = written > self.large && current.image && !self.folders.has_sled(current.number)?;
        Ok(if is_file { Place::File } else { Place::Database })
    }

    /// Whether the whole state is to be written into a fresh folder, and not only this batch.
    fn is_to_rebuild(&mut self, current: Current, batch: &Batch, written: u64, place: Place) -> bool {
        let usage = match self.folders.usage(current.number) {
            Ok(usage) => usage,
            Err(error) => {
                tracing::warn!(%error, "cannot find out how much room the applied state takes");
                return false;
            }
        };
        let database = place == Place::Database;
        let usage = usage + if database { SLED_WRITES * written } else { written };
        if usage < self.patience {
            return false;
        }
        if self.live.is_stale(self.slack) {
            self.live = Live::of(&batch.image.state);
        }
        let too_large = usage > self.live.bytes / 4 * 5 + self.slack;
        too_large || database && written > self.live.bytes / 8 + self.large
    }

    /// Writes the whole state into a fresh folder, and lets that count.
    fn rebuild(&mut self, image: &Image) -> Result<(), StoreError> {
        let fresh = self.make(image)?;
        self.switch(fresh, false)
    }

    fn rebuild_or_write(
        &mut self,
        current: Current,
        batch: &Batch,
        written: u64,
        place: Place,
    ) -> Result<(), StoreError> {
        let Err(error) = self.rebuild(&batch.image) else { return Ok(()) };
        if self.unsure {
            return Err(error);
        }
        tracing::warn!(%error, "the applied state could not be written anew; it goes on where it is");
        let bytes = self.folders.usage(current.number).unwrap_or_default();
        self.patience = bytes + bytes / 8;
        self.write_on(current, batch, written, place)
    }

    /// Writes a batch where the state is.
    fn write_on(&mut self, current: Current, batch: &Batch, written: u64, place: Place) -> Result<(), StoreError> {
        match place {
            Place::File => self.append(current, batch, written),
            Place::Database => self.write_changes(current, batch, written),
        }
    }

    fn make(&mut self, image: &Image) -> Result<Staged, StoreError> {
        let live = Live::of(&image.state);
        // Half an image would take the room that the log needs.
        self.folders.check_room(live.bytes)?;
        let number = self.next_number;
        self.next_number += 1;
        self.folders.make(number, image)?;
        Ok(Staged { number, index: image.state.index(), live })
    }

    /// Lets this count, durably.
    fn point(&mut self, current: Current) -> Result<(), StoreError> {
        let prepared = self.folders.prepare(current)?;
        self.unsure = true;
        self.folders.point(prepared)?;
        self.unsure = false;
        self.current = Some(current);
        Ok(())
    }

    /// Lets a fresh folder count in the place of the one before.
    fn switch(&mut self, fresh: Staged, installed: bool) -> Result<(), StoreError> {
        let Staged { number, index, live } = fresh;
        let pointed = self.point(Current::fresh(number, installed));
        if let Err(error) = pointed {
            if !self.unsure {
                self.folders.remove(number);
            }
            return Err(error);
        }
        self.sled = None;
        self.patience = 0;
        (self.index, self.base, self.live) = (index, index, live);
        // Those too of which it was not known whether they count.
        let kept: Vec<u64> = self.staged.iter().map(|staged| staged.number).chain([number]).collect();
        if let Err(error) = self.folders.remove_others(&kept) {
            // They only take room; the next time tries again.
            tracing::warn!(%error, "cannot look for folders of the applied state that count no more");
        }
        Ok(())
    }

    /// Writes a batch to a file of its own, and lets that count.
    fn append(&mut self, current: Current, batch: &Batch, written: u64) -> Result<(), StoreError> {
        self.folders.check_room(written)?;
        let current = Current { installed: false, changes: current.changes.saturating_add(1), ..current };
        self.folders.append(current.number, current.changes, self.base, batch)?;
        let pointed = self.point(current);
        if let Err(error) = pointed {
            if !self.unsure {
                self.folders.forget_changes(current.number, current.changes);
            }
            return Err(error);
        }
        self.base = batch.image.state.index();
        Ok(())
    }

    fn write_changes(&mut self, current: Current, batch: &Batch, written: u64) -> Result<(), StoreError> {
        if current.installed {
            // The log was reset behind it, or there would be nothing to write.
            self.point(Current { installed: false, ..current })?;
        }
        // sled recovers badly from a disk that fills up under its hands.
        self.folders.check_room(SLED_ROOM + SLED_WRITES * written)?;
        let sled = self.sled.take();
        let sled = sled.unwrap_or_else(|| SledState::closed(&self.folders.sled(current.number), self.above(current)));
        match sled.write(batch) {
            Ok(sled) => {
                self.sled = Some(sled);
                Ok(())
            }
            Err(Unwritten { error, hangs }) => {
                self.unsure |= hangs;
                Err(error)
            }
        }
    }
}

/// What a file holds, be it an image or changes above one.
fn read(path: &Path, mut reader: ImageReader) -> Result<Image, StoreError> {
    const READ_BYTES: usize = 256 << 10;
    let failed = |error: std::io::Error| StoreError::io(path, &error);
    let refused = |error: ImageError| match error {
        ImageError::TooNew { found } => {
            StoreError::TooNew { file: path.to_owned(), found, known: crate::image::VERSION }
        }
        other => StoreError::Corrupt { file: path.to_owned(), why: format!("{other}; {ADVICE}") },
    };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::Corrupt { file: path.to_owned(), why: format!("it is missing; {ADVICE}") });
        }
        opened => opened.map_err(failed)?,
    };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => reader.push(&buffer[..read]).map_err(refused)?,
        }
    }
    let image = reader.finish().map_err(refused)?;
    if image.conf_state.voters.is_empty() {
        let why = format!("it names no members; {ADVICE}");
        return Err(StoreError::Corrupt { file: path.to_owned(), why });
    }
    Ok(image)
}

impl StateDisk for StoredState {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let index = batch.image.state.index();
        if index <= self.index {
            return Ok(());
        }
        let written = self.live.note(batch);
        match self.current.filter(|_| !self.unsure) {
            None => self.rebuild(&batch.image)?,
            Some(current) => {
                let place = self.place(current, written)?;
                if self.is_to_rebuild(current, batch, written, place) {
                    self.rebuild_or_write(current, batch, written, place)?;
                } else {
                    self.write_on(current, batch, written, place)?;
                }
            }
        }
        self.index = index;
        self.folders.take_reserve();
        Ok(())
    }

    fn stage(&mut self, image: &Image) -> Result<(), StoreError> {
        self.discard();
        self.staged = Some(self.make(image)?);
        Ok(())
    }

    fn adopt(&mut self) -> Result<(), StoreError> {
        let Some(staged) = self.staged.take() else {
            return Err(StoreError::Failed("there is no state to adopt".to_owned()));
        };
        self.switch(staged, true)
    }

    fn discard(&mut self) {
        if let Some(staged) = self.staged.take() {
            self.folders.remove(staged.number);
        }
    }
}

#[cfg(test)]
#[path = "stored_state_tests.rs"]
mod tests;
