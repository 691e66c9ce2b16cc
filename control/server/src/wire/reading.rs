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

/// This much of a body that is too large is still read, and thrown away: a client that is answered while it sends may
/// see its connection break and not the answer.
const DRAINED: usize = 32 * 1024 * 1024;

/// The whole body. `waits`: the client sends it only after it was told to go on, so an oversized one need not be read.
pub(crate) async fn read_body(
    mut body: Incoming,
    limit: usize,
    within: Duration,
    waits: bool,
) -> Result<Bytes, BodyError> {
    let oversized = body.size_hint().lower() > limit as u64;
    if oversized && waits {
        return Err(BodyError::TooLarge(limit));
    }
    let reading = async {
        let outcome = if oversized { Err(BodyError::TooLarge(limit)) } else { collect(&mut body, limit).await };
        if matches!(outcome, Err(BodyError::TooLarge(_))) {
            drain(&mut body, DRAINED).await;
        }
        outcome
    };
    tokio::time::timeout(within, reading).await.unwrap_or(Err(BodyError::TooSlow))
}

async fn collect(body: &mut Incoming, limit: usize) -> Result<Bytes, BodyError> {
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
}

/// Reads a body that nobody wants, a little of it and not for long: a client that still sends when its connection is closed
/// may not see what it was answered.
pub(crate) async fn discard(mut body: Incoming) {
    const MOST: usize = 256 * 1024;
    const WITHIN: Duration = Duration::from_secs(5);
    // Of who sends on, the rest is lost as it would have been.
    let _ = tokio::time::timeout(WITHIN, drain(&mut body, MOST)).await;
}

async fn drain(body: &mut Incoming, most: usize) {
    let mut left = most;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
