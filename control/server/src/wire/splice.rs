//! A body put together from pieces that exist already.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Frames are about this large: small pieces are copied together, which costs less than a TLS record for each.
const FRAME: usize = 64 * 1024;

/// Marks an answer of which hardly more is in memory than what is being sent, however large it is.
#[derive(Clone, Copy)]
pub(crate) struct MadeWhileRead;

/// How large all pieces are together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    Exactly(u64),
    /// They are made while they are sent.
    AtLeast(u64),
}

/// `head`, the pieces with what stands between them, `tail`. Where the size is known no chunk headers are needed.
pub(crate) struct Spliced<I> {
    head: Option<Bytes>,
    pieces: I,
    between: &'static str,
    /// A piece for which there was no room behind what came before it.
    held: Option<Bytes>,
    first: bool,
    tail: Option<Bytes>,
    size: Size,
}

impl<I: Iterator<Item = Bytes>> Spliced<I> {
    /// `size` is that of the pieces without what stands `between` them, `count` their number.
    pub(crate) fn new(head: Bytes, pieces: I, between: &'static str, count: usize, size: Size, tail: Bytes) -> Self {
        let around = (head.len() + tail.len() + between.len() * count.saturating_sub(1)) as u64;
        let size = match size {
            Size::Exactly(size) => Size::Exactly(size + around),
            Size::AtLeast(size) => Size::AtLeast(size + around),
        };
        Self { head: Some(head), pieces, between, held: None, first: true, tail: Some(tail), size }
    }

    /// All of it, for those who need it in one piece.
    pub(crate) fn whole(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(frame) = self.fill() {
            bytes.extend_from_slice(&frame);
        }
        bytes
    }

    fn capacity(&self) -> usize {
        match self.size {
            Size::Exactly(left) => usize::try_from(left).unwrap_or(FRAME).min(FRAME),
            Size::AtLeast(_) => FRAME,
        }
    }

    fn fill(&mut self) -> Option<Bytes> {
        let held = match self.held.take() {
            Some(held) if held.len() >= FRAME => return Some(held),
            held => held,
        };
        let mut frame = BytesMut::with_capacity(self.capacity());
        let first = self.head.take().into_iter().chain(held);
        first.for_each(|bytes| frame.extend_from_slice(&bytes));
        while frame.len() < FRAME {
            let Some(piece) = self.pieces.next() else {
                if let Some(tail) = self.tail.take() {
                    frame.extend_from_slice(&tail);
                }
                break;
            };
            if !std::mem::take(&mut self.first) {
                frame.extend_from_slice(self.between.as_bytes());
            }
            // A frame that grew would be copied once more.
            if frame.len() + piece.len() > FRAME {
                self.held = Some(piece);
                break;
            }
            frame.extend_from_slice(&piece);
        }
        if frame.is_empty() { self.held.take() } else { Some(frame.freeze()) }
    }
}

impl<I: Iterator<Item = Bytes> + Unpin> Body for Spliced<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.fill();
        let sent = frame.as_ref().map_or(0, |frame| frame.len() as u64);
        match &mut self.size {
            Size::Exactly(left) | Size::AtLeast(left) => *left = left.saturating_sub(sent),
        }
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_none() && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.size {
            Size::Exactly(left) => SizeHint::with_exact(left),
            Size::AtLeast(left) => {
                let mut hint = SizeHint::new();
                hint.set_lower(left);
                hint
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn check(sizes: &[usize]) {
        let pieces: Vec<Bytes> = sizes.iter().map(|size| Bytes::from(vec![b'x'; *size])).collect();
        let total = sizes.iter().sum::<usize>() as u64;
        let expected = format!("[{}]", sizes.iter().map(|size| "x".repeat(*size)).collect::<Vec<_>>().join(",{"));
        let body = Spliced::new("[".into(), pieces.into_iter(), ",{", sizes.len(), Size::Exactly(total), "]".into());
        assert_eq!(body.size_hint().exact(), Some(expected.len() as u64), "{sizes:?}");
        let collected = body.collect().await.expect("a body that cannot fail").to_bytes();
        assert!(collected == expected.as_bytes(), "{sizes:?}");
    }

    #[tokio::test]
    async fn pieces_come_out_whole_in_order_and_of_the_size_announced() {
        check(&[]).await;
        check(&[0]).await;
        check(&[3, 4]).await;
        check(&[FRAME, 1, FRAME - 1, FRAME + 1, 5]).await;
        check(&[FRAME * 3]).await;
        check(&vec![2000; 200]).await;
    }
}
