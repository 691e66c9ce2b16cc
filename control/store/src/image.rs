//! The whole state at one point of the log, and its form as a stream of bytes.
//!
//! One form serves three ends: what a leader sends to a server that is too far behind, what a state directory begins
//! with, and a backup. A stream is a preamble and frames of about 64 KiB, each with its number in its checksum, so that
//! neither side ever holds more than one of them beside the state itself:
//!
//! | frame | content |
//! |---|---|
//! | header | the point: index, term, revision, members; of changes: the index of the state that they change |
//! | label | of a backup: the cluster and when it was made |
//! | buckets | names and the revision of each one's last change, ascending |
//! | entries | keys, ascending, with their values and revisions |
//! | gone | of changes: keys, ascending, that are there no more |
//! | trailer | how many of each there were, and a checksum of everything before |
//!
//! The same form holds what changed since an image: the point that it leads to, and only what is different there.
//!
//! Reading accepts a stream as a whole or not at all.

mod reader;
mod writer;

use raft::eraftpb::ConfState;

pub(crate) use reader::ImageReader;
#[cfg(feature = "fuzzing")]
pub(crate) use writer::framed;
pub(crate) use writer::{Chunks, Label, changes};

use crate::mvcc::State;
use crate::point::Point;

/// The first bytes of a stream.
const MAGIC: &[u8; 8] = b"pal-img\0";
/// The form's version, which follows them.
pub(crate) const VERSION: u32 = 1;
const PREAMBLE_LEN: usize = 12;

/// A frame's kind, the length of its content and its checksum.
const FRAME_HEADER_LEN: usize = 9;
/// A frame is closed when it has so much; one entry larger than that has a frame of its own.
const CHUNK_BYTES: usize = 64 << 10;
/// No frame has more: the largest transaction is far below.
const MAX_FRAME_BYTES: usize = 1 << 30;

const HEADER: u8 = b'H';
const LABEL: u8 = b'L';
const BUCKETS: u8 = b'B';
const ENTRIES: u8 = b'E';
const GONE: u8 = b'G';
const TRAILER: u8 = b'T';

/// The checksum of a frame covers its place in the stream.
fn checksum(sequence: u64, kind: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(&[kind]);
    hasher.update(&(content.len() as u64).to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// A state and the members that belong to it. Cheap to clone, and never changes.
#[derive(Clone, Default)]
pub(crate) struct Image {
    pub state: State,
    pub conf_state: ConfState,
}

impl Image {
    /// Where in the log it stands.
    pub fn point(&self) -> Point {
        self.state.point(self.conf_state.clone())
    }

    /// The stream, frame by frame. It shares the state and borrows nothing.
    pub fn chunks(&self) -> Chunks {
        Chunks::new(self.clone(), None)
    }

    /// The stream as a backup.
    pub fn labelled_chunks(&self, label: Label) -> Chunks {
        Chunks::new(self.clone(), Some(label))
    }
}

/// Why bytes are no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImageError {
    /// It does not begin as one.
    #[error("this is not an image of a store's state")]
    Foreign,
    /// A later version wrote it.
    #[error(
        "its format {found} is newer than this program's ({VERSION}); use the version that wrote it, or a later one"
    )]
    TooNew { found: u32 },
    /// A part of it is not what was written.
    #[error("damaged at byte {at}: {what}")]
    Damaged { at: u64, what: String },
    /// The end is missing.
    #[error("it ends at byte {at}, before its trailer: the copy is incomplete")]
    Incomplete { at: u64 },
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
