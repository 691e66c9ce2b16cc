//! The folders of the applied state on disk: numbered, one of them current.
//!
//! ```text
//! state/reserve                   room for opening sled on a full disk
//! state/current                   which folder counts; replaced as a whole
//! state/0000000000000004/image    the state as it was when the folder was made
//! state/0000000000000004/changes-1   what changed since, much at a time
//! state/0000000000000004/sled/    what changed after that, little by little
//! ```
//!
//! A folder is complete and durable before `current` names it, and the one before goes after that; a file of changes is
//! before `current` counts it. So after a crash anywhere the state is the one or the other, and what `current` does not name
//! is a leftover.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::directory::ADVICE;
use crate::dirty::Batch;
use crate::error::StoreError;
use crate::files::{Replacement, reserve, sync_dir};
use crate::image::{Image, changes};

/// The pointer's format. The first knew no files of changes, and had no checksum.
const FORMAT: u32 = 2;
const POINTER: &str = "current";
/// The pointer's first line.
const TITLE: &str = "palinurus-state";
const IMAGE: &str = "image";
const CHANGES: &str = "changes";
const SLED: &str = "sled";
const RESERVE: &str = "reserve";

/// More than sled writes while it opens.
const RESERVE_BYTES: u64 = 2 << 20;

/// An image is brought to the disk in parts of this size, so that the log's flushes do not wait for all of it.
const SYNC_BYTES: usize = 4 << 20;

/// The folder that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub number: u64,
    /// Whether it began with an image. One of the first layout did not: its sled has everything.
    pub image: bool,
    /// The image came from another server, and nothing was written behind it yet.
    pub installed: bool,
    /// How many files of changes count, in their order.
    pub changes: u64,
}

impl Current {
    /// A folder as it is made.
    pub fn fresh(number: u64, installed: bool) -> Current {
        Current { number, image: true, installed, changes: 0 }
    }
}

/// The folders.
pub(crate) struct Folders {
    dir: PathBuf,
}

impl Folders {
    /// Makes `dir` if need be, and says which folder in it counts, if any. A sled database in `dir` itself, where the first
    /// layout had it, becomes a folder.
    pub fn open(dir: &Path) -> Result<(Folders, Option<Current>), StoreError> {
        let failed = |error: io::Error| StoreError::io(dir, &error);
        finish_migration(dir).map_err(failed)?;
        if !dir.join(POINTER).exists() && dir.join("db").exists() {
            migrate(dir).map_err(failed)?;
        }
        fs::create_dir_all(dir).map_err(failed)?;
        let folders = Folders { dir: dir.to_owned() };
        let current = folders.read_pointer()?;
        // A kill may have come before this: what is written from here on must not outlive what it builds on.
        sync_dir(dir).map_err(failed)?;
        Ok((folders, current))
    }

    /// Removes what writes that were cut off have left behind, once what counts was found to be whole.
    pub fn remove_leftovers(&self, current: Option<Current>) -> Result<(), StoreError> {
        let kept: Vec<u64> = current.iter().map(|current| current.number).collect();
        self.remove_others(&kept).map_err(|error| StoreError::io(&self.dir, &error))?;
        let Some(current) = current else { return Ok(()) };
        let next = self.changes(current.number, current.changes.saturating_add(1));
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(&next, &error)),
            _ => Ok(()),
        }
    }

    /// Where a folder's image lies.
    pub fn image(&self, number: u64) -> PathBuf {
        self.path(number).join(IMAGE)
    }

    /// Where a file of a folder's changes lies; the first is number one.
    pub fn changes(&self, number: u64, file: u64) -> PathBuf {
        self.path(number).join(format!("{CHANGES}-{file}"))
    }

    /// Where a folder's database lies.
    pub fn sled(&self, number: u64) -> PathBuf {
        self.path(number).join(SLED)
    }

    /// Whether a folder has a database.
    pub fn has_sled(&self, number: u64) -> Result<bool, StoreError> {
        let sled = self.sled(number);
        sled.try_exists().map_err(|error| StoreError::io(&sled, &error))
    }

    /// What a folder takes on disk, in bytes.
    pub fn usage(&self, number: u64) -> io::Result<u64> {
        bytes_in(&self.path(number))
    }

    /// Makes a folder of an image, durably. If it cannot be made there is none.
    pub fn make(&self, number: u64, image: &Image) -> Result<(), StoreError> {
        let path = self.path(number);
        let made = fs::create_dir(&path)
            .and_then(|()| write_chunks(&path.join(IMAGE), image.chunks()))
            .and_then(|()| sync_dir(&path))
            .and_then(|()| sync_dir(&self.dir));
        made.map_err(|error| {
            self.remove(number);
            StoreError::io(&path, &error)
        })
    }

    /// Writes a file of what changed since the log entry `above`, durably; it counts once `current` says so. If it cannot be
    /// written there is none.
    pub fn append(&self, number: u64, file: u64, above: u64, batch: &Batch) -> Result<(), StoreError> {
        let path = self.changes(number, file);
        let written = write_chunks(&path, changes(batch, above)).and_then(|()| sync_dir(&self.path(number)));
        written.map_err(|error| {
            self.forget_changes(number, file);
            StoreError::io(&path, &error)
        })
    }

    /// Removes a file of changes that does not count.
    pub fn forget_changes(&self, number: u64, file: u64) {
        // What is left of it is written over, or removed by the next start.
        let _ = fs::remove_file(self.changes(number, file));
    }

    /// Prepares that this folder counts; [`Replacement::put`] makes it so.
    pub fn prepare(&self, current: Current) -> Result<Replacement, StoreError> {
        let file = self.pointer();
        Replacement::prepare(&file, text(current).as_bytes()).map_err(|error| StoreError::io(&file, &error))
    }

    /// Lets this folder count, durably. After an error it is not known which one does.
    pub fn point(&self, prepared: Replacement) -> Result<(), StoreError> {
        prepared.put().map_err(|error| StoreError::io(&self.pointer(), &error))
    }

    /// An error when there is less room than this.
    pub fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        let room = rustix::fs::statvfs(&self.dir).map_err(|error| StoreError::io(&self.dir, &error.into()))?;
        if room.f_bavail.saturating_mul(room.f_frsize) < bytes {
            return Err(StoreError::Full { path: self.dir.clone() });
        }
        Ok(())
    }

    /// Puts some room aside, unless there is too little.
    pub fn take_reserve(&self) {
        let path = self.dir.join(RESERVE);
        if path.exists() {
            return;
        }
        let taken = File::create(&path).and_then(|file| reserve(&file, RESERVE_BYTES));
        if taken.is_err() {
            // A part of it would be of no use. It is tried again with the next write.
            let _ = fs::remove_file(&path);
        }
    }

    /// Gives back the room that was put aside. False when there was none.
    pub fn release_reserve(&self) -> bool {
        fs::remove_file(self.dir.join(RESERVE)).is_ok()
    }

    /// Removes a folder that does not count.
    pub fn remove(&self, number: u64) {
        let path = self.path(number);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // It only takes room; the next start tries again.
                tracing::warn!(folder = %path.display(), %error, "cannot remove a folder of the applied state");
            }
            _ => {}
        }
    }

    fn pointer(&self) -> PathBuf {
        self.dir.join(POINTER)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016x}"))
    }

    fn read_pointer(&self) -> Result<Option<Current>, StoreError> {
        let file = self.pointer();
        let text = match fs::read(&file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io(&file, &error)),
        };
        let corrupt = |why: &str| StoreError::Corrupt { file: file.clone(), why: format!("{why}; {ADVICE}") };
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(corrupt("this does not say which state counts"));
        }
        let mut field = |name: &str| {
            let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            value.ok_or_else(|| corrupt(&format!("the line \"{name} = …\" is missing")))
        };
        let format: u32 = field("format")?.parse().map_err(|_| corrupt("the format is not a number"))?;
        if format > FORMAT {
            return Err(StoreError::TooNew { file: file.clone(), found: format, known: FORMAT });
        }
        let number = u64::from_str_radix(field("folder")?, 16).map_err(|_| corrupt("the folder is not a number"))?;
        let mut flag = |name: &str| {
            field(name)?.parse::<bool>().map_err(|_| corrupt(&format!("{name} is neither true nor false")))
        };
        let (image, installed) = (flag("image")?, flag("installed")?);
        let changes = match format {
            0..2 => 0,
            _ => field("changes")?.parse().map_err(|_| corrupt("changes is not a number"))?,
        };
        let current = Current { number, image, installed, changes };
        // A digit that fell over would name another state, and one that may be there.
        if format >= 2 && text != self::text(current) {
            return Err(corrupt("it does not match its checksum"));
        }
        if !self.path(number).is_dir() {
            return Err(corrupt(&format!("the folder {number:016x} that it names is missing")));
        }
        Ok(Some(current))
    }

    /// Removes all folders but these.
    pub fn remove_others(&self, kept: &[u64]) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = u64::from_str_radix(name, 16).ok().filter(|_| name.len() == 16);
            if let Some(number) = number.filter(|number| !kept.contains(number)) {
                self.remove(number);
            }
        }
        Ok(())
    }
}

/// What `current` says when this one counts.
fn text(current: Current) -> String {
    let Current { number, image, installed, changes } = current;
    let said = format!(
        "{TITLE}\nformat = {FORMAT}\nfolder = {number:016x}\nimage = {image}\ninstalled = {installed}\nchanges = {changes}\n"
    );
    let checksum = crc32fast::hash(said.as_bytes());
    format!("{said}checksum = {checksum:08x}\n")
}

fn write_chunks(path: &Path, chunks: impl Iterator<Item = Bytes>) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut unsynced = 0;
    for chunk in chunks {
        file.write_all(&chunk)?;
        unsynced += chunk.len();
        if unsynced >= SYNC_BYTES {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    file.sync_all()
}

/// What the files in a folder take on disk, those of folders in it included.
fn bytes_in(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path())?,
            // Blocks have 512 bytes, whatever the file system's own have.
            Ok(metadata) => metadata.blocks() * 512,
            // Removed by sled meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
}

/// Where a folder is prepared that takes the place of `dir`.
fn migrating(dir: &Path) -> PathBuf {
    dir.with_extension("migrating")
}

/// Turns a database of the first layout into the folder that counts. `dir` is there as it was, or as it is meant to be,
/// or not at all; `finish_migration` then has what it needs.
fn migrate(dir: &Path) -> io::Result<()> {
    let prepared = migrating(dir);
    let (folders, number) = (Folders { dir: prepared.clone() }, 1);
    fs::create_dir_all(folders.path(number))?;
    let current = Current { number, image: false, installed: false, changes: 0 };
    Replacement::prepare(&folders.pointer(), text(current).as_bytes())?.put()?;
    fs::rename(dir, folders.sled(number))?;
    sync_dir(&folders.path(number))?;
    sync_dir(&prepared)?;
    finish_migration(dir)
}

fn finish_migration(dir: &Path) -> io::Result<()> {
    let prepared = migrating(dir);
    if !prepared.exists() {
        return Ok(());
    }
    if dir.exists() {
        // The database was not moved yet: what was prepared is empty.
        fs::remove_dir_all(&prepared)?;
    } else {
        fs::rename(&prepared, dir)?;
    }
    dir.parent().map_or(Ok(()), sync_dir)
}

#[cfg(test)]
#[path = "folders_tests.rs"]
mod tests;
