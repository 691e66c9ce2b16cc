//! The Raft log on disk: segments of checksummed records, one record for each flush.

use std::collections::VecDeque;
use std::path::PathBuf;

use raft::eraftpb::{Entry, HardState};

use crate::directory::ADVICE;
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::record::{self, BATCH_OVERHEAD, ENTRY_OVERHEAD, Record};
use crate::segment::{self, Damage, HEADER_LEN, Scan, frame_len};

/// Kept free at a segment's end.
const SEAL_LEN: u64 = frame_len(1) as u64;

/// A record without content that matters to an election takes less than this.
const SMALL_FRAME: u64 = 512;

/// Where the stored state stands, behind which the log is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    pub index: u64,
    pub term: u64,
    /// The state came from another server and took the place of the one before; the log may not have been reset yet.
    pub installed: bool,
}

/// A segment that is written no more.
#[derive(Debug)]
struct Finished {
    segment: u64,
    /// No entry behind this one is in it.
    last: u64,
}

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
    buffer: Vec<u8>,
}

/// What the log held when it was opened.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Recovered {
    pub hard_state: Option<HardState>,
    /// The entries behind the applied index, without gaps.
    pub entries: VecDeque<Entry>,
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
        let applied = base.index;
        let place = disk.path(0).parent().map(PathBuf::from).unwrap_or_default();
        let segments = disk.segments().map_err(|error| StoreError::io(&place, &error))?;
        let mut recovery = Recovery::new(applied);
        let mut finished = VecDeque::new();
        let mut current = None;
        for (position, number) in segments.iter().enumerate() {
            let corrupt = |why: String| StoreError::Corrupt { file: disk.path(*number), why };
            if position > 0 && segments[position - 1] + 1 != *number {
                return Err(corrupt(format!("the segment before this one is missing; {ADVICE}")));
            }
            let (scan, size) = read_segment(&disk, *number)?;
            let is_last = position + 1 == segments.len();
            if !is_last && !scan.sealed {
                return Err(corrupt(format!("at byte {}: records are missing at the end; {ADVICE}", scan.end)));
            }
            if scan.torn {
                tracing::warn!(file = %disk.path(*number).display(), at = scan.end, "cut off an unfinished write at the log's end");
            }
            let reset = recovery.reset;
            let last = recovery.take(scan.records).map_err(|why| corrupt(format!("{why}; {ADVICE}")))?;
            if recovery.reset != reset {
                finished.iter_mut().for_each(|finished: &mut Finished| finished.last = 0);
            }
            if is_last {
                current = Some((*number, scan.end, size, scan.sealed, last));
            } else {
                finished.push_back(Finished { segment: *number, last });
            }
        }
        if let Some((index, _)) = recovery.reset.filter(|(index, _)| *index > applied) {
            let why = format!("the log begins behind entry {index}, but only {applied} are applied; {ADVICE}");
            return Err(StoreError::Corrupt { file: place, why });
        }
        let unfinished = base.installed && recovery.reset != Some((applied, base.term));
        let short = recovery.last > 0 && recovery.last < applied || segments.is_empty() && applied > initial.commit;
        // Nothing is committed that is not in the state or the log: the state has lost what the log was cut behind.
        let committed = recovery.recovered.hard_state.as_ref().map_or(0, |hard_state| hard_state.commit);
        if committed > applied.max(recovery.last) && !unfinished {
            let why = format!(
                "entries up to {committed} are committed, but only {} are in the log or applied; {ADVICE}",
                applied.max(recovery.last)
            );
            return Err(StoreError::Corrupt { file: place, why });
        }
        if short && !unfinished {
            let why = format!("the log ends at entry {}, but {applied} are applied; {ADVICE}", recovery.last);
            return Err(StoreError::Corrupt { file: place, why });
        }
        let recovered = recovery.recovered;
        let hard_state = recovered.hard_state.clone().unwrap_or_else(|| initial.clone());
        let (segment, offset, room, sealed, last, file) = match current {
            Some((number, offset, size, sealed, last)) => {
                // A file that was cut short has no room; the seal is written all the same.
                let size = size.max(offset + SEAL_LEN);
                let file = disk.open(number).map_err(|error| StoreError::io(&disk.path(number), &error))?;
                (number, offset, size, sealed, last, file)
            }
            None => {
                let (file, offset) = new_segment(&mut disk, 1, segment_bytes, &hard_state)?;
                (1, offset, segment_bytes, false, applied, file)
            }
        };
        let buffer = Vec::new();
        let mut log =
            Log { disk, finished, segment, file, offset, room, sealed, last, segment_bytes, hard_state, buffer };
        if unfinished {
            let mut hard_state = log.hard_state.clone();
            if hard_state.term < base.term {
                hard_state = HardState { term: base.term, ..HardState::default() };
            }
            hard_state.commit = applied;
            log.reset(applied, base.term, &hard_state)?;
            return Ok((log, Recovered { hard_state: Some(hard_state), ..Recovered::default() }));
        }
        Ok((log, recovered))
    }

    /// Makes sure that entries with this many bytes of content can be appended without running out of room. On a full disk
    /// this is an error, and the log is as it was: whoever brings entries asks first, and refuses them.
    pub fn reserve(&mut self, entries: usize, bytes: usize) -> Result<(), StoreError> {
        self.make_room(frame_len(BATCH_OVERHEAD + entries * ENTRY_OVERHEAD + bytes) as u64)
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
        self.sealed = false;
        if let Some(entry) = entries.last() {
            self.last = self.last.max(entry.index);
        }
        Ok(())
    }

    /// Begins anew behind entry `index`, durably: everything before means nothing any more.
    pub fn reset(&mut self, index: u64, term: u64, hard_state: &HardState) -> Result<(), StoreError> {
        self.admit(frame_len(BATCH_OVERHEAD) as u64)?;
        self.hard_state.clone_from(hard_state);
        self.write(|buffer| record::write_reset(buffer, hard_state, index, term))?;
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

/// A segment's records and the file's size.
fn read_segment<D: Disk>(disk: &D, number: u64) -> Result<(Scan, u64), StoreError> {
    let file = disk.path(number);
    let bytes = disk.read(number).map_err(|error| StoreError::io(&file, &error))?;
    let size = bytes.len() as u64;
    match segment::scan(&bytes.into(), number) {
        Ok(scan) => Ok((scan, size)),
        Err(Damage::Version(found)) => Err(StoreError::TooNew { file, found, known: segment::VERSION }),
        Err(Damage::Bad { at, what }) => {
            Err(StoreError::Corrupt { file, why: format!("at byte {at}: {what}; {ADVICE}") })
        }
    }
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

/// Puts the records of several segments together.
struct Recovery {
    applied: u64,
    last: u64,
    /// Where the log began anew last.
    reset: Option<(u64, u64)>,
    recovered: Recovered,
}

impl Recovery {
    fn new(applied: u64) -> Recovery {
        Recovery { applied, last: 0, reset: None, recovered: Recovered::default() }
    }

    /// Takes a segment's records and returns the highest index among them.
    fn take(&mut self, records: Vec<Record>) -> Result<u64, String> {
        let mut highest = self.last;
        for record in records {
            match record {
                Record::Seal => {}
                Record::Batch { hard_state, entries } => {
                    self.recovered.hard_state = Some(hard_state);
                    for entry in entries {
                        self.take_entry(entry)?;
                        highest = highest.max(self.last);
                    }
                }
                Record::Reset { hard_state, index, term } => {
                    self.recovered = Recovered { hard_state: Some(hard_state), entries: VecDeque::new() };
                    self.reset = Some((index, term));
                    self.last = index;
                    highest = index;
                }
            }
        }
        Ok(highest)
    }

    fn take_entry(&mut self, entry: Entry) -> Result<(), String> {
        let index = entry.index;
        let first = self.last == 0;
        if first && index > self.applied + 1 {
            return Err(format!("the log begins at entry {index}, but only {} are applied", self.applied));
        }
        if !first && index > self.last + 1 {
            return Err(format!("entry {index} follows entry {}", self.last));
        }
        self.last = index;
        if index <= self.applied {
            return Ok(());
        }
        // A later leader's entries replace what was never committed.
        let kept = usize::try_from(index - self.applied - 1).unwrap_or(usize::MAX);
        self.recovered.entries.truncate(kept);
        self.recovered.entries.push_back(entry);
        Ok(())
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
