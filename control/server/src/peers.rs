//! Connections to the other servers: mutual TLS on the port of the API, where both sides show which server they are.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use pal_store::{BoxedStream, Dial, Member, ServerId};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::pki::{ClusterCa, Identity, PkiError};
use crate::trust::{Trust, provider};

/// How servers name their protocol in TLS's negotiation.
pub const ALPN: &[u8] = b"pal-peer/1";

/// The same for requests to each other's API.
pub const HTTP_ALPN: &[u8] = b"pal-peer-http/1";

/// How long a connection may take to come up, all in all.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

/// This server's way to the others. It has no certificate at first, because the store, which holds it, knows the
/// server's id before anybody else does; until [`PeerLinks::secure`] was called, who dials waits.
#[derive(Debug)]
pub struct PeerLinks {
    /// The address that connections come from; any when it is none.
    from: Option<IpAddr>,
    own: watch::Sender<Option<Arc<Own>>>,
}

/// What this server shows, and whom it trusts.
#[derive(Debug)]
struct Own {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: RootCertStore,
}

impl PeerLinks {
    /// Links of a server that listens on that address: it dials from there too, so that what separates addresses
    /// separates both directions.
    pub fn new(listen: IpAddr) -> Arc<Self> {
        let from = (!listen.is_unspecified()).then_some(listen);
        Arc::new(Self { from, own: watch::Sender::new(None) })
    }

    /// Gives or renews the certificate.
    pub(crate) fn secure(&self, identity: &Identity, ca: &ClusterCa) -> Result<(), PkiError> {
        let pem = |error: rustls_pki_types::pem::Error| PkiError::Tls(rustls::Error::General(error.to_string()));
        let leaf = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).map_err(pem)?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(pem)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.root().clone())?;
        self.own.send_replace(Some(Arc::new(Own { chain: vec![leaf, ca.root().clone()], key, roots })));
        Ok(())
    }
}

impl Own {
    fn config(&self, to: ServerId, protocol: &[u8]) -> io::Result<ClientConfig> {
        let trust = Arc::new(Trust::Server { roots: self.roots.clone(), id: to });
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(io::Error::other)?.dangerous().with_custom_certificate_verifier(trust);
        let mut config =
            builder.with_client_auth_cert(self.chain.clone(), self.key.clone_key()).map_err(io::Error::other)?;
        config.alpn_protocols = vec![protocol.to_vec()];
        // Every connection is verified anew: they last, and a removed server must not come back by an old ticket.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl PeerLinks {
    /// A connection for requests to another server's API.
    pub(crate) fn http(&self, to: &Member) -> BoxFuture<'static, io::Result<BoxedStream>> {
        self.open(to, HTTP_ALPN)
    }

    fn open(&self, to: &Member, protocol: &'static [u8]) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let (mut own, from, to) = (self.own.subscribe(), self.from, to.clone());
        Box::pin(async move {
            let connected = async {
                let own = own.wait_for(Option::is_some).await.ok().and_then(|own| own.clone());
                let own = own.ok_or_else(|| io::Error::other("the server has ended"))?;
                connect(own.config(to.id, protocol)?, from, &to.address, protocol).await
            };
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{}: no connection in time", to.address));
            tokio::time::timeout(CONNECT_LIMIT, connected).await.map_err(late)?
        })
    }
}

impl Dial for PeerLinks {
    fn dial(&self, to: &Member) -> BoxFuture<'static, io::Result<BoxedStream>> {
        self.open(to, ALPN)
    }
}

async fn connect(
    config: ClientConfig,
    from: Option<IpAddr>,
    address: &str,
    protocol: &[u8],
) -> io::Result<BoxedStream> {
    let tcp = reach(from, address).await?;
    tcp.set_nodelay(true)?;
    // Whom the other side's certificate must name is its id; the name is for TLS's form alone.
    let name = ServerName::IpAddress(tcp.peer_addr()?.ip().into());
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    if tls.get_ref().1.alpn_protocol() != Some(protocol) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the other side does not speak to servers"));
    }
    Ok(Box::new(Link(tls)))
}

/// A connection whose other side may end without a word, as a process does that is killed. What passes over it has frames,
/// so that a cut is seen anyway.
struct Link<T>(T);

impl<T: AsyncRead + Unpin> AsyncRead for Link<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the other side has gone"),
            _ => error,
        })
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Link<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// Connects to `host:port`, trying its addresses in turn.
async fn reach(from: Option<IpAddr>, address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for to in lookup_host(address).await? {
        match reach_one(from, to).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn reach_one(from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // From a loopback address nothing but the machine itself is reached.
    let from = from.filter(|from| from.is_ipv4() == to.is_ipv4() && (!from.is_loopback() || to.ip().is_loopback()));
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}
