//! Clients that mean harm: what they ask for costs little and is refused in clear words, and nobody else notices.

mod bodies;
mod connections;
mod requests;
mod schemas;
mod slow;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use pal_tests::{Access, Api, Cluster, Json};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{LIMIT, pal};

/// How long another client may wait for an answer on a busy machine.
const QUICK: Duration = Duration::from_secs(5);
/// What the server may take of memory, whatever it is asked: 1 GiB.
const MEMORY_KIB: u64 = 1024 * 1024;
const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";

/// A server, who harms it, and somebody else who asks small things meanwhile.
struct Victim {
    cluster: Cluster,
    access: Access,
    api: Api,
    other: JoinHandle<Duration>,
    done: tokio::sync::watch::Sender<bool>,
}

impl Victim {
    async fn new() -> Self {
        let cluster = pal().server(&[]).await;
        let access = Access::from_kubeconfig(&cluster.kubeconfig()).await.expect("an access");
        let (done, ended) = tokio::sync::watch::channel(false);
        let mut other = access.api();
        let other = tokio::spawn(async move {
            let mut worst = Duration::ZERO;
            while !*ended.borrow() {
                let began = Instant::now();
                other.get("/api/v1/namespaces/default", LIMIT).await.expect("others are answered");
                worst = worst.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            worst
        });
        let api = access.api();
        Self { cluster, access, api, other, done }
    }

    /// So many objects of half a megabyte each: a list that takes time to be read.
    async fn fill(&self, count: usize) {
        let mut api = self.access.api();
        for number in 0..count {
            let object = json!({"metadata": {"name": format!("a{number}")}, "data": {"a": "x".repeat(500_000)}});
            let made = api.call(Method::POST, CONFIGS, Some(&object), LIMIT).await;
            assert_eq!(made.expect("an answer").status, 201);
        }
    }

    async fn ask(&mut self, method: Method, path: &str, kind: &str, body: impl Into<Bytes>) -> Json {
        let body = body.into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(Full::new(body)).expect("a request");
        self.api.send(request, LIMIT).await.unwrap_or_else(|error| panic!("{path} {kind} {shown}: {error}"))
    }

    /// That must be the status, and a part of the message.
    async fn check(&mut self, method: Method, path: &str, kind: &str, body: impl Into<Bytes>, code: u16, part: &str) {
        let body = body.into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = self.ask(method, path, kind, body).await;
        let text = answer.to_string();
        let told: String = text.chars().take(600).collect();
        let path: String = path.chars().take(100).collect();
        assert!(answer.status == code && text.contains(part), "{path} {kind} {shown}: {code} {part:?}, not {told}");
    }

    /// Ends it; others must have been answered quickly, and memory must have sufficed.
    async fn end(self) {
        self.done.send_replace(true);
        let worst = self.other.await.expect("others are answered");
        assert!(worst < QUICK, "another client waited {worst:?}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.cluster.process.id())).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        assert!(peak.is_none_or(|kib: u64| kib < MEMORY_KIB), "it took {peak:?} KiB");
        self.cluster.stop().await;
    }
}

/// A list of so many, or as many as fit into a request.
fn many(item: &str, count: usize) -> String {
    let fit = (3 * 1024 * 1024 - 1024) / (item.len() + 1);
    format!("[{}]", vec![item; count.min(fit)].join(","))
}
