//! Requests through a NodePort to `hello`, beside `wasmtime serve` with the same component.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use pal_tests::{Pal, get, repository, wait_until};
use tokio::net::TcpStream;

use crate::Row;
use crate::load::{Measured, millis, run};

const CONNECTIONS: usize = 32;
const TIME: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let hello = repository("examples/hello/hello.yaml");
    let up = pal.up(&["-f", hello.to_str().expect("a path of plain text")]).await;
    let ours_at = format!("{}:30080", up.node_ip);
    let Some(wasmtime) = wasmtime() else {
        let ours = measure(&ours_at).await;
        return vec![Row::new("requests/s through a NodePort", show(&ours), "no wasmtime here", "")];
    };
    let peer_at = "127.0.0.1:0".to_owned();
    let port = std::net::TcpListener::bind(&peer_at).and_then(|l| l.local_addr()).expect("a free port").port();
    let peer_at = format!("127.0.0.1:{port}");
    let mut peer = tokio::process::Command::new(wasmtime)
        .args(["serve", "-Scli", "--addr", &peer_at])
        .arg(repository("examples/hello/hello.wasm"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("wasmtime starts");
    wait_until(Duration::from_secs(60), "wasmtime serves", async || get(&format!("http://{peer_at}/")).await).await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        // Taken in turns, so that what else the machine does falls on both.
        rounds.push((measure(&ours_at).await, measure(&peer_at).await));
    }
    peer.kill().await.expect("wasmtime is ours");
    up.stop().await;
    rounds.sort_by(|a, b| (a.0.per_second / a.1.per_second).total_cmp(&(b.0.per_second / b.1.per_second)));
    let (ours, theirs) = &rounds[ROUNDS / 2];
    let ratio = format!("{:.2} (must be 0.9)", ours.per_second / theirs.per_second);
    vec![Row::new(
        "requests/s through a NodePort, 32 connections",
        show(ours),
        format!("{} wasmtime serve", show(theirs)),
        ratio,
    )]
}

fn show(measured: &Measured) -> String {
    let failures = if measured.failures > 0 { format!(", {} FAILED", measured.failures) } else { String::new() };
    format!("{:.0}/s, p50 {}, p99 {}{failures}", measured.per_second, millis(measured.p50), millis(measured.p99))
}

async fn measure(address: &str) -> Measured {
    let address = address.to_owned();
    run(CONNECTIONS, TIME, async |_| {
        let stream = TcpStream::connect(&address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (sender, connection) =
            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let sender = std::sync::Arc::new(tokio::sync::Mutex::new(sender));
        let host = address.clone();
        move |_| {
            let (sender, host) = (sender.clone(), host.clone());
            async move {
                let request = Request::get("/").header("host", host).body(Empty::new()).expect("a request");
                let mut sender = sender.lock().await;
                let Ok(response) = sender.send_request(request).await else { return false };
                let good = response.status() == StatusCode::OK;
                response.into_body().collect().await.is_ok() && good
            }
        }
    })
    .await
}

fn wasmtime() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("PAL_BENCH_WASMTIME").map(Into::into);
    named.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join("wasmtime")).find(|file| file.is_file())
    })
}
