//! Processes that stand still.

use std::time::Duration;

use http::{Method, StatusCode};
use pal_tests::{Forming, Servers};
use serde_json::{Value, json};

use super::faults::Fault;
use super::loaded;
use crate::{LIMIT, pal};

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_stand_still_and_go_on_lose_nothing() {
    let (mut servers, load, mut seed) = loaded("pauses", 3, Forming::default()).await;
    for fault in [Fault::PauseLeader, Fault::PauseFollower, Fault::PauseLeader] {
        fault.inflict(&mut servers, &load, &mut seed).await;
    }
    load.check().await;
}

const PATH: &str = "/api/v1/namespaces/default/configmaps/register";

fn register(value: u64) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "register" }, "data": { "v": value.to_string() } })
}

/// A request that waits at the leader while it stands still is answered when it goes on, before it can have heard that
/// others lead: with the value that they wrote, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_through_its_overthrow_answers_no_read_from_before() {
    let servers = Servers::form(&pal(), 3, Forming::default()).await;
    let leader = servers.leader().await;
    let others: Vec<usize> = (0..3).filter(|place| *place != leader).collect();
    let path = "/api/v1/namespaces/default/configmaps";
    let made = servers.all()[leader].access().api().call(Method::POST, path, Some(&register(0)), LIMIT).await.unwrap();
    assert_eq!(made.status, StatusCode::CREATED, "{made}");

    // Its connection is there already: the request is read as soon as the process goes on.
    let mut reader = servers.all()[leader].access().api();
    assert_eq!(reader.get(PATH, LIMIT).await.unwrap()["data"]["v"], "0");
    servers.pause(leader).await;
    let second = servers.leader_among(&others).await;
    let written =
        servers.all()[second].access().api().call(Method::PUT, PATH, Some(&register(1)), LIMIT).await.unwrap();
    assert_eq!(written.status, StatusCode::OK, "{written}");
    let read = tokio::spawn(async move { reader.call(Method::GET, PATH, None, Duration::from_secs(30)).await });
    servers.resume(leader).await;
    match read.await.expect("it does not panic") {
        Ok(answer) if answer.status == StatusCode::OK => assert_eq!(answer.value["data"]["v"], "1", "a stale read"),
        Ok(answer) => assert!(answer.status.is_server_error(), "{answer}"),
        Err(error) => panic!("{error}"),
    }
}
