//! Watches: events as lines, for as long as both sides want.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body::Frame;
use pal_registry::{Registry, Watch, WatchEvent, bookmark, custom};
use pal_resources::selector::FieldSelector;
use pal_resources::{Status, codec};
use pal_store::Stand;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::accept::{Encoding, Form};
use super::gate::Ticket;
use super::pace::{ALONE, BUSY, LONGEST, Pace, SHARING, Together};
use super::render::Shown;
use super::told::{Known, Piece, Told};
use super::{At, Call, reply};
use crate::rarely::Rarely;
use crate::wire::Endless;
use crate::{Body, BoxError};

/// A watch that names no end is ended after this time and up to as much again, so that clients spread over servers.
const LIFETIME: Duration = Duration::from_secs(1800);
/// Events that are there already go out together, up to about this size.
const BATCH: usize = 64 * 1024;
/// An object from this size on is sent as it lies in the store; smaller ones are copied together, which costs less than a
/// frame for each.
const SHARED: usize = 16 * 1024;
/// So many events are taken from the history in one look.
const AT_ONCE: usize = 64;
/// So many are copied out of it in one look: nothing is added to it meanwhile.
const COPIED: usize = 16;
/// Who is told more than so many events at a time watches what is busy.
const FEW: usize = 3;
/// How a watch in protobuf names itself.
const PROTOBUF_STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// A running watch with what ends it: the body of its answer.
struct Running {
    watch: Watch,
    telling: Telling,
    /// Fires when its time is over, or the server stops.
    over: Rarely,
    /// Taken from the history and not made lines of yet.
    taken: std::vec::IntoIter<WatchEvent>,
    /// How much came last time.
    usual: usize,
    waits: Waits,
    /// The rests that this watcher takes.
    rest: Pin<Box<Sleep>>,
    pace: Arc<Pace>,
    /// What it costs each time to tell it something.
    cost: Duration,
    /// The other watches of its connection.
    together: Together,
    told: Arc<Told>,
    /// By what definition objects of a custom resource are shown.
    definition: Option<Definition>,
    _ticket: Ticket,
}

/// The definition of a watched custom resource, as it was when the watch began.
struct Definition {
    registry: Registry,
    replaced: CancellationToken,
}

impl Definition {
    /// Whether the definition says something else by now. What happened since is for another watch, which clients begin where
    /// this one ends.
    fn is_replaced(&self) -> bool {
        self.registry.definitions();
        self.replaced.is_cancelled()
    }
}

/// How events are told.
struct Telling {
    shown: Shown,
    encoding: Encoding,
    /// A table's columns were told.
    headed: bool,
    ended: bool,
    /// Made and not sent yet.
    ready: VecDeque<Bytes>,
}

/// What a watch waits for before it looks again.
enum Waits {
    Nothing,
    /// That its rest is over.
    Rest,
    /// That there may be something.
    News(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// `GET ...?watch=true`
pub(super) async fn watch(call: &Call<'_>, at: &At) -> Result<Response<Body>, Status> {
    let ticket = call.api.gate.stream(&call.client)?;
    let mut options = call.query.watch()?;
    if let Some(name) = &at.name {
        options.field = Some(named(name, options.field)?);
    }
    let shown = call.shown(at)?;
    let lifetime = call.query.timeout()?.unwrap_or_else(|| LIFETIME.mul_f64(1.0 + rand::random::<f64>()));
    let watch = call.registry().watch(&at.resource, at.namespace(), options).await?;
    let until = Instant::now() + lifetime;
    let custom = custom::kind_of(&at.resource);
    let ends = custom.map(|kind| (kind.retired().clone(), kind.replaced().clone()));
    let definition =
        custom.map(|kind| Definition { registry: call.registry().clone(), replaced: kind.replaced().clone() });
    let encoding = call.accepted.encoding;
    let running = Running {
        watch,
        telling: Telling { shown, encoding, headed: false, ended: false, ready: VecDeque::new() },
        over: Rarely::new(over(call.api.stop.clone(), ends, until)),
        taken: Vec::new().into_iter(),
        usual: 0,
        waits: Waits::Nothing,
        rest: Box::pin(tokio::time::sleep(Duration::ZERO)),
        pace: call.api.pace.clone(),
        cost: if call.parts.version == Version::HTTP_2 { SHARING } else { ALONE },
        together: call.together.clone(),
        told: call.api.told.clone(),
        definition,
        _ticket: ticket,
    };
    let content_type = match encoding {
        Encoding::Protobuf => HeaderValue::from_static(PROTOBUF_STREAM),
        Encoding::Json | Encoding::Yaml => reply::JSON,
    };
    let mut response = reply::answer(StatusCode::OK, content_type, reply::boxed(running));
    response.extensions_mut().insert(Endless);
    Ok(response)
}

/// The selector of a watch whose path names one object.
fn named(name: &str, given: Option<FieldSelector>) -> Result<FieldSelector, Status> {
    match given.filter(|selector| !selector.is_empty()) {
        None => FieldSelector::parse(&format!("metadata.name={name}")),
        Some(selector) if selector.exact("metadata.name") == Some(name) => Ok(selector),
        Some(_) => Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name")),
    }
}

/// `ends` fire when a custom resource is no longer served, and when its definition says something else.
async fn over(stop: CancellationToken, ends: Option<(CancellationToken, CancellationToken)>, until: Instant) {
    let retired = async {
        let Some((retired, replaced)) = ends else { return std::future::pending().await };
        tokio::select! {
            () = replaced.cancelled() => {}
            // What happened before the resource went is still told.
            () = async {
                retired.cancelled().await;
                tokio::time::sleep(LONGEST * 2).await;
            } => {}
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = retired => {}
        () = tokio::time::sleep_until(until) => {}
    }
}

impl http_body::Body for Running {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if let Some(frame) = this.telling.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            let told = this.watch.is_over() && this.taken.len() == 0;
            if this.telling.ended || told || this.over.poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            match &mut this.waits {
                Waits::Nothing => {}
                Waits::Rest => ready!(this.rest.as_mut().poll(cx)),
                Waits::News(stirred) => ready!(stirred.as_mut().poll(cx)),
            }
            this.gather();
        }
    }
}

impl Running {
    /// Takes what is there, up to a bound, and says what to wait for before the next time.
    fn gather(&mut self) {
        let stand = self.watch.stand().filter(|_| self.taken.len() == 0 && self.telling.tells_stored()).cloned();
        let now = Instant::now();
        let known = stand.as_ref().map_or(Known::Nothing, |stand| self.told.behind(stand, now));
        let (more, count) = match known {
            Known::Piece(Piece { to, lines, count, .. }) => {
                self.watch.go_on(&to);
                self.telling.ready.push_back(lines);
                (false, count)
            }
            Known::Until(end) => self.make(now, stand, Some(&end)),
            Known::Nothing => self.make(now, stand, None),
        };
        self.waits = match more {
            true => Waits::Nothing,
            false if self.telling.ready.is_empty() => self.news(),
            false => {
                // Where much happens, the fewer pieces the better for everybody.
                let cost = if count > FEW { self.cost.max(BUSY) } else { self.cost };
                if let Some(until) = self.pace.rest(now, cost, &self.together) {
                    self.rest.as_mut().reset(until);
                    Waits::Rest
                } else {
                    self.news()
                }
            }
        };
    }

    /// Makes lines of what is there, not beyond `end`; what leads on from `begin` is kept for others. Returns whether there may
    /// be more, and how many lines it made.
    fn make(&mut self, made: Instant, begin: Option<Stand>, end: Option<&Stand>) -> (bool, usize) {
        let Self { watch, telling, taken, definition, .. } = self;
        let mut lines = Lines { bytes: BytesMut::new(), usual: self.usual, count: 0 };
        let (mut more, mut plain) = (true, begin.is_some());
        while more && !telling.ended && lines.bytes.len() < BATCH && telling.ready.is_empty() {
            if let Some(event) = taken.next() {
                telling.event(&mut lines, &event);
                continue;
            }
            let stored = telling.tells_stored();
            let line = |kind, object: &Bytes| telling.line(&mut lines, kind, object);
            let more_stored = stored && watch.visit_stored(end, COPIED, line);
            if plain && lines.count > 0 {
                let ended = end.is_some_and(|end| watch.stand().is_none_or(|stand| !stand.is_before(end)));
                more = more_stored && !ended;
            } else if !more_stored {
                plain = false;
                let mut events = Vec::new();
                more = watch.try_some(AT_ONCE, &mut events) || !events.is_empty();
                if !events.is_empty() && definition.as_ref().is_some_and(Definition::is_replaced) {
                    telling.ended = true;
                    break;
                }
                *taken = events.into_iter();
            }
        }
        let Lines { bytes: lines, count, .. } = lines;
        self.usual = lines.len().min(BATCH);
        if lines.is_empty() {
            return (more, count);
        }
        let lines = lines.freeze();
        let to = watch.stand().filter(|_| plain && telling.ready.is_empty());
        if let (Some(from), Some(to)) = (begin, to) {
            self.told.keep(Piece { from, to: to.clone(), lines: lines.clone(), count, made });
        }
        self.telling.ready.push_back(lines);
        (more, count)
    }

    fn news(&self) -> Waits {
        Waits::News(Box::pin(self.watch.stirred()))
    }
}

/// What is sent next, in the making.
struct Lines {
    bytes: BytesMut,
    /// So much there was last time.
    usual: usize,
    /// How many were added.
    count: usize,
}

impl Lines {
    /// Makes room for what comes next, the first time for all that usually comes.
    fn reserve(&mut self, next: usize) {
        let usual = std::mem::take(&mut self.usual);
        self.bytes.reserve(next.max(usual));
    }
}

impl Telling {
    /// Whether objects are sent as they are stored.
    fn tells_stored(&self) -> bool {
        self.encoding != Encoding::Protobuf && matches!(self.shown.form, Form::Object)
    }

    /// Adds an event to what is sent next.
    fn event(&mut self, lines: &mut Lines, event: &WatchEvent) {
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
        if self.encoding == Encoding::Protobuf {
            let event = serde_json::from_slice(&object).ok().and_then(|object| codec::to_protobuf_event(kind, &object));
            // What has no message ends the stream: nothing else can be told in it.
            self.ended |= event.is_none();
            lines.bytes.extend_from_slice(&event.unwrap_or_default());
            return;
        }
        self.line(lines, kind, &object);
    }

    /// The same as JSON.
    fn line(&mut self, lines: &mut Lines, kind: &'static str, object: &Bytes) {
        let shared = object.len() >= SHARED;
        lines.count += 1;
        lines.reserve(32 + if shared { 0 } else { object.len() });
        for part in [b"{\"type\":\"", kind.as_bytes(), b"\",\"object\":"] {
            lines.bytes.extend_from_slice(part);
        }
        if shared {
            self.ready.push_back(lines.bytes.split().freeze());
            self.ready.push_back(object.clone());
        } else {
            lines.bytes.extend_from_slice(object);
        }
        lines.bytes.extend_from_slice(b"}\n");
    }

    fn object(&mut self, kind: &'static str, object: &pal_registry::Object) -> Result<(&'static str, Bytes), Status> {
        let first = !std::mem::replace(&mut self.headed, true);
        Ok((kind, self.shown.event(object, first)?))
    }
}
