//! The log's segments as files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};

const EXTENSION: &str = "log";
const UNFINISHED: &str = "unfinished";

/// A flush of room that is written for the first time must also note that it was, which takes a third of a small flush's time
/// and processor. So zeros, which such room holds anyway, are written this far ahead: one flush in a hundred notes it for all.
const AHEAD: u64 = 256 << 10;

/// Segments as files of one folder, each named by its number.
pub(crate) struct Files {
    dir: PathBuf,
}

impl Files {
    /// The folder's segments. Makes the folder, and removes a segment that was never finished.
    pub fn open(dir: &Path) -> io::Result<Files> {
        fs::create_dir_all(dir)?;
        let files = Files { dir: dir.to_owned() };
        match fs::remove_file(files.unfinished()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(files),
        }
    }

    fn unfinished(&self) -> PathBuf {
        self.dir.join(UNFINISHED)
    }
}

impl Disk for Files {
    type File = SegmentFile;

    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
            match number {
                Some(number) if path.extension().is_some_and(|extension| extension == EXTENSION) => {
                    segments.push(number)
                }
                _ => {}
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(segment))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&mut self, segment: u64, initial: &[u8], size: u64) -> io::Result<SegmentFile> {
        let unfinished = self.unfinished();
        let made = write_new(&unfinished, initial, size).and_then(|file| {
            fs::rename(&unfinished, self.path(segment))?;
            sync_dir(&self.dir)?;
            Ok(file)
        });
        if made.is_err() {
            // Gives back the room that a half-made segment holds; the error that matters is the first one.
            let _ = fs::remove_file(&unfinished);
        }
        made.map(|file| SegmentFile { file, size, written: initial.len() as u64 })
    }

    fn open(&mut self, segment: u64) -> io::Result<SegmentFile> {
        let file = OpenOptions::new().write(true).open(self.path(segment))?;
        let size = file.metadata()?.len();
        Ok(SegmentFile { file, size, written: size })
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        fs::remove_file(self.path(segment))
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.dir.join(format!("{segment:016x}.{EXTENSION}"))
    }
}

/// A segment's file.
pub(crate) struct SegmentFile {
    file: File,
    size: u64,
    /// Behind this nothing was ever written. In a file that was there before that is not known, and it is taken for whole.
    written: u64,
}

impl DiskFile for SegmentFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let end = offset + bytes.len() as u64;
        if end > self.written {
            let ahead = end.saturating_add(AHEAD).min(self.size);
            write_zeros(&self.file, end, ahead)?;
            self.written = ahead.max(end);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn write_new(path: &Path, initial: &[u8], size: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    reserve(&file, size)?;
    file.write_all(initial)?;
    file.sync_all()?;
    Ok(file)
}

/// Takes the room now: writes then cannot run out of it, and a flush needs not write the file's new length as well, which
/// costs a fifth of its time.
pub(crate) fn reserve(file: &File, size: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        other => return other.map_err(io::Error::from),
    }
    fill(file, size)
}

/// Takes the room on a file system that has no other way: a length alone would be a promise that a full disk breaks.
fn fill(file: &File, size: u64) -> io::Result<()> {
    write_zeros(file, 0, size)?;
    // Some file systems look for room only now.
    file.sync_all()
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < to {
        let len = (to - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Replaces a small file, so that after a crash it is there as it was or as it is meant to be.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    Replacement::prepare(path, content)?.put()
}

/// What is to take the place of a small file, durable beside it.
pub(crate) struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
}

impl Replacement {
    /// Writes it. Whether that works or not, the file is what it was.
    pub fn prepare(path: &Path, content: &[u8]) -> io::Result<Replacement> {
        let temporary = path.with_extension("tmp");
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        if let Err(error) = written {
            // It is of no use, and would only take room.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(Replacement { path: path.to_owned(), temporary })
    }

    /// Puts it in the file's place. After an error it is not known which of them is there.
    pub fn put(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        self.path.parent().map_or(Ok(()), sync_dir)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn room_that_is_reserved_is_taken() {
        type Reserve = fn(&File, u64) -> io::Result<()>;
        fn check(reserve: Reserve) {
            let dir = tempfile::tempdir().unwrap();
            let file = File::create(dir.path().join("file")).unwrap();
            let size = (3 << 16) + 100;
            reserve(&file, size).unwrap();
            let metadata = file.metadata().unwrap();
            assert_eq!(metadata.len(), size);
            assert!(metadata.blocks() * 512 >= size, "{} blocks", metadata.blocks());
        }
        check(reserve);
        check(fill);
    }

    #[test]
    fn zeros_are_written_ahead_and_never_over_anything() {
        let dir = tempfile::tempdir().unwrap();
        let size = 3 * AHEAD + 10;
        let mut files = Files::open(dir.path()).unwrap();
        let mut segment = files.create(1, b"start", size).unwrap();
        let mut expected = vec![0; size as usize];
        expected[..5].copy_from_slice(b"start");
        // Across the edge of what was written ahead, back again, and to the end.
        for (at, reaches) in [(5, 10 + AHEAD), (8 + AHEAD, 13 + 2 * AHEAD), (AHEAD, 13 + 2 * AHEAD), (size - 5, size)] {
            segment.write_at(b"frame", at).unwrap();
            expected[at as usize..][..5].copy_from_slice(b"frame");
            assert_eq!(segment.written, reaches, "{at}");
        }
        assert_eq!(files.read(1).unwrap(), expected);
        let mut again = files.open(1).unwrap();
        again.write_at(b"again", 5).unwrap();
        expected[5..10].copy_from_slice(b"again");
        assert_eq!(files.read(1).unwrap(), expected);
    }

    #[test]
    fn a_segment_begins_as_it_was_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        fs::write(files.unfinished(), b"left by a crash").unwrap();
        let mut segment = files.create(7, b"start", 1000).unwrap();
        segment.write_at(b"more", 500).unwrap();
        segment.sync().unwrap();
        let mut expected = vec![0; 1000];
        expected[..5].copy_from_slice(b"start");
        expected[500..504].copy_from_slice(b"more");
        assert_eq!(files.read(7).unwrap(), expected);
        assert_eq!(files.segments().unwrap(), [7]);
        assert!(!files.unfinished().exists());
    }
}
