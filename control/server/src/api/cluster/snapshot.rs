//! `GET /cluster/snapshot`: the whole cluster, streamed while it serves.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use pal_registry::store_failure;
use pal_resources::Status;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::gate::Ticket;
use super::super::{Call, reply};
use crate::backup::{Head, Pieces};
use crate::{Body, BoxError};

/// Pieces that are made ahead of the client.
const AHEAD: usize = 4;
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(super) async fn save(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let ticket = call.api.gate.stream(&call.client)?;
    // A clock before 1970 is wrong anyway.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let backup = call.api.store().save(now).await.map_err(|error| store_failure(&error))?;
    let head = Head { keys: call.api.ca.export().map_err(Status::internal)? };
    let pieces = Pieces::new(&head, backup).map_err(Status::internal)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Encoding is work, and the client may be slow: neither is for a thread that serves others. It ends with the pieces,
    // or when the client goes.
    tokio::task::spawn_blocking(move || {
        for piece in pieces {
            if sender.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    let stream = frames(receiver, call.api.stop.clone(), ticket);
    Ok(reply::answer(StatusCode::OK, BINARY, reply::boxed(StreamBody::new(stream))))
}

/// The pieces, until they end. A server that stops cuts them off, which the client sees.
fn frames(
    pieces: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
    ticket: Ticket,
) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send {
    futures::stream::unfold(Some((pieces, stop, ticket)), |state| async move {
        let (mut pieces, stop, ticket) = state?;
        tokio::select! {
            piece = pieces.recv() => piece.map(|piece| (Ok(Frame::data(piece)), Some((pieces, stop, ticket)))),
            () = stop.cancelled() => Some((Err("the server is shutting down".into()), None)),
        }
    })
}
