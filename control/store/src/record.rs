//! What a log record says, in bytes.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, HardState};

use crate::codec::{DecodeError, Reader, write_number};

const BATCH: u8 = 1;
const SEAL: u8 = 2;

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
}

/// Appends a batch's bytes.
pub(crate) fn write_batch(out: &mut Vec<u8>, hard_state: &HardState, entries: &[Entry]) {
    out.push(BATCH);
    write_number(out, hard_state.term);
    write_number(out, hard_state.vote);
    write_number(out, hard_state.commit);
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

/// Appends a seal's bytes.
pub(crate) fn write_seal(out: &mut Vec<u8>) {
    out.push(SEAL);
}

/// The record that was written.
pub(crate) fn decode(bytes: &Bytes) -> Result<Record, DecodeError> {
    let mut reader = Reader::new(bytes);
    let record = match reader.byte()? {
        SEAL => Record::Seal,
        BATCH => decode_batch(&mut reader)?,
        _ => return reader.fail("a record of an unknown kind"),
    };
    reader.end()?;
    Ok(record)
}

fn decode_batch(reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let hard_state =
        HardState { term: reader.number()?, vote: reader.number()?, commit: reader.number()?, ..HardState::default() };
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
