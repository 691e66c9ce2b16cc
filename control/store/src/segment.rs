//! The layout of a segment file: a header, then checksummed frames, then zeros.
//!
//! One write, which one flush makes durable, is one frame. So at most one frame, the last, can be torn by a crash, and a
//! bad frame that good ones follow is damage.

use bytes::Bytes;

use crate::record::{self, Record};

/// The layout's version. 2 brought resets.
pub(crate) const VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"pal-log\0";
const FRAME_MAGIC: u32 = 0x5041_4c52;

/// Bytes before the first frame.
pub(crate) const HEADER_LEN: usize = 32;
/// Bytes before a frame's content.
const FRAME_HEADER_LEN: usize = 12;
/// Frames begin at multiples of this.
const ALIGNMENT: usize = 8;

/// The bytes that a frame with this much content takes.
pub(crate) const fn frame_len(content: usize) -> usize {
    (FRAME_HEADER_LEN + content).next_multiple_of(ALIGNMENT)
}

/// Appends a segment's header.
pub(crate) fn write_header(out: &mut Vec<u8>, segment: u64) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&segment.to_le_bytes());
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.resize(start + HEADER_LEN, 0);
}

/// Appends a frame that will lie at `offset` of the segment; `write` appends its content.
pub(crate) fn write_frame(out: &mut Vec<u8>, segment: u64, offset: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_LEN]);
    write(out);
    let content = out.len() - start - FRAME_HEADER_LEN;
    // A frame is bounded by a segment's size, far below 4 GiB.
    let len = u32::try_from(content).unwrap_or(u32::MAX);
    let checksum = checksum(segment, offset, len, &out[start + FRAME_HEADER_LEN..]);
    out[start..start + 4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    out[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
    out.resize(start + frame_len(content), 0);
}

/// Covers the place too, so that bytes that belong elsewhere are never taken for this place's.
fn checksum(segment: u64, offset: u64, len: u32, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&len.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// What a segment holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Scan {
    pub records: Vec<Record>,
    /// Where the next frame goes.
    pub end: u64,
    /// Whether the last record is a seal.
    pub sealed: bool,
    /// Whether something that is no frame follows the last record: what a crash left of an unfinished write.
    pub torn: bool,
}

/// Why a segment cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// A later version wrote it.
    Version(u32),
    /// Its header or a frame that others follow does not match its checksum.
    Bad { at: usize, what: String },
}

/// Reads a segment.
pub(crate) fn scan(bytes: &Bytes, segment: u64) -> Result<Scan, Damage> {
    check_header(bytes, segment)?;
    let mut records = Vec::new();
    let mut at = HEADER_LEN;
    while let Some(content) = frame_at(bytes, segment, at) {
        let content_at = at + FRAME_HEADER_LEN;
        let record = record::decode(&content)
            .map_err(|error| Damage::Bad { at: content_at, what: format!("a record makes no sense ({error})") })?;
        records.push(record);
        at += frame_len(content.len());
    }
    let used = used_len(bytes);
    let mut behind = (at..used).step_by(ALIGNMENT).skip(1);
    if let Some(later) = behind.find(|later| frame_at(bytes, segment, *later).is_some()) {
        let what = format!("a record is damaged, for at byte {later} a good one follows");
        return Err(Damage::Bad { at, what });
    }
    let sealed = matches!(records.last(), Some(Record::Seal));
    let torn = used > at;
    Ok(Scan { records, end: at as u64, sealed, torn })
}

/// Where the zeros begin that fill the file. Most of a segment can be zeros, so they are compared by the block.
fn used_len(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let zero_blocks = bytes.rchunks(ZEROS.len()).take_while(|block| **block == ZEROS[..block.len()]);
    let rest = &bytes[..bytes.len() - zero_blocks.map(<[u8]>::len).sum::<usize>()];
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn check_header(bytes: &Bytes, segment: u64) -> Result<(), Damage> {
    let bad = |what: &str| Err(Damage::Bad { at: 0, what: what.to_owned() });
    let Some(header) = bytes.get(..HEADER_LEN) else { return bad("the file is shorter than its header") };
    if &header[..8] != MAGIC {
        return bad("the file does not begin as a log segment does");
    }
    if crc32fast::hash(&header[..20]).to_le_bytes() != header[20..24] {
        return bad("the header does not match its checksum");
    }
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if version > VERSION {
        return Err(Damage::Version(version));
    }
    if header[12..20] != segment.to_le_bytes() {
        return bad("the file's name is not that of its segment");
    }
    Ok(())
}

/// The content of the frame at `at`, if a good one begins there.
fn frame_at(bytes: &Bytes, segment: u64, at: usize) -> Option<Bytes> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if word(at)? != FRAME_MAGIC {
        return None;
    }
    let len = word(at + 4)?;
    let start = at + FRAME_HEADER_LEN;
    let end = start.checked_add(len as usize)?;
    let content = bytes.get(start..end)?;
    (checksum(segment, at as u64, len, content) == word(at + 8)?).then(|| bytes.slice(start..end))
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
