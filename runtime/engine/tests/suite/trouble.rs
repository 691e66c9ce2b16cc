//! Services that misbehave: what the client gets, what the log says, and that the others go on.

use std::time::Duration;

use http_body_util::BodyExt as _;
use pal_engine::StartError;

use crate::harness::{LIMIT, fetch, get, idle, logged, program, service};

#[tokio::test]
async fn each_fault_has_its_status_and_its_line_in_the_log() {
    for (path, status, line) in [
        ("/trap", 500, "GET /trap: wasm trap: wasm `unreachable`"),
        // Rust's std for WASI 0.2 knows only success and failure.
        ("/exit", 500, "GET /exit: the guest called exit(1)"),
        ("/nothing", 502, "GET /nothing: the guest returned without a response"),
        ("/error", 502, "GET /error: the guest failed it"),
    ] {
        let logged = logged();
        let service = service(logged.spec).await;
        assert_eq!(fetch(&service, path).await.0, status, "{path}");
        logged.stderr.until_contains(line).await;
        // The next request finds a fresh instance.
        assert_eq!(fetch(&service, "/ok").await.0, 200);
        idle(&service).await;
    }
}

#[tokio::test]
async fn who_is_too_slow_is_ended_with_504() {
    for path in ["/loop", "/sleep/3600000", "/print"] {
        let mut logged = logged();
        logged.spec.request_timeout = Duration::from_millis(300);
        let service = service(logged.spec).await;
        assert_eq!(fetch(&service, path).await.0, 504, "{path}");
        logged.stderr.until_contains(&format!("GET {path}: no response in time")).await;
        idle(&service).await;
    }
}

#[tokio::test]
async fn who_hangs_or_traps_after_the_head_breaks_the_body_off() {
    for path in ["/hang-after-head", "/trap-after-head"] {
        let mut logged = logged();
        logged.spec.request_timeout = Duration::from_millis(500);
        let service = service(logged.spec).await;
        let response = service.handle(get(path)).await;
        assert_eq!(response.status(), 200);
        let body = tokio::time::timeout(LIMIT, response.into_body().collect()).await;
        assert!(body.unwrap().is_err(), "{path}");
        idle(&service).await;
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_does_not_hold_the_instance() {
    let mut logged = logged();
    logged.spec.request_timeout = Duration::from_millis(500);
    let service = service(logged.spec).await;
    let mut body = service.handle(get("/flood/65536")).await.into_body();
    body.frame().await.unwrap().unwrap();
    // The body is kept and not polled.
    idle(&service).await;
    logged.stderr.until_contains("GET /flood/65536: nothing of the response was taken in time").await;
    // Who reads on after all learns that it is not whole.
    assert!(tokio::time::timeout(LIMIT, body.collect()).await.unwrap().is_err());
}

#[tokio::test]
async fn memory_is_shared_by_the_live_instances_and_comes_back() {
    let mut logged = logged();
    logged.spec.memory_limit = Some(24 << 20);
    let service = service(logged.spec).await;
    // One alone is too much.
    assert_eq!(fetch(&service, "/alloc").await.0, 503);
    logged.stderr.until_contains("GET /alloc: out of memory").await;
    idle(&service).await;

    // What one holds the other cannot have, until it goes.
    let holding = tokio::spawn({
        let service = service.clone();
        async move { service.handle(get("/hold/20")).await.status() }
    });
    logged.stdout.until_contains("holding").await;
    assert_eq!(fetch(&service, "/hold/20").await.0, 503);
    holding.abort();
    idle(&service).await;
    assert_eq!(fetch(&service, "/ok").await.0, 200);
}

#[tokio::test]
async fn a_service_without_room_for_an_instance_does_not_start() {
    let mut logged = logged();
    logged.spec.memory_limit = Some(64 << 10);
    let error = program("tests/guests/service").await.serve(logged.spec).await.unwrap_err();
    assert!(matches!(error, StartError::OutOfMemory(_)), "{error}");
}

#[tokio::test]
async fn a_trap_in_the_trial_is_told() {
    let error = program("tests/guests/start-trap").await.serve(Default::default()).await.unwrap_err();
    assert_eq!(error, StartError::Trap("wasm trap: wasm `unreachable` instruction executed".into()));
}

#[tokio::test]
async fn more_requests_than_allowed_wait_and_are_then_refused() {
    let mut logged = logged();
    logged.spec.max_requests = Some(1);
    let service = service(logged.spec).await;
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.handle(get("/sleep/3600000")).await }
    });
    while service.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let refused = service.handle(get("/ok")).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    first.abort();
    assert_eq!(fetch(&service, "/ok").await.0, 200);
}

#[tokio::test]
async fn a_stopped_service_ends_its_requests_and_takes_no_more() {
    let service = service(logged().spec).await;
    let pending = tokio::spawn({
        let service = service.clone();
        async move { service.handle(get("/loop")).await.status() }
    });
    while service.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    service.stop();
    let status = tokio::time::timeout(LIMIT, pending).await.unwrap().unwrap();
    assert_eq!(status, 503);
    assert_eq!(fetch(&service, "/ok").await.0, 503);
}

#[tokio::test]
async fn a_service_answers_while_another_loops() {
    let looping = service(logged().spec).await;
    let mut stuck = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let looping = looping.clone();
        stuck.spawn(async move { looping.handle(get("/loop")).await.status() });
    }
    while looping.in_flight() < 4 {
        tokio::task::yield_now().await;
    }
    let other = service(logged().spec).await;
    for _ in 0..5 {
        assert_eq!(fetch(&other, "/ok").await.0, 200);
    }
    stuck.shutdown().await;
    idle(&looping).await;
}
