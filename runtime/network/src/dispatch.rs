//! Handing a request to an endpoint, here or on another node.

use std::net::{IpAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use pal_proxy::{Body, BoxError, SharedBackend};

use crate::network::Inner;
use crate::peer::{PeerError, PeerSender};
use crate::table::{LiveEndpoint, LivePort};

/// How many endpoints are tried before a request is given up; only ones that have not seen it.
const TRIES: usize = 3;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Why a request reached no endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no endpoint of {0} is ready")]
    NoEndpoints(String),
    #[error("nothing listens on {0}")]
    Refused(SocketAddrV4),
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// An endpoint that is there to take a request.
enum Ready {
    Here(SharedBackend),
    There(PeerSender),
}

impl Inner {
    /// Sends a client's request to one of the port's endpoints.
    pub async fn to_port(
        &self,
        port: &LivePort,
        client: Option<IpAddr>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        let mut failure = Failure::NoEndpoints(port.label.clone());
        let now = Instant::now();
        let Some(first) = port.pick(client, now, rand::random()) else { return Err(failure) };
        for offset in 0..TRIES.min(port.endpoints.len()) {
            let endpoint = &port.endpoints[(first + offset) % port.endpoints.len()];
            match self.ready(endpoint.address, Some(&endpoint.node)).await {
                Ok(ready) => {
                    port.took(client, now, endpoint.address);
                    let guard = UnderWay::new(endpoint.clone());
                    let response = send(ready, endpoint.address, request).await?;
                    return Ok(response.map(|body| Counted { body, _guard: guard }.boxed_unsync()));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Sends the request to a pod by its address.
    pub async fn to_pod(&self, address: SocketAddrV4, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let node = self.table().node_of(address);
        let ready = self.ready(address, node.as_ref()).await?;
        send(ready, address, request).await
    }

    async fn ready(&self, address: SocketAddrV4, node: Option<&Arc<str>>) -> Result<Ready, Failure> {
        if let Some(backend) = self.attached(address) {
            return Ok(Ready::Here(backend));
        }
        // Of endpoints that somebody wrote by hand the node may be unsaid.
        match node.filter(|node| !node.is_empty()).cloned().or_else(|| self.node_of_block(*address.ip())) {
            Some(node) if *node != *self.config.node_name => Ok(Ready::There(self.peers.sender(&node).await?)),
            _ => Err(Failure::Refused(address)),
        }
    }
}

/// Notes for whom the request is, behind whom it has been for.
pub(crate) fn forwarded(headers: &mut HeaderMap, client: IpAddr) {
    let before: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let all = before.into_iter().map(str::to_owned).chain([client.to_string()]).collect::<Vec<_>>().join(", ");
    if let Ok(value) = HeaderValue::try_from(all) {
        headers.insert(FORWARDED_FOR, value);
    }
}

async fn send(ready: Ready, address: SocketAddrV4, request: Request<Body>) -> Result<Response<Body>, Failure> {
    match ready {
        Ready::Here(backend) => Ok(backend.call(request).await),
        Ready::There(mut sender) => match sender.send(address, request).await? {
            Some(response) => Ok(response),
            None => Err(Failure::Refused(address)),
        },
    }
}

/// One request under way to an endpoint.
struct UnderWay(Arc<LiveEndpoint>);

impl UnderWay {
    fn new(endpoint: Arc<LiveEndpoint>) -> Self {
        endpoint.under_way.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body during which its request counts as under way.
struct Counted {
    body: Body,
    _guard: UnderWay,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
