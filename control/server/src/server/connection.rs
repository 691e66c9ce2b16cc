//! One connection from its handshake to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pal_store::Peer;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::crowd::{self, Crowd, Held};
use crate::api::{Api, Caller, Together};
use crate::auth::{AUTHENTICATED, CREDENTIAL_ID, User};
use crate::rarely::unless;
use crate::{Tunnels, peers, pki, tunnel};

const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// What the kernel could not give (file descriptors, mostly) is asked for again after this time.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

pub(crate) struct Accept {
    pub listener: TcpListener,
    pub acceptor: TlsAcceptor,
    pub api: Arc<Api>,
    pub tunnels: Arc<Tunnels>,
    pub crowd: Arc<Crowd>,
    /// Of its places, what clients without a certificate may hold.
    pub strangers: Arc<Semaphore>,
    /// For how long they may leave a connection unused.
    pub stranger_idle: Duration,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub kill: CancellationToken,
    /// The store's connections, and what ends those.
    pub peers: TaskTracker,
    pub cut: CancellationToken,
}

impl Accept {
    /// Accepts until the server stops.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let stop = this.stop.clone();
        let accepting = async {
            loop {
                let held = this.crowd.enter().await;
                match this.listener.accept().await {
                    Ok((tcp, from)) => {
                        let (this, kill) = (this.clone(), this.kill.clone());
                        this.tasks.clone().spawn(async move {
                            unless(kill.cancelled_owned(), this.serve(tcp, from, held)).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection was not accepted");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = stop.cancelled() => {}
        }
    }

    async fn serve(&self, tcp: TcpStream, from: SocketAddr, _held: Held) {
        // In boxes, each: a connection lasts, and should not keep room for what is over or never came.
        let Some(tls) = Box::pin(self.handshake(tcp)).await else { return };
        let session = tls.get_ref().1;
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let name = certificate.and_then(pki::peer_name);
        if certificate.is_some() && name.is_none() {
            return tracing::info!("a client certificate that is over or names nobody was refused");
        }
        let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
        if protocol.as_deref() == Some(tunnel::ALPN) {
            match name.as_ref().and_then(pki::PeerName::node) {
                Some(node) => Box::pin(self.tunnels.serve(node, *tls, self.stop.clone())).await,
                None => tracing::info!("a tunnel without a node's certificate was refused"),
            }
            return;
        }
        if protocol.as_deref() == Some(peers::ALPN) {
            match name.as_ref().and_then(pki::PeerName::store_peer) {
                Some(peer) => self.hand_over(peer, *tls),
                None => tracing::info!("a connection to the store without a server's certificate was refused"),
            }
            return;
        }
        let _stranger = match name {
            Some(_) => None,
            None => match self.strangers.clone().try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => return tracing::debug!("too many connections without a certificate"),
            },
        };
        let user = name.map(|name| {
            let mut user = User { name: name.user, groups: name.groups, ..User::default() };
            user.groups.push(AUTHENTICATED.to_owned());
            let shown =
                certificate.map(|certificate| format!("X509SHA256={}", hex::encode(Sha256::digest(certificate))));
            user.extra.extend(shown.map(|shown| (CREDENTIAL_ID.to_owned(), vec![shown])));
            Arc::new(user)
        });
        let http2 = matches!(protocol.as_deref(), Some(b"h2" | peers::HTTP_ALPN));
        let caller = Caller { user, from, together: Together::default() };
        let crowd = self.crowd.clone();
        let client = Client::new(self.api.clone(), caller, self.stop.clone(), crowd, self.stranger_idle);
        if http2 { Box::pin(client.http2(tls)).await } else { client.http1(tls).await }
    }

    async fn handshake(&self, tcp: TcpStream) -> Option<Box<TlsStream<TcpStream>>> {
        // Small answers should not wait for more to come.
        let _ = tcp.set_nodelay(true);
        let handshake = tokio::time::timeout(TLS_HANDSHAKE, self.acceptor.accept(tcp));
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.crowd.gives_way(|| tokio::time::sleep(crowd::PATIENCE)) => {
                tracing::debug!("a TLS handshake gave way to other connections");
            }
            outcome = handshake => match outcome {
                Ok(Ok(tls)) => return Some(Box::new(tls)),
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
                Err(_) => tracing::debug!("no TLS handshake in time"),
            },
        }
        None
    }

    /// Leaves a connection to the store, with which it ends: it outlasts the API, because a server that stops still hands
    /// over what it leads.
    fn hand_over(&self, peer: Peer, tls: TlsStream<TcpStream>) {
        let (store, cut) = (self.api.store().clone(), self.cut.clone());
        self.peers.spawn(async move {
            tokio::select! {
                outcome = store.accept(peer.clone(), tls) => match outcome {
                    Ok(()) => tracing::debug!(%peer, "the connection of a peer has ended"),
                    Err(error) => tracing::debug!(%peer, %error, "the connection of a peer has ended"),
                },
                () = cut.cancelled() => {}
            }
        });
    }
}
