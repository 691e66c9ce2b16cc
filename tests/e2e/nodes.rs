//! A server and nodes apart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::StatusCode;
use pal_tests::{get, loopback, wait_until};
use serde_json::Value;

use crate::{LIMIT, pal, repository};

fn pods_by_node(pods: &Value) -> Vec<(String, bool)> {
    let items = pods["items"].as_array().cloned().unwrap_or_default();
    let live = items.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    live.map(|pod| {
        let ready = pod["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
        (pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(), ready)
    })
    .collect()
}

#[tokio::test]
async fn pods_spread_services_cross_nodes_logs_come_from_any_and_a_dead_nodes_pods_come_back_elsewhere() {
    let server = pal().server(&[]).await;
    let (ip_a, ip_b) = (loopback(), loopback());
    let (_a, _dir_a) = server.join("node-a", &ip_a).await;
    let (mut b, _dir_b) = server.join("node-b", &ip_b).await;
    wait_until(LIMIT, "two nodes are ready", async || {
        let table = server.pal("get nodes --no-headers").await.stdout;
        if table.matches(" Ready ").count() == 2 { Ok(()) } else { Err(table) }
    })
    .await;

    server.pal(&format!("apply -f {} --wait", repository("examples/guestbook/guestbook.yaml"))).await.ok();
    let pods = server.object("/api/v1/namespaces/default/pods?labelSelector=tier%3Dfrontend").await.unwrap();
    let nodes: BTreeSet<String> = pods_by_node(&pods).into_iter().map(|(node, _)| node).collect();
    assert_eq!(nodes, BTreeSet::from(["node-a".to_owned(), "node-b".to_owned()]), "pods spread over the nodes");

    // The back end runs on one node: from a NodePort on each, front ends on both reach it.
    for ip in [&ip_a, &ip_b] {
        wait_until(LIMIT, "the page on every node", async || {
            let mut pages = Vec::new();
            for _ in 0..6 {
                pages.push(get(&format!("http://{ip}:30081/")).await?.status);
            }
            if pages.iter().all(|status| *status == StatusCode::OK) { Ok(()) } else { Err(format!("{pages:?}")) }
        })
        .await;
    }

    server.pal(&format!("apply -f {} --wait", repository("examples/ticker/ticker.yaml"))).await.ok();
    server.pal("get deploy ticker -o name").await.ok();
    wait_until(LIMIT, "a log from whichever node", async || {
        let log = server.pal("logs deploy/ticker").await;
        if log.code == Some(0) && !log.stdout.is_empty() { Ok(()) } else { Err(format!("{log:?}")) }
    })
    .await;

    let killed = Instant::now();
    b.kill().await;
    wait_until(LIMIT, "all pods are ready on the node that is left", async || {
        let pods = server.object("/api/v1/namespaces/default/pods").await?;
        let all = pods_by_node(&pods);
        if all.len() == 5 && all.iter().all(|(node, ready)| node == "node-a" && *ready) {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await;
    eprintln!("ready elsewhere after {:?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(40), "{:?}", killed.elapsed());
    let table = server.pal("get nodes --no-headers").await.stdout;
    assert!(table.contains("NotReady"), "{table}");
}

#[tokio::test]
async fn wrong_expired_foreign_and_missing_tokens_are_told_apart() {
    let server = pal().server(&[]).await;
    let other = pal().server(&[]).await;
    let line = server.pal("token create --role node").await.ok();
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let (url, token) = (words[2], words[4]);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let join = async |token: &str| {
        pal()
            .run(&[
                "agent",
                "--join",
                url,
                "--token",
                token,
                "--name",
                "n",
                "--node-ip",
                "127.0.0.1",
                "--data-dir",
                data,
            ])
            .await
    };

    let (head, tail) = token.split_at(token.len() - 70);
    let wrong = format!("{}xxxxx{}", &head[..head.len() - 5], tail);
    let refused = join(&wrong).await.refused();
    assert!(refused.contains("token"), "{refused}");
    let foreign = other.pal("token create --quiet").await.ok();
    let refused = join(foreign.trim()).await.refused();
    assert!(refused.contains("another cluster"), "{refused}");
    let refused = join("nonsense").await.refused();
    assert!(refused.contains("malformed"), "{refused}");
    let expired = server.pal("token create --quiet --ttl 0s").await.ok();
    let refused = join(expired.trim()).await.refused();
    assert!(refused.contains("expired"), "{refused}");
    let refused = pal().run(&["agent", "--join", url, "--data-dir", data]).await.refused();
    assert!(refused.contains("pal token create"), "{refused}");
}

#[tokio::test]
async fn a_node_renews_its_certificates_and_works_on_after_the_first_ones_are_over() {
    let server = pal().server(&["--cluster-signing-duration", "30s"]).await;
    let ip = loopback();
    let (mut agent, dir) = server.join("renewing", &ip).await;
    let joined = Instant::now();
    let identity = || std::fs::read_to_string(dir.path().join("pki/identity.json")).unwrap_or_default();
    let first = identity();
    wait_until(LIMIT, "other certificates", async || if identity() == first { Err("the first ones") } else { Ok(()) })
        .await;
    wait_until(LIMIT, "the first certificates are over", async || {
        let left = Duration::from_secs(31).saturating_sub(joined.elapsed());
        if left.is_zero() { Ok(()) } else { Err(format!("{left:?} left")) }
    })
    .await;
    // A new process has no connection from before.
    assert!(agent.interrupt().await, "{}", agent.output());
    let data = dir.path().to_str().unwrap();
    let mut agent = pal().start(&["agent", "--data-dir", data]);
    agent.until("is running").await;
    server.pal(&format!("apply -f {} --wait", repository("examples/hello/hello.yaml"))).await.ok();
    assert_eq!(get(&format!("http://{ip}:30080")).await.unwrap().status, StatusCode::OK);
}
