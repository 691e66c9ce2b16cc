//! What of a pod kubectl brings to its user: forwarded ports, proxies, and programs in it.

use http::StatusCode;
use pal_tests::{Cluster, Kubectl, get, wait_until};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::{LIMIT, pal, repository};

/// Chooses SPDY, as kubectl did before 1.31.
const SPDY: &[(&str, &str)] =
    &[("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false"), ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")];

/// A cluster that serves the example as `web`.
async fn serving() -> Option<(Cluster, Kubectl)> {
    Kubectl::find("nowhere".into())?;
    let cluster = pal().up(&[]).await;
    cluster.pal(&format!("run web --image {}", repository("examples/hello/hello.wasm"))).await.ok();
    let kubectl = cluster.kubectl()?;
    kubectl.ok("rollout status deploy/web --timeout=90s").await;
    Some((cluster, kubectl))
}

/// A port-forward that goes on, and the URL at which it listens. kubectl ends when nobody takes what it says.
async fn forward(
    kubectl: &Kubectl,
    line: &str,
    environment: &[(&str, &str)],
) -> (Child, Lines<BufReader<ChildStdout>>, String) {
    let mut command = kubectl.command(line);
    command.envs(environment.iter().copied());
    let mut child = command.spawn().expect("kubectl starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("a line in time").expect("text");
    let line = line.expect("it listens");
    let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect("an address");
    let url = format!("http://{address}");
    (child, lines, url)
}

#[tokio::test]
async fn ports_are_forwarded_over_websocket_and_over_spdy() {
    let Some((cluster, kubectl)) = serving().await else { return };
    for environment in [SPDY, &[]] {
        let (mut child, _lines, url) = forward(&kubectl, "port-forward deploy/web :8080", environment).await;
        for path in ["one", "two"] {
            let answer = get(&format!("{url}/{path}")).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            assert!(answer.body.contains("Hello from web-"), "{}", answer.body);
        }
        child.kill().await.expect("kubectl is ours");
    }
    // Nothing listens there.
    let (child, _lines, url) = forward(&kubectl, "port-forward deploy/web :9", &[]).await;
    get(&url).await.expect_err("nobody answers");
    let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("it ends").expect("kubectl ran");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("error forwarding port 9 to pod") && said.contains("connection refused"), "{said}");
    cluster.stop().await;
}

#[tokio::test]
async fn services_pods_and_nodes_are_reached_through_the_api() {
    let Some((cluster, kubectl)) = serving().await else { return };
    let port = kubectl.ok("get svc web -o jsonpath={.spec.ports[0].port}").await;
    let service = format!("get --raw /api/v1/namespaces/default/services/web:{port}/proxy/path");
    wait_until(LIMIT, "an endpoint", async || {
        let run = kubectl.run(&service).await;
        if run.code == Some(0) && run.stdout.contains("Hello from web-") { Ok(()) } else { Err(format!("{run:?}")) }
    })
    .await;
    let pod = kubectl.ok("get pods -l app=web -o name").await.trim().replace("pod/", "");
    let answer = kubectl.ok(&format!("get --raw /api/v1/namespaces/default/pods/{pod}/proxy/")).await;
    assert!(answer.contains("Hello from web-"), "{answer}");
    let refused = kubectl.run(&format!("get --raw /api/v1/namespaces/default/pods/{pod}:9/proxy/")).await.refused();
    assert!(refused.contains("connect: connection refused"), "{refused}");
    let node = kubectl.ok("get nodes -o name").await.trim().replace("node/", "");
    assert_eq!(kubectl.ok(&format!("get --raw /api/v1/nodes/{node}/proxy/healthz")).await, "ok");
    let known = kubectl.ok(&format!("get --raw /api/v1/nodes/{node}/proxy/pods")).await;
    let known: serde_json::Value = serde_json::from_str(&known).unwrap();
    let named = known["items"].as_array().unwrap().iter().any(|known| known["metadata"]["name"] == pod.as_str());
    assert!(named, "{known}");
    cluster.stop().await;
}
