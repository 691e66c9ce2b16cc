//! Requests from one server to another: HTTP/2 over mutual TLS, by which each knows which server the other is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pal_store::{Member, ServerId, Store};
use tokio_util::task::AbortOnDropHandle;

use crate::{Body, PeerLinks};

const PING_EVERY: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(4);
/// How long another server may take to begin its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(35);

/// Why a request did not reach another server.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("server {0} is no member of the cluster")]
    NotMember(ServerId),
    #[error("server {name} is not reached: {source}")]
    Unreachable { name: String, source: std::io::Error },
    #[error("the connection to server {name} broke: {source}")]
    Broken { name: String, source: hyper::Error },
    #[error("server {0} did not answer in time")]
    Timeout(String),
}

/// The way to the other servers' API, as this server. There is one connection to each, made when it is first needed.
pub struct Peers {
    store: Store,
    links: Arc<PeerLinks>,
    open: Mutex<HashMap<ServerId, Open>>,
}

struct Open {
    sender: SendRequest<Body>,
    _connection: AbortOnDropHandle<()>,
}

impl Peers {
    /// The way to the members that the store knows of.
    pub fn new(store: Store, links: Arc<PeerLinks>) -> Self {
        Self { store, links, open: Mutex::default() }
    }

    /// The other servers, as this one knows them now.
    pub fn others(&self) -> Vec<Member> {
        let membership = self.store.membership();
        let others = membership.members.into_iter().map(|status| status.member);
        others.filter(|member| member.id != membership.me && !member.address.is_empty()).collect()
    }

    /// Sends a request to one of them, and waits for the head of its answer. The request's path is all of its URI.
    pub async fn send(&self, to: ServerId, request: Request<Body>) -> Result<Response<Incoming>, PeerError> {
        let member = self.others().into_iter().find(|member| member.id == to).ok_or(PeerError::NotMember(to))?;
        let name = member.name.clone();
        let answer = async {
            let mut sender = self.sender(&member).await?;
            let broken = |source| PeerError::Broken { name: member.name.clone(), source };
            sender.ready().await.map_err(broken)?;
            sender.send_request(request).await.map_err(broken)
        };
        tokio::time::timeout(ANSWER_LIMIT, answer).await.unwrap_or(Err(PeerError::Timeout(name)))
    }

    async fn sender(&self, member: &Member) -> Result<SendRequest<Body>, PeerError> {
        {
            let mut open = self.lock();
            open.retain(|_, open| !open.sender.is_closed());
            if let Some(open) = open.get(&member.id) {
                return Ok(open.sender.clone());
            }
        }
        let unreachable = |source| PeerError::Unreachable { name: member.name.clone(), source };
        let io = TokioIo::new(self.links.http(member).await.map_err(unreachable)?);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .handshake(io)
            .await
            .map_err(|source| PeerError::Broken { name: member.name.clone(), source })?;
        let name = member.name.clone();
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(server = name, %error, "the connection to another server");
            }
        }));
        let mut open = self.lock();
        // Of two that were made at once the first stays: there are requests on it.
        let kept = open.entry(member.id).or_insert(Open { sender, _connection: connection });
        Ok(kept.sender.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Open>> {
        // The map is whole after every single operation on it, so a panic elsewhere leaves it usable.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("others", &self.others()).finish()
    }
}
