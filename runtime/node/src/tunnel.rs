//! The connection on which the server asks: the agent dials, then serves HTTP/2 on it. It comes back for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connect::{CONNECT_LIMIT, ServerAddress, connect};
use crate::kubelet::Kubelet;
use crate::retry::Retry;
use crate::tunnels::Up;

/// How the tunnel is named in TLS's protocol negotiation.
pub(crate) const ALPN: &[u8] = b"pal-node/1";
/// A tunnel that lived this long was a good one: the next attempt comes soon. What is closed sooner is backed off from.
const GOOD: Duration = Duration::from_secs(5);
/// A tunnel that carries nothing is noticed within four seconds: before its server misses the node, which takes six, the node
/// must have found another way to tell that it lives.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests that the server may have under way (most of them are followed logs).
const MAX_REQUESTS: u32 = 1024;

/// Where the tunnel goes, and who hears of it.
pub(crate) struct Tunnel {
    pub(crate) address: ServerAddress,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) kubelet: Arc<Kubelet>,
    /// Which tunnels are up.
    pub(crate) up: watch::Sender<Up>,
}

impl Tunnel {
    /// Connects, serves, and connects again until `cancel`.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let mut retry = Retry::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            tokio::select! {
                result = self.once(&mut retry) => match result {
                    Ok(()) => tracing::info!(server = %self.address.host, "the tunnel was closed"),
                    Err(error) => tracing::debug!(server = %self.address.host, %error, "tunnel"),
                },
                () = cancel.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(retry.pause()) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    async fn once(&self, retry: &mut Retry) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stream = connect(&self.address, self.tls.clone(), CONNECT_LIMIT).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err("the server does not speak pal-node/1".into());
        }
        let (_up, since) = (self.enter(), Instant::now());
        let kubelet = self.kubelet.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let kubelet = kubelet.clone();
            async move { Ok::<Response<_>, Infallible>(kubelet.answer(request).await) }
        });
        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_REQUESTS)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if since.elapsed() >= GOOD {
            retry.reset();
        }
        Ok(served?)
    }

    /// The tunnel is up until what is returned is dropped.
    fn enter(&self) -> Entered<'_> {
        self.up.send_modify(|up| {
            up.times += 1;
            up.to.insert(self.address.clone());
        });
        Entered(self)
    }
}

/// See [`Tunnel::enter`].
struct Entered<'a>(&'a Tunnel);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.up.send_modify(|up| {
            up.to.remove(&self.0.address);
        });
    }
}
