//! A server of its own for each test, and clients for it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pal_registry::{Bootstrap, Registry};
use pal_server::{ClusterCa, Identity, Server, ServerConfig};
use pal_store::{Store, StoreConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Nothing here takes that long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server with what it stands on.
pub struct Cluster {
    pub server: Server,
    pub registry: Registry,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::configured(|_| {}).await
    }

    pub async fn configured(configure: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store_config = StoreConfig { dir: dir.path().join("store"), ..StoreConfig::default() };
        let store = Store::open(store_config).await.expect("a store");
        let registry = Registry::new(store.clone(), pal_registry::Config::default());
        let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), dir.path());
        // The controllers do not run here.
        config.definition_wait = Duration::ZERO;
        configure(&mut config);
        let server = Server::start(config, registry.clone()).await.expect("a server");
        registry.bootstrap(&Bootstrap { servers: vec![server.local_addr()] }).await.expect("the first objects");
        Self { server, registry, store, _dir: dir }
    }

    /// The administrator.
    pub fn admin(&self) -> Client {
        self.client(Some(&self.server.admin().expect("the administrator's certificate")))
    }

    /// Somebody without a certificate.
    pub fn anybody(&self) -> Client {
        self.client(None)
    }

    pub fn client(&self, identity: Option<&Identity>) -> Client {
        Client {
            server: self.server.local_addr(),
            tls: tls(self.server.ca(), identity, &[]),
            headers: HeaderMap::new(),
        }
    }

    /// A node's certificate, signed as the controllers sign it.
    pub fn node_identity(&self, node: &str) -> Identity {
        let key = rcgen::KeyPair::generate().expect("a key");
        let csr = request(&key, &format!("system:node:{node}"), "system:nodes");
        let signer = pal_server::pki::NODE_CLIENT_SIGNER;
        let now = SystemTime::now();
        let pem = self.server.ca().sign(csr.as_bytes(), signer, 3600, now).expect("a certificate");
        Identity { certificate_pem: pem, key_pem: key.serialize_pem(), names: Vec::new(), expires: now }
    }

    /// A connection with that protocol agreed on.
    pub async fn connect(&self, identity: &Identity, alpn: &[u8]) -> TlsStream<TcpStream> {
        let tls = tls(self.server.ca(), Some(identity), &[alpn]);
        dial(self.server.local_addr(), tls).await.expect("a connection")
    }

    pub async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.server.shutdown()).await.expect("the server stops");
        self.store.close().await;
    }
}

/// A certificate signing request.
pub fn request(key: &rcgen::KeyPair, common_name: &str, organization: &str) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    params.serialize_request(key).expect("a request").pem().expect("PEM")
}

fn tls(ca: &ClusterCa, identity: Option<&Identity>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root().clone()).expect("the root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).expect("PEM")];
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("an identity")
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

async fn dial(address: std::net::SocketAddr, tls: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(tls).connect(name, tcp).await
}

/// Somebody who asks.
#[derive(Clone)]
pub struct Client {
    server: std::net::SocketAddr,
    tls: Arc<ClientConfig>,
    headers: HeaderMap,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub code: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Code and message of a failure.
    #[track_caller]
    pub fn refused(&self, code: u16, message: &str) {
        let body = self.json();
        assert_eq!(self.code, code, "{body}");
        assert_eq!(body["kind"], "Status", "{body}");
        let found = body["message"].as_str().unwrap_or_default();
        assert!(found.contains(message), "{found:?} does not contain {message:?}");
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.code.is_success(), "{}: {}", self.code, self.text());
        self.json()
    }
}

impl Client {
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header"));
        self
    }

    /// A header that need not be text.
    pub fn with_bytes(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.insert(name, http::HeaderValue::from_bytes(value).expect("a header"));
        self
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body.to_string()).await
    }

    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let whole = async {
            let (parts, body) = self.open(method, path, body).await.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes();
            Answer { code: parts.status, headers: parts.headers, body }
        };
        tokio::time::timeout(PATIENCE, whole).await.expect("an answer in time")
    }

    /// Sends a request on a connection of its own; the answer's body is still to come.
    pub async fn open(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Response<Incoming> {
        let io = TokioIo::new(self.dial().await);
        let (mut sender, connection) = http1::handshake(io).await.expect("a handshake");
        // It ends with its only request, whose body the caller holds.
        tokio::spawn(connection);
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert("host", "localhost".parse().expect("a header"));
        sender.send_request(request).await.expect("an answer")
    }

    /// A connection of HTTP/2 that pings all the time, and what ends with it.
    pub async fn pinging(&self) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let often = Duration::from_millis(20);
        self.http2(builder.timer(TokioTimer::new()).keep_alive_interval(often).keep_alive_while_idle(true)).await
    }

    async fn http2(
        &self,
        builder: &http2::Builder<TokioExecutor>,
    ) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let io = TokioIo::new(dial(self.server, Arc::new(tls)).await.expect("a connection"));
        let (sender, connection) = builder.handshake(io).await.expect("a handshake");
        let ended = tokio::spawn(async move {
            let _ = connection.await;
        });
        (sender, ended)
    }

    /// A connection of HTTP/2 that takes a byte of each answer's body and no more, and what ends with it.
    pub async fn deaf(&self) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        self.http2(builder.timer(TokioTimer::new()).initial_stream_window_size(1)).await
    }

    /// A request of HTTP/2 with the client's headers.
    pub fn request(&self, path: &str) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = format!("https://localhost{path}").parse().expect("a path");
        *request.headers_mut() = self.headers.clone();
        request
    }

    pub async fn dial(&self) -> TlsStream<TcpStream> {
        dial(self.server, self.tls.clone()).await.expect("a connection")
    }
}
