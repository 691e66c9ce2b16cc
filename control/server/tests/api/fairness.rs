//! Clients that take more than their share: the others are served all the same.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::cluster::{Client, Cluster, PATIENCE};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

/// Meanwhile the runtime of this thread cannot accept anything.
fn connect_at_once(to: std::net::SocketAddr, count: usize) -> Vec<std::net::TcpStream> {
    (0..count).map(|_| std::net::TcpStream::connect_timeout(&to, PATIENCE).expect("there is room")).collect()
}

#[tokio::test]
async fn many_may_come_while_the_server_is_busy() {
    let cluster = Cluster::start().await;
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux says how many may wait");
    let many = most.trim().parse::<usize>().expect("a number").min(400);
    // Who finds no room is not answered until it gives up.
    drop(connect_at_once(cluster.server.local_addr(), many));
    assert_eq!(cluster.admin().get("/version").await.code, 200);
    cluster.stop().await;
}

/// A request whose body never comes: it holds its place until it does.
async fn stuck(client: &Client) -> TlsStream<TcpStream> {
    let mut stream = client.dial().await;
    let head = format!(
        "POST {CONFIGS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it is taken");
    stream.flush().await.expect("it is taken");
    stream
}

/// Waits until the server works on that many requests beside the one that asks.
async fn until_in_flight(client: &Client, count: usize) {
    let line = format!("apiserver_requests_in_flight {}", count + 1);
    let waiting = async { while !client.get("/metrics").await.text().lines().any(|found| found == line) {} };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the requests arrive");
}

#[tokio::test]
async fn a_flood_keeps_nobody_else_out() {
    let cluster = Cluster::configured(|config| config.max_requests = 8).await;
    let (admin, anybody) = (cluster.admin(), cluster.anybody());
    let node = cluster.client(Some(&cluster.node_identity("n1")));
    let mut flood = Vec::new();
    for _ in 0..5 {
        flood.push(stuck(&admin).await);
    }
    until_in_flight(&admin, 5).await;
    flood.push(stuck(&admin).await);
    // Six of eight are the administrator's: the next one waits, and is told to come again.
    let began = Instant::now();
    let late = admin.get("/version").await;
    late.refused(429, "Too many requests");
    assert_eq!(late.headers["retry-after"], "1");
    assert!(began.elapsed() >= Duration::from_secs(1), "it waited: {:?}", began.elapsed());

    let prompt = async |client: &Client, path: &str| {
        let began = Instant::now();
        let answer = client.get(path).await;
        assert_eq!(answer.code, 200, "{path}");
        assert!(began.elapsed() < Duration::from_secs(1), "{path}: {:?}", began.elapsed());
    };
    prompt(&anybody, "/version").await;
    prompt(&node, "/api/v1/nodes").await;
    prompt(&admin, "/livez").await;
    prompt(&admin, "/readyz").await;

    // One place comes free while a request waits for it.
    let waiting = admin.get("/version");
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(flood.pop());
    assert_eq!(waiting.await.code, 200);
    cluster.stop().await;
}

#[tokio::test]
async fn answers_that_are_not_read_are_so_many_for_each_client() {
    let cluster = Cluster::configured(|config| config.max_answers_mib = 8).await;
    let admin = cluster.admin();
    let node = cluster.client(Some(&cluster.node_identity("n1")));
    let made = json!({"metadata": {"name": "large"}, "data": {"k": "x".repeat(100_000)}});
    admin.post(CONFIGS, &made).await.ok();
    let (path, services) = (format!("{CONFIGS}/large"), "/api/v1/services");
    let (mut deaf, _connection) = admin.deaf().await;
    let mut unread = Vec::new();
    for _ in 0..6 {
        let answer = deaf.send_request(admin.request(&path)).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        unread.push(answer);
    }
    admin.get(&path).await.refused(429, "Too many requests");
    assert_eq!(admin.get("/api/v1/namespaces/default").await.code, 200, "small ones are answered");
    assert_eq!(node.get(services).await.code, 200, "others are answered");
    drop(unread);
    let answered = async { while admin.get(&path).await.code != 200 {} };
    tokio::time::timeout(PATIENCE, answered).await.expect("the places are given back");
    cluster.stop().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let cluster = Cluster::start().await;
    let large = json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat(4 * 1024 * 1024)}});
    cluster.admin().post(CONFIGS, &large).await.refused(413, "limit is 3145728");
    cluster.stop().await;
}

/// The lines of a watch's body that are left; how many bytes, and the last line.
async fn rest(mut body: hyper::body::Incoming) -> (usize, Value) {
    let (mut bytes, mut last) = (0, Vec::new());
    let reading = async {
        while let Some(frame) = body.frame().await {
            let data = frame.expect("a frame").into_data().expect("data");
            bytes += data.len();
            last.extend_from_slice(&data);
            let whole = last.len() - usize::from(last.ends_with(b"\n"));
            if let Some(end) = last[..whole].iter().rposition(|byte| *byte == b'\n') {
                last.drain(..=end);
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the watch ends");
    (bytes, serde_json::from_slice(&last).expect("an event"))
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_dropped_and_can_begin_again() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = admin.post(CONFIGS, &json!({"metadata": {"name": "a"}})).await.ok();
    let version = made["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    let path = format!("{CONFIGS}?watch=true&resourceVersion={version}");
    let slow = admin.open(Method::GET, &path, "").await;
    assert_eq!(slow.status(), 200);
    // More than the history keeps, in objects that are large enough to fill what lies between.
    let merge = admin.clone().with("content-type", "application/merge-patch+json");
    let text = "x".repeat(900 * 1024);
    for round in 0..24 {
        let body = json!({"data": {"round": round.to_string(), "text": text}}).to_string();
        merge.send(Method::PATCH, &format!("{CONFIGS}/a"), body).await.ok();
    }
    let (bytes, last) = rest(slow.into_body()).await;
    assert_eq!((&last["type"], &last["object"]["code"]), (&json!("ERROR"), &json!(410)), "{last}");
    let message = last["object"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("too old resource version"), "{message}");
    // What was held for it is what was on its way, not what happened.
    assert!(bytes < 12 * 1024 * 1024, "{bytes}");

    let now = admin.get(&format!("{CONFIGS}/a")).await.ok();
    let version = now["metadata"]["resourceVersion"].as_str().expect("a version");
    let path = format!("{CONFIGS}?watch=true&timeoutSeconds=2&resourceVersion={version}");
    let again = admin.open(Method::GET, &path, "").await;
    merge.send(Method::PATCH, &format!("{CONFIGS}/a"), r#"{"data":null}"#).await.ok();
    let (_, event) = rest(again.into_body()).await;
    assert_eq!(event["type"], "MODIFIED");
    cluster.stop().await;
}

#[tokio::test]
async fn what_waits_unread_on_a_connection_does_not_hold_the_server_up() {
    let cluster = Cluster::configured(|config| config.max_requests = 8).await;
    let mut unread = cluster.admin().dial().await;
    // Answers that nobody reads, until the connection takes no more.
    let request = b"GET /openapi/v3/api/v1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let sending = async { while unread.write_all(request).await.is_ok() {} };
    let _ = tokio::time::timeout(Duration::from_millis(500), sending).await;
    assert_eq!(cluster.admin().get("/version").await.code, 200);
    let mut first = [0; 15];
    unread.read_exact(&mut first).await.expect("the first answer");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    drop(unread);
    cluster.stop().await;
}
