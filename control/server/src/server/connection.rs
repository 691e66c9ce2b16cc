//! One connection from its handshake to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pal_store::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

<<<<<<< HEAD
use super::client::Client;
=======
use super::crowd::{self, Crowd, Held};
use super::idle::Activity;
>>>>>>> 098758f (Large and hostile bodies cost little: faults told are bounded, large bodies have places of their own)
use crate::api::{Api, Caller};
use crate::auth::{AUTHENTICATED, User};
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

<<<<<<< HEAD
    async fn serve(&self, tcp: TcpStream, from: SocketAddr, _permit: OwnedSemaphorePermit) {
        // In boxes, each: a connection lasts, and should not keep room for what is over or never came.
        let Some(tls) = Box::pin(self.handshake(tcp)).await else { return };
=======
    async fn serve(&self, tcp: TcpStream, from: SocketAddr, _held: Held) {
        // Small answers should not wait for more to come.
        let _ = tcp.set_nodelay(true);
        let handshake = tokio::time::timeout(TLS_HANDSHAKE, self.acceptor.accept(tcp));
        let tls = tokio::select! {
            () = self.stop.cancelled() => return,
            () = self.crowd.gives_way(|| tokio::time::sleep(crowd::PATIENCE)) => {
                return tracing::debug!("a TLS handshake gave way to other connections");
            }
            outcome = handshake => match outcome {
                Ok(Ok(tls)) => tls,
                Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake"),
                Err(_) => return tracing::debug!("no TLS handshake in time"),
            },
        };
>>>>>>> 098758f (Large and hostile bodies cost little: faults told are bounded, large bodies have places of their own)
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
            Arc::new(user)
        });
        let http2 = matches!(protocol.as_deref(), Some(b"h2" | peers::HTTP_ALPN));
        let caller = Caller { user, from };
        let client = Client::new(self.api.clone(), caller, self.stop.clone(), self.stranger_idle);
        if http2 { Box::pin(client.http2(tls)).await } else { client.http1(tls).await }
    }

    async fn handshake(&self, tcp: TcpStream) -> Option<Box<TlsStream<TcpStream>>> {
        // Small answers should not wait for more to come.
        let _ = tcp.set_nodelay(true);
        let handshake = tokio::time::timeout(TLS_HANDSHAKE, self.acceptor.accept(tcp));
        tokio::select! {
            () = self.stop.cancelled() => {}
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
<<<<<<< HEAD
=======

    async fn http(&self, tls: TlsStream<TcpStream>, http2: bool, peer: Caller) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The protocol was agreed on in the handshake, so no byte is waited for to tell it.
        builder = if http2 { builder.http2_only() } else { builder.http1_only() };
        let stranger = peer.user.is_none();
        let head = if stranger { self.stranger_idle } else { HEAD };
        builder.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(HEADERS_LIMIT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .max_concurrent_streams(STREAMS_LIMIT)
            .max_header_list_size(HEADERS_LIMIT as u32)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(2 * 1024 * 1024);
        let activity = Arc::new(Activity::new());
        let begun = activity.clone();
        let patience = Patience::new(WRITE_STALL);
        let service = service_fn(|mut request: http::Request<hyper::body::Incoming>| {
            let (api, peer, under_way) = (self.api.clone(), peer.clone(), begun.begin());
            // A connection that becomes streams may pause for longer.
            if !http2 {
                request.extensions_mut().insert(patience.clone());
            }
            async move {
                let response = api.handle(&peer, request).await;
                Ok::<_, std::convert::Infallible>(under_way.until_taken(response))
            }
        });
        let io = TokioIo::new(Guarded::new(tls, FIRST_BYTE, patience.clone()));
        let connection = builder.serve_connection_with_upgrades(io, service).into_owned();
        tokio::pin!(connection);
        let (stop, idle) = (self.stop.clone(), activity.idle(self.stranger_idle));
        let crowded = self.crowd.gives_way(move || activity.idle(crowd::PATIENCE));
        let end = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                // Pings keep a connection alive, and anybody can send those.
                () = idle, if stranger => {}
                // Who is known is only asked to come again when there is need of the place.
                () = crowded => {}
            }
        };
        let outcome = match unless(end, connection.as_mut()).await {
            Some(outcome) => outcome,
            None if self.stop.is_cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            None => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(STRANGERS_END, connection).await {
                    Ok(outcome) => outcome,
                    Err(_) => return tracing::debug!("a connection without requests did not end in time"),
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection");
        }
    }
>>>>>>> 098758f (Large and hostile bodies cost little: faults told are bounded, large bodies have places of their own)
}
