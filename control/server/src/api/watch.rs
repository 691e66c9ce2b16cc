//! Watches: events as lines, for as long as both sides want.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use pal_registry::{Watch, WatchEvent, bookmark};
use pal_resources::Status;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::render::Shown;
use super::{At, Call, reply};
use crate::{Body, BoxError};

/// A watch that names no end is ended after this time and up to as much again, so that clients spread over servers.
const LIFETIME: Duration = Duration::from_secs(1800);
/// Events that are there already go out together, up to about this size.
const BATCH: usize = 64 * 1024;

/// A running watch with what ends it.
struct Running {
    watch: Watch,
    shown: Shown,
    /// A table's columns were told.
    headed: bool,
    until: Instant,
    stop: CancellationToken,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// `GET ...?watch=true`
pub(super) async fn watch(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let permit = call.api.gate.stream()?;
    let options = call.query.watch()?;
    let shown = call.shown(at)?;
    let lifetime = call.query.timeout()?.unwrap_or_else(|| LIFETIME.mul_f64(1.0 + rand::random::<f64>()));
    let watch = call.registry().watch(&at.resource, at.namespace(), options).await?;
    let running = Running {
        watch,
        shown,
        headed: false,
        until: Instant::now() + lifetime,
        stop: call.api.stop.clone(),
        ended: false,
        _permit: permit,
    };
    let body = reply::boxed(StreamBody::new(running.frames()));
    Ok(reply::answer(StatusCode::OK, reply::JSON, body))
}

impl Running {
    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send {
        futures::stream::unfold(self, |mut this| async move {
            let frame = this.frame().await?;
            Some((Ok(Frame::data(frame)), this))
        })
    }

    /// The next events; `None` when the watch is over.
    async fn frame(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            event = self.watch.next() => event?,
            () = tokio::time::sleep_until(self.until) => return None,
        };
        let mut lines = BytesMut::new();
        self.line(&mut lines, &first);
        while !self.ended && lines.len() < BATCH {
            let Some(event) = self.watch.try_next() else { break };
            self.line(&mut lines, &event);
        }
        Some(lines.freeze())
    }

    fn line(&mut self, lines: &mut BytesMut, event: &WatchEvent) {
        let shown = match event {
            WatchEvent::Added(object) => self.object("ADDED", object),
            WatchEvent::Modified(object) => self.object("MODIFIED", object),
            WatchEvent::Deleted(object) => self.object("DELETED", object),
            WatchEvent::Bookmark { version, initial_events_end } => {
                let json = bookmark(&self.shown.resource, *version, *initial_events_end);
                self.shown.bookmark(json, *version).map(|json| ("BOOKMARK", json))
            }
            WatchEvent::Error(status) => Err(status.clone()),
        };
        let (kind, object) = shown.unwrap_or_else(|status| {
            self.ended = true;
            ("ERROR", status.to_json().into())
        });
        lines.reserve(object.len() + 32);
        for part in [b"{\"type\":\"", kind.as_bytes(), b"\",\"object\":", &object, b"}\n"] {
            lines.extend_from_slice(part);
        }
    }

    fn object(&mut self, kind: &'static str, object: &pal_registry::Object) -> Result<(&'static str, Bytes), Status> {
        let first = !std::mem::replace(&mut self.headed, true);
        Ok((kind, self.shown.event(object, first)?))
    }
}
