//! How long a write takes to reach many watchers of one server, through the API:
//! `cargo run --release -p pal-server --example fanout -- [WATCHERS [WRITES_PER_SECOND [SECONDS [BYTES]]]]`.
//!
//! The server is this process; the watchers and the writers are another one, each watcher with a connection of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use memchr::{memmem, memrchr};
use pal_registry::{Bootstrap, Registry};
use pal_server::{Server, ServerConfig};
use pal_store::{Store, StoreConfig};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Secured = TlsStream<BufReader<TcpStream>>;

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: u32 = 20;
/// So much is read from a socket at once.
const READ: usize = 32 * 1024;
/// Written before the time at which an event's write was sent, in microseconds.
const MARK: &[u8] = b"\"sent\":\"";
/// For the last events to come.
const QUIET: Duration = Duration::from_millis(700);

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let runtime = tokio::runtime::Runtime::new()?;
    match words.next().as_deref() {
        Some("load") => {
            let (address, pki) = (words.next().ok_or("where")?.parse()?, words.next().ok_or("who")?);
            let numbers: Vec<u32> = words.map(|word| word.parse()).collect::<Result<_, _>>()?;
            runtime.block_on(load(address, Path::new(&pki), &numbers))
        }
        first => runtime.block_on(serve(first.map(str::to_owned).into_iter().chain(words).collect())),
    }
}

/// The server, and the load beside it.
async fn serve(mut numbers: Vec<String>) -> Result<(), Failure> {
    for default in ["1000", "1000", "10", "100"].iter().skip(numbers.len()) {
        numbers.push((*default).to_owned());
    }
    let dir = tempfile::tempdir()?;
    let store = Store::open(StoreConfig { dir: dir.path().join("store"), ..StoreConfig::default() }).await?;
    let registry = Registry::new(store.clone(), pal_registry::Config::default());
    let server = Server::start(ServerConfig::new(([127, 0, 0, 1], 0).into(), dir.path()), registry.clone()).await?;
    registry.bootstrap(&Bootstrap { servers: vec![server.local_addr()] }).await.map_err(|status| status.message)?;
    let admin = server.admin()?;
    std::fs::write(dir.path().join("root.pem"), server.ca().root_pem())?;
    std::fs::write(dir.path().join("admin.pem"), admin.certificate_pem + &admin.key_pem)?;
    let mut load = tokio::process::Command::new(std::env::current_exe()?);
    load.arg("load").arg(server.local_addr().to_string()).arg(dir.path()).args(numbers).kill_on_drop(true);
    let begun = cpu();
    let ended = load.status().await?;
    println!("the server used {:.1} s of processor time", (cpu() - begun).as_secs_f64());
    server.shutdown().await;
    store.close().await;
    if ended.success() { Ok(()) } else { Err("the load failed".into()) }
}

/// What this process has used of the processors.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // User and system time, in hundredths of a second.
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// How old events were when they came to one watcher.
type Times = Arc<Mutex<Vec<Duration>>>;

struct Shared {
    begun: Instant,
    written: AtomicU64,
}

async fn load(address: SocketAddr, pki: &Path, numbers: &[u32]) -> Result<(), Failure> {
    let [watchers, rate, seconds, bytes] = numbers else { return Err("four numbers".into()) };
    let tls = tls(pki)?;
    let shared = Arc::new(Shared { begun: Instant::now(), written: AtomicU64::new(0) });
    let (mut following, mut all) = (JoinSet::<Result<(), Failure>>::new(), Vec::new());
    for _ in 0..*watchers {
        let mut stream = secured(address, &tls).await?;
        stream.write_all(format!("GET {CONFIGS}?watch=1 HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await?;
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return Err(String::from_utf8_lossy(&head[..length]).into());
        }
        let times = Times::default();
        all.push(times.clone());
        following.spawn(follow(stream, shared.clone(), times));
    }
    let (mut writing, started) = (JoinSet::new(), Instant::now());
    for writer in 0..WRITERS {
        let sender = connect(address, &tls).await?;
        let pace = Duration::from_secs(1) * WRITERS / *rate;
        let time = Duration::from_secs(u64::from(*seconds));
        writing.spawn(write(sender, writer, pace, time, "x".repeat(*bytes as usize), shared.clone()));
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    let per_second = shared.written.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    tokio::time::sleep(QUIET).await;
    if let Some(ended) = following.try_join_next() {
        ended??;
    }
    let mut times = Vec::new();
    for of_one in all {
        times.append(&mut *of_one.lock().map_err(|_| "the times are lost")?);
    }
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!(
        "{watchers} watchers, {per_second:.0} writes/s: {} events, p50 {:?}, p99 {:?}, most {:?}; the load used {:.1} s",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999_999),
        cpu().as_secs_f64()
    );
    Ok(())
}

fn tls(pki: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.join("root.pem"))?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    let admin = pki.join("admin.pem");
    let chain = vec![CertificateDer::from_pem_file(&admin)?];
    Ok(Arc::new(builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&admin)?)?))
}

async fn secured(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Secured, Failure> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    // rustls reads 4 KiB at a time, which would be several calls for what came together.
    let tcp = BufReader::with_capacity(READ, tcp);
    Ok(TlsConnector::from(tls.clone()).connect(ServerName::try_from("localhost")?, tcp).await?)
}

async fn connect(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let (sender, connection) = http1::handshake(TokioIo::new(secured(address, tls).await?)).await?;
    // It ends with its sender and its answers.
    tokio::spawn(connection);
    Ok(sender)
}

/// Notes how old the events are that come, without a client library: the load has to leave the processors to the server.
async fn follow(mut stream: Secured, shared: Arc<Shared>, times: Times) -> Result<(), Failure> {
    let mut held = Vec::with_capacity(32 * 1024);
    let marks = memmem::Finder::new(MARK);
    loop {
        if stream.read_buf(&mut held).await? == 0 {
            return Err("a watch ended".into());
        }
        let now = shared.begun.elapsed();
        let Some(end) = memrchr(b'\n', &held) else { continue };
        let mut times = times.lock().map_err(|_| "the times are lost")?;
        for at in marks.find_iter(&held[..end]) {
            let digits = held[at + MARK.len()..].split(|byte| *byte == b'"').next().unwrap_or_default();
            let micros: u64 = std::str::from_utf8(digits)?.parse()?;
            times.push(now.saturating_sub(Duration::from_micros(micros)));
        }
        drop(times);
        held.drain(..=end);
    }
}

async fn write(
    mut sender: SendRequest<Full<Bytes>>,
    writer: u32,
    pace: Duration,
    time: Duration,
    text: String,
    shared: Arc<Shared>,
) -> Result<(), Failure> {
    let mut pace = tokio::time::interval(pace);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let started = Instant::now();
    for number in 0_u32.. {
        pace.tick().await;
        if started.elapsed() > time {
            break;
        }
        let sent = shared.begun.elapsed().as_micros().to_string();
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("w{writer}-{number}")},
            "data": {"sent": sent, "text": text},
        });
        let request = Request::builder().method(Method::POST).uri(CONFIGS).header("host", "localhost");
        let request = request.header("content-type", "application/json").body(Full::from(body.to_string()))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        if status != StatusCode::CREATED {
            return Err(format!("a write was answered {status}").into());
        }
        shared.written.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
