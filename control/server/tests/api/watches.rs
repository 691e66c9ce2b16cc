//! Watches, line by line.

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cluster::{Client, Cluster, PATIENCE};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

struct Lines {
    body: Incoming,
    held: Vec<u8>,
}

impl Lines {
    async fn open(client: &Client, query: &str) -> Self {
        let response = client.open(Method::GET, &format!("{CONFIGS}?watch=true&{query}"), "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        Self { body: response.into_body(), held: Vec::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("an event"));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time")?;
            self.held.extend_from_slice(&frame.expect("a frame").into_data().expect("data"));
        }
    }

    async fn expect(&mut self, kind: &str, name: &str) -> Value {
        let event = self.next().await.expect("an event");
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!(kind), &json!(name)), "{event}");
        event
    }
}

#[tokio::test]
async fn a_watch_tells_what_there_is_and_what_changes() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIGS, &json!({"metadata": {"name": "a"}})).await.ok();
    let query = "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut lines = Lines::open(&admin, query).await;
    lines.expect("ADDED", "a").await;
    let end = lines.next().await.expect("a bookmark");
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let made = admin.post(CONFIGS, &json!({"metadata": {"name": "b"}})).await.ok();
    lines.expect("ADDED", "b").await;
    admin.send(Method::DELETE, &format!("{CONFIGS}/a"), "").await.ok();
    lines.expect("DELETED", "a").await;

    let version = made["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut later = Lines::open(&admin, &format!("resourceVersion={version}")).await;
    later.expect("DELETED", "a").await;
    drop(later);
    let mut one = Lines::open(&admin, "fieldSelector=metadata.name%3Db&resourceVersion=0").await;
    one.expect("ADDED", "b").await;
    cluster.stop().await;
    assert!(lines.next().await.is_none(), "the server's end ends watches");
}

#[tokio::test]
async fn the_older_paths_of_watches_lead_to_them() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for name in ["a", "b"] {
        admin.post(CONFIGS, &json!({"metadata": {"name": name}})).await.ok();
    }
    let seen = async |path: &str| {
        let text = admin.get(&format!("/api/v1/watch/{path}")).await.text();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
        events.map(|event| event["object"]["metadata"]["name"].clone()).collect::<Vec<_>>()
    };
    let end = "resourceVersion=0&timeoutSeconds=1";
    assert_eq!(seen(&format!("namespaces/default/configmaps?{end}")).await, [json!("a"), json!("b")]);
    assert_eq!(seen(&format!("namespaces/default/configmaps/b?{end}")).await, [json!("b")]);
    assert_eq!(seen(&format!("namespaces/default?{end}")).await, [json!("default")]);
    admin.get("/api/v1/watch/configmaps/b").await.refused(404, "could not find the requested resource");
    admin.post("/api/v1/watch/namespaces/default/configmaps", &json!({})).await.refused(405, "does not allow");
    let other = format!("namespaces/default/configmaps/b?{end}&fieldSelector=metadata.name%3Da");
    let words = "fieldSelector metadata.name doesn't match requested name";
    admin.get(&format!("/api/v1/watch/{other}")).await.refused(400, words);
    cluster.stop().await;
}

#[tokio::test]
async fn a_watched_table_names_its_columns_once() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for name in ["a", "b"] {
        admin.post(CONFIGS, &json!({"metadata": {"name": name}})).await.ok();
    }
    let tables = admin.clone().with("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let mut lines = Lines::open(&tables, "resourceVersion=0").await;
    let first = lines.next().await.expect("an event");
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    let second = lines.next().await.expect("an event");
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_watchers_see_every_event_once_and_in_order() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut watchers = Vec::new();
    for _ in 0..120 {
        watchers.push(Lines::open(&admin, "resourceVersion=0").await);
    }
    let names: Vec<String> = (0..60).map(|number| format!("c{number}")).collect();
    let writing = async {
        for (number, name) in names.iter().enumerate() {
            // One in ten is large enough to be sent as it is stored.
            let text = "x".repeat(if number % 10 == 9 { 40_000 } else { 100 });
            admin.post(CONFIGS, &json!({"metadata": {"name": name}, "data": {"text": text}})).await.ok();
            let elsewhere = "/api/v1/namespaces/kube-public/configmaps";
            admin.post(elsewhere, &json!({"metadata": {"name": name}})).await.ok();
        }
    };
    let reading = futures::future::join_all(watchers.iter_mut().map(async |lines| {
        for name in &names {
            lines.expect("ADDED", name).await;
        }
    }));
    tokio::join!(writing, reading);
    cluster.stop().await;
    for lines in &mut watchers {
        assert!(lines.next().await.is_none(), "nothing beside");
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut lines = Lines::open(&admin, "resourceVersion=0&timeoutSeconds=1").await;
    assert!(lines.next().await.is_none());
    let refused = admin.get(&format!("{CONFIGS}?watch=true&sendInitialEvents=true")).await;
    refused.refused(422, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    cluster.stop().await;
}

#[tokio::test]
async fn a_watch_leaves_its_connection_to_the_next_request() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(CONFIGS, &json!({"metadata": {"name": "a"}})).await.ok();
    let mut stream = admin.dial().await;
    // All at once, so that what follows a watch has been read before that ends.
    let watch = format!("{CONFIGS}?watch=true&resourceVersion=0&timeoutSeconds=1");
    for path in ["/version", &watch, &watch, "/version"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is taken");
    }
    let last = format!("GET {CONFIGS}/a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(last.as_bytes()).await.expect("it is taken");
    let mut answers = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answers)).await.expect("an end").expect("answers");
    let ends = answers.matches("}\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n").count();
    let (heads, events) = (answers.matches("HTTP/1.1 200 OK").count(), answers.matches(r#"{"type":"ADDED""#).count());
    assert_eq!((heads, events, ends), (5, 2, 2), "{answers}");
    assert!(answers.ends_with("}\n") && answers.contains("transfer-encoding: chunked\r\n"), "{answers}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let streams = |text: String| {
        let line = text.lines().find(|line| line.starts_with("apiserver_streams_in_flight ")).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next().and_then(|count| count.parse::<usize>().ok())).expect("a figure")
    };
    let lines = Lines::open(&admin, "resourceVersion=0").await;
    assert_eq!(streams(admin.get("/metrics").await.text()), 1);
    drop(lines);
    let freed = async { while streams(admin.get("/metrics").await.text()) != 0 {} };
    tokio::time::timeout(PATIENCE, freed).await.expect("the watch is freed");
    cluster.stop().await;
}
