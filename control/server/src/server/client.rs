//! The requests of one client's connection.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONNECTION;
use http::{Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::crowd::{self, Crowd};
use super::idle::Activity;
use crate::Body;
use crate::again::Again;
use crate::api::{Api, Caller};
use crate::rarely::Rarely;
use crate::wire::{Corked, Endless, Guarded, Patience, write_in_chunks};

/// The first request's head must begin within this time.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// A request's head must be whole, and an idle connection used again, within this time.
const HEAD: Duration = Duration::from_secs(120);
/// How long a connection of no use that is shut down may take to end: what was answered is still sent.
const STRANGERS_END: Duration = Duration::from_secs(30);
/// A client that takes nothing for this long is gone.
const WRITE_STALL: Duration = Duration::from_secs(60);
const HEADERS_LIMIT: usize = 64 * 1024;
const STREAMS_LIMIT: u32 = 250;

type Io = Guarded<Box<TlsStream<TcpStream>>>;
/// In a box, so that a connection has it only while a request is under way.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A client's connection.
pub(super) struct Client {
    api: Arc<Api>,
    caller: Caller,
    stop: CancellationToken,
    crowd: Arc<Crowd>,
    activity: Arc<Activity>,
    /// Who showed no certificate may not leave the connection unused for longer than that.
    stranger: Option<Duration>,
    patience: Patience,
}

/// Until a connection that ends is cut, if it is.
type TimeLeft = Option<Pin<Box<Sleep>>>;

/// What comes after some requests.
enum Next {
    Nothing,
    /// An answer that goes on for long.
    Endless(Box<(Io, Response<Body>)>),
}

impl Client {
    pub(super) fn new(
        api: Arc<Api>,
        caller: Caller,
        stop: CancellationToken,
        crowd: Arc<Crowd>,
        stranger_idle: Duration,
    ) -> Self {
        let stranger = caller.user.is_none().then_some(stranger_idle);
        let (activity, patience) = (Arc::new(Activity::new()), Patience::new(WRITE_STALL));
        Self { api, caller, stop, crowd, activity, stranger, patience }
    }

    fn guarded(&self, tls: Box<TlsStream<TcpStream>>) -> Io {
        Guarded::new(tls, FIRST_BYTE, self.patience.clone())
    }

    fn answer(&self, request: Request<Incoming>) -> Answering {
        let (api, caller) = (self.api.clone(), self.caller.clone());
        let under_way = self.activity.begin();
        Box::pin(async move { Ok(under_way.until_taken(api.handle(&caller, request).await)) })
    }

    /// When no further requests are taken.
    fn end(&self) -> impl Future<Output = ()> + Send + use<> {
        let stop = self.stop.clone();
        // Pings keep a connection alive, and anybody can send those.
        let idle = self.stranger.map(|limit| self.activity.idle(limit));
        let activity = self.activity.clone();
        let crowded = self.crowd.gives_way(move || activity.idle(crowd::PATIENCE));
        async move {
            let idle = async {
                match idle {
                    None => pending().await,
                    Some(idle) => idle.await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = idle => {}
                // Who is known is only asked to come again when there is need of the place.
                () = crowded => {}
            }
        }
    }

    /// How long what is under way may take after that: a server that stops has a limit of its own.
    fn time_left(&self) -> TimeLeft {
        (!self.stop.is_cancelled()).then(|| Box::pin(tokio::time::sleep(STRANGERS_END)))
    }

    pub(super) async fn http2(self, tls: Box<TlsStream<TcpStream>>) {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .max_concurrent_streams(STREAMS_LIMIT)
            .max_header_list_size(HEADERS_LIMIT as u32)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(2 * 1024 * 1024);
        let corked = Corked::new(self.guarded(tls));
        let io = TokioIo::new(corked.handle());
        let connection = builder.serve_connection(io, service_fn(|request| self.answer(request)));
        tokio::pin!(connection);
        let (mut end, mut limit) = (Rarely::new(self.end()), None);
        let outcome = poll_fn(|cx| {
            if limit.is_none() && end.poll(cx).is_ready() {
                connection.as_mut().graceful_shutdown();
                limit = Some(self.time_left());
            }
            if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            corked.send(cx);
            over(&mut limit, cx).map(|()| None)
        })
        .await;
        match outcome {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "connection"),
            None => late(),
        }
    }

    pub(super) async fn http1(self, tls: Box<TlsStream<TcpStream>>) {
        let mut io = self.guarded(tls);
        while let Next::Endless(answer) = Again::new(Box::pin(self.requests(io))).await {
            let response;
            (io, response) = *answer;
            if let Err(error) = write_in_chunks(&mut io, response).await {
                return tracing::debug!(%error, "connection");
            }
            if self.stop.is_cancelled() {
                // What is left undone is the client's to miss: the connection ends either way.
                let _ = io.shutdown().await;
                return;
            }
        }
    }

    /// Answers requests until the connection ends, or an answer begins that goes on for long.
    async fn requests(&self, io: Io) -> Next {
        let endless = Mutex::new(None);
        let taken = || endless.lock().unwrap_or_else(PoisonError::into_inner);
        let service = service_fn(|mut request: Request<Incoming>| {
            // A connection that becomes streams may pause for longer.
            request.extensions_mut().insert(self.patience.clone());
            let is_all = is_all(&request);
            let answering = self.answer(request);
            let taken = &taken;
            async move {
                let response = answering.await?;
                if is_all && response.extensions().get::<Endless>().is_some() {
                    *taken() = Some(response);
                    // The connection is taken back now, and this goes with what served it.
                    return std::future::pending().await;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        let head = self.stranger.unwrap_or(HEAD);
        builder.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(HEADERS_LIMIT);
        let mut connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
        let (mut end, mut limit) = (Rarely::new(self.end()), None);
        let outcome = poll_fn(|cx| {
            if limit.is_none() && end.poll(cx).is_ready() {
                Pin::new(&mut connection).graceful_shutdown();
                limit = Some(self.time_left());
            }
            if let Poll::Ready(outcome) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            // What was answered before must have gone.
            if taken().is_some() && !self.patience.is_tried() {
                return Poll::Ready(Some(Ok(())));
            }
            over(&mut limit, cx).map(|()| None)
        })
        .await;
        match outcome {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "connection"),
            None => late(),
        }
        let response = taken().take();
        let (Some(response), Some(parts)) = (response, connection.into_parts()) else { return Next::Nothing };
        let mut io = parts.io.into_inner();
        io.give_back(parts.read_buf);
        Next::Endless(Box::new((io, response)))
    }
}

/// Whether nothing of the request is still to come, and another one may follow.
fn is_all(request: &Request<Incoming>) -> bool {
    let mut connection = request.headers().get_all(CONNECTION).iter();
    request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && connection.all(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

/// Ready when the time is up that a connection had to end, once it had to.
fn over(left: &mut Option<TimeLeft>, cx: &mut Context<'_>) -> Poll<()> {
    match left {
        Some(Some(left)) => left.as_mut().poll(cx),
        Some(None) | None => Poll::Pending,
    }
}

fn late() {
    tracing::debug!("a connection without requests did not end in time");
}
