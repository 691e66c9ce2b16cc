//! Watchers over the API: what idle ones hold, and how soon an event reaches a hundred.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use memchr::{memmem, memrchr};
use pal_tests::Pal;
use tokio::task::JoinSet;

use crate::Row;
use crate::connection::Entrance;
use crate::load::{millis, quantile};
use crate::resources::{resident_mib, settle};

const IDLE: usize = 1_000;
const FOLLOWING: usize = 100;
const EVENTS: usize = 400;
const PACE: Duration = Duration::from_millis(20);
/// In each event once.
const MARK: &str = "\"name\":\"event-";
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

    let times = follow(&entrance).await;
    server.stop().await;
    vec![
        Row::new(
            "1,000 idle watchers",
            format!("{more:.1} MiB, {:.1} KiB each", more * 1024.0 / IDLE as f64),
            "",
            "must be under 20 MB (19 MiB)",
        ),
        Row::new(
            "request sent to event, 100 watchers",
            format!("p50 {}, p99 {}", millis(quantile(&times, 0.5)), millis(quantile(&times, 0.99))),
            "p50 7.50 ms, p99 12.30 ms",
            "must be under 5 ms at p99",
        ),
    ]
}

/// How long each event took to each watcher, sorted.
async fn follow(entrance: &Entrance) -> Vec<Duration> {
    let begun = Instant::now();
    let mut sent = Vec::with_capacity(EVENTS);
    let mut watchers = JoinSet::new();
    for _ in 0..FOLLOWING {
        let mut connection = entrance.open().await;
        let answer = connection.begin(&format!("{PATH}?watch=1&resourceVersion=0"), "application/json").await;
        watchers.spawn(async move {
            // Lines end where events do; what was there before has no mark.
            let (mut body, mut held, mut came) = (answer.into_body(), Vec::new(), Vec::with_capacity(EVENTS));
            let marks = memmem::Finder::new(MARK);
            while came.len() < EVENTS {
                let frame = body.frame().await.expect("the watch goes on").expect("an event");
                held.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                let now = begun.elapsed();
                let Some(end) = memrchr(b'\n', &held) else { continue };
                came.extend(marks.find_iter(&held[..end]).map(|_| now));
                held.drain(..=end);
            }
            drop(connection);
            came
        });
    }
    let mut writer = entrance.open().await;
    let mut pace = tokio::time::interval(PACE);
    for number in 0..EVENTS {
        pace.tick().await;
        sent.push(begun.elapsed());
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"event-{number}"}},"data":{{"key":"value"}}}}"#
        );
        assert!(writer.create(PATH, body).await, "event {number} is written");
    }
    let mut times = Vec::new();
    while let Some(came) = watchers.join_next().await {
        // One writer: events come in the order in which they were sent.
        times.extend(came.expect("a watcher does not panic").iter().zip(&sent).map(|(came, sent)| *came - *sent));
    }
    times.sort_unstable();
    times
}
