//! Nodes of a cluster of several servers: they know all of them, and go on with whichever lives.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use pal_tests::{Forming, Link, NoEvent, Process, Servers, loopback, wait_until};
use tempfile::TempDir;

use super::relayed;
use crate::{LIMIT, pal, repository};

const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// A node with its data.
struct Node {
    name: String,
    _process: Process,
    _dir: TempDir,
}

/// Joins a node by way of the server at `place`, and waits until it is ready.
async fn join(servers: &Servers, place: usize, name: &str) -> Node {
    let token = servers.pal_at(place, &["token", "create", "--role", "node", "--quiet"]).await.ok();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (url, ip, data) =
        (public_url(servers, place).await, loopback(), dir.path().to_str().expect("plain text").to_owned());
    let words =
        ["agent", "--join", &url, "--token", token.trim(), "--name", name, "--node-ip", &ip, "--data-dir", &data];
    let mut process = pal().start(&words);
    process.until("is running").await;
    let node = Node { name: name.to_owned(), _process: process, _dir: dir };
    until_ready(servers, place, &node, true).await;
    node
}

/// Where the cluster says that the server at `place` is: behind its relay, where it has one.
async fn public_url(servers: &Servers, place: usize) -> String {
    let members = servers.members(place).await.expect("the members");
    let name = servers.all()[place].name.as_str();
    let member = members.iter().find(|member| member["name"] == name).expect("the server is a member");
    format!("https://{}", member["address"].as_str().expect("its address"))
}

/// Whether the node is ready, as the server at `place` has it.
async fn is_ready(servers: &Servers, place: usize, node: &Node) -> Result<bool, String> {
    let path = format!("/api/v1/nodes/{}", node.name);
    let object = servers.all()[place].access().api().get(&path, REQUEST_LIMIT).await?;
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    Ok(conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"))
}

async fn until_ready(servers: &Servers, place: usize, node: &Node, expected: bool) {
    wait_until(LIMIT, &format!("{} is ready: {expected}", node.name), async || {
        match is_ready(servers, place, node).await {
            Ok(ready) if ready == expected => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Waits until the log of the ticker comes by way of the server at `place`.
async fn until_logs(servers: &Servers, place: usize) {
    wait_until(LIMIT, &format!("a log through {}", servers.all()[place].name), async || {
        let log = servers.pal_at(place, &["logs", "deploy/ticker"]).await;
        if log.code == Some(0) && !log.stdout.is_empty() { Ok(()) } else { Err(format!("{log:?}")) }
    })
    .await;
}

/// Waits until so many pods are ready on the node.
async fn until_pods(servers: &Servers, place: usize, node: &Node, count: usize) {
    wait_until(LIMIT, &format!("{count} pods are ready on {}", node.name), async || {
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", node.name);
        let pods = servers.all()[place].access().api().get(&path, REQUEST_LIMIT).await?;
        let ready = |pod: &&serde_json::Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        let found = pods["items"].as_array().map_or(0, |items| items.iter().filter(ready).count());
        if found == count { Ok(()) } else { Err(format!("{found}: {}", pods["items"])) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_while_servers_die_come_and_go() {
    let mut servers = Servers::form(&pal(), 3, Forming::default()).await;
    let node = join(&servers, 0, "n1").await;
    let ticker = repository("examples/ticker/ticker.yaml");
    servers.pal_at(1, &["apply", "-f", &ticker, "--wait"]).await.ok();
    for place in 0..3 {
        until_logs(&servers, place).await;
    }

    let leader = servers.leader().await;
    let left: Vec<usize> = (0..3).filter(|place| *place != leader).collect();
    servers.kill(leader).await;
    let killed = Instant::now();
    let next = servers.leader_among(&left).await;
    servers.pal_at(next, &["delete", "pods", "--all", "--no-wait"]).await.ok();
    until_pods(&servers, next, &node, 1).await;
    eprintln!("a pod was ended and another begun {:?} after the leader's death", killed.elapsed());
    for place in left {
        until_logs(&servers, place).await;
        assert_eq!(is_ready(&servers, place, &node).await, Ok(true), "the node was never lost");
    }

    servers.start(leader);
    servers.ready(leader).await;
    let new = servers.join().await;
    servers.until_voters(4).await;
    until_logs(&servers, leader).await;
    until_logs(&servers, new).await;
    // The server that the node was told of is taken out.
    servers.remove(0).await;
    servers.until_voters(3).await;
    for place in 0..3 {
        until_logs(&servers, place).await;
        assert_eq!(is_ready(&servers, place, &node).await, Ok(true), "the node was never lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_to_a_server_that_is_gone_runs_on_a_node_that_comes_later() {
    let mut servers = Servers::form(&pal(), 3, Forming::default()).await;
    let ticker = repository("examples/ticker/ticker.yaml");
    let pushed = (servers.leader().await + 1) % 3;
    servers.pal_at(pushed, &["apply", "-f", &ticker]).await.ok();
    servers.kill(pushed).await;
    let left = (pushed + 1) % 3;
    let node = join(&servers, left, "n1").await;
    until_pods(&servers, left, &node, 1).await;
    until_logs(&servers, left).await;
}

/// What nodes dial from: nothing binds them to an address of their own.
const NODES: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// More than a node may be silent for.
const LONG: &str = "15";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reaches_any_server_is_not_lost() {
    let servers = Servers::form(&pal(), 3, relayed()).await;
    let leader = servers.leader().await;
    let node = join(&servers, leader, "n1").await;
    let ticker = repository("examples/ticker/ticker.yaml");
    servers.pal_at(leader, &["apply", "-f", &ticker, "--wait"]).await.ok();
    for place in 0..3 {
        until_logs(&servers, place).await;
    }
    servers.network().set(NODES, servers.all()[leader].ip, Link::Silent);
    // All that happens to the node within a time in which it would be lost if nobody heard it.
    let path = format!("/api/v1/nodes?watch=1&timeoutSeconds={LONG}&fieldSelector=metadata.name%3D{}", node.name);
    let stream = servers.all()[leader].access().watch(&path, REQUEST_LIMIT).await.expect("an answer");
    let mut stream = stream.expect("a watch");
    loop {
        match stream.next(LIMIT).await {
            Ok(event) => assert!(!event.to_string().contains("NodeStatusUnknown"), "{event}"),
            Err(NoEvent::Ended(_)) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(servers.leader().await, leader, "the same server led all the time");
    // It has no tunnel to the node any more.
    until_logs(&servers, leader).await;

    for server in servers.all() {
        servers.network().set(NODES, server.ip, Link::Refused);
    }
    until_ready(&servers, leader, &node, false).await;
    servers.network().heal();
    until_ready(&servers, leader, &node, true).await;
    for place in 0..3 {
        until_logs(&servers, place).await;
    }
}
