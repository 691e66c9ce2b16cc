//! What all workloads of a node may have together, and what one may have that names no limit.

use std::path::Path;
use std::sync::Arc;

use pal_engine::{Compile, Engine, EngineConfig, Exit, InstanceSpec, Program, StartError};

use crate::harness::{LIMIT, digest, fetch, get, idle, logged, path};

/// An engine of a small node.
fn engine(change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let mut config = EngineConfig::new(cache, Compile::InProcess);
    config.max_instances = 8;
    change(&mut config);
    Engine::new(config).unwrap()
}

async fn program(engine: &Engine, name: &str) -> Arc<Program> {
    let path = path(name);
    let bytes = std::fs::read(&path).unwrap();
    engine.prepare(&path, &digest(&bytes)).await.unwrap()
}

#[tokio::test]
async fn a_request_that_allocates_without_end_gets_503_and_the_others_go_on() {
    let engine = engine(|c| c.unlimited_instance_bytes = 32 << 20);
    let logged = logged();
    let service = program(&engine, "tests/guests/service").await.serve(logged.spec).await.unwrap();
    assert_eq!(fetch(&service, "/alloc").await.0, 503);
    logged.stderr.until_contains("GET /alloc: out of memory").await;
    assert_eq!(fetch(&service, "/ok").await.0, 200);
    idle(&service).await;
}

#[tokio::test]
async fn workloads_without_limits_share_what_the_node_has() {
    let engine = engine(|c| c.memory_budget_bytes = 32 << 20);
    let program = program(&engine, "tests/guests/service").await;
    let (one, other) = (logged(), logged());
    let first = program.serve(one.spec).await.unwrap();
    let second = program.serve(other.spec).await.unwrap();
    let holding = tokio::spawn({
        let first = first.clone();
        async move { first.handle(get("/hold/20")).await.status() }
    });
    one.stdout.until_contains("holding").await;
    let (status, body) = fetch(&second, "/hold/20").await;
    assert_eq!((status, body.trim()), (503, "the node's memory for components is used up"));
    other.stderr.until_contains("out of memory: the node's memory for components is used up").await;
    holding.abort();
    idle(&first).await;
    assert_eq!(fetch(&second, "/ok").await.0, 200);
}

#[tokio::test]
async fn a_service_that_the_node_has_no_memory_for_does_not_start_and_is_not_to_blame() {
    let engine = engine(|c| c.memory_budget_bytes = 64 << 10);
    let error = program(&engine, "tests/guests/service").await.serve(logged().spec).await.unwrap_err();
    assert_eq!(error, StartError::NoRoom("the node's memory for components is used up".into()));
}

#[tokio::test]
async fn a_command_beyond_the_nodes_memory_is_killed() {
    let engine = engine(|c| c.memory_budget_bytes = 32 << 20);
    let spec = InstanceSpec { args: vec!["command".into(), "alloc".into()], ..logged().spec };
    let running = program(&engine, "tests/guests/command").await.run(spec).await.unwrap();
    assert_eq!(tokio::time::timeout(LIMIT, running.wait()).await.unwrap(), Exit::OutOfMemory);
}
