//! The Raft log on disk: segments of checksummed records, one record for each flush.

use std::collections::VecDeque;
use std::io;

use raft::eraftpb::{Entry, HardState};

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::record::{self, BATCH_OVERHEAD, ENTRY_OVERHEAD};
use crate::recovery::{self, Current, Finished, Found};
pub(crate) use crate::recovery::{Base, Recovered};
use crate::segment::{self, HEADER_LEN, frame_len};

/// Kept free at a segment's end.
const SEAL_LEN: u64 = frame_len(1) as u64;

/// A record without content that matters to an election takes less than this.
const SMALL_FRAME: u64 = 512;

/// The log.
pub(crate) struct Log<D: Disk> {
    disk: D,
    finished: VecDeque<Finished>,
    segment: u64,
    file: D::File,
    /// Where the next frame goes in the current segment.
    offset: u64,
    room: u64,
    /// Whether the current segment's last frame is a seal.
    sealed: bool,
    /// The highest entry in the current segment.
    last: u64,
    segment_bytes: u64,
    hard_state: HardState,
    /// The commit index that a start will find at least.
    noted_commit: u64,
    buffer: Vec<u8>,
}

impl<D: Disk> Log<D> {
    /// Opens the log and reads what follows the stored state. A torn tail is cut; other damage is an error. When the stored
    /// state was installed and the log not reset behind it, that is done now.
    pub fn open(
        mut disk: D,
        segment_bytes: u64,
        base: Base,
        initial: &HardState,
    ) -> Result<(Log<D>, Recovered), StoreError> {
        let Found { finished, current, recovered, unfinished } = recovery::read(&disk, base, initial)?;
        let hard_state = recovered.hard_state.clone().unwrap_or_else(|| initial.clone());
        let (current, file) = match current {
            Some(current) => {
                let number = current.segment;
                let mut file = disk.open(number).map_err(|error| StoreError::io(&disk.path(number), &error))?;
                confirm(&disk, &mut file, &current).map_err(|error| StoreError::io(&disk.path(number), &error))?;
                (current, file)
            }
            None => {
                let (file, offset) = new_segment(&mut disk, 1, segment_bytes, &hard_state)?;
                (Current { segment: 1, offset, size: segment_bytes, sealed: false, last: base.index }, file)
            }
        };
        let Current { segment, offset, size, sealed, last } = current;
        // A file that was cut short has no room; the seal is written all the same.
        let room = size.max(offset + SEAL_LEN);
        let (buffer, noted_commit) = (Vec::new(), hard_state.commit);
        let mut log = Log {
            disk,
            finished,
            segment,
            file,
            offset,
            room,
            sealed,
            last,
            segment_bytes,
            hard_state,
            noted_commit,
            buffer,
        };
        if !unfinished {
            return Ok((log, recovered));
        }
        let mut hard_state = log.hard_state.clone();
        if hard_state.term < base.term {
            hard_state = HardState { term: base.term, ..HardState::default() };
        }
        hard_state.commit = base.index;
        log.reset(base.index, base.term, &hard_state)?;
        Ok((log, Recovered { hard_state: Some(hard_state), ..Recovered::default() }))
    }

    /// Makes sure that entries with this many bytes of content can be appended without running out of room. On a full disk
    /// this is an error, and the log is as it was: whoever brings entries asks first, and refuses them.
    pub fn reserve(&mut self, entries: usize, bytes: usize) -> Result<(), StoreError> {
        self.make_room(frame_len(BATCH_OVERHEAD + entries * ENTRY_OVERHEAD + bytes) as u64)
    }

    /// Makes sure that a few records of the voter's state alone can be appended, in the margin if need be. On a disk that
    /// has long been full this is an error, and the log is as it was.
    pub fn reserve_small(&mut self) -> Result<(), StoreError> {
        const FEW: u64 = 8;
        let few = (FEW * frame_len(BATCH_OVERHEAD) as u64).min(self.margin() / 2);
        if self.offset + few + SEAL_LEN <= self.room { Ok(()) } else { self.make_room(few) }
    }

    /// Room at a segment's end that is kept for small records: a server whose disk is full still votes, and notes terms.
    fn margin(&self) -> u64 {
        (self.segment_bytes / 16).min(64 << 10)
    }

    fn make_room(&mut self, frame: u64) -> Result<(), StoreError> {
        // A reservation that fails leaves a seal, behind which what was reserved before must still fit.
        let seals = if self.sealed { SEAL_LEN } else { 2 * SEAL_LEN };
        if self.offset + frame + seals + self.margin() <= self.room {
            return Ok(());
        }
        let least = 2 * (HEADER_LEN as u64 + SEAL_LEN) + SEAL_LEN + frame + BATCH_OVERHEAD as u64 + self.margin();
        let size = self.segment_bytes.max(least);
        self.seal()?;
        let (file, offset) = new_segment(&mut self.disk, self.segment + 1, size, &self.hard_state)?;
        self.finished.push_back(Finished { segment: self.segment, last: self.last });
        self.segment += 1;
        self.file = file;
        self.offset = offset;
        self.room = size;
        self.sealed = false;
        Ok(())
    }

    /// Appends a record with the voter's state and these entries, and makes it durable.
    pub fn append(&mut self, hard_state: &HardState, entries: &[Entry]) -> Result<(), StoreError> {
        let bytes: usize = entries.iter().map(|entry| entry.data.len() + entry.context.len()).sum();
        self.admit(frame_len(BATCH_OVERHEAD + entries.len() * ENTRY_OVERHEAD + bytes) as u64)?;
        self.hard_state.clone_from(hard_state);
        self.write(|buffer| record::write_batch(buffer, hard_state, entries))?;
        self.noted_commit = hard_state.commit;
        self.sealed = false;
        if let Some(entry) = entries.last() {
            self.last = self.last.max(entry.index);
        }
        Ok(())
    }

    /// Makes durable that the entries up to this one are committed. What was known of it before takes no room again.
    pub fn append_commit(&mut self, hard_state: &HardState) -> Result<(), StoreError> {
        if self.noted_commit >= hard_state.commit { Ok(()) } else { self.append(hard_state, &[]) }
    }

    /// Begins anew behind entry `index`, durably: everything before means nothing any more.
    pub fn reset(&mut self, index: u64, term: u64, hard_state: &HardState) -> Result<(), StoreError> {
        self.admit(frame_len(BATCH_OVERHEAD) as u64)?;
        self.hard_state.clone_from(hard_state);
        self.write(|buffer| record::write_reset(buffer, hard_state, index, term))?;
        self.noted_commit = hard_state.commit;
        self.sealed = false;
        self.last = index;
        self.finished.iter_mut().for_each(|finished| finished.last = 0);
        self.release(0);
        Ok(())
    }

    /// Makes room for a frame; for a small one on a full disk, in the margin.
    fn admit(&mut self, frame: u64) -> Result<(), StoreError> {
        match self.make_room(frame) {
            Err(StoreError::Full { .. }) if frame <= SMALL_FRAME && self.offset + frame + SEAL_LEN <= self.room => {
                Ok(())
            }
            other => other,
        }
    }

    /// Notes what the voter's state is, to be written with the next record.
    pub fn note(&mut self, hard_state: &HardState) {
        self.hard_state.clone_from(hard_state);
    }

    /// Marks all records so far as durable, so that damage to the last one cannot pass for an unfinished write.
    pub fn seal(&mut self) -> Result<(), StoreError> {
        if !self.sealed && self.offset + SEAL_LEN <= self.room {
            self.write(record::write_seal)?;
            self.sealed = true;
        }
        Ok(())
    }

    /// Removes the segments that hold nothing behind entry `durable`, which is in the applied state on disk.
    pub fn release(&mut self, durable: u64) {
        while let Some(oldest) = self.finished.front().filter(|oldest| oldest.last <= durable) {
            let path = self.disk.path(oldest.segment);
            if let Err(error) = self.disk.remove(oldest.segment) {
                // Left for the next time: the log only takes more room than it needs.
                tracing::warn!(file = %path.display(), %error, "cannot remove a log segment");
                return;
            }
            self.finished.pop_front();
        }
    }

    fn write(&mut self, content: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
        // A buffer that grew for one large record is not kept.
        const KEPT: usize = 1 << 20;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        segment::write_frame(&mut self.buffer, self.segment, self.offset, content);
        let written = self.file.write_at(&self.buffer, self.offset).and_then(|()| self.file.sync());
        written.map_err(|error| StoreError::io(&self.disk.path(self.segment), &error))?;
        self.offset += self.buffer.len() as u64;
        Ok(())
    }
}

/// Makes durable what was read. A process that died between a write and its flush, or whose flush failed, leaves records
/// that the next one reads and that the machine may lose all the same. After a failed flush another one alone would not
/// help: the system takes the pages for written. So they are written again; what is before a seal was durable before the
/// seal was written.
fn confirm<D: Disk>(disk: &D, file: &mut D::File, current: &Current) -> io::Result<()> {
    let bytes = disk.read(current.segment)?;
    let begin = if current.sealed { current.offset.saturating_sub(SEAL_LEN) } else { 0 };
    let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    file.write_at(&bytes[place(begin)..place(current.offset)], begin)?;
    file.sync()
}

/// A new segment that begins with the voter's state, so that older ones can go.
fn new_segment<D: Disk>(
    disk: &mut D,
    number: u64,
    size: u64,
    hard_state: &HardState,
) -> Result<(D::File, u64), StoreError> {
    let mut initial = Vec::new();
    segment::write_header(&mut initial, number);
    segment::write_frame(&mut initial, number, HEADER_LEN as u64, |buffer| {
        record::write_batch(buffer, hard_state, &[])
    });
    let file = disk.create(number, &initial, size).map_err(|error| StoreError::io(&disk.path(number), &error))?;
    Ok((file, initial.len() as u64))
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
