//! The API's client against servers that come, go, hang and have no leader.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioExecutor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::identity::Credential;
use crate::tls::{OwnCertificate, client_config};

type TestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;
type Ca = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that answers every request with its name.
struct Site {
    address: SocketAddr,
    /// It answers 503.
    leaderless: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Site {
    async fn start(ca: &Ca, name: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, ca).unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let leaderless = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), name, leaderless.clone()));
        Self { address, leaderless, task }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    async fn kill(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, name: &'static str, leaderless: Arc<AtomicBool>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, leaderless) = (acceptor.clone(), leaderless.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let leaderless = leaderless.load(Ordering::Relaxed);
                async move { Ok::<_, Infallible>(answer(&request, name, leaderless)) }
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            // The end is the test's doing.
            drop(serving.await);
        });
    }
}

fn answer(request: &Request<Incoming>, name: &'static str, leaderless: bool) -> Response<TestBody> {
    let body: TestBody = match request.uri().path() {
        "/watch" => http_body_util::StreamBody::new(futures::stream::pending()).boxed_unsync(),
        _ => Full::new(Bytes::from_static(name.as_bytes())).boxed_unsync(),
    };
    let mut response = Response::new(body);
    if leaderless && request.uri().path() != "/watch" {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn client(ca: &Ca, sites: &[&Site]) -> (kube::Client, Servers) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&key, ca).unwrap();
    let own = OwnCertificate::new(&Credential { chain_pem: leaf.pem(), key_pem: key.serialize_pem() }).unwrap();
    let servers = Servers::fixed(sites.iter().map(|site| ServerAddress::parse(&site.url()).unwrap()).collect());
    let tls = client_config(&ca.pem(), Some(own), API_ALPN).unwrap();
    (api_client(&servers, tls, None).unwrap(), servers)
}

async fn get(client: &kube::Client) -> Result<String, kube::Error> {
    client.request_text(Request::get("/who").body(Vec::new()).unwrap()).await
}

async fn watch(client: &kube::Client) -> Response<kube::client::Body> {
    client.send(Request::get("/watch").body(kube::client::Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn one_server_is_asked_until_it_dies_and_then_another_at_once() {
    let ca = authority();
    let (mut first, second) = (Site::start(&ca, "first").await, Site::start(&ca, "second").await);
    let (client, _) = client(&ca, &[&first, &second]);
    for _ in 0..3 {
        assert_eq!(get(&client).await.unwrap(), "first");
    }
    let mut watch = watch(&client).await;
    first.kill().await;
    let began = Instant::now();
    // The watch tells that it broke, so that it is begun again.
    assert!(!matches!(watch.body_mut().frame().await, Some(Ok(_))));
    assert_eq!(get(&client).await.unwrap(), "second");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_without_a_leader_loses_its_watches_when_another_has_one() {
    let ca = authority();
    let (first, second) = (Site::start(&ca, "first").await, Site::start(&ca, "second").await);
    let (client, _) = client(&ca, &[&first, &second]);
    assert_eq!(get(&client).await.unwrap(), "first");
    let mut watch = watch(&client).await;
    first.leaderless.store(true, Ordering::Relaxed);
    assert_eq!(get(&client).await.unwrap(), "second");
    let broken = tokio::time::timeout(Duration::from_secs(5), watch.body_mut().frame()).await;
    assert!(!matches!(broken.expect("the watch ends"), Some(Ok(_))));
    // A write that was refused for want of a leader did not happen, so it is sent on.
    second.leaderless.store(true, Ordering::Relaxed);
    first.leaderless.store(false, Ordering::Relaxed);
    let post = Request::post("/who").body(b"{}".to_vec()).unwrap();
    assert_eq!(client.request_text(post).await.unwrap(), "first");
    first.leaderless.store(true, Ordering::Relaxed);
    assert!(matches!(get(&client).await, Err(kube::Error::Api(status)) if status.code == 503), "none has a leader");
}

#[tokio::test]
async fn a_server_that_is_taken_out_is_left() {
    let ca = authority();
    let (first, second) = (Site::start(&ca, "first").await, Site::start(&ca, "second").await);
    let (client, servers) = client(&ca, &[&second]);
    servers.learn(&[first.url(), second.url()]);
    assert_eq!(get(&client).await.unwrap(), "first");
    let mut watch = watch(&client).await;
    servers.learn(&[second.url()]);
    assert_eq!(get(&client).await.unwrap(), "second");
    let broken = tokio::time::timeout(Duration::from_secs(5), watch.body_mut().frame()).await;
    assert!(!matches!(broken.expect("the watch ends"), Some(Ok(_))));
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_passed_over() {
    let ca = authority();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = silent.local_addr().unwrap();
    let second = Site::start(&ca, "second").await;
    let leaderless = Arc::new(AtomicBool::new(false));
    let hung = Site { address, leaderless, task: tokio::spawn(std::future::pending()) };
    let (client, _) = client(&ca, &[&hung, &second]);
    let began = Instant::now();
    assert_eq!(get(&client).await.unwrap(), "second");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    drop(silent);
}

#[test]
fn what_may_have_been_done_is_not_sent_again() {
    use Verdict::*;
    let check = |method: Method, outcome: Result<u16, bool>, expected: Verdict| {
        let outcome = outcome.map(|code| StatusCode::from_u16(code).unwrap());
        assert_eq!(verdict(&method, outcome), expected, "{method} {outcome:?}");
    };
    check(Method::GET, Ok(200), Answered);
    check(Method::PATCH, Ok(409), Answered);
    check(Method::PATCH, Ok(500), Answered);
    check(Method::POST, Ok(503), Elsewhere);
    check(Method::POST, Err(true), Elsewhere);
    check(Method::GET, Err(false), Elsewhere);
    check(Method::GET, Ok(504), Elsewhere);
    check(Method::POST, Err(false), Unknown);
    check(Method::PATCH, Ok(504), Unknown);
}
