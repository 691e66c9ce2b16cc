//! Reading what another server sends, whatever it is.

use bytes::Bytes;

use super::answers::Answer;
use super::frames::{Kind, MAX_GREETING, NoFrame, Splitter};
use super::handing::{read_forward, read_refusal, read_told};
use super::hello::{Hello, Welcome};

/// The contents of the frames that a stream is which comes in pieces of that many bytes, and why it ends early.
pub(crate) fn frames(stream: &[u8], piece: usize) -> (Vec<Bytes>, Option<NoFrame>) {
    let (mut splitter, mut found) = (Splitter::new(MAX_GREETING), Vec::new());
    for bytes in stream.chunks(piece.max(1)) {
        splitter.room().extend_from_slice(bytes);
        loop {
            match splitter.next() {
                Ok(Some(frame)) => {
                    read(frame.kind, &frame.content);
                    found.push(frame.content);
                }
                Ok(None) => break,
                Err(why) => return (found, Some(why)),
            }
        }
    }
    (found, None)
}

fn read(kind: Kind, content: &Bytes) {
    match kind {
        Kind::Hello => {
            if let Ok(hello) = Hello::read(content) {
                let mut bytes = Vec::new();
                hello.write(&mut bytes);
                assert_eq!(Hello::read(&bytes.into()), Ok(hello), "what is written can be read");
            }
        }
        Kind::Welcome => drop(Welcome::read(content)),
        Kind::Forward => drop(read_forward(content)),
        Kind::Refusal => drop(read_refusal(content)),
        Kind::Told => drop(read_told(content)),
        Kind::Answer => drop(Answer::read(content)),
        _ => {}
    }
}
