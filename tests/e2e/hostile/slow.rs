//! Clients that speak and listen a byte a second.

use std::time::Duration;

use pal_tests::{Access, Secured};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::{CONFIGS, Victim};
use crate::LIMIT;

/// How many of each sort there are.
const CLIENTS: usize = 20;
/// How many of a request's bytes come one by one, and how many of an answer's are taken so.
const SLOWLY: usize = 10;
const PACE: Duration = Duration::from_secs(1);

async fn begun(access: &Access, bytes: &[u8]) -> Secured {
    let mut stream = access.stream(b"http/1.1").await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    stream
}

/// The beginning of what is answered to a request whose last bytes come slowly.
async fn spoken(access: Access, request: String) -> String {
    let (first, last) = request.as_bytes().split_at(request.len() - SLOWLY);
    let mut stream = begun(&access, first).await;
    let mut pace = tokio::time::interval(PACE);
    for byte in last {
        pace.tick().await;
        stream.write_all(&[*byte]).await.expect("sent");
    }
    answered(&mut stream).await
}

/// The beginning of what is answered to a request that does not come to its end.
async fn stopped(access: Access, request: String) -> String {
    let mut stream = begun(&access, request.as_bytes()).await;
    answered(&mut stream).await
}

/// The beginning of an answer that is taken slowly, while more of it waits.
async fn listened(access: Access, request: String) -> String {
    let mut stream = begun(&access, request.as_bytes()).await;
    let mut pace = tokio::time::interval(PACE);
    let mut read = [0; SLOWLY + 2];
    for byte in &mut read {
        pace.tick().await;
        *byte = tokio::time::timeout(LIMIT, stream.read_u8()).await.expect("in time").expect("a byte");
    }
    String::from_utf8_lossy(&read).into_owned()
}

async fn answered(stream: &mut Secured) -> String {
    let mut read = [0; SLOWLY + 2];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut read)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_a_second_both_ways_is_served_and_keeps_nobody_waiting() {
    let victim = Victim::new().await;
    victim.fill(10).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let post = |length: usize, body: &str| {
            format!("POST {CONFIGS} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}")
        };
        let object = format!(r#"{{"metadata":{{"name":"slow{number}"}}}}"#);
        let head = format!("GET {CONFIGS}/a0 HTTP/1.1\r\nhost: a\r\n\r\n");
        let (whole, part) = (post(object.len(), &object), post(1_000_000, &object));
        let list = format!("GET {CONFIGS} HTTP/1.1\r\nhost: a\r\n\r\n");
        let access = victim.access.clone();
        clients.spawn(async move { ("a head", "HTTP/1.1 200", spoken(access, head).await) });
        let access = victim.access.clone();
        clients.spawn(async move { ("a body", "HTTP/1.1 201", spoken(access, whole).await) });
        let access = victim.access.clone();
        clients.spawn(async move { ("a body without end", "HTTP/1.1 408", stopped(access, part).await) });
        let access = victim.access.clone();
        clients.spawn(async move { ("an answer", "HTTP/1.1 200", listened(access, list).await) });
    }
    while let Some(client) = clients.join_next().await {
        let (what, expected, answer) = client.expect("a client ends");
        assert_eq!(answer, expected, "{what}");
    }
    victim.end().await;
}
