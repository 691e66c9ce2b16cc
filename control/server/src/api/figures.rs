//! What the server counts, in the text form that Prometheus reads.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{Response, StatusCode};
use pal_store::Role;

use super::{Api, reply};
use crate::Body;

/// Counters since the server started.
pub(super) struct Figures {
    started: Instant,
    /// By the first digit of the status code.
    answers: [AtomicU64; 6],
}

impl Default for Figures {
    fn default() -> Self {
        Self { started: Instant::now(), answers: Default::default() }
    }
}

impl Figures {
    pub(super) fn count(&self, code: u16) {
        let class = usize::from(code / 100).min(self.answers.len() - 1);
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }
}

/// `/metrics`
pub(super) async fn metrics(api: &Api) -> Response<Body> {
    let mut text = String::from(
        "# HELP apiserver_request_total Requests answered, by the class of their status code.\n\
         # TYPE apiserver_request_total counter\n",
    );
    for (class, count) in api.figures.answers.iter().enumerate().skip(1) {
        let count = count.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "apiserver_request_total{{code=\"{class}xx\"}} {count}");
    }
    let gauges = [
        ("apiserver_requests_in_flight", api.config.max_requests.saturating_sub(api.gate.free_requests()) as u64),
        ("apiserver_streams_in_flight", api.config.max_streams.saturating_sub(api.gate.free_streams()) as u64),
        ("palinurus_uptime_seconds", api.figures.started.elapsed().as_secs()),
    ];
    for (name, value) in gauges {
        let _ = writeln!(text, "# TYPE {name} gauge\n{name} {value}");
    }
    store(api, &mut text).await;
    reply::text(StatusCode::OK, text)
}

/// The store's figures, under the names that etcd and kube-apiserver have for theirs.
async fn store(api: &Api, text: &mut String) {
    let (store, membership) = (api.store(), api.store().membership());
    let yes = u64::from;
    let figures = [
        ("etcd_server_has_leader", "gauge", yes(membership.leader.is_some())),
        ("etcd_server_is_leader", "gauge", yes(store.role() == Role::Leader)),
        ("etcd_server_is_learner", "gauge", yes(store.role() == Role::Learner)),
        ("etcd_server_proposals_applied_total", "gauge", membership.applied),
        ("etcd_debugging_mvcc_current_revision", "gauge", membership.revision.0),
    ];
    for (name, kind, value) in figures {
        let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
    }
    let dir = api.config.data_dir.join("store");
    // Reading a directory may wait for the disk.
    if let Ok(bytes) = tokio::task::spawn_blocking(move || size_below(&dir, 4)).await {
        let _ = writeln!(text, "# TYPE apiserver_storage_size_bytes gauge");
        let _ = writeln!(text, "apiserver_storage_size_bytes{{storage_cluster_id=\"palinurus\"}} {bytes}");
    }
}

/// What the files below a directory take, down to `depth`. Those that go meanwhile count for nothing.
fn size_below(dir: &Path, depth: usize) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() && depth > 0 => size_below(&entry.path(), depth - 1),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
