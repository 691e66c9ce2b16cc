//! Reading the log back, and finding out whether it fits the stored state.

use std::collections::VecDeque;
use std::path::PathBuf;

use raft::eraftpb::{Entry, HardState};

use crate::directory::ADVICE;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::record::Record;
use crate::segment::{self, Damage, Scan};

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
pub(crate) struct Finished {
    pub segment: u64,
    /// No entry behind this one is in it.
    pub last: u64,
}

/// What the log held when it was opened.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Recovered {
    pub hard_state: Option<HardState>,
    /// The entries behind the applied index, without gaps.
    pub entries: VecDeque<Entry>,
}

/// The segment that is written on.
pub(crate) struct Current {
    pub segment: u64,
    /// Where the next frame goes.
    pub offset: u64,
    /// The file's size.
    pub size: u64,
    /// Whether the last frame is a seal.
    pub sealed: bool,
    /// The highest entry in it.
    pub last: u64,
}

/// What the disk has of a log.
pub(crate) struct Found {
    pub finished: VecDeque<Finished>,
    /// `None` when there is no segment yet.
    pub current: Option<Current>,
    pub recovered: Recovered,
    /// The stored state was installed, and the log is still the one from before: it is to be reset.
    pub unfinished: bool,
}

/// Reads all segments. A torn tail is left out; other damage, or a log that does not fit the stored state, is an error.
pub(crate) fn read<D: Disk>(disk: &D, base: Base, initial: &HardState) -> Result<Found, StoreError> {
    let place = disk.path(0).parent().map(PathBuf::from).unwrap_or_default();
    let segments = disk.segments().map_err(|error| StoreError::io(&place, &error))?;
    let mut recovery = Recovery::new(base.index);
    let mut finished = VecDeque::new();
    let mut current = None;
    for (position, number) in segments.iter().enumerate() {
        let corrupt = |why: String| StoreError::Corrupt { file: disk.path(*number), why: format!("{why}; {ADVICE}") };
        if position > 0 && segments[position - 1] + 1 != *number {
            return Err(corrupt("the segment before this one is missing".to_owned()));
        }
        let (scan, size) = read_segment(disk, *number)?;
        let is_last = position + 1 == segments.len();
        if !is_last && !scan.sealed {
            return Err(corrupt(format!("at byte {}: records are missing at the end", scan.end)));
        }
        if scan.torn {
            tracing::warn!(file = %disk.path(*number).display(), at = scan.end, "cut off an unfinished write at the log's end");
        }
        let reset = recovery.reset;
        let last = recovery.take(scan.records).map_err(corrupt)?;
        if recovery.reset != reset {
            finished.iter_mut().for_each(|finished: &mut Finished| finished.last = 0);
        }
        if is_last {
            current = Some(Current { segment: *number, offset: scan.end, size, sealed: scan.sealed, last });
        } else {
            finished.push_back(Finished { segment: *number, last });
        }
    }
    let is_older = recovery.reset.is_none_or(|(index, _)| index <= base.index);
    let unfinished = base.installed && is_older && recovery.reset != Some((base.index, base.term));
    let misfit = if segments.is_empty() { recovery.misfit_of_nothing(initial) } else { recovery.misfit() };
    match misfit.filter(|_| !unfinished) {
        Some(why) => Err(StoreError::Corrupt { file: place, why: format!("{why}; {ADVICE}") }),
        None => Ok(Found { finished, current, recovered: recovery.recovered, unfinished }),
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

    /// Why an absent log cannot belong to the stored state.
    fn misfit_of_nothing(&self, initial: &HardState) -> Option<String> {
        (self.applied > initial.commit).then(|| format!("the log is missing, but {} are applied", self.applied))
    }

    /// Why the log cannot belong to the stored state.
    fn misfit(&self) -> Option<String> {
        let (applied, last) = (self.applied, self.last);
        if let Some((index, _)) = self.reset.filter(|(index, _)| *index > applied) {
            return Some(format!("the log begins behind entry {index}, but only {applied} are applied"));
        }
        // Nothing is committed that is not in the state or the log: the state has lost what the log was cut behind.
        let committed = self.recovered.hard_state.as_ref().map_or(0, |hard_state| hard_state.commit);
        let known = applied.max(last);
        if committed > known {
            return Some(format!(
                "entries up to {committed} are committed, but only {known} are in the log or applied"
            ));
        }
        (last > 0 && last < applied).then(|| format!("the log ends at entry {last}, but {applied} are applied"))
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
