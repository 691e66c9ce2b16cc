//! What a pod's outgoing HTTP requests may reach, and how.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{Request, Response, header};
use pal_proxy::Body;

use crate::dispatch::{Failure, forwarded};
use crate::network::Inner;
use crate::peer::PeerError;
use crate::table::Target;

/// The pod on whose behalf requests go out.
#[derive(Clone, Debug)]
pub struct PodOrigin {
    pub namespace: String,
    pub name: String,
    /// Its address, which its loopback stands for; `None` for who is no pod.
    pub ip: Option<Ipv4Addr>,
}

/// Why a pod's request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the request names no host")]
    NoHost,
    #[error("no such host: {0}")]
    NoSuchHost(String),
    #[error("connection refused: {0}")]
    Refused(String),
    #[error("denied: {0}")]
    Denied(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Reset(String),
}

/// Sends requests for one pod.
#[derive(Clone)]
pub struct PodOutbound {
    inner: Arc<Inner>,
    origin: Arc<PodOrigin>,
}

impl PodOutbound {
    pub(crate) fn new(inner: Arc<Inner>, origin: PodOrigin) -> Self {
        Self { inner, origin: Arc::new(origin) }
    }

    /// Sends one request to the Service or pod that its host names, or to the API. The body of the answer streams.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, SendError> {
        let authority = match request.uri().authority() {
            Some(authority) => Some(authority.clone()),
            None => request.headers().get(header::HOST).and_then(|host| host.as_bytes().try_into().ok()),
        };
        let authority = authority.ok_or(SendError::NoHost)?;
        let secure = request.uri().scheme_str() == Some("https");
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let client = self.origin.ip.map(IpAddr::V4);
        let target = match self.inner.node_port(&self.origin, authority.host(), port) {
            Some(live) => Target::Port(live),
            None => self.inner.table().resolve(&self.origin, authority.host(), port, &self.inner.config.cluster_domain),
        };
        if secure && matches!(target, Target::Port(_) | Target::Pod(_)) {
            let why = format!("{authority} is inside the cluster, where pods serve http, not https");
            return Err(SendError::Denied(why));
        }
        // The target is absolute from here on, so that what answers sees which host was asked for.
        if let Ok(host) = http::HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().entry(header::HOST).or_insert(host);
        }
        if let Some(client) = client {
            forwarded(request.headers_mut(), client);
        }
        let answer = match target {
            Target::Port(port) => self.inner.to_port(&port, client, request).await,
            Target::Pod(address) => self.inner.to_pod(address, request).await,
            Target::Api if !secure => {
                return Err(SendError::Denied(format!("{authority} is the cluster's API, which is asked by https")));
            }
            Target::Api => match self.inner.api.get() {
                Some(api) => Ok(api.call(request).await),
                None => return Err(SendError::Refused(authority.to_string())),
            },
            Target::NoSuchPort(name) => return Err(SendError::Refused(name)),
            Target::NoSuchHost(name) => return Err(SendError::NoSuchHost(name)),
            Target::Denied(why) => return Err(SendError::Denied(why.to_owned())),
            Target::Outside => {
                let why = format!("{authority} is outside the cluster, which pods do not reach");
                return Err(SendError::Denied(why));
            }
        };
        answer.map_err(|failure| match &failure {
            Failure::NoEndpoints(_) | Failure::Refused(_) => SendError::Refused(failure.to_string()),
            Failure::Peer(PeerError::Unknown(_) | PeerError::Unreachable { .. }) => {
                SendError::Unreachable(failure.to_string())
            }
            Failure::Peer(PeerError::Broken { .. }) => SendError::Reset(failure.to_string()),
        })
    }
}
