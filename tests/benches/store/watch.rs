//! How long a write takes to reach 1,000 watchers of one server, through the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use memchr::memmem;
use pal_tests::{Access, Forming, NoEvent, Pal, Servers};
use serde_json::json;
use tokio::task::JoinSet;

use crate::load::{millis, quantile};
use crate::options::Options;

const WATCHERS: usize = 1_000;
const WRITERS: usize = 20;
const WRITES: u64 = 1_000;
const LIMIT: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_millis(500);
/// Written before the time at which an event's write was sent, in microseconds.
const MARK: &[u8] = b"\"sent\":\"";

struct Shared {
    begun: Instant,
    stop: AtomicBool,
    written: AtomicU64,
}

/// Measures it twice: when one write in twenty is for what they watch, and when all are.
pub async fn print(pal: &Pal, options: &Options) {
    println!("\nwrite sent to event seen, {WATCHERS} watchers of one server, {WRITES} writes/s wanted");
    for every in [20, 1] {
        let servers = Servers::form(pal, 1, Forming { quiet: true, ..Forming::default() }).await;
        let access = servers.all()[0].access().clone();
        for namespace in ["watched", "others"] {
            let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            let made =
                access.api().call(Method::POST, "/api/v1/namespaces", Some(&body), LIMIT).await.expect("an answer");
            assert_eq!(made.status, StatusCode::CREATED, "{made}");
        }
        let (mut times, rate) = measure(&access, options.time.max(Duration::from_secs(5)), every).await;
        times.sort_unstable();
        println!(
            "one write in {every} is watched: {rate:.0} writes/s, {} events seen, p50 {}, p99 {}",
            times.len(),
            millis(quantile(&times, 0.5)),
            millis(quantile(&times, 0.99))
        );
    }
}

async fn measure(access: &Access, time: Duration, every: u64) -> (Vec<Duration>, f64) {
    let shared = Arc::new(Shared { begun: Instant::now(), stop: AtomicBool::new(false), written: AtomicU64::new(0) });
    let mut watchers = JoinSet::new();
    let path = "/api/v1/namespaces/watched/configmaps?watch=1";
    for _ in 0..WATCHERS {
        let stream = access.watch(path, LIMIT).await.expect("an answer").expect("a watch");
        watchers.spawn(follow(stream, shared.clone()));
    }
    let (mut writers, started) = (JoinSet::new(), Instant::now());
    for writer in 0..WRITERS {
        writers.spawn(write(access.clone(), writer, every, time, shared.clone()));
    }
    while let Some(done) = writers.join_next().await {
        done.expect("a writer does not panic");
    }
    let rate = shared.written.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    shared.stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    while let Some(done) = watchers.join_next().await {
        times.extend(done.expect("a watcher does not panic"));
    }
    (times, rate)
}

async fn follow(mut stream: pal_tests::Stream, shared: Arc<Shared>) -> Vec<Duration> {
    let (mut times, marks) = (Vec::new(), memmem::Finder::new(MARK));
    loop {
        let lines = match tokio::time::timeout(QUIET, stream.lines()).await {
            Ok(lines) => lines,
            Err(_) if shared.stop.load(Ordering::Relaxed) => return times,
            Err(_) => continue,
        };
        let lines = lines.map_err(NoEvent::Ended).expect("the watch goes on");
        let now = shared.begun.elapsed();
        for at in marks.find_iter(&lines) {
            let digits = lines[at + MARK.len()..].split(|byte| *byte == b'"').next();
            let micros = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            let micros = micros.map(Duration::from_micros).expect("a time");
            times.push(now.saturating_sub(micros));
        }
    }
}

/// Writes at its share of the pace.
async fn write(access: Access, writer: usize, every: u64, time: Duration, shared: Arc<Shared>) {
    let mut api = access.api();
    let mut pace = tokio::time::interval(Duration::from_secs(1) * WRITERS as u32 / WRITES as u32);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let started = Instant::now();
    let mut number = writer as u64;
    while started.elapsed() < time {
        pace.tick().await;
        let namespace = if number.is_multiple_of(every) { "watched" } else { "others" };
        number += 1;
        let sent = shared.begun.elapsed().as_micros().to_string();
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        let name = format!("w{writer}-{number}");
        let body =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "sent": sent } });
        let made = api.call(Method::POST, &path, Some(&body), LIMIT).await.expect("an answer");
        assert_eq!(made.status, StatusCode::CREATED, "{made}");
        shared.written.fetch_add(1, Ordering::Relaxed);
    }
}
