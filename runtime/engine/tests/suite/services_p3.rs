//! HTTP services of WASI 0.3.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use pal_engine::{InstanceSpec, Service};

use crate::harness::{LIMIT, fetch, get, idle, logged, program, read};
use crate::outbound::ByHost;
use crate::services::channel;

async fn service(spec: InstanceSpec) -> Service {
    program("tests/guests/service-p3").await.serve(spec).await.expect("the service starts")
}

#[tokio::test]
async fn hello_answers_with_the_pods_name_and_the_path() {
    let mut logged = logged();
    logged.spec.env = vec![("HOSTNAME".into(), "hello-p3-1".into())];
    let hello = program("examples/hello-p3/hello-p3").await;
    let service = hello.serve(logged.spec).await.unwrap();
    let response = service.handle(get("/a?b=c")).await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(read(response).await, (200, "Hello from hello-p3-1, you asked for /a?b=c (WASI 0.3)\n".into()));
    idle(&service).await;
}

#[tokio::test]
async fn many_requests_at_a_time_are_answered() {
    let service = service(logged().spec).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let service = service.clone();
        requests.spawn(async move { fetch(&service, "/ok").await.0 });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    idle(&service).await;
}

#[tokio::test]
async fn bodies_stream_through_in_both_directions_at_once() {
    let service = service(logged().spec).await;
    let (sender, body) = channel();
    let request = Request::post("/echo").body(body).unwrap();
    let mut response = service.handle(request).await.into_body();
    for piece in ["one", "two", "three"] {
        sender.send(Ok(piece.into())).await.unwrap();
        let frame = tokio::time::timeout(LIMIT, response.frame()).await.unwrap();
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), piece);
    }
    drop(sender);
    assert!(response.frame().await.is_none());
    drop(response);
    idle(&service).await;
}

#[tokio::test]
async fn each_fault_has_its_status_and_its_line_in_the_log() {
    for (path, status, line) in [
        ("/trap", 500, "GET /trap: wasm trap: wasm `unreachable`"),
        ("/error", 502, "GET /error: the guest failed it"),
        ("/sleep", 504, "GET /sleep: no response in time"),
        ("/loop", 504, "GET /loop: no response in time"),
    ] {
        let mut logged = logged();
        logged.spec.request_timeout = Duration::from_secs(1);
        let service = service(logged.spec).await;
        assert_eq!(fetch(&service, path).await.0, status, "{path}");
        logged.stderr.until_contains(line).await;
        idle(&service).await;
        assert_eq!(fetch(&service, "/ok").await, (200, "ok\n".into()));
    }
}

#[tokio::test]
async fn who_traps_after_the_head_breaks_the_body_off() {
    let service = service(logged().spec).await;
    let response = service.handle(get("/trap-after-head")).await;
    assert_eq!(response.status(), 200);
    let body = tokio::time::timeout(LIMIT, response.into_body().collect()).await;
    assert!(body.unwrap().is_err());
    idle(&service).await;
}

#[tokio::test]
async fn a_client_that_goes_takes_the_instance_with_it() {
    let service = service(logged().spec).await;
    let mut body = service.handle(get("/ticks")).await.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(service.in_flight(), 1);
    drop(body);
    idle(&service).await;
}

#[tokio::test]
async fn requests_and_errors_pass() {
    let mut logged = logged();
    logged.spec.outbound = Arc::new(ByHost);
    let service = service(logged.spec).await;
    let (status, body) = fetch(&service, "/call/echo/a?b=c").await;
    assert_eq!((status, body.as_str()), (200, "200 GET http://echo/a?b=c \"echo\""));
    // The guest passes the code on.
    let (status, _) = fetch(&service, "/call/refused/").await;
    assert_eq!(status, 502);
    logged.stderr.until_contains("ConnectionRefused").await;
    idle(&service).await;
}
