//! A body put together from pieces that exist already.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Frames are about this large: small pieces are copied together, which costs less than a TLS record for each.
const FRAME: usize = 64 * 1024;

/// `head`, the pieces with commas between them, `tail`. The size is known, so no chunk headers are needed.
pub(crate) struct Spliced<I> {
    head: Option<Bytes>,
    pieces: I,
    /// A piece that was too large to be copied to what came before it.
    held: Option<Bytes>,
    first: bool,
    tail: Option<Bytes>,
    left: u64,
}

impl<I: Iterator<Item = Bytes>> Spliced<I> {
    /// `size` is the sum of the pieces' sizes without commas, `count` their number.
    pub(crate) fn new(head: Bytes, pieces: I, count: usize, size: u64, tail: Bytes) -> Self {
        let commas = count.saturating_sub(1) as u64;
        let left = head.len() as u64 + size + commas + tail.len() as u64;
        Self { head: Some(head), pieces, held: None, first: true, tail: Some(tail), left }
    }

    fn fill(&mut self) -> Option<Bytes> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let mut frame = BytesMut::with_capacity(FRAME.min(usize::try_from(self.left).unwrap_or(FRAME)));
        if let Some(head) = self.head.take() {
            frame.extend_from_slice(&head);
        }
        while frame.len() < FRAME {
            let Some(piece) = self.pieces.next() else {
                if let Some(tail) = self.tail.take() {
                    frame.extend_from_slice(&tail);
                }
                break;
            };
            if !std::mem::take(&mut self.first) {
                frame.extend_from_slice(b",");
            }
            if piece.len() >= FRAME {
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
        self.left -= frame.as_ref().map_or(0, |frame| frame.len() as u64).min(self.left);
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn check(sizes: &[usize]) {
        let pieces: Vec<Bytes> = sizes.iter().map(|size| Bytes::from(vec![b'x'; *size])).collect();
        let total = sizes.iter().sum::<usize>() as u64;
        let expected = format!("[{}]", sizes.iter().map(|size| "x".repeat(*size)).collect::<Vec<_>>().join(","));
        let body = Spliced::new("[".into(), pieces.into_iter(), sizes.len(), total, "]".into());
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
