//! Ten thousand pods: what they take in memory, how long a list of them takes, and what lists that nobody reads hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pal_tests::{Cluster, Pal};
use tokio::task::JoinSet;

use crate::Row;
use crate::connection::{Entrance, TABLE};
use crate::creates::pod;
use crate::load::millis;
use crate::resources::{resident_mib, settle};

const PODS: usize = 10_000;
const WRITERS: usize = 16;
const PATH: &str = "/api/v1/namespaces/default/pods";
const ROUNDS: usize = 15;
/// Lists that are begun and not read.
const STALLED: usize = 32;
/// Kubernetes 1.36.2 on two cores, in milliseconds.
const KUBERNETES: [(&str, &str, f64); 2] = [("", "application/json", 304.0), (", as a table", TABLE, 235.0)];

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let server = pal.server(&[]).await;
    fill(&server).await;
    settle().await;
    let resident = resident_mib(&server.process);
    let peer = "2,370 MiB (with 13,000 and 1,000 nodes)";
    let mut rows = vec![Row::new(
        "resident, 10,000 pods stored",
        format!("{resident:.0} MiB"),
        peer,
        "must be under 150 MB (143 MiB)",
    )];
    let entrance = Entrance::of(&server).await;
    for (form, accept, peer) in KUBERNETES {
        let mut connection = entrance.open().await;
        let (mut times, mut size) = (Vec::new(), 0);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            size = connection.size(PATH, accept).await;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let ours = times[ROUNDS / 2];
        rows.push(Row::new(
            format!("LIST of 10,000 pods{form}"),
            format!("{}, {:.1} MB", millis(ours), size as f64 / 1e6),
            format!("{peer:.0} ms"),
            format!("{:.1} (must be {})", peer / 1e3 / ours.as_secs_f64(), if form.is_empty() { 10 } else { 5 }),
        ));
    }
    for (form, accept, _) in KUBERNETES {
        let before = resident_mib(&server.process);
        let mut held = Vec::new();
        for _ in 0..STALLED {
            let mut connection = entrance.open().await;
            let answer = connection.begin(PATH, accept).await;
            held.push((connection, answer));
        }
        settle().await;
        let more = resident_mib(&server.process) - before;
        rows.push(Row::new(
            format!("{STALLED} lists that nobody reads{form}"),
            format!("{more:.1} MiB, {:.0} KiB each", more * 1024.0 / STALLED as f64),
            "",
            "",
        ));
    }
    server.stop().await;
    rows
}

/// Stores the pods.
async fn fill(server: &Cluster) {
    let entrance = Entrance::of(server).await;
    let next = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (mut connection, next) = (entrance.open().await, next.clone());
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= PODS {
                    return;
                }
                assert!(connection.create(PATH, pod(&format!("pod-{number:05}"))).await, "pod {number} is created");
            }
        });
    }
    let filled = tokio::time::timeout(Duration::from_secs(120), async {
        while let Some(done) = writers.join_next().await {
            done.expect("a writer does not panic");
        }
    });
    filled.await.expect("the pods are created in time");
}
