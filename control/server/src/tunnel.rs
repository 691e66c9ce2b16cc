//! The connections on which nodes serve: a node dials each server, which then speaks HTTP/2 as the client.
//!
//! A node is alive as long as its connection is: pings every two seconds, and no sign of life for six ends it. One that does
//! not reach this server, but another, renews its Lease there every two seconds, which counts as a sign of life too. Only a
//! renewal that is seen to happen counts, so that a node that dies is not thought to live on for as long as its last Lease.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Body;
use crate::wire::LastRead;

/// How a node names its tunnel in TLS's protocol negotiation.
pub const ALPN: &[u8] = b"pal-node/1";

const PING_EVERY: Duration = Duration::from_secs(2);
/// How long a ping may stay unanswered; with the interval before it a dead peer is noticed within six seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(4);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A node whose connection has ended is back within this time, if it is only its connection that broke.
const RETURN_LIMIT: Duration = Duration::from_secs(3);

/// Why a request did not reach a node.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    #[error("node {0} is not connected")]
    NotConnected(String),
    #[error("node {0} did not answer in time")]
    Timeout(String),
    #[error("the connection to node {node} broke: {source}")]
    Broken { node: String, source: hyper::Error },
}

/// The nodes that are connected, and when each was last heard of.
pub struct Tunnels {
    origin: Instant,
    nodes: Mutex<HashMap<String, Node>>,
    changed: watch::Sender<u64>,
    next: AtomicU64,
}

#[derive(Default)]
struct Node {
    read: Option<Arc<LastRead>>,
    live: Option<Live>,
    /// When its Lease was renewed, at any server.
    renewed: Option<Instant>,
    /// When its last connection ended.
    left: Option<Instant>,
}

impl Node {
    /// The last sign of life.
    fn seen(&self) -> Option<Instant> {
        self.read.as_ref().map(|read| read.instant()).max(self.renewed)
    }
}

struct Live {
    id: u64,
    sender: SendRequest<Body>,
    replaced: CancellationToken,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            nodes: Mutex::default(),
            changed: watch::Sender::new(0),
            next: AtomicU64::new(0),
        }
    }
}

impl Tunnels {
    /// When the node last gave a sign of life, on its connection or by its Lease; `None` when there never was one.
    pub fn last_seen(&self, node: &str) -> Option<Instant> {
        self.lock().get(node).and_then(Node::seen)
    }

    /// The node has renewed its Lease just now.
    pub(crate) fn renewed(&self, node: &str, now: Instant) {
        let mut nodes = self.lock();
        match nodes.get_mut(node) {
            Some(known) => known.renewed = Some(now),
            None => {
                nodes.insert(node.to_owned(), Node { renewed: Some(now), ..Node::default() });
            }
        }
        let news = nodes.get(node).is_some_and(|node| node.live.is_none());
        drop(nodes);
        if news {
            self.changed.send_modify(|ticks| *ticks += 1);
        }
    }

    /// The node is no more: its Lease was deleted and it is not connected.
    pub(crate) fn forget(&self, node: &str) {
        let mut nodes = self.lock();
        if nodes.get(node).is_some_and(|node| node.live.is_none()) {
            nodes.remove(node);
        }
    }

    /// Whether the node's connection is up.
    pub fn connected(&self, node: &str) -> bool {
        self.lock().get(node).is_some_and(|node| node.live.is_some())
    }

    /// Whether a node is connected, or comes to be within moments. One is waited for that has just lost its connection,
    /// and by a server that has just started all are; one that has been away for longer is not.
    pub(crate) async fn awaited(&self, node: &str) -> bool {
        let mut changed = self.changed();
        let left = self.lock().get(node).and_then(|node| node.left);
        let returned = async {
            // The sender is a part of what is asked here.
            while !self.connected(node) && changed.changed().await.is_ok() {}
        };
        let _ = tokio::time::timeout(return_time(self.origin, left, Instant::now()), returned).await;
        self.connected(node)
    }

    /// Ticks when a node connects or its connection ends.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Sends a request to a node and waits for the head of its answer.
    pub async fn request(&self, node: &str, request: Request<Body>) -> Result<Response<Incoming>, TunnelError> {
        self.request_within(node, request, ANSWER_TIMEOUT).await
    }

    /// The same with a limit of its own on that wait.
    pub async fn request_within(
        &self,
        node: &str,
        request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<Incoming>, TunnelError> {
        let sender = self.lock().get(node).and_then(|node| node.live.as_ref().map(|live| live.sender.clone()));
        let mut sender = sender.ok_or_else(|| TunnelError::NotConnected(node.to_owned()))?;
        let answer = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|source| TunnelError::Broken { node: node.to_owned(), source }),
            Err(_) => Err(TunnelError::Timeout(node.to_owned())),
        }
    }

    /// Takes over the connection of an authenticated node and holds it until it ends or `stop` is cancelled.
    /// A connection that the node had before is closed: the node knows best which of its connections works.
    pub(crate) async fn serve<T>(&self, node: &str, io: T, stop: CancellationToken)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let read = Arc::new(LastRead::new(self.origin));
        let io = TokioIo::new(read.clone().watch(io));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024);
        let (sender, connection) = match tokio::time::timeout(HANDSHAKE_TIMEOUT, builder.handshake(io)).await {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => return tracing::info!(node, %error, "node tunnel refused"),
            Err(_) => return tracing::info!(node, "node tunnel: no handshake in time"),
        };
        let (id, replaced) = self.enter(node, sender, read);
        tracing::info!(node, "node connected");
        tokio::select! {
            outcome = connection => match outcome {
                Ok(()) => tracing::info!(node, "node disconnected"),
                Err(error) => tracing::info!(node, %error, "node connection lost"),
            },
            () = replaced.cancelled() => tracing::info!(node, "node connected anew"),
            () = stop.cancelled() => {}
        }
        self.leave(node, id);
    }

    fn enter(&self, node: &str, sender: SendRequest<Body>, read: Arc<LastRead>) -> (u64, CancellationToken) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        let live = Live { id, sender, replaced: replaced.clone() };
        let before = {
            let mut nodes = self.lock();
            let known = nodes.entry(node.to_owned()).or_default();
            known.read = Some(read);
            known.live.replace(live)
        };
        if let Some(before) = before {
            before.replaced.cancel();
        }
        self.changed.send_modify(|ticks| *ticks += 1);
        (id, replaced)
    }

    fn leave(&self, node: &str, id: u64) {
        if let Some(node) = self.lock().get_mut(node)
            && node.live.as_ref().is_some_and(|live| live.id == id)
        {
            node.live = None;
            node.left = Some(Instant::now());
        }
        self.changed.send_modify(|ticks| *ticks += 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Node>> {
        // The map is whole after every single operation on it, so a panic elsewhere leaves it usable.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a node is waited for whose connection ended then, or that has none since this server started.
fn return_time(started: Instant, left: Option<Instant>, now: Instant) -> Duration {
    RETURN_LIMIT.saturating_sub(now.saturating_duration_since(left.unwrap_or(started)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoxError;

    #[test]
    fn a_node_is_waited_for_when_it_has_just_gone_and_not_when_it_is_gone() {
        let started = Instant::now();
        let at = |seconds: u64| started + Duration::from_secs(seconds);
        let check = |left: Option<u64>, now: u64, expected: u64| {
            assert_eq!(return_time(started, left.map(at), at(now)), Duration::from_secs(expected));
        };
        check(None, 0, 3);
        check(None, 2, 1);
        check(None, 100, 0);
        check(Some(100), 100, 3);
        check(Some(100), 101, 2);
        check(Some(100), 104, 0);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_node_hears_of_it_as_soon_as_it_is_back() {
        let (tunnels, stop) = (Tunnels::default(), CancellationToken::new());
        let (near, far) = tokio::io::duplex(64 * 1024);
        let answer = hyper::service::service_fn(|_| async { Ok::<_, BoxError>(Response::new(String::new())) });
        let node = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let node = node.serve_connection(TokioIo::new(far), answer);
        let asked = async {
            let there = tunnels.awaited("n1").await;
            stop.cancel();
            there
        };
        let (there, (), _) = tokio::join!(asked, tunnels.serve("n1", near, stop.clone()), node);
        assert!(there && !tunnels.connected("n1"));
    }

    #[test]
    fn a_node_lives_by_its_connection_or_by_its_lease() {
        let origin = Instant::now();
        let at = |seconds: u64| origin + Duration::from_secs(seconds);
        let read = Arc::new(LastRead::new(origin));
        let check = |read: Option<&Arc<LastRead>>, renewed: Option<u64>, expected: Option<u64>| {
            let node = Node { read: read.cloned(), renewed: renewed.map(at), ..Node::default() };
            // What was read was read a moment after the origin.
            let seen = node.seen().map(|seen| seen.saturating_duration_since(origin).as_secs());
            assert_eq!(seen, expected);
        };
        check(None, None, None);
        check(Some(&read), None, Some(0));
        check(None, Some(10), Some(10));
        check(Some(&read), Some(10), Some(10));
    }

    #[test]
    fn a_renewal_is_news_only_of_a_node_that_is_not_connected() {
        let tunnels = Tunnels::default();
        let changed = tunnels.changed();
        let now = Instant::now();
        assert_eq!(tunnels.last_seen("n1"), None);
        tunnels.renewed("n1", now);
        assert_eq!((tunnels.last_seen("n1"), tunnels.connected("n1")), (Some(now), false));
        assert!(changed.has_changed().expect("tunnels"));
        tunnels.forget("n1");
        assert_eq!(tunnels.last_seen("n1"), None);
    }
}
