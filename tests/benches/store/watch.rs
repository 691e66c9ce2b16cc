//! How long a write takes to reach 1,000 watchers of one server: over the API, with connections of their own and as many streams
//! of few connections, as clients of Kubernetes have them; and of etcd, as streams too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{Method, StatusCode};
use pal_tests::{Access, Forming, Pal, Servers, wait_until};
use prost::Message as _;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::etcd::Etcd;
use crate::load::quantile;
use crate::messages::{WatchCreateRequest, WatchRequest};
use crate::options::Options;
use crate::processes::processor_seconds;
use crate::puts::Side as _;
use crate::streams::{Asked, Follower, Io, MARK, Shared};

const WATCHERS: usize = 1_000;
/// As many streams as kube-apiserver grants a connection.
const STREAMS: usize = 100;
const WRITERS: usize = 20;
const WRITES: u64 = 1_000;
const LIMIT: Duration = Duration::from_secs(30);
/// What a value has beside its mark, about as much as the API's objects.
const FILLING: usize = 300;
const PATH: &str = "/api/v1/namespaces/watched/configmaps?watch=1";

/// How the watchers are connected.
#[derive(Clone, Copy)]
enum Form {
    Alone,
    Streams,
    Etcd,
}

/// What is watched and written.
enum Target {
    Ours { servers: Servers, access: Access },
    Etcd(Etcd),
}

/// Writes one value where it is watched or where it is not, under that name. The value's mark says when it was sent.
type Write = Box<dyn FnMut(bool, String, String) -> BoxFuture<'static, bool> + Send>;

/// Measures each form twice: when one write in twenty is for what they watch, and when all are.
pub async fn print(pal: &Pal, options: &Options) {
    println!("\nwrite sent to event seen, {WATCHERS} watchers of one server, {WRITES} writes/s wanted");
    println!(
        "{:<34} {:>8} {:>9} {:>9} {:>9} {:>9}   us of processor for an event told: server, load",
        "", "writes/s", "events", "p50", "p99", "p99.9"
    );
    let forms = [
        (Form::Alone, "connections of their own"),
        (Form::Streams, "100 streams a connection"),
        (Form::Etcd, "etcd, 100 streams a connection"),
    ];
    for every in [20, 1] {
        println!("one write in {every} is watched");
        for (form, name) in forms {
            match Target::start(pal, form).await {
                Ok(target) => measure(&target, form, name, options.time.max(Duration::from_secs(5)), every).await,
                Err(why) => eprintln!("{why}"),
            }
        }
    }
}

impl Target {
    async fn start(pal: &Pal, form: Form) -> Result<Self, String> {
        if matches!(form, Form::Etcd) {
            return Ok(Self::Etcd(Etcd::start(1).await?));
        }
        let servers = Servers::form(pal, 1, Forming { quiet: true, ..Forming::default() }).await;
        let access = servers.all()[0].access().clone();
        for namespace in ["watched", "others"] {
            let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            let made =
                access.api().call(Method::POST, "/api/v1/namespaces", Some(&body), LIMIT).await.expect("an answer");
            assert_eq!(made.status, StatusCode::CREATED, "{made}");
        }
        Ok(Self::Ours { servers, access })
    }

    fn process(&self) -> u32 {
        match self {
            Self::Ours { servers, .. } => servers.all()[0].process_id().expect("it runs"),
            Self::Etcd(etcd) => etcd.processes()[0],
        }
    }

    async fn followers(&self, form: Form, shared: &Arc<Shared>) -> Vec<Follower> {
        let mut followers = Vec::new();
        let watches = if matches!(form, Form::Alone) { 1 } else { STREAMS };
        for _ in 0..WATCHERS / watches {
            let follower = match (self, form) {
                (Self::Ours { access, .. }, Form::Alone) => {
                    let stream = access.stream(b"http/1.1").await.expect("a connection");
                    Follower::alone(Box::new(stream), PATH, shared.clone()).await
                }
                (Self::Ours { access, .. }, _) => {
                    let stream = access.stream(b"h2").await.expect("a connection");
                    let authority = access.authority();
                    let headers =
                        vec![(":method", "GET"), (":scheme", "https"), (":path", PATH), (":authority", authority)];
                    let asked = Asked { headers, body: None };
                    Follower::together(Box::new(stream), watches, &asked, shared.clone()).await
                }
                (Self::Etcd(etcd), _) => {
                    let stream = TcpStream::connect(etcd.authority()).await.expect("a connection");
                    stream.set_nodelay(true).expect("a socket");
                    let stream: Box<dyn Io> = Box::new(stream);
                    Follower::together(stream, watches, &etcd_watch(etcd.authority()), shared.clone()).await
                }
            };
            followers.push(follower.expect("a watch"));
        }
        followers
    }

    async fn writer(&self) -> Write {
        match self {
            Self::Ours { access, .. } => {
                let api = Arc::new(tokio::sync::Mutex::new(access.api()));
                Box::new(move |watched, name, sent| {
                    let (api, namespace) = (api.clone(), if watched { "watched" } else { "others" });
                    Box::pin(async move {
                        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
                        let metadata = json!({ "name": name });
                        let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "sent": sent } });
                        let made = api.lock().await.call(Method::POST, &path, Some(&body), LIMIT).await;
                        made.is_ok_and(|made| made.status == StatusCode::CREATED)
                    })
                })
            }
            Self::Etcd(etcd) => {
                let connection = etcd.connect().await;
                Box::new(move |watched, name, sent| {
                    let place = if watched { "watched" } else { "others" };
                    let value = format!("{{{MARK}{sent}\",\"filling\":\"{}\"}}\n", "x".repeat(FILLING));
                    connection.put(format!("{place}/{name}"), value.into())
                })
            }
        }
    }
}

/// A stream of gRPC with one watch of all that is in `watched/`.
fn etcd_watch(authority: &str) -> Asked<'_> {
    let create = WatchCreateRequest { key: "watched/".into(), range_end: "watched0".into() };
    let message = WatchRequest { create: Some(create) }.encode_to_vec();
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    let path = "/etcdserverpb.Watch/Watch";
    let asked = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority)];
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    Asked { headers: asked.into_iter().chain(grpc).collect(), body: Some(body) }
}

async fn measure(target: &Target, form: Form, name: &str, time: Duration, every: u64) {
    let shared = Arc::new(Shared { begun: Instant::now(), seen: AtomicU64::new(0) });
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut following = JoinSet::new();
    for follower in target.followers(form, &shared).await {
        following.spawn(follower.follow(stopped.clone()));
    }
    let processor = || (processor_seconds(&[target.process()]), processor_seconds(&[std::process::id()]));
    let (before, started) = (processor(), Instant::now());
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(write(target.writer().await, number, every, time, shared.begun));
    }
    let (mut written, mut watched) = (0, 0);
    while let Some(done) = writers.join_next().await {
        let (all, of_them) = done.expect("a writer does not panic");
        (written, watched) = (written + all, watched + of_them);
    }
    let rate = written as f64 / started.elapsed().as_secs_f64();
    let expected = watched * WATCHERS as u64;
    wait_until(LIMIT, "all events are seen", async || match shared.seen.load(Ordering::Relaxed) {
        seen if seen >= expected => Ok(()),
        seen => Err(format!("{seen} of {expected}")),
    })
    .await;
    let after = processor();
    stop.send_replace(true);
    let mut times = Vec::new();
    while let Some(done) = following.join_next().await {
        let mut told = done.expect("a follower does not panic").expect("the watches go on");
        assert!(told.counts.iter().all(|count| *count == watched), "{watched} events: {:?}", told.counts);
        times.append(&mut told.times);
    }
    times.sort_unstable();
    let at = |part: f64| f64::from(quantile(&times, part)) / 1e3;
    let each = |seconds: f64| seconds * 1e6 / expected.max(1) as f64;
    println!(
        "{name:<34} {rate:>8.0} {:>9} {:>6.2} ms {:>6.2} ms {:>6.2} ms   {:>6.2} {:>6.2}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        each(after.0 - before.0),
        each(after.1 - before.1)
    );
}

/// Writes at its share of the pace. Returns how much it wrote, and how much of it was watched.
async fn write(mut write: Write, writer: usize, every: u64, time: Duration, begun: Instant) -> (u64, u64) {
    let each = Duration::from_secs(WRITERS as u64) / WRITES as u32;
    // One after the other: the writes of a second are spread over it.
    let first = tokio::time::Instant::now() + each * writer as u32 / WRITERS as u32;
    let mut pace = tokio::time::interval_at(first, each);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (started, mut written, mut of_them) = (Instant::now(), 0, 0);
    while started.elapsed() < time {
        pace.tick().await;
        let watched = (writer as u64 + written).is_multiple_of(every);
        let sent = begun.elapsed().as_micros().to_string();
        assert!(write(watched, format!("w{writer}-{written}"), sent).await, "a write of writer {writer}");
        written += 1;
        of_them += u64::from(watched);
    }
    (written, of_them)
}
