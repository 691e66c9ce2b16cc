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
    /// How many more changes there are until the machine dies in the middle of one.
    fuse: Option<u64>,
}

/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;

impl Content {
    /// Before every change: an error when the machine is dead.
    fn lives(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => return Err(io::Error::other("the power was cut")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Segment {
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl Segment {
    fn written(&self) -> Vec<u8> {
        let mut whole = self.clone();
        whole.settle();
        whole.durable
    }

    /// Makes everything durable.
    fn settle(&mut self) {
        for (offset, written) in self.unsynced.drain(..) {
            self.durable[offset..offset + written.len()].copy_from_slice(&written);
        }
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
    #[cfg(test)]
    pub fn cut_power(&self) {
        let mut content = self.0.lock().unwrap();
        content.segments.values_mut().for_each(|segment| segment.unsynced.clear());
    }

    /// After a crash: `kept` says of each sector that was written and not synced whether it is on the disk.
    pub fn crash(&self, mut kept: impl FnMut() -> bool) {
        let mut content = self.0.lock().unwrap();
        content.fuse = None;
        for segment in content.segments.values_mut() {
            for (offset, written) in std::mem::take(&mut segment.unsynced) {
                let mut at = 0;
                while at < written.len() {
                    let end = (at + SECTOR - (offset + at) % SECTOR).min(written.len());
                    if kept() {
                        segment.durable[offset + at..offset + end].copy_from_slice(&written[at..end]);
                    }
                    at = end;
                }
            }
        }
    }

    /// Lets the machine die after so many more changes: from then on everything fails, until `crash`.
    pub fn light_fuse(&self, changes: u64) {
        self.0.lock().unwrap().fuse = Some(changes);
    }

    /// Whether the fuse has burnt down.
    pub fn is_dead(&self) -> bool {
        self.0.lock().unwrap().fuse == Some(0)
    }

    /// Counts a change of another disk of the same machine, which dies with this one.
    pub fn change(&self) -> io::Result<()> {
        self.0.lock().unwrap().lives()
    }

    /// Lets every flush fail from now on.
    pub fn break_down(&self) {
        self.0.lock().unwrap().broken = true;
    }

    /// The disk was replaced or came back: flushes succeed again.
    pub fn repair(&self) {
        self.0.lock().unwrap().broken = false;
    }

    /// How often something was made durable.
    #[cfg(test)]
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
        content.lives()?;
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
        let mut content = self.0.lock().unwrap();
        content.lives()?;
        let removed = content.segments.remove(&segment);
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
        content.lives()?;
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
        content.lives()?;
        content.syncs += 1;
        content.segments.get_mut(&self.segment).ok_or(io::ErrorKind::NotFound)?.settle();
        Ok(())
    }
}
