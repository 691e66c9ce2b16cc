//! Requests into answers: who asks, what for, whether they may, and then the work.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use pal_registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::auth::{TokenKey, User};
use crate::{Body, ClusterCa, ServerConfig, Tunnels};

/// What a connection says about its client.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Who the client certificate names.
    pub user: Option<Arc<User>>,
}

pub(crate) struct Api {}

impl Api {
    pub(crate) fn new(
        config: ServerConfig,
        local: SocketAddr,
        registry: Registry,
        ca: Arc<ClusterCa>,
        key: Arc<TokenKey>,
        tunnels: Arc<Tunnels>,
        stop: CancellationToken,
    ) -> Self {
        Self {}
    }

    pub(crate) async fn handle(&self, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
        Response::default()
    }
}
