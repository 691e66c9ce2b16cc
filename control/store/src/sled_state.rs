//! Changes of the applied state in sled: one tree, and every batch carries the applied index that it brings the tree to.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::{decode_entry, encode_entry};
use crate::directory::ADVICE;
use crate::error::StoreError;
use crate::image::Image;
use crate::key::{Key, Revision};
use crate::mvcc::State;
use crate::persister::Batch;
use crate::point::Point;

const POINT: &[u8] = b"m";
const OBJECT: u8 = b'o';
const BUCKET: u8 = b'b';

/// The value of a key that was deleted; an entry's begins with its version.
const DELETED: [u8; 1] = [0];

/// All objects are in memory anyway.
const CACHE_BYTES: u64 = 2 << 20;

/// A sled database in a folder of its own.
pub(crate) struct SledState {
    dir: PathBuf,
    /// Gone after an error, until the next write opens it again.
    db: Option<sled::Db>,
    /// There is a state below, so that a deleted key must be told from one that never changed.
    above_base: bool,
    /// `blobs` names values by position in sled's log; all up to this one are durable.
    blobs_synced: i64,
}

impl SledState {
    /// The database in `dir`, made if need be. Its content lies above another state, or is all there is.
    pub fn open(dir: &Path, above_base: bool) -> Result<SledState, StoreError> {
        let mut state = SledState { dir: dir.to_owned(), db: None, above_base, blobs_synced: -1 };
        state.db()?;
        Ok(state)
    }

    /// The state that is `base` with what is in here laid over it.
    pub fn load(&mut self, base: Image) -> Result<Image, StoreError> {
        let db = self.db()?.clone();
        let Some(point) = db.get(POINT).map_err(|error| self.error(error))? else { return Ok(base) };
        let point = Point::decode(&point).map_err(|why| self.corrupt(&why))?;
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
        self.blobs_synced = newest;
        Ok(())
    }

    /// Writes all of a batch or nothing of it, and makes it durable.
    pub fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut changes = sled::Batch::default();
        changes.insert(POINT, batch.image.point().encode());
        for (key, entry) in &batch.objects {
            let key = prefixed(OBJECT, key.as_str());
            match entry {
                Some(entry) => changes.insert(key, encode_entry(entry)),
                None if self.above_base => changes.insert(key, &DELETED),
                None => changes.remove(key),
            }
        }
        for (name, revision) in &batch.changed {
            changes.insert(prefixed(BUCKET, name), &revision.0.to_le_bytes());
        }
        // After an error, or a panic within it, its memory and the disk may differ: only after a success it is kept.
        // Otherwise it is opened again for the next try.
        let db = self.db()?.clone();
        self.db = None;
        db.apply_batch(changes).and_then(|()| db.flush()).map_err(|error| self.error(error))?;
        self.sync().map_err(|error| StoreError::io(&self.dir, &error))?;
        self.db = Some(db);
        Ok(())
    }
}

fn prefixed(kind: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 1);
    key.push(kind);
    key.extend_from_slice(name.as_bytes());
    key
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
