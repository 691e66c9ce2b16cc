//! How the bytes of a stream are cut into frames, and what some of them hold. Nothing here waits.
//!
//! A frame is its length (4 bytes, little endian, of all that follows), its kind (1 byte), and its content.

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::{DecodeError, Reader, write_number};

/// No frame is longer: the largest transaction with all that surrounds it, and room to spare.
pub(crate) const MAX_FRAME: usize = 16 << 20;
/// What fits into a frame with all that surrounds it.
pub(crate) const LARGEST_TXN: usize = 12 << 20;
/// No frame is longer before the other side has said who it is.
pub(crate) const MAX_GREETING: usize = 4 << 10;

const LENGTH_BYTES: usize = 4;
/// A stream's buffer grows by this.
const READ_BYTES: usize = 64 << 10;
/// With less room than this in the buffer, a read would be too small.
const LEAST_READ_BYTES: usize = 4 << 10;
/// A large frame's buffer grows as its bytes come.
const GROWTH_BYTES: usize = 1 << 20;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Who dials, and what for.
    Hello = 1,
    /// The answer to a hello.
    Welcome = 2,
    /// The other answer to a hello.
    Refused = 3,
    /// Says that its sender is there, when there is nothing else to say.
    Alive = 4,
    /// The stream ends here, and why.
    Goodbye = 5,
    /// A message of Raft.
    Message = 6,
    /// A transaction for the leader.
    Forward = 7,
    /// A transaction that the leader did not take.
    Refusal = 8,
    /// Part of a snapshot.
    Chunk = 9,
    /// The snapshot is complete.
    End = 10,
    /// The snapshot was taken over.
    Done = 11,
    /// A tool's transaction.
    Commit = 12,
    /// A tool asks for a key's value.
    Read = 13,
    /// The answer to one of those.
    Answer = 14,
    /// Asks the leader how far everything is committed that was ever answered.
    Ask = 15,
    /// The answer to that.
    Told = 16,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::*;
        const ALL: [Kind; 16] = [
            Hello, Welcome, Refused, Alive, Goodbye, Message, Forward, Refusal, Chunk, End, Done, Commit, Read, Answer,
            Ask, Told,
        ];
        ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: Kind,
    /// A slice of the stream's buffer.
    pub content: Bytes,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoFrame {
    #[error("a frame of {len} bytes is over the limit of {limit}")]
    TooLong { len: usize, limit: usize },
    #[error("a frame without a kind")]
    Empty,
    #[error("a frame of the unknown kind {0}")]
    Unknown(u8),
}

/// Appends a frame; `write` appends its content.
pub(crate) fn write_frame(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.push(kind as u8);
    write(out);
    // Whoever writes keeps to MAX_FRAME; the other side closes a stream on a longer one.
    let len = u32::try_from(out.len() - start - LENGTH_BYTES).unwrap_or(u32::MAX);
    out[start..start + LENGTH_BYTES].copy_from_slice(&len.to_le_bytes());
}

/// Cuts what a stream brings into frames.
pub(crate) struct Splitter {
    buffer: BytesMut,
    limit: usize,
}

impl Splitter {
    /// Takes no frame longer than `limit`.
    pub fn new(limit: usize) -> Splitter {
        Splitter { buffer: BytesMut::new(), limit }
    }

    /// From now on takes no frame longer than `limit`.
    pub fn limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Where the stream's next bytes go. Memory is taken for what has come, not for what was announced.
    pub fn room(&mut self) -> &mut BytesMut {
        let missing = self.announced().map_or(0, |len| (LENGTH_BYTES + len).saturating_sub(self.buffer.len()));
        if self.buffer.capacity() - self.buffer.len() < missing.clamp(LEAST_READ_BYTES, GROWTH_BYTES) {
            self.buffer.reserve(missing.clamp(READ_BYTES, GROWTH_BYTES));
        }
        &mut self.buffer
    }

    /// The next frame, if all of it is here.
    pub fn next(&mut self) -> Result<Option<Frame>, NoFrame> {
        let Some(len) = self.announced() else { return Ok(None) };
        if len > self.limit {
            return Err(NoFrame::TooLong { len, limit: self.limit });
        }
        if len == 0 {
            return Err(NoFrame::Empty);
        }
        // Told before the rest has come: nobody waits for what cannot be understood.
        if let Some(kind) = self.buffer.get(LENGTH_BYTES)
            && Kind::from_byte(*kind).is_none()
        {
            return Err(NoFrame::Unknown(*kind));
        }
        if self.buffer.len() < LENGTH_BYTES + len {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        let kind = Kind::from_byte(self.buffer.get_u8()).ok_or(NoFrame::Empty)?;
        Ok(Some(Frame { kind, content: self.buffer.split_to(len - 1).freeze() }))
    }

    /// Whether a part of a frame is here.
    pub fn is_amid(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn announced(&self) -> Option<usize> {
        let length = self.buffer.first_chunk::<LENGTH_BYTES>()?;
        usize::try_from(u32::from_le_bytes(*length)).ok()
    }
}

/// A number and the rest of a frame, as several kinds have them.
pub(crate) fn numbers<const N: usize>(content: &Bytes) -> Result<([u64; N], Bytes), DecodeError> {
    let mut reader = Reader::new(content);
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = reader.number()?;
    }
    Ok((numbers, reader.rest()))
}

/// Appends numbers and the rest of a frame.
pub(crate) fn write_numbers(out: &mut Vec<u8>, numbers: &[u64], rest: &[u8]) {
    numbers.iter().for_each(|number| write_number(out, *number));
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(splitter: &mut Splitter) -> Vec<(Kind, Vec<u8>)> {
        std::iter::from_fn(|| splitter.next().unwrap()).map(|frame| (frame.kind, frame.content.to_vec())).collect()
    }

    proptest! {
        #[test]
        fn frames_survive_however_the_stream_is_cut(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
            cut in 1usize..200,
        ) {
            let mut bytes = Vec::new();
            for content in &contents {
                write_frame(&mut bytes, Kind::Forward, |out| out.extend_from_slice(content));
            }
            let mut splitter = Splitter::new(1000);
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                splitter.room().extend_from_slice(piece);
                found.extend(frames(&mut splitter));
            }
            let expected: Vec<_> = contents.into_iter().map(|content| (Kind::Forward, content)).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(!splitter.is_amid());
        }

        #[test]
        fn foreign_bytes_are_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut splitter = Splitter::new(60);
            splitter.room().extend_from_slice(&bytes);
            while let Ok(Some(_)) = splitter.next() {}
            let _ = numbers::<3>(&Bytes::from(bytes));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_before_memory_is_taken_for_it() {
        fn check(bytes: &[u8], expected: Result<Option<Kind>, NoFrame>) {
            let mut splitter = Splitter::new(100);
            splitter.room().extend_from_slice(bytes);
            assert_eq!(splitter.next().map(|frame| frame.map(|frame| frame.kind)), expected, "{bytes:?}");
            assert!(splitter.buffer.capacity() <= 2 * READ_BYTES);
        }
        check(&[], Ok(None));
        check(&[1, 0, 0], Ok(None));
        check(&[1, 0, 0, 0], Ok(None));
        check(&[1, 0, 0, 0, 4], Ok(Some(Kind::Alive)));
        check(&[0, 0, 0, 0], Err(NoFrame::Empty));
        check(&[2, 0, 0, 0, 99], Err(NoFrame::Unknown(99)));
        check(&[101, 0, 0, 0, 4], Err(NoFrame::TooLong { len: 101, limit: 100 }));
        check(&[255, 255, 255, 255], Err(NoFrame::TooLong { len: u32::MAX as usize, limit: 100 }));
    }

    #[test]
    fn every_kind_is_found_by_its_byte() {
        for byte in 1..=16 {
            assert_eq!(Kind::from_byte(byte).map(|kind| kind as u8), Some(byte));
        }
        assert_eq!((Kind::from_byte(0), Kind::from_byte(17)), (None, None));
    }
}
