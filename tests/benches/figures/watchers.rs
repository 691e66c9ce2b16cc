//! Watchers over the API: what idle ones hold, and how soon an event reaches a hundred.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pal_tests::{Pal, wait_until};
use tokio::task::JoinSet;

use crate::Row;
use crate::connection::Entrance;
use crate::load::{millis, quantile};
use crate::resources::{resident_mib, settle};
use crate::streams::{Asked, Follower, MARK, Shared};

const IDLE: usize = 1_000;
const FOLLOWING: usize = 100;
const EVENTS: usize = 400;
const PACE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(30);
const PATH: &str = "/api/v1/namespaces/default/configmaps";

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let server = pal.server(&[]).await;
    let entrance = Entrance::of(&server).await;
    settle().await;
    let before = resident_mib(&server.process);
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut connection = entrance.open().await;
        let answer = connection.begin(&format!("{PATH}?watch=1"), "application/json").await;
        idle.push((connection, answer));
    }
    settle().await;
    let more = resident_mib(&server.process) - before;
    drop(idle);
    settle().await;

    let alone = follow(&entrance, 1).await;
    let together = follow(&entrance, FOLLOWING).await;
    server.stop().await;
    let spread =
        |times: &[Duration]| format!("p50 {}, p99 {}", millis(quantile(times, 0.5)), millis(quantile(times, 0.99)));
    vec![
        Row::new(
            "1,000 idle watchers",
            format!("{more:.1} MiB, {:.1} KiB each", more * 1024.0 / IDLE as f64),
            "",
            "must be under 20 MB (19 MiB)",
        ),
        Row::new(
            "request sent to event, 100 watchers",
            spread(&alone),
            "p50 7.50 ms, p99 12.30 ms",
            "must be under 5 ms at p99",
        ),
        Row::new("the same as streams of one connection", spread(&together), "", "as client-go has them"),
    ]
}

/// How long each event took to each watcher, sorted; with so many watches on a connection.
async fn follow(entrance: &Entrance, watches: usize) -> Vec<Duration> {
    let shared = Arc::new(Shared { begun: Instant::now(), seen: AtomicU64::new(0) });
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut writer = entrance.open().await;
    let namespace = format!("watched-by-{watches}");
    let body = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{namespace}"}}}}"#);
    assert!(writer.create("/api/v1/namespaces", body).await, "{namespace} is made");
    let objects = format!("/api/v1/namespaces/{namespace}/configmaps");
    let (path, mut following) = (format!("{objects}?watch=1"), JoinSet::new());
    for _ in 0..FOLLOWING / watches {
        let follower = if watches == 1 {
            Follower::alone(Box::new(entrance.stream(b"http/1.1").await), &path, shared.clone()).await
        } else {
            let authority = entrance.authority();
            let headers = vec![(":method", "GET"), (":scheme", "https"), (":path", &*path), (":authority", authority)];
            let stream = Box::new(entrance.stream(b"h2").await);
            Follower::together(stream, watches, &Asked { headers, body: None }, shared.clone()).await
        };
        following.spawn(follower.expect("a watch").follow(stopped.clone()));
    }
    let mut pace = tokio::time::interval(PACE);
    for number in 0..EVENTS {
        pace.tick().await;
        let sent = shared.begun.elapsed().as_micros();
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"event-{number}"}},"data":{{{MARK}{sent}"}}}}"#
        );
        assert!(writer.create(&objects, body).await, "event {number} is written");
    }
    let expected = (EVENTS * FOLLOWING) as u64;
    wait_until(LIMIT, "all events are seen", async || match shared.seen.load(Ordering::Relaxed) {
        seen if seen >= expected => Ok(()),
        seen => Err(format!("{seen} of {expected}")),
    })
    .await;
    stop.send_replace(true);
    let mut times = Vec::new();
    while let Some(told) = following.join_next().await {
        let told = told.expect("a follower does not panic").expect("the watches go on");
        times.extend(told.times.into_iter().map(|micros| Duration::from_micros(micros.into())));
    }
    times.sort_unstable();
    times
}
