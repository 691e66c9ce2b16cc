//! A TCP socket on which HTTP/1.1 and HTTP/2 (with prior knowledge) are served.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{BoxError, SharedBackend};

/// Connections that wait to be accepted, where the kernel grants as many (`net.core.somaxconn`). The standard library asks for
/// 128, and a client for which there was no room tries again only a second later.
const WAITING: i32 = 4096;

/// Whose request it is, among the request's extensions: the address that the connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to send a request's headers, and be idle between requests.
    pub header_time: Duration,
    /// How long requests under way may go on once the listener is told to stop.
    pub drain_time: Duration,
    /// Whether a client that has sent its last request and ended its side still gets the answer.
    pub half_closes: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_time: Duration::from_secs(60),
            drain_time: Duration::from_secs(5),
            half_closes: false,
        }
    }
}

/// Serves requests from `listener` by `backend` until `stop` is cancelled; then lets what is under way end.
pub async fn serve_http(listener: TcpListener, backend: SharedBackend, limits: Limits, stop: CancellationToken) {
    if let Err(error) = rustix::net::listen(&listener, WAITING) {
        tracing::debug!(%error, "the queue of connections stays short");
    }
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let authority = listener.local_addr().ok().and_then(|addr| HeaderValue::from_str(&addr.to_string()).ok());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, client, slot)) = accepted else { continue };
        let (backend, authority, stop) = (backend.clone(), authority.clone(), stop.clone());
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            serve_connection(stream, Some(client), backend, authority, limits, stop).await;
            drop(slot);
        });
    }
    connections.close();
    if tokio::time::timeout(limits.drain_time, connections.wait()).await.is_err() {
        tracing::debug!(left = connections.len(), "connections outlived the drain time");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, Client, tokio::sync::OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, from)) => Some((stream, Client(from.ip()), slot)),
        Err(error) => {
            // Out of file descriptors, mostly: to try again at once would spin.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// Serves the requests of one connection by `backend`, until it ends or `stop` is cancelled. `client` is whose they are,
/// `authority` the host of requests that name none.
pub async fn serve_connection<T>(
    stream: T,
    client: Option<Client>,
    backend: SharedBackend,
    authority: Option<HeaderValue>,
    limits: Limits,
    stop: CancellationToken,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        // HTTP/1.0 clients may leave the host out; what stands behind needs one.
        if request.uri().authority().is_none()
            && !request.headers().contains_key(header::HOST)
            && let Some(authority) = &authority
        {
            request.headers_mut().insert(header::HOST, authority.clone());
        }
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        let answer = backend.call(request.map(|body| body.map_err(BoxError::from).boxed_unsync()));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .pipeline_flush(true)
        .half_close(limits.half_closes);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30)).max_concurrent_streams(1024);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.drain_time, connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(error, "a client's connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::full;

    #[tokio::test]
    async fn many_connections_wait_until_they_are_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let backend: SharedBackend = Arc::new(|_: Request<crate::Body>| -> futures::future::BoxFuture<'static, _> {
            Box::pin(async { http::Response::new(full("hello")) })
        });
        let stop = CancellationToken::new();
        let serving = serve_http(listener, backend, Limits { connections: 0, ..Limits::default() }, stop.clone());
        tokio::pin!(serving);
        assert!(futures::poll!(&mut serving).is_pending());
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux says how many may wait");
        let many = most.trim().parse::<usize>().expect("a number").min(400);
        let limit = Duration::from_secs(10);
        let waiting: Vec<_> = (0..many).map(|_| TcpStream::connect_timeout(&address, limit)).collect();
        assert!(waiting.iter().all(Result::is_ok), "{:?}", waiting.iter().find(|stream| stream.is_err()));
        stop.cancel();
        serving.await;
    }
}
