//! A disk in memory that can be torn, flipped and filled.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, DiskFile};

/// Segments in memory; clones share them.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    segments: BTreeMap<u64, Segment>,
    /// How many more segments fit.
    room: Option<usize>,
    syncs: usize,
    /// Whether flushes fail.
    broken: bool,
}

#[derive(Clone, Default)]
struct Segment {
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl Segment {
    fn written(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (offset, written) in &self.unsynced {
            bytes[*offset..offset + written.len()].copy_from_slice(written);
        }
        bytes
    }
}

impl MemoryDisk {
    /// Changes a segment's durable bytes.
    pub fn damage(&self, segment: u64, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.0.lock().unwrap().segments.get_mut(&segment).unwrap().durable);
    }

    /// Lets only so many more segments be made.
    pub fn limit(&self, room: Option<usize>) {
        self.0.lock().unwrap().room = room;
    }

    /// What was not synced is gone, as after a power cut.
    pub fn cut_power(&self) {
        let mut content = self.0.lock().unwrap();
        content.segments.values_mut().for_each(|segment| segment.unsynced.clear());
    }

    /// Lets every flush fail from now on.
    pub fn break_down(&self) {
        self.0.lock().unwrap().broken = true;
    }

    /// How often something was made durable.
    pub fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn segments(&self) -> io::Result<Vec<u64>> {
        Ok(self.0.lock().unwrap().segments.keys().copied().collect())
    }

    fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        let content = self.0.lock().unwrap();
        content.segments.get(&segment).map(Segment::written).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create(&mut self, segment: u64, initial: &[u8], size: u64) -> io::Result<MemoryFile> {
        let mut content = self.0.lock().unwrap();
        match &mut content.room {
            Some(0) => return Err(io::ErrorKind::StorageFull.into()),
            Some(room) => *room -= 1,
            None => {}
        }
        let mut durable = initial.to_vec();
        durable.resize(size as usize, 0);
        content.segments.insert(segment, Segment { durable, unsynced: Vec::new() });
        Ok(MemoryFile { disk: self.clone(), segment })
    }

    fn open(&mut self, segment: u64) -> io::Result<MemoryFile> {
        Ok(MemoryFile { disk: self.clone(), segment })
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        let removed = self.0.lock().unwrap().segments.remove(&segment);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn path(&self, segment: u64) -> PathBuf {
        PathBuf::from(format!("log/{segment}"))
    }
}

/// A segment of such a disk.
pub(crate) struct MemoryFile {
    disk: MemoryDisk,
    segment: u64,
}

impl DiskFile for MemoryFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.disk.0.lock().unwrap();
        let segment = content.segments.get_mut(&self.segment).ok_or(io::ErrorKind::NotFound)?;
        let end = offset as usize + bytes.len();
        assert!(end <= segment.durable.len(), "a write past the room that was reserved");
        segment.unsynced.push((offset as usize, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut content = self.disk.0.lock().unwrap();
        if content.broken {
            return Err(io::Error::other("the disk is broken"));
        }
        content.syncs += 1;
        let segment = content.segments.get_mut(&self.segment).ok_or(io::ErrorKind::NotFound)?;
        segment.durable = segment.written();
        segment.unsynced.clear();
        Ok(())
    }
}
