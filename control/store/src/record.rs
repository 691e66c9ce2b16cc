//! What a log record says, in bytes.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, HardState};

use crate::codec::{DecodeError, Reader, write_number};

const BATCH: u8 = 1;
const SEAL: u8 = 2;
const RESET: u8 = 3;

/// The most that a batch adds to its entries' own bytes, and each of them.
pub(crate) const BATCH_OVERHEAD: usize = 64;
pub(crate) const ENTRY_OVERHEAD: usize = 40;

/// One record of the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// What one flush made durable: the voter's state and entries, which replace any at or behind their indexes.
    Batch { hard_state: HardState, entries: Vec<Entry> },
    /// Everything before this was durable when it was written.
    Seal,
    /// The log begins anew behind this entry: the applied state was replaced by one that stands there. Everything before
    /// this means nothing any more.
    Reset { hard_state: HardState, index: u64, term: u64 },
}

/// Appends a batch's bytes.
pub(crate) fn write_batch(out: &mut Vec<u8>, hard_state: &HardState, entries: &[Entry]) {
    out.push(BATCH);
    write_hard_state(out, hard_state);
    write_number(out, entries.len() as u64);
    for entry in entries {
        out.push(match entry.entry_type {
            EntryType::EntryNormal => 0,
            EntryType::EntryConfChange => 1,
            EntryType::EntryConfChangeV2 => 2,
        });
        write_number(out, entry.index);
        write_number(out, entry.term);
        for bytes in [&entry.context, &entry.data] {
            write_number(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }
}

fn write_hard_state(out: &mut Vec<u8>, hard_state: &HardState) {
    write_number(out, hard_state.term);
    write_number(out, hard_state.vote);
    write_number(out, hard_state.commit);
}

/// Appends a seal's bytes.
pub(crate) fn write_seal(out: &mut Vec<u8>) {
    out.push(SEAL);
}

/// Appends a reset's bytes.
pub(crate) fn write_reset(out: &mut Vec<u8>, hard_state: &HardState, index: u64, term: u64) {
    out.push(RESET);
    write_hard_state(out, hard_state);
    write_number(out, index);
    write_number(out, term);
}

/// The record that was written.
pub(crate) fn decode(bytes: &Bytes) -> Result<Record, DecodeError> {
    let mut reader = Reader::new(bytes);
    let record = match reader.byte()? {
        SEAL => Record::Seal,
        RESET => Record::Reset {
            hard_state: decode_hard_state(&mut reader)?,
            index: reader.number()?,
            term: reader.number()?,
        },
        BATCH => decode_batch(&mut reader)?,
        _ => return reader.fail("a record of an unknown kind"),
    };
    reader.end()?;
    Ok(record)
}

fn decode_hard_state(reader: &mut Reader<'_>) -> Result<HardState, DecodeError> {
    let (term, vote, commit) = (reader.number()?, reader.number()?, reader.number()?);
    Ok(HardState { term, vote, commit, ..HardState::default() })
}

fn decode_batch(reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let hard_state = decode_hard_state(reader)?;
    let mut entries = Vec::new();
    for _ in 0..reader.number()? {
        let entry_type = match reader.byte()? {
            0 => EntryType::EntryNormal,
            1 => EntryType::EntryConfChange,
            2 => EntryType::EntryConfChangeV2,
            _ => return reader.fail("an entry of an unknown kind"),
        };
        entries.push(Entry {
            entry_type,
            index: reader.number()?,
            term: reader.number()?,
            context: reader.bytes()?,
            data: reader.bytes()?,
            ..Entry::default()
        });
    }
    Ok(Record::Batch { hard_state, entries })
}
