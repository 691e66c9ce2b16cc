//! Which part of a blob is asked for (RFC 9110, `Range`).

use std::io::SeekFrom;
use std::path::Path;

use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::blobs::BlobError;
use crate::refusal::{set, with_status};
use crate::{Body, BoxError};

const CHUNK_BYTES: usize = 64 * 1024;

/// What of a blob is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// From the first byte to the last, both of them included.
    From {
        first: u64,
        last: u64,
    },
    /// There is no such part.
    Beyond,
}

impl Part {
    /// What the headers ask for of so many bytes: the rest from somewhere on, or up to somewhere. Whatever else they may say,
    /// several parts for instance, is answered with the whole, as the RFC allows.
    pub(crate) fn of(headers: &HeaderMap, size: u64) -> Self {
        let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let Some((first, last)) = asked.and_then(|asked| asked.strip_prefix("bytes=")?.split_once('-')) else {
            return Self::Whole;
        };
        let end = size.saturating_sub(1);
        let last = if last.is_empty() { Some(end) } else { last.parse().ok() };
        match (first.parse::<u64>(), last) {
            (Ok(first), Some(last)) if first <= last && first < size => Self::From { first, last: last.min(end) },
            (Ok(first), Some(_)) if first >= size => Self::Beyond,
            _ => Self::Whole,
        }
    }
}

/// An answer of that length, whatever of it is sent.
pub(crate) fn of_length(body: Body, size: u64) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    response
}

/// Answers with a part of a file of that size.
pub(crate) async fn send(path: &Path, part: Part, size: u64) -> Result<Response<Body>, BlobError> {
    let (first, length) = match part {
        Part::Whole => (0, size),
        Part::From { first, last } => (first, last - first + 1),
        Part::Beyond => {
            let mut response = with_status(StatusCode::RANGE_NOT_SATISFIABLE);
            set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let mut file = tokio::fs::File::open(path).await.map_err(BlobError::io(path))?;
    file.seek(SeekFrom::Start(first)).await.map_err(BlobError::io(path))?;
    let mut response = of_length(file_body(file.take(length)), length);
    if let Part::From { first, last } = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
    }
    Ok(response)
}

fn file_body(file: tokio::io::Take<tokio::fs::File>) -> Body {
    let chunks = futures::stream::try_unfold(file, |mut file| async move {
        let mut chunk = bytes::BytesMut::with_capacity(CHUNK_BYTES);
        let read = file.read_buf(&mut chunk).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (chunk.freeze(), file)))
    });
    let frames = chunks.map(|chunk| chunk.map(http_body::Frame::data).map_err(BoxError::from));
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_the_header_asks_for_of_what_there_is() {
        let check = |asked: Option<&'static str>, size: u64, expected: Part| {
            let mut headers = HeaderMap::new();
            if let Some(asked) = asked {
                headers.insert(header::RANGE, http::HeaderValue::from_static(asked));
            }
            assert_eq!(Part::of(&headers, size), expected, "{asked:?} of {size}");
        };
        check(None, 10, Part::Whole);
        check(Some("bytes=0-"), 10, Part::From { first: 0, last: 9 });
        check(Some("bytes=4-"), 10, Part::From { first: 4, last: 9 });
        check(Some("bytes=4-6"), 10, Part::From { first: 4, last: 6 });
        check(Some("bytes=4-600"), 10, Part::From { first: 4, last: 9 });
        check(Some("bytes=10-"), 10, Part::Beyond);
        check(Some("bytes=0-"), 0, Part::Beyond);
        check(Some("bytes=6-4"), 10, Part::Whole);
        check(Some("bytes=-3"), 10, Part::Whole);
        check(Some("bytes=1-2,4-5"), 10, Part::Whole);
        check(Some("items=1-"), 10, Part::Whole);
    }
}
