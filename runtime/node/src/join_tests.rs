//! Joining and the tunnel, against a server that is one as far as TLS and the requests go.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateSigningRequestParams, CertifiedIssuer, IsCa};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;

const SECRET: &str = "pal_abc123.0123456789abcdef";

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

struct FakeServer {
    address: SocketAddr,
    ca: Arc<CertifiedIssuer<'static, KeyPair>>,
    /// What was signed: signer and subject, and whether a client certificate was shown.
    signed: Arc<Mutex<Vec<(String, bool)>>>,
    tunnels: mpsc::Receiver<Sender>,
    _tasks: tokio::task::JoinSet<()>,
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "palinurus-ca");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl FakeServer {
    async fn start() -> Self {
        let ca = Arc::new(issuer());
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![leaf.der().clone(), ca.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        tls.alpn_protocols = vec![b"pal-node/1".to_vec(), b"h2".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, tunnels) = mpsc::channel(4);
        let signed = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), ca.clone(), signed.clone(), sender));
        Self { address, ca, signed, tunnels, _tasks: tasks }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn token(&self) -> String {
        format!("{SECRET}.{}", hex::encode(Sha256::digest(self.ca.der())))
    }

    fn config(&self, dir: &tempfile::TempDir, name: &str) -> JoinConfig {
        JoinConfig {
            servers: vec![self.url()],
            token: self.token(),
            name: name.to_owned(),
            node_ip: Ipv4Addr::LOCALHOST.into(),
            data_dir: dir.path().to_owned(),
        }
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    ca: Arc<CertifiedIssuer<'static, KeyPair>>,
    signed: Arc<Mutex<Vec<(String, bool)>>>,
    tunnels: mpsc::Sender<Sender>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // A client that does not trust this server goes away here.
        let Ok(stream) = acceptor.accept(stream).await else { continue };
        let session = stream.get_ref().1;
        let known = session.peer_certificates().is_some();
        if session.alpn_protocol() == Some(b"pal-node/1") {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tasks.spawn(async move { drop(connection.await) });
            tunnels.send(sender).await.unwrap();
            continue;
        }
        let (ca, signed) = (ca.clone(), signed.clone());
        let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
            let (ca, signed) = (ca.clone(), signed.clone());
            async move { Ok::<_, Infallible>(answer(request, &ca, &signed, known).await) }
        });
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        tasks.spawn(async move { drop(serving.await) });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    ca: &CertifiedIssuer<'static, KeyPair>,
    signed: &Mutex<Vec<(String, bool)>>,
    known: bool,
) -> Response<Full<Bytes>> {
    let bearer = request.headers().get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let allowed = known || bearer.starts_with(&format!("Bearer {SECRET}."));
    let method = request.method().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let (code, answer) = match (allowed, method) {
        (false, _) => (
            401,
            json!({"kind": "Status", "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401}),
        ),
        (true, Method::POST) => (201, sign(serde_json::from_slice(&body).unwrap(), ca, signed, known)),
        _ => (404, json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "NotFound", "code": 404})),
    };
    Response::builder().status(StatusCode::from_u16(code).unwrap()).body(Full::new(answer.to_string().into())).unwrap()
}

fn sign(
    mut csr: Value,
    ca: &CertifiedIssuer<'static, KeyPair>,
    signed: &Mutex<Vec<(String, bool)>>,
    known: bool,
) -> Value {
    let pem = BASE64.decode(csr["spec"]["request"].as_str().unwrap()).unwrap();
    let request = CertificateSigningRequestParams::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap();
    let subject = format!("{:?}", request.params.distinguished_name);
    if subject.contains("system:node:taken") {
        csr["status"] =
            json!({"conditions": [{"type": "Denied", "status": "True", "message": "a node of that name is alive"}]});
        return csr;
    }
    let signer = csr["spec"]["signerName"].as_str().unwrap().to_owned();
    signed.lock().unwrap_or_else(PoisonError::into_inner).push((signer, known));
    let certificate = request.signed_by(ca).unwrap().pem();
    csr["status"] = json!({"certificate": BASE64.encode(certificate)});
    csr
}

#[tokio::test]
async fn a_machine_becomes_a_node_once_and_remembers() {
    let (server, dir) = (FakeServer::start().await, tempfile::tempdir().unwrap());
    let quiet = |_: &str| {};
    let identity = join(server.config(&dir, "n1"), quiet, CancellationToken::new()).await.unwrap();
    assert_eq!(identity.ca_pem, pem("CERTIFICATE", server.ca.der()));
    let signed = server.signed.lock().unwrap().clone();
    assert_eq!(signed, [(CLIENT_SIGNER.to_owned(), false), (SERVING_SIGNER.to_owned(), true)]);
    let again = join(server.config(&dir, "n1"), quiet, CancellationToken::new()).await.unwrap();
    assert!(again.client == identity.client && server.signed.lock().unwrap().len() == 2, "nothing new was signed");
    let other = join(server.config(&dir, "n2"), quiet, CancellationToken::new()).await.err().unwrap();
    assert!(matches!(&other, JoinError::OtherIdentity { found, .. } if found == "n1"), "{other}");
    assert!(again.is_of_cluster(&server.token()).unwrap());
    assert!(!again.is_of_cluster(&format!("{SECRET}.{}", "00".repeat(32))).unwrap());
    assert!(matches!(again.is_of_cluster("nonsense"), Err(JoinError::MalformedToken(_))));
}

#[tokio::test]
async fn bad_tokens_and_names_are_told_apart() {
    let (server, dir) = (FakeServer::start().await, tempfile::tempdir().unwrap());
    let check = async |change: &dyn Fn(&mut JoinConfig), expected: &str| {
        let mut config = server.config(&dir, "n1");
        change(&mut config);
        let error = join(config, |_| {}, CancellationToken::new()).await.err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let hash = hex::encode(Sha256::digest(server.ca.der()));
    check(&|c| c.token = format!("pal_abc123.wrong.{hash}"), "does not accept the token").await;
    check(&|c| c.token = format!("{SECRET}.{}", "00".repeat(32)), "for another cluster").await;
    check(&|c| c.token = "nonsense".to_owned(), "malformed").await;
    check(&|c| c.name = "taken".to_owned(), "a node of that name is alive").await;
    assert!(!dir.path().join("pki").exists(), "nothing is left of what failed");
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let (server, dir) = (FakeServer::start().await, tempfile::tempdir().unwrap());
    let mut config = server.config(&dir, "n1");
    // A port that was free a moment ago.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    config.servers = vec![format!("https://{free}")];
    let cancel = CancellationToken::new();
    let said = Arc::new(Mutex::new(String::new()));
    let (hear, stop) = (said.clone(), cancel.clone());
    let progress = move |text: &str| {
        *hear.lock().unwrap() = text.to_owned();
        stop.cancel();
    };
    let error = join(config, progress, cancel).await.err().unwrap().to_string();
    assert!(error.starts_with("stopped while joining") && error.contains("refused"), "{error}");
    assert!(said.lock().unwrap().contains("trying again"));
}

#[tokio::test]
async fn the_server_asks_through_the_tunnel_and_it_comes_back() {
    let (mut server, dir) = (FakeServer::start().await, tempfile::tempdir().unwrap());
    let identity = join(server.config(&dir, "n1"), |_| {}, CancellationToken::new()).await.unwrap();
    let own = OwnCertificate::new(&identity.client).unwrap();
    let tls = client_config(&identity.ca_pem, Some(own), &[crate::tunnel::ALPN]).unwrap();
    let kubelet = crate::pods::kubelet_for_tests(dir.path());
    let (up, cancel) = (tokio::sync::watch::Sender::new(crate::tunnels::Up::default()), CancellationToken::new());
    let mut ups = up.subscribe();
    let address = ServerAddress::parse(&server.url()).unwrap();
    let tunnel = tokio::spawn(crate::tunnel::Tunnel { address, tls, kubelet, up }.run(cancel.clone()));
    for up in 1..3 {
        let mut sender = server.tunnels.recv().await.unwrap();
        ups.wait_for(|ups| ups.times == up).await.unwrap();
        let ask = |path: &str| http::Request::get(path).body(Full::new(Bytes::new())).unwrap();
        let answer = sender.send_request(ask("http://node/healthz")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        let answer = sender.send_request(ask("http://node/containerLogs/ns/p/c")).await.unwrap();
        assert_eq!(answer.status(), 404);
        let body: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(body["message"], "pods \"p\" not found");
        // Dropping the sender ends the connection, and the node dials again.
    }
    cancel.cancel();
    tunnel.await.unwrap();
}

#[tokio::test]
async fn any_of_the_servers_that_are_named_will_do() {
    let (server, dir) = (FakeServer::start().await, tempfile::tempdir().unwrap());
    let mut config = server.config(&dir, "n1");
    // A port that was free a moment ago.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    config.servers.insert(0, format!("https://{free}"));
    join(config, |_| {}, CancellationToken::new()).await.unwrap();
}
