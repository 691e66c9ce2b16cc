//! A body that holds a value for as long as anybody reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::{Body, BoxError};

/// What is handed out at once: who reads no more than that has not read the rest.
const PIECE: usize = 64 * 1024;

/// A body as it is, in pieces, and a value that is dropped with it: when it was taken, or when nobody wants it any more.
pub(crate) struct Held<T> {
    body: Body,
    /// What is left of a frame.
    rest: Bytes,
    _value: T,
}

impl<T: Send + Unpin + 'static> Held<T> {
    pub(crate) fn with(value: T, body: Body) -> Body {
        Self { body, rest: Bytes::new(), _value: value }.boxed_unsync()
    }
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                None => return Poll::Ready(None),
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if rest > 0 {
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(rest));
            }
            hint.set_lower(hint.lower().saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body::Body as _;

    use super::*;
    use crate::api::whole;

    #[tokio::test]
    async fn a_value_is_held_until_the_last_piece_is_taken() {
        for (size, pieces) in [(0, 0), (1, 1), (PIECE, 1), (PIECE + 1, 2), (5 * PIECE, 5)] {
            let value = Arc::new(());
            let mut body = Held::with(value.clone(), whole(vec![b'x'; size]));
            let (mut left, mut taken) = (size, 0);
            while !body.is_end_stream() {
                assert_eq!(body.size_hint().exact(), Some(left as u64), "{size}");
                assert_eq!(Arc::strong_count(&value), 2, "{size}: it is not read whole");
                let data = body.frame().await.expect("a piece").expect("data").into_data().expect("data");
                (left, taken) = (left - data.len(), taken + 1);
            }
            assert_eq!((left, taken), (0, pieces), "{size}");
            assert!(body.frame().await.is_none());
            drop(body);
            assert_eq!(Arc::strong_count(&value), 1, "{size}");
        }
    }
}
