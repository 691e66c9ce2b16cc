//! Conversations with nodes: through this server's tunnel, or through that of another server which has one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use pal_store::ServerId;
use tokio::sync::mpsc;

use crate::api::{NODES, whole};
use crate::{Body, BoxError, Peers, TunnelError, Tunnels};

/// Pieces that wait for the node to take them.
const QUEUE: usize = 8;
/// How long a node may take to begin its answer to what it does at once.
const ANSWER: Duration = Duration::from_secs(30);
/// What is read of a refusal.
const REFUSAL_LIMIT: usize = 16 * 1024;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The way to one node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) tunnels: Arc<Tunnels>,
    pub(crate) peers: Option<Arc<Peers>>,
}

/// Bytes in both directions.
pub(crate) struct Conversation {
    /// When this is dropped, the node is told that nothing more comes.
    pub(crate) send: mpsc::Sender<Bytes>,
    pub(crate) answer: Incoming,
}

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error(transparent)]
    Away(#[from] TunnelError),
    #[error("{message}")]
    Refused { code: StatusCode, message: String },
}

impl Node {
    /// Begins a conversation under that path of the node.
    pub(crate) async fn converse(&self, path: &str) -> Result<Conversation, NodeError> {
        let (send, mut pieces) = mpsc::channel(QUEUE);
        let pieces = futures::stream::poll_fn(move |cx| pieces.poll_recv(cx));
        let body = StreamBody::new(pieces.map(|piece| Ok::<_, BoxError>(Frame::data(piece))));
        let request = Request::post(path).body(body.boxed_unsync());
        let request = request.map_err(|_| TunnelError::NotConnected(self.name.clone()))?;
        let answer = self.request(request, ANSWER).await?;
        if answer.status() == StatusCode::OK {
            return Ok(Conversation { send, answer: answer.into_body() });
        }
        let code = answer.status();
        Err(NodeError::Refused { code, message: refusal(answer).await })
    }

    /// Sends a request to the node, and waits so long for the head of its answer.
    pub(crate) async fn request(
        &self,
        request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<Incoming>, TunnelError> {
        let away = || TunnelError::NotConnected(self.name.clone());
        let Some((peers, server)) = self.elsewhere().await else {
            if !self.tunnels.awaited(&self.name).await {
                return Err(away());
            }
            return self.tunnels.request_within(&self.name, request, limit).await;
        };
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("{NODES}/{}{path}", self.name).parse::<Uri>().map_err(|_| away())?;
        let answer = tokio::time::timeout(limit, peers.send(server, Request::from_parts(parts, body)));
        match answer.await {
            Ok(Ok(answer)) if answer.status() == StatusCode::MISDIRECTED_REQUEST => Err(away()),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::debug!(node = self.name, %error, "another server was asked for a node");
                Err(away())
            }
            Err(_) => Err(TunnelError::Timeout(self.name.clone())),
        }
    }

    /// The server to go through when this one has no tunnel to the node, and there is one that has.
    async fn elsewhere(&self) -> Option<(&Peers, ServerId)> {
        let peers = self.peers.as_ref().filter(|_| !self.tunnels.connected(&self.name))?;
        Some((peers, self.reached_by(peers).await?))
    }

    /// A server that has a tunnel to the node. It is asked for before, as a body can be sent only once.
    async fn reached_by(&self, peers: &Peers) -> Option<ServerId> {
        let others = peers.others();
        let ask = async |id: ServerId| {
            let request = Request::get(format!("{NODES}/{}/healthz", self.name)).body(whole("")).ok()?;
            peers.send(id, request).await.ok().filter(|answer| answer.status() == StatusCode::OK).map(|_| id)
        };
        let mut answers: FuturesUnordered<_> = others.iter().map(|member| ask(member.id)).collect();
        while let Some(answer) = answers.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }
}

/// What the node says instead. It tells its refusals as Status, and others in plain words.
async fn refusal(answer: Response<Incoming>) -> String {
    #[derive(serde::Deserialize)]
    struct Told {
        message: String,
    }
    let code = answer.status();
    let body = Limited::new(answer.into_body(), REFUSAL_LIMIT).collect();
    let text = match tokio::time::timeout(REFUSAL_TIMEOUT, body).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    };
    match serde_json::from_str::<Told>(&text) {
        Ok(told) => told.message,
        Err(_) if text.is_empty() => format!("the node answered {code}"),
        Err(_) => text,
    }
}
