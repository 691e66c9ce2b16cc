//! A body that holds a value for as long as anybody reads it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::{Body, BoxError};

/// A body as it is, and a value that is dropped with it: when it was taken, or when nobody wants it any more.
pub(crate) struct Held<T> {
    body: Body,
    _value: T,
}

impl<T: Send + Unpin + 'static> Held<T> {
    pub(crate) fn with(value: T, body: Body) -> Body {
        Self { body, _value: value }.boxed_unsync()
    }
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
