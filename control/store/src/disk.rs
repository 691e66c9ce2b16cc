//! What the log needs of a disk. A simulation can stand in for it and lose, tear or flip what was not synced.

use std::io;
use std::path::PathBuf;

/// A folder of numbered segment files.
pub trait Disk: Send + 'static {
    /// An open segment.
    type File: DiskFile;

    /// The numbers of the segments that exist, ascending.
    fn segments(&self) -> io::Result<Vec<u64>>;

    /// All of a segment's bytes.
    fn read(&self, segment: u64) -> io::Result<Vec<u8>>;

    /// Makes a segment of `size` bytes that begins with `initial` and is zero from there. When this returns, the file and
    /// its name are durable and its room is reserved; if it fails or the machine dies on the way, there is no such segment.
    fn create(&mut self, segment: u64, initial: &[u8], size: u64) -> io::Result<Self::File>;

    /// Opens a segment for writing.
    fn open(&mut self, segment: u64) -> io::Result<Self::File>;

    /// Removes a segment.
    fn remove(&mut self, segment: u64) -> io::Result<()>;

    /// What to call a segment in messages.
    fn path(&self, segment: u64) -> PathBuf;
}

/// An open segment.
pub trait DiskFile: Send + 'static {
    /// Writes all of `bytes` at `offset`, which lies in the room that was reserved.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}
