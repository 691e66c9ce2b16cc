//! Frames: bytes to values and back.

use bytes::{Buf as _, Bytes, BytesMut};

use super::headers::{Deflate, Headers, Inflate};

const VERSION: u16 = 3;
const END: u8 = 1;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEAD: usize = 8;
/// The longest frame that is not data.
const LONGEST: usize = 64 * 1024;
/// The longest data frame that is written.
pub(super) const PIECE: usize = 32 * 1024;
const CANCEL: u32 = 5;

/// What makes a connection useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpdyError {
    #[error("a block of headers cannot be read")]
    Headers,
    #[error("a frame of SPDY version {0}")]
    Version(u16),
    #[error("a frame of {0} bytes")]
    Length(usize),
}

/// One frame. Of data a frame may come in several pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Open {
        stream: u32,
        end: bool,
        headers: Headers,
    },
    /// The answer to `Open`.
    Reply {
        stream: u32,
    },
    Data {
        stream: u32,
        end: bool,
        data: Bytes,
    },
    Reset {
        stream: u32,
    },
    Ping(u32),
    GoAway,
    /// One that changes nothing here: settings, windows, further headers.
    Other,
}

/// Finds the frames in what arrives.
pub(super) struct Decoder {
    buffer: BytesMut,
    inflate: Inflate,
    /// Of a data frame whose rest is to come: its stream, whether that ends, and how many bytes are missing.
    inside: Option<(u32, bool, usize)>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), inflate: Inflate::new(), inside: None }
    }

    /// Takes what has arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or piece of one, that is there.
    pub(super) fn take(&mut self) -> Result<Option<Frame>, SpdyError> {
        if self.inside.is_some() {
            return Ok(self.data());
        }
        let Some(&[a, b, c, d, flags, e, f, g]) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let (word, length) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([0, e, f, g]) as usize);
        let end = flags & END != 0;
        if word >> 31 == 0 {
            self.buffer.advance(HEAD);
            self.inside = Some((word, end, length));
            return Ok(self.data());
        }
        let (version, kind) = (u16::from_be_bytes([a & 0x7f, b]), u16::from_be_bytes([c, d]));
        if version != VERSION {
            return Err(SpdyError::Version(version));
        }
        if length > LONGEST {
            return Err(SpdyError::Length(length));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let body = self.buffer.split_to(length);
        self.control(kind, end, &body).map(Some)
    }

    fn data(&mut self) -> Option<Frame> {
        let (stream, end, missing) = self.inside?;
        let there = missing.min(self.buffer.len());
        if there == 0 && missing > 0 {
            return None;
        }
        let data = self.buffer.split_to(there).freeze();
        self.inside = (there < missing).then_some((stream, end, missing - there));
        Some(Frame::Data { stream, end: end && self.inside.is_none(), data })
    }

    fn control(&mut self, kind: u16, end: bool, body: &[u8]) -> Result<Frame, SpdyError> {
        let word = |at: usize| body.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
        let stream = |at: usize| word(at).map(|word| word & 0x7fff_ffff).ok_or(SpdyError::Length(body.len()));
        Ok(match kind {
            SYN_STREAM => {
                let block = body.get(10..).ok_or(SpdyError::Length(body.len()))?;
                Frame::Open { stream: stream(0)?, end, headers: self.inflate.read(block)? }
            }
            RST_STREAM => Frame::Reset { stream: stream(0)? },
            PING => Frame::Ping(word(0).ok_or(SpdyError::Length(body.len()))?),
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        })
    }
}

/// Writes frames.
pub(super) struct Encoder(Deflate);

impl Encoder {
    pub(super) fn new() -> Self {
        Self(Deflate::new())
    }

    /// The frame's bytes.
    pub(super) fn encode(&mut self, frame: &Frame) -> Result<Vec<u8>, SpdyError> {
        Ok(match frame {
            Frame::Open { stream, end, headers } => {
                let mut body = stream.to_be_bytes().to_vec();
                body.extend_from_slice(&[0; 6]);
                body.extend_from_slice(&self.0.write(headers)?);
                control(SYN_STREAM, *end, &body)
            }
            Frame::Reply { stream } => {
                let mut body = stream.to_be_bytes().to_vec();
                body.extend_from_slice(&self.0.write(&Headers::new())?);
                control(SYN_REPLY, false, &body)
            }
            Frame::Data { stream, end, data } => {
                // No more than a piece is ever sent.
                let mut out = Vec::with_capacity(HEAD + data.len());
                out.extend_from_slice(&(stream & 0x7fff_ffff).to_be_bytes());
                out.extend_from_slice(&flags_and_length(*end, data.len()));
                out.extend_from_slice(data);
                out
            }
            Frame::Reset { stream } => {
                let mut body = stream.to_be_bytes().to_vec();
                body.extend_from_slice(&CANCEL.to_be_bytes());
                control(RST_STREAM, false, &body)
            }
            Frame::Ping(id) => control(PING, false, &id.to_be_bytes()),
            Frame::GoAway => control(GOAWAY, false, &[0; 8]),
            Frame::Other => Vec::new(),
        })
    }
}

fn control(kind: u16, end: bool, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + body.len());
    out.extend_from_slice(&(0x8000 | VERSION).to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&flags_and_length(end, body.len()));
    out.extend_from_slice(body);
    out
}

fn flags_and_length(end: bool, length: usize) -> [u8; 4] {
    // Frames are no longer than `PIECE` or a few headers: 24 bits hold that.
    let [_, a, b, c] = (length as u32).to_be_bytes();
    [u8::from(end), a, b, c]
}

/// A connection's bytes: however they are cut, they are the same frames.
#[cfg(feature = "fuzzing")]
pub fn fuzz(input: &[u8]) {
    let read = |piece: usize| {
        let (mut decoder, mut found) = (Decoder::new(), Vec::<Frame>::new());
        for bytes in input.chunks(piece.max(1)) {
            decoder.push(bytes);
            loop {
                match (decoder.take(), found.last_mut()) {
                    (Ok(None), _) => break,
                    (Err(why), _) => return (found, Some(why)),
                    // Pieces of what the client sent.
                    (
                        Ok(Some(Frame::Data { stream, end, data })),
                        Some(Frame::Data { stream: s, end: e @ false, data: d }),
                    ) if stream == *s => {
                        (*e, *d) = (end, [&**d, &*data].concat().into());
                    }
                    (Ok(Some(frame)), _) => found.push(frame),
                }
            }
        }
        (found, None)
    };
    let (whole, pieces) = (read(input.len()), read(1));
    assert_eq!(whole, pieces, "cut otherwise, it is something else");
    let mut encoder = Encoder::new();
    for frame in &whole.0 {
        assert!(encoder.encode(frame).is_ok(), "a frame that was read can be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let headers = vec![("streamtype".to_owned(), "data".to_owned())];
        let data = |end, data: &'static [u8]| Frame::Data { stream: 5, end, data: data.into() };
        let sent = [
            Frame::Open { stream: 5, end: false, headers: headers.clone() },
            data(false, b"hello"),
            Frame::Ping(7),
            data(true, b""),
            Frame::Open { stream: 7, end: true, headers },
            Frame::Reset { stream: 7 },
            Frame::GoAway,
        ];
        let mut encoder = Encoder::new();
        let wire: Vec<u8> = sent.iter().flat_map(|frame| encoder.encode(frame).expect("a frame")).collect();
        for piece in [1, 7, wire.len()] {
            let (mut decoder, mut found) = (Decoder::new(), Vec::<Frame>::new());
            for bytes in wire.chunks(piece) {
                decoder.push(bytes);
                while let Some(frame) = decoder.take().expect("frames") {
                    match (found.last_mut(), frame) {
                        // Pieces of one frame.
                        (Some(Frame::Data { data: before, end: false, .. }), Frame::Data { data, end: false, .. }) => {
                            *before = [before.as_ref(), &data].concat().into();
                        }
                        (_, frame) => found.push(frame),
                    }
                }
            }
            assert_eq!(found, sent, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let check = |bytes: &[u8], expected: Result<Option<Frame>, SpdyError>| {
            let mut decoder = Decoder::new();
            decoder.push(bytes);
            assert_eq!(decoder.take(), expected, "{bytes:?}");
        };
        check(b"GET / HT", Ok(None));
        check(&[0x80, 2, 0, 1, 0, 0, 0, 0], Err(SpdyError::Version(2)));
        check(&[0x80, 3, 0, 1, 0, 0xff, 0, 0], Err(SpdyError::Length(0xff_0000)));
        check(&[0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0], Err(SpdyError::Length(2)));
        check(&[0x80, 3, 0, 6, 0, 0, 0, 1, 0], Err(SpdyError::Length(1)));
        check(&[0x80, 3, 0, 9, 0, 0, 0, 1, 0], Ok(Some(Frame::Other)));
        check(&[0x80, 3, 0, 2, 0, 0, 0, 0], Ok(Some(Frame::Other)));
    }
}
