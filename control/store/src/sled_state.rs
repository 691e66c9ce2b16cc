//! Changes of the applied state in sled: one tree, and every batch carries the applied index that it brings the tree to.

use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use crate::codec::{decode_entry, encode_entry};
use crate::directory::ADVICE;
use crate::dirty::Batch;
use crate::error::StoreError;
use crate::files::sync_dir;
use crate::image::Image;
use crate::key::{Key, Revision};
use crate::mvcc::State;
use crate::point::Point;

const POINT: &[u8] = b"m";
/// Where the state stands that lies below, as eight bytes, the least first. The first databases did not say it.
const BASE: &[u8] = b"u";
const OBJECT: u8 = b'o';
const BUCKET: u8 = b'b';

/// The value of a key that was deleted; an entry's begins with its version.
const DELETED: [u8; 1] = [0];

/// All objects are in memory anyway.
const CACHE_BYTES: u64 = 2 << 20;

/// So long a write may take, and a second more for each MiB.
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// A sled database in a folder of its own.
pub(crate) struct SledState {
    dir: PathBuf,
    /// Not there until it is used.
    db: Option<sled::Db>,
    /// The log entry at which the state stands that lies below. If there is one, a deleted key must be told from one that
    /// never changed.
    base: Option<u64>,
    /// `blobs` names values by position in sled's log; all up to this one are durable.
    blobs_synced: i64,
}

impl SledState {
    /// The database in `dir`, made if need be. Its content lies above another state, which stands at the log entry `base`, or
    /// is all there is.
    pub fn open(dir: &Path, base: Option<u64>) -> Result<SledState, StoreError> {
        let mut state = SledState::closed(dir, base);
        state.db()?;
        Ok(state)
    }

    /// The same, to be opened when it is used.
    pub fn closed(dir: &Path, base: Option<u64>) -> SledState {
        SledState { dir: dir.to_owned(), db: None, base, blobs_synced: -1 }
    }

    /// The state that is `base` with what is in here laid over it.
    pub fn load(&mut self, base: Image) -> Result<Image, StoreError> {
        let db = self.db()?.clone();
        let Some(point) = db.get(POINT).map_err(|error| self.error(error))? else { return Ok(base) };
        let point = Point::decode(&point).map_err(|why| self.corrupt(&why))?;
        let said = db.get(BASE).map_err(|error| self.error(error))?;
        self.check_base(said.as_deref(), point.index)?;
        let (mut objects, mut changed) = base.state.into_parts();
        for item in db.scan_prefix([OBJECT]) {
            let (key, value) = item.map_err(|error| self.error(error))?;
            let text = std::str::from_utf8(&key[1..]).map_err(|_| self.corrupt("a key is not UTF-8"))?;
            if *value == DELETED {
                objects.remove(text);
                continue;
            }
            let key = Key::from(text);
            let entry = decode_entry(key.clone(), &value).map_err(|error| self.corrupt(&format!("{text}: {error}")))?;
            objects.insert(key, entry);
        }
        for item in db.scan_prefix([BUCKET]) {
            let (key, value) = item.map_err(|error| self.error(error))?;
            let name = std::str::from_utf8(&key[1..]).map_err(|_| self.corrupt("a bucket's name is not UTF-8"))?;
            let revision =
                <[u8; 8]>::try_from(&*value).map_err(|_| self.corrupt("a bucket's revision has not 8 bytes"))?;
            changed.insert(Arc::from(name), Revision(u64::from_le_bytes(revision)));
        }
        let state = State::restored(objects, changed, &point);
        Ok(Image { state, conf_state: point.conf_state })
    }

    /// Refuses changes of another state than the one that is below: that would be a mixture that never was.
    fn check_base(&self, said: Option<&[u8]>, index: u64) -> Result<(), StoreError> {
        let Some(base) = self.base else { return Ok(()) };
        if said.is_none_or(|said| *said == base.to_le_bytes()) && index > base {
            return Ok(());
        }
        Err(self.corrupt(&format!("these are changes of another state than the one at log entry {base}")))
    }

    fn db(&mut self) -> Result<&sled::Db, StoreError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => self.open_db()?,
        };
        Ok(self.db.insert(db))
    }

    fn open_db(&self) -> Result<sled::Db, StoreError> {
        fs::create_dir_all(&self.dir).map_err(|error| StoreError::io(&self.dir, &error))?;
        remove_unfinished(&self.dir).map_err(|error| StoreError::io(&self.dir, &error))?;
        wait_for_lock(&self.dir.join("db")).map_err(|error| StoreError::io(&self.dir, &error))?;
        // Durability is made below, by a flush of our own: sled's flusher would cost a thread that wakes for ever.
        let config = sled::Config::new().path(&self.dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        config.open().map_err(|error| self.error(error))
    }

    fn error(&self, error: sled::Error) -> StoreError {
        match error {
            sled::Error::Io(error) => StoreError::io(&self.dir, &error),
            sled::Error::Corruption { .. } => self.corrupt(&error.to_string()),
            other => StoreError::io(&self.dir, &io::Error::other(other.to_string())),
        }
    }

    fn corrupt(&self, why: &str) -> StoreError {
        StoreError::Corrupt { file: self.dir.clone(), why: format!("{why}; {ADVICE}") }
    }

    /// sled's own flush does not reach the disk itself, and does not cover the values that it keeps in files of their own.
    fn sync(&mut self) -> io::Result<()> {
        let blobs = self.dir.join("blobs");
        let mut newest = self.blobs_synced;
        if blobs.is_dir() {
            for entry in fs::read_dir(&blobs)? {
                let path = entry?.path();
                let number = path.file_name().and_then(|name| name.to_str()?.parse::<i64>().ok());
                if let Some(number) = number.filter(|number| *number > self.blobs_synced) {
                    match File::open(&path).and_then(|file| file.sync_data()) {
                        // Collected meanwhile.
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => newest = newest.max(number),
                    }
                }
            }
            if newest > self.blobs_synced {
                File::open(&blobs)?.sync_all()?;
            }
        }
        File::open(self.dir.join("db"))?.sync_data()?;
        // The names of what is new, and that of the folder itself.
        sync_dir(&self.dir)?;
        self.dir.parent().map_or(Ok(()), sync_dir)?;
        self.blobs_synced = newest;
        Ok(())
    }

    /// Writes all of a batch or nothing of it, and makes it durable. After an error the database has to be opened again: its
    /// memory and the disk may differ.
    ///
    /// sled can panic when the disk is full, again while it is taken apart, or wait for ever for a write that failed. So it
    /// works on a thread of its own, on which nobody waits longer than for the slowest disk.
    pub fn write(self, batch: &Batch) -> Result<SledState, Unwritten> {
        let changes = self.changes(batch);
        let limit = LEAST_PATIENCE + Duration::from_millis(batch.bytes() as u64 >> 10);
        let dir = self.dir.clone();
        let (done, result) = sync_channel(1);
        let work = move || {
            let written = self.apply(changes);
            // Whoever asked may have given up.
            let _ = done.send(written);
        };
        let worker = std::thread::Builder::new()
            .name("store-sled".to_owned())
            .spawn(work)
            .map_err(|error| Unwritten { error: StoreError::io(&dir, &error), hangs: false })?;
        match result.recv_timeout(limit) {
            Ok(written) => {
                // It has nothing more to do.
                let _ = worker.join();
                written.map_err(|error| Unwritten { error, hangs: false })
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Unwritten { error: failed(&dir, "sled panicked"), hangs: false })
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(Unwritten { error: failed(&dir, "sled does not answer"), hangs: true })
            }
        }
    }

    fn changes(&self, batch: &Batch) -> sled::Batch {
        let mut changes = sled::Batch::default();
        changes.insert(POINT, batch.image.point().encode());
        if let Some(base) = self.base {
            changes.insert(BASE, &base.to_le_bytes());
        }
        for (key, entry) in &batch.objects {
            let key = prefixed(OBJECT, key.as_str());
            match entry {
                Some(entry) => changes.insert(key, encode_entry(entry)),
                None if self.base.is_some() => changes.insert(key, &DELETED),
                None => changes.remove(key),
            }
        }
        for (name, revision) in &batch.changed {
            changes.insert(prefixed(BUCKET, name), &revision.0.to_le_bytes());
        }
        changes
    }

    fn apply(mut self, changes: sled::Batch) -> Result<SledState, StoreError> {
        let db = self.db()?.clone();
        // The handle in here outlives a panic, so that sled is not taken apart on the way out of one.
        let applied = std::panic::catch_unwind(AssertUnwindSafe(|| db.apply_batch(changes).and_then(|()| db.flush())));
        match applied {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(self.error(error)),
            Err(_) => return Err(failed(&self.dir, "sled panicked")),
        }
        release_memory();
        self.sync().map_err(|error| StoreError::io(&self.dir, &error))?;
        Ok(self)
    }
}

/// Frees what a batch has left behind. sled puts off freeing until all its threads have moved on, a little at each use; but a
/// batch is one use, however large, and what it leaves would stay until the next ones.
fn release_memory() {
    /// Each round frees at most 512 things, of which an object leaves a few.
    const ROUNDS: usize = 512;
    for _ in 0..ROUNDS {
        crossbeam_epoch::pin().flush();
    }
}

/// A batch was not written.
#[derive(Debug)]
pub(crate) struct Unwritten {
    pub error: StoreError,
    /// The database still hangs on to its files, and cannot be opened again by this process.
    pub hangs: bool,
}

fn failed(dir: &Path, why: &str) -> StoreError {
    StoreError::io(dir, &io::Error::other(why.to_owned()))
}

fn prefixed(kind: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 1);
    key.push(kind);
    key.extend_from_slice(name.as_bytes());
    key
}

/// sled's threads can hold on to a database for a moment after its last handle is gone. Nobody else can have it: the
/// store's directory is locked.
fn wait_for_lock(file: &Path) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_secs(10);
    const BETWEEN: Duration = Duration::from_millis(2);
    let file = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if started.elapsed() < LIMIT => std::thread::sleep(BETWEEN),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// A kill while sled opens leaves a half-written index that the next open would take for corruption.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "sled_state_tests.rs"]
mod tests;
