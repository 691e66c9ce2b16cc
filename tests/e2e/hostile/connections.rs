//! Connections in number, of which nothing comes.

use pal_tests::wait_until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{CONFIGS, QUICK, Victim};
use crate::LIMIT;

/// As many connections as are wanted, or as this process may have.
async fn connections(authority: &str, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        match tokio::time::timeout(LIMIT, TcpStream::connect(authority)).await.expect("it connects in time") {
            Ok(stream) => streams.push(stream),
            Err(error) => {
                // What this process may have is left to what else it tests.
                streams.truncate(streams.len().saturating_sub(streams.len() / 4));
                eprintln!("{} connections instead of {count}: {error}", streams.len());
                break;
            }
        }
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_slow_connections_do_not_keep_others_away() {
    let victim = Victim::new().await;
    let access = &victim.access;
    victim.fill(10).await;
    // Readers who take some bytes of five megabytes and no more, of a list and of a watch.
    let mut readers = Vec::new();
    for query in ["", "?watch=1&resourceVersion=0"] {
        for _ in 0..10 {
            let mut stream = access.stream(b"http/1.1").await.expect("a connection");
            let request = format!("GET {CONFIGS}{query} HTTP/1.1\r\nhost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut first = [0];
            tokio::time::timeout(LIMIT, stream.read_exact(&mut first)).await.expect("in time").expect("a byte");
            readers.push(stream);
        }
    }
    // Senders who say little of what they are to say: of the request's head, and of its body.
    let mut senders = Vec::new();
    let body = format!("POST {CONFIGS} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n{{");
    for start in ["G", &body] {
        for _ in 0..100 {
            let mut stream = access.stream(b"http/1.1").await.expect("a connection");
            stream.write_all(start.as_bytes()).await.expect("sent");
            senders.push(stream);
        }
    }
    let idle = connections(access.authority(), 10_000).await;
    let mut late = access.api();
    wait_until(LIMIT, "who comes after ten thousand is answered", async || {
        late.get("/api/v1/namespaces/default", QUICK).await.map(drop)
    })
    .await;
    // A connection that says nothing of its own is ended.
    let mut quiet = idle.into_iter().next().expect("a connection");
    let end = tokio::time::timeout(LIMIT, quiet.read(&mut [0])).await.expect("an end in time");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    for stream in &mut readers {
        stream.read_exact(&mut [0; 1000]).await.expect("slow readers are served on");
    }
    drop((readers, senders));
    victim.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_stop_half_way_do_not_keep_others_away() {
    let victim = Victim::new().await;
    let access = &victim.access;
    let mut halves = connections(access.authority(), 1_000).await;
    for stream in &mut halves {
        // The beginning of a ClientHello of 512 bytes.
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.expect("sent");
    }
    let mut late = access.api();
    wait_until(LIMIT, "who comes after a thousand is answered", async || {
        late.get("/api/v1/namespaces/default", QUICK).await.map(drop)
    })
    .await;
    for mut stream in halves {
        let end = tokio::time::timeout(LIMIT, stream.read(&mut [0])).await.expect("an end in time");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    victim.end().await;
}
