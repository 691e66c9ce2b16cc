//! Requests to nodes: through this server's tunnel, or through that of another server which has one.

use futures::stream::{FuturesUnordered, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use pal_resources::{Reason, Status};
use pal_store::ServerId;

use super::{Api, Call, method_not_allowed, reply};
use crate::{Body, TunnelError};

/// Where servers ask each other for what their nodes say: a node's name and the node's own path follow.
pub(super) const NODES: &str = "/cluster/nodes";
/// What of a node's paths is passed on.
const LOGS: &str = "containerLogs";

/// Asks a node. Without a tunnel here, the other servers are asked whether they have one.
pub(super) async fn ask(api: &Api, node: &str, path: &str) -> Result<Response<Incoming>, TunnelError> {
    let invalid = |_| TunnelError::NotConnected(node.to_owned());
    let request = Request::get(path).body(reply::whole("")).map_err(invalid)?;
    match api.tunnels.request(node, request).await {
        Err(TunnelError::NotConnected(_)) => {
            elsewhere(api, node, path).await.ok_or_else(|| TunnelError::NotConnected(node.to_owned()))
        }
        outcome => outcome,
    }
}

/// The answer of the first server that reaches the node.
async fn elsewhere(api: &Api, node: &str, path: &str) -> Option<Response<Incoming>> {
    let peers = api.config.peers.as_ref()?;
    let others = peers.others();
    let ask = async |id: ServerId| {
        let request = Request::get(format!("{NODES}/{node}{path}")).body(reply::whole("")).ok()?;
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

/// `/cluster/nodes/NODE/containerLogs/…`: another server asks. It is answered from this server's tunnels alone.
pub(super) async fn relay(call: &Call<'_>, node: &str) -> Result<Response<Body>, Status> {
    if call.parts.method != Method::GET {
        return Err(method_not_allowed());
    }
    let path = call.parts.uri.path().strip_prefix(NODES).and_then(|rest| rest.strip_prefix('/')?.strip_prefix(node));
    let path = path.filter(|path| path.strip_prefix('/').is_some_and(|path| path.starts_with(LOGS)));
    let path = path.ok_or_else(Status::unknown_path)?;
    let path = match call.parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let request = Request::get(path).body(reply::whole("")).map_err(Status::internal)?;
    match call.api.tunnels.request(node, request).await {
        Ok(answer) => Ok(answer.map(reply::boxed)),
        Err(error @ TunnelError::NotConnected(_)) => Err(Status::new(421, Reason::NotFound, error.to_string())),
        Err(error) => Err(Status::unavailable(error.to_string())),
    }
}
