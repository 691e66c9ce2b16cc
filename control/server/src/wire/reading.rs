//! Request bodies, within a size and a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("limit is {0}")]
    TooLarge(usize),
    #[error("the request body did not arrive in time")]
    TooSlow,
    #[error("the request body could not be read: {0}")]
    Broken(#[from] hyper::Error),
}

/// The whole body. One of a stated size over the limit is refused unread.
pub(crate) async fn read_body(mut body: Incoming, limit: usize, within: Duration) -> Result<Bytes, BodyError> {
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Err(BodyError::TooLarge(limit));
    }
    let reading = async {
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if first.len() + more.len() + data.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            if first.is_empty() && more.is_empty() {
                // Most bodies come in one piece and are not copied.
                first = data;
                continue;
            }
            if more.is_empty() {
                more.reserve(first.len() + data.len());
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
        Ok(if more.is_empty() { first } else { more.freeze() })
    };
    tokio::time::timeout(within, reading).await.unwrap_or(Err(BodyError::TooSlow))
}
