//! The client of the API. It asks one server as long as that answers; when it does not, the next one, within moments.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::Body;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::BoxError;

use crate::choice::Choice;
use crate::connect::{CONNECT_LIMIT, ServerAddress, connect};
use crate::error::NodeError;
use crate::servers::Servers;

/// The protocols of the API.
pub(crate) const API_ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// How soon a connection that carries nothing back is noticed: the interval of pings and how long one may stay unanswered.
/// Where there is another server, sooner.
const PINGS: [(Duration, Duration); 2] =
    [(Duration::from_secs(5), Duration::from_secs(5)), (Duration::from_secs(1), Duration::from_secs(2))];
/// A caller who gives up after this time has waited for a server that does not answer.
const UNANSWERED: Duration = Duration::from_secs(5);

/// A client of the API at those servers.
pub(crate) fn api_client(
    servers: &Servers,
    tls: Arc<ClientConfig>,
    bearer: Option<&str>,
) -> Result<kube::Client, NodeError> {
    let bearer = match bearer {
        Some(token) => {
            let wrong = |e: header::InvalidHeaderValue| NodeError::Certificate(e.to_string());
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(wrong)?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    let routing = Arc::new(Routing {
        servers: servers.clone(),
        started: Instant::now(),
        state: Mutex::new(State { choice: Choice::new(servers.list().all()), leases: HashMap::new() }),
    });
    let clients = PINGS.map(|(every, within)| {
        Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_initial_stream_window_size(4 << 20)
            .http2_initial_connection_window_size(16 << 20)
            .http2_keep_alive_interval(every)
            .http2_keep_alive_timeout(within)
            .http2_keep_alive_while_idle(true)
            .build(Connector { routing: routing.clone(), tls: tls.clone() })
    });
    let api = Arc::new(Api { routing, clients, bearer });
    Ok(kube::Client::new(tower::service_fn(move |request| api.clone().answer(request)), "default"))
}

/// Which server is asked, and the connections to each.
struct Routing {
    servers: Servers,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    choice: Choice,
    /// What holds the connections to a server; cancelled when it was found out that another serves and this one does not.
    leases: HashMap<ServerAddress, CancellationToken>,
}

impl Routing {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is a single step, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pick(&self, tried: &[ServerAddress]) -> Option<(ServerAddress, bool)> {
        let all = self.servers.list().all();
        let mut state = self.lock();
        state.leases.retain(|address, lease| {
            let stays = all.contains(address);
            if !stays {
                lease.cancel();
            }
            stays
        });
        state.choice.set(all);
        let picked = state.choice.pick(self.started.elapsed(), tried)?;
        Some((picked, state.choice.is_plural()))
    }

    /// `address` has answered; `tried` did not, for the same request.
    fn worked(&self, address: &ServerAddress, tried: &[ServerAddress]) {
        let mut state = self.lock();
        state.choice.worked(address);
        // What is still open there, watches for instance, would wait for what never comes.
        tried.iter().filter_map(|address| state.leases.remove(address)).for_each(|lease| lease.cancel());
    }

    fn failed(&self, address: &ServerAddress) {
        self.lock().choice.failed(address, self.started.elapsed());
    }

    fn lease(&self, address: &ServerAddress) -> CancellationToken {
        self.lock().leases.entry(address.clone()).or_default().clone()
    }

    fn patience(&self) -> Duration {
        self.lock().choice.patience().min(CONNECT_LIMIT)
    }
}

/// What kube's client calls.
struct Api {
    routing: Arc<Routing>,
    /// One for each of [`PINGS`].
    clients: [Client<Connector, Body>; 2],
    bearer: Option<HeaderValue>,
}

impl Api {
    async fn answer(self: Arc<Self>, mut request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
        }
        request.headers_mut().entry(header::USER_AGENT).or_insert(HeaderValue::from_static("pal-node"));
        let (parts, mut body) = request.into_parts();
        let mut tried = Vec::new();
        let mut last = None;
        while let Some((server, plural)) = self.routing.pick(&tried) {
            // What kube sends is in memory; another body could be sent once.
            let again = body.try_clone();
            let sent = at(parts.clone(), body, &server)?;
            let waiting = Waiting { routing: &self.routing, server: &server, since: Instant::now() };
            let outcome = self.clients[usize::from(plural)].request(sent).await;
            // It has answered, or has failed in a way that is judged below.
            std::mem::forget(waiting);
            let verdict = judge(&parts.method, &outcome);
            if verdict == Verdict::Answered {
                self.routing.worked(&server, &tried);
                return outcome.map_err(BoxError::from);
            }
            self.routing.failed(&server);
            tracing::debug!(server = %server.authority(), "the server does not serve");
            tried.push(server);
            last = Some(outcome);
            match again.filter(|_| verdict == Verdict::Elsewhere) {
                Some(again) => body = again,
                None => break,
            }
        }
        match last {
            Some(outcome) => outcome.map_err(BoxError::from),
            None => Err("no server is known".into()),
        }
    }
}

/// Notes a server that did not answer in the time that its caller had.
struct Waiting<'a> {
    routing: &'a Routing,
    server: &'a ServerAddress,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() > UNANSWERED {
            self.routing.failed(self.server);
        }
    }
}

/// What an outcome says of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It serves.
    Answered,
    /// It does not, and another may be asked the same.
    Elsewhere,
    /// It does not, and what was asked may have been done.
    Unknown,
}

fn judge(method: &Method, outcome: &Result<Response<Incoming>, hyper_util::client::legacy::Error>) -> Verdict {
    let status = outcome.as_ref().map(Response::status).map_err(|error| error.is_connect());
    verdict(method, status)
}

/// `outcome` is the status, or whether the failure was one of connecting.
fn verdict(method: &Method, outcome: Result<StatusCode, bool>) -> Verdict {
    let repeatable = matches!(*method, Method::GET | Method::HEAD);
    match outcome {
        // A server without a leader, or on its way out. It has done nothing.
        Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(true) => Verdict::Elsewhere,
        Ok(StatusCode::GATEWAY_TIMEOUT) | Err(false) if repeatable => Verdict::Elsewhere,
        Ok(StatusCode::GATEWAY_TIMEOUT) | Err(false) => Verdict::Unknown,
        Ok(_) => Verdict::Answered,
    }
}

/// The request as it goes to that server.
fn at(mut parts: Parts, body: Body, server: &ServerAddress) -> Result<Request<Body>, BoxError> {
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(http::uri::Scheme::HTTPS);
    uri.authority = Some(server.authority().parse()?);
    parts.uri = Uri::from_parts(uri)?;
    Ok(Request::from_parts(parts, body))
}

/// Dials for hyper.
#[derive(Clone)]
struct Connector {
    routing: Arc<Routing>,
    tls: Arc<ClientConfig>,
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Stream, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { routing, tls } = self.clone();
        Box::pin(async move {
            let address = ServerAddress::parse(&uri.to_string()).map_err(std::io::Error::other)?;
            let abandoned = Box::pin(routing.lease(&address).cancelled_owned());
            let stream = connect(&address, tls, routing.patience()).await?;
            Ok(Stream { inner: TokioIo::new(stream), abandoned })
        })
    }
}

/// A TLS stream that tells hyper which protocol was agreed on, and that breaks when its server is given up.
struct Stream {
    inner: TokioIo<TlsStream<TcpStream>>,
    abandoned: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.inner.inner().get_ref().1.alpn_protocol() {
            Some(b"h2") => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        if self.abandoned.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
