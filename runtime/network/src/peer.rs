//! The connection between two nodes: HTTP/2 over mutual TLS, one for each direction of a pair.
//!
//! A request says in a header which pod it is for. The connection is made when it is first needed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pal_proxy::{Body, BoxError, refusal, strip_hop_by_hop};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::network::Inner;

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_LIMIT: Duration = Duration::from_secs(5);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 24;
const STREAMS: u32 = 4096;

/// Which pod a request is for, as `ip:port`.
const DESTINATION: HeaderName = HeaderName::from_static("pal-destination");
/// Set on an answer that is the peer's own: the pod is not there.
const REFUSED: HeaderName = HeaderName::from_static("pal-refused");

/// Why another node could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("the address of node {0} is not known")]
    Unknown(Arc<str>),
    #[error("node {node} cannot be reached at {address}: {why}")]
    Unreachable { node: Arc<str>, address: SocketAddr, why: String },
    #[error("the connection to node {node} broke: {why}")]
    Broken { node: Arc<str>, why: String },
}

/// The other nodes, and the connections to them.
pub(crate) struct Peers {
    nodes: Mutex<HashMap<Arc<str>, Arc<Peer>>>,
    client: RwLock<Arc<rustls::ClientConfig>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Peer {
    name: Arc<str>,
    address: SocketAddr,
    connection: tokio::sync::Mutex<Option<http2::SendRequest<Body>>>,
}

/// A way to send requests to one node.
pub(crate) struct PeerSender {
    node: Arc<str>,
    sender: http2::SendRequest<Body>,
}

impl Peers {
    pub fn new(client: Arc<rustls::ClientConfig>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { nodes: Mutex::default(), client: RwLock::new(client), tasks, stop }
    }

    /// Uses other certificates for connections from now on.
    pub fn set_client(&self, client: Arc<rustls::ClientConfig>) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Says which nodes there are. Connections to those that stay where they are go on.
    pub fn set(&self, addresses: HashMap<String, SocketAddr>) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|name, peer| addresses.get(&**name) == Some(&peer.address));
        for (name, address) in addresses {
            let name: Arc<str> = name.into();
            nodes
                .entry(name.clone())
                .or_insert_with(|| Arc::new(Peer { name, address, connection: tokio::sync::Mutex::new(None) }));
        }
    }

    /// The connection to a node, made now where there is none.
    pub async fn sender(&self, node: &Arc<str>) -> Result<PeerSender, PeerError> {
        let peer = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
        let peer = peer.ok_or_else(|| PeerError::Unknown(node.clone()))?;
        let mut connection = peer.connection.lock().await;
        if let Some(sender) = connection.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(PeerSender { node: node.clone(), sender: sender.clone() });
        }
        let unreachable = |why: String| PeerError::Unreachable { node: node.clone(), address: peer.address, why };
        let sender = match timeout(CONNECT_LIMIT, self.connect(&peer)).await {
            Ok(Ok(sender)) => sender,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable(format!("no connection within {} s", CONNECT_LIMIT.as_secs()))),
        };
        *connection = Some(sender.clone());
        Ok(PeerSender { node: node.clone(), sender })
    }

    async fn connect(&self, peer: &Peer) -> Result<http2::SendRequest<Body>, BoxError> {
        let config = self.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = TcpStream::connect(peer.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(peer.name.to_string())?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        let connection: BoxFuture<'static, hyper::Result<()>> = Box::pin(connection);
        let (node, stop) = (peer.name.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
                tracing::debug!(%node, %error, "the connection to a node ended");
            }
        });
        Ok(sender)
    }
}

impl PeerSender {
    /// Sends the request to a pod of that node; `None` where the node has no such pod.
    pub async fn send(
        &mut self,
        address: SocketAddrV4,
        request: Request<Body>,
    ) -> Result<Option<Response<Body>>, PeerError> {
        let broken = |why: String| PeerError::Broken { node: self.node.clone(), why };
        let request = for_peer(address, request).map_err(|error| broken(error.to_string()))?;
        let response = self.sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        if response.headers().contains_key(REFUSED) {
            return Ok(None);
        }
        Ok(Some(response.map(|body| body.map_err(BoxError::from).boxed_unsync())))
    }
}

/// The request as it goes over the connection: an absolute target, no headers of the last hop, the pod's address.
fn for_peer(address: SocketAddrV4, request: Request<Body>) -> Result<Request<Body>, http::Error> {
    let (mut parts, body) = request.into_parts();
    let host = parts.headers.remove(header::HOST);
    let authority = match (parts.uri.authority(), &host) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => Authority::try_from(host.as_bytes())?,
        (None, None) => Authority::try_from(address.to_string())?,
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build()?;
    strip_hop_by_hop(&mut parts.headers);
    parts.headers.insert(DESTINATION, HeaderValue::try_from(address.to_string())?);
    parts.version = http::Version::HTTP_2;
    Ok(Request::from_parts(parts, body))
}

/// Serves other nodes until told to stop.
pub(crate) async fn serve(listener: TcpListener, inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let (inner, stop) = (inner.clone(), stop.clone());
                inner.tasks.clone().spawn(async move {
                    if let Some(Err(error)) = stop.run_until_cancelled(serve_peer(stream, inner)).await {
                        tracing::debug!(%from, error, "a node's connection ended badly");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept another node's connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_peer(stream: TcpStream, inner: Arc<Inner>) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(inner.server_tls());
    let stream = timeout(CONNECT_LIMIT, acceptor.accept(stream)).await??;
    let service = service_fn(move |request: Request<Incoming>| {
        let inner = inner.clone();
        async move { Ok::<_, Infallible>(answer(&inner, request).await) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn answer(inner: &Inner, mut request: Request<Incoming>) -> Response<Body> {
    let destination = request.headers_mut().remove(DESTINATION);
    let address = destination.as_ref().and_then(|v| v.to_str().ok()).and_then(|text| text.parse().ok());
    match address.and_then(|address| inner.attached(address)) {
        Some(backend) => backend.call(request.map(|body| body.map_err(BoxError::from).boxed_unsync())).await,
        None => {
            let mut response = refusal(StatusCode::BAD_GATEWAY, "no such pod is on this node");
            response.headers_mut().insert(REFUSED, HeaderValue::from_static("1"));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pal_proxy::full;

    #[test]
    fn a_request_to_a_peer_is_absolute_and_names_its_pod() {
        let request = Request::builder()
            .uri("/a?b=1")
            .header("host", "web.default:80")
            .header("connection", "keep-alive")
            .header("accept", "*/*")
            .body(full(""))
            .unwrap();
        let sent = for_peer("100.64.1.2:8080".parse().unwrap(), request).unwrap();
        assert_eq!(sent.uri().to_string(), "http://web.default:80/a?b=1");
        let mut names: Vec<&str> = sent.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "pal-destination"]);
        assert_eq!(sent.headers()[DESTINATION], "100.64.1.2:8080");
    }
}
