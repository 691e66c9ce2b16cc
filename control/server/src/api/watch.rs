//! Watches: events as lines, for as long as both sides want.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use pal_registry::{Watch, WatchEvent, bookmark};
use pal_resources::Status;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::gate::{Streams, Ticket};
use super::render::Shown;
use super::{At, Call, reply};
use crate::{Body, BoxError};

/// A watch that names no end is ended after this time and up to as much again, so that clients spread over servers.
const LIFETIME: Duration = Duration::from_secs(1800);
/// Events that are there already go out together, up to about this size.
const BATCH: usize = 64 * 1024;
/// An object from this size on is sent as it lies in the store; smaller ones are copied together, which costs less than a
/// frame for each.
const SHARED: usize = 16 * 1024;
/// What serving one watcher costs, about: waking it, a frame, a record of TLS, a write to its socket.
const COST: Duration = Duration::from_micros(12);
/// Shorter pauses save nothing.
const SHORTEST: Duration = Duration::from_micros(500);
/// Watchers wait no longer than this for events that are there.
const LONGEST: Duration = Duration::from_millis(100);

/// How long a watcher that was just looked after rests before it is looked after again. With many watchers of the same kind of
/// object, waking each at every event would be all that the server does; so each gets together what came in the time that one
/// round over all of them takes. An event after a quiet time is not held up.
fn rest(streams: usize) -> Duration {
    let round = COST.saturating_mul(u32::try_from(streams).unwrap_or(u32::MAX));
    if round < SHORTEST { Duration::ZERO } else { round.min(LONGEST) }
}

/// A running watch with what ends it.
struct Running {
    watch: Watch,
    shown: Shown,
    /// A table's columns were told.
    headed: bool,
    /// Its time is over, or the server stops.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
    /// Made and not sent yet.
    ready: VecDeque<Bytes>,
    /// The rest that this watcher takes now, if it takes one.
    rest: Pin<Box<Sleep>>,
    rests: bool,
    /// How many streams the server has.
    streams: Streams,
    _ticket: Ticket,
}

/// `GET ...?watch=true`
pub(super) async fn watch(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let ticket = call.api.gate.stream(&call.client)?;
    let options = call.query.watch()?;
    let shown = call.shown(at)?;
    let lifetime = call.query.timeout()?.unwrap_or_else(|| LIFETIME.mul_f64(1.0 + rand::random::<f64>()));
    let watch = call.registry().watch(&at.resource, at.namespace(), options).await?;
    let running = Running {
        watch,
        shown,
        headed: false,
        over: over(call.api.stop.clone(), Instant::now() + lifetime),
        ended: false,
        ready: VecDeque::new(),
        rest: Box::pin(tokio::time::sleep(Duration::ZERO)),
        rests: false,
        streams: call.api.gate.streams(),
        _ticket: ticket,
    };
    let body = reply::boxed(StreamBody::new(running.frames()));
    Ok(reply::answer(StatusCode::OK, reply::JSON, body))
}

/// Made once for a watch: it is looked at for every frame.
fn over(stop: CancellationToken, until: Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    })
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
        if let Some(frame) = self.ready.pop_front() {
            return Some(frame);
        }
        if self.ended {
            return None;
        }
        loop {
            let (rest, rests, watch) = (&mut self.rest, self.rests, &self.watch);
            let ready = async {
                if rests {
                    rest.as_mut().await;
                }
                watch.stirred().await;
            };
            tokio::select! {
                biased;
                () = self.over.as_mut() => return None,
                () = ready => {}
            }
            self.gather();
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.watch.is_over() {
                return None;
            }
        }
    }

    /// Takes what is there, up to a bound.
    fn gather(&mut self) {
        let mut lines = BytesMut::new();
        let mut more = true;
        while more && !self.ended && lines.len() < BATCH && self.ready.is_empty() {
            match self.watch.try_next() {
                Some(event) => self.line(&mut lines, &event),
                None => more = false,
            }
        }
        let rest = rest(self.streams.count());
        self.rests = !more && !rest.is_zero();
        if self.rests {
            self.rest.as_mut().reset(Instant::now() + rest);
        }
        if !lines.is_empty() {
            self.ready.push_back(lines.freeze());
        }
    }

    /// Adds an event to what is sent next.
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
        let shared = object.len() >= SHARED;
        lines.reserve(32 + if shared { 0 } else { object.len() });
        for part in [b"{\"type\":\"", kind.as_bytes(), b"\",\"object\":"] {
            lines.extend_from_slice(part);
        }
        if shared {
            self.ready.push_back(lines.split().freeze());
            self.ready.push_back(object);
        } else {
            lines.extend_from_slice(&object);
        }
        lines.extend_from_slice(b"}\n");
    }

    fn object(&mut self, kind: &'static str, object: &pal_registry::Object) -> Result<(&'static str, Bytes), Status> {
        let first = !std::mem::replace(&mut self.headed, true);
        Ok((kind, self.shown.event(object, first)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_watchers_are_served_at_once_and_many_in_rounds() {
        let check = |streams: usize, micros: u64| assert_eq!(rest(streams), Duration::from_micros(micros), "{streams}");
        check(0, 0);
        check(40, 0);
        check(100, 1_200);
        check(1_000, 12_000);
        check(10_000, 100_000);
        check(1_000_000, 100_000);
    }
}
