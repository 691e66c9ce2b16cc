//! Requests to nodes: through this server's tunnel, or through that of another server which has one.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use pal_resources::{Reason, Status};
use pal_store::ServerId;

use super::{Api, Call, reply};
use crate::{Body, TunnelError};

/// Where servers ask each other for what their nodes say: a node's name and the node's own path follow.
pub(crate) const NODES: &str = "/cluster/nodes";
/// Asks a node. Without a tunnel here, the other servers are asked whether they have one.
pub(super) async fn ask(api: &Api, node: &str, path: &str) -> Result<Response<Incoming>, TunnelError> {
    send(api, node, &Method::GET, path).await
}

/// The same with another method, for what may be done twice.
pub(super) async fn send(
    api: &Api,
    node: &str,
    method: &Method,
    path: &str,
) -> Result<Response<Incoming>, TunnelError> {
    match here(api, node, method, path).await {
        Err(away @ TunnelError::NotConnected(_)) => match elsewhere(api, node, method, path).await {
            Some(answer) => Ok(answer),
            None if api.tunnels.awaited(node).await => here(api, node, method, path).await,
            None => Err(away),
        },
        outcome => outcome,
    }
}

/// The node's answer through this server's tunnel.
async fn here(api: &Api, node: &str, method: &Method, path: &str) -> Result<Response<Incoming>, TunnelError> {
    let invalid = |_| TunnelError::NotConnected(node.to_owned());
    let request = Request::builder().method(method).uri(path).body(reply::whole("")).map_err(invalid)?;
    api.tunnels.request(node, request).await
}

/// The answer of the first server that reaches the node.
async fn elsewhere(api: &Api, node: &str, method: &Method, path: &str) -> Option<Response<Incoming>> {
    let peers = api.config.peers.as_ref()?;
    let others = peers.others();
    let ask = async |id: ServerId| {
        let uri = format!("{NODES}/{node}{path}");
        let request = Request::builder().method(method).uri(uri).body(reply::whole("")).ok()?;
        match peers.send(id, request).await {
            Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => None,
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(node, %error, "another server was asked for a node");
                None
            }
        }
    };
    let mut answers: FuturesUnordered<_> = others.iter().map(|member| ask(member.id)).collect();
    while let Some(answer) = answers.next().await {
        if answer.is_some() {
            return answer;
        }
    }
    None
}

/// How long a node may take to begin the answer to what another server passes on; that one has limits of its own.
const RELAYED: Duration = Duration::from_secs(15 * 60);

/// `/cluster/nodes/NODE/…`: another server asks the node. It is answered from this server's tunnels alone.
pub(super) async fn relay(call: &Call<'_>, node: &str, body: Incoming) -> Result<Response<Body>, Status> {
    let path = call.parts.uri.path().strip_prefix(NODES).and_then(|rest| rest.strip_prefix('/')?.strip_prefix(node));
    let path = path.filter(|path| path.starts_with('/')).ok_or_else(Status::unknown_path)?;
    let path = match call.parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut request = Request::builder().method(call.parts.method.clone()).uri(path);
    if let Some(headers) = request.headers_mut() {
        *headers = call.parts.headers.clone();
        headers.remove(http::header::HOST);
    }
    let request = request.body(reply::boxed(body)).map_err(Status::internal)?;
    match call.api.tunnels.request_within(node, request, RELAYED).await {
        Ok(answer) => Ok(answer.map(reply::boxed)),
        Err(error @ TunnelError::NotConnected(_)) => Err(Status::new(421, Reason::NotFound, error.to_string())),
        Err(error) => Err(Status::unavailable(error.to_string())),
    }
}
