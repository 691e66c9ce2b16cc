//! gzip for large answers, made while they are sent.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::{Body, Frame};

use crate::BoxError;

/// `body`, compressed at the level at which compressing still outruns most networks.
pub(crate) fn compressed<B>(body: B) -> Gzipped<B> {
    Gzipped { body, encoder: Some(GzEncoder::new(Vec::new(), Compression::new(1))) }
}

/// A body that is compressed on its way.
pub(crate) struct Gzipped<B> {
    body: B,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<B> Body for Gzipped<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while let Some(encoder) = &mut this.encoder {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    encoder.write_all(&data)?;
                    if !encoder.get_ref().is_empty() {
                        let out = std::mem::take(encoder.get_mut());
                        return Poll::Ready(Some(Ok(Frame::data(out.into()))));
                    }
                }
                Some(Err(error)) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    let Some(encoder) = this.encoder.take() else { break };
                    return Poll::Ready(Some(Ok(Frame::data(encoder.finish()?.into()))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full};
    use std::io::Read as _;

    #[tokio::test]
    async fn what_is_compressed_unpacks_to_the_same() {
        for input in ["".to_owned(), "pods".repeat(100_000)] {
            let body = compressed(Full::new(Bytes::from(input.clone())));
            let packed = body.collect().await.expect("a body").to_bytes();
            let mut unpacked = String::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).expect("gzip");
            assert!(unpacked == input);
        }
    }
}
