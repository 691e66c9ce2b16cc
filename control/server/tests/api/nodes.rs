//! Nodes: what they may touch, their tunnels, and logs through them.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pal_server::tokens::{self, Role};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, PATIENCE, request};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A node's end of a tunnel: it answers every request with its own words and the request's path.
async fn tunnel(cluster: &Cluster, node: &str, words: &'static str) -> JoinHandle<()> {
    let identity = cluster.node_identity(node);
    let io = TokioIo::new(cluster.connect(&identity, b"pal-node/1").await);
    tokio::spawn(async move {
        let service = service_fn(move |request: Request<hyper::body::Incoming>| async move {
            let text = format!("{words} {}\n", request.uri().path_and_query().map_or("", |path| path.as_str()));
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        });
        // The end is the test's doing.
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    })
}

async fn until(cluster: &Cluster, node: &str, connected: bool) {
    let tunnels = cluster.server.liveness();
    let mut changed = tunnels.changed();
    let waiting = async {
        while tunnels.connected(node) != connected {
            changed.changed().await.expect("the server lives");
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the tunnel changes");
}

fn pod(name: &str, node: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": node,
           "containers": [{"name": "c", "image": "x", "envFrom": [{"secretRef": {"name": "mine"}}]}]}})
}

#[tokio::test]
async fn a_node_reaches_its_own_pods_and_what_they_name() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for (name, node) in [("own", "n1"), ("other", "n2")] {
        admin.post(PODS, &pod(name, node)).await.ok();
    }
    for name in ["mine", "yours"] {
        admin.post("/api/v1/namespaces/default/secrets", &json!({"metadata": {"name": name}})).await.ok();
    }
    let node = cluster.client(Some(&cluster.node_identity("n1")));
    let listed = node.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await.ok();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    node.get("/api/v1/pods").await.refused(403, "cannot list resource \"pods\"");
    assert_eq!(node.get(&format!("{PODS}/own")).await.code, 200);
    node.get(&format!("{PODS}/other")).await.refused(403, "no relationship found between node 'n1' and this object");
    node.get(&format!("{PODS}/none")).await.refused(404, "pods \"none\" not found");
    assert_eq!(node.get("/api/v1/namespaces/default/secrets/mine").await.code, 200);
    node.get("/api/v1/namespaces/default/secrets/yours").await.refused(403, "no relationship found");
    node.get("/api/v1/namespaces/default/secrets").await.refused(403, "cannot list resource \"secrets\"");
    assert_eq!(node.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.code, 201);
    let others = node.post("/api/v1/nodes", &json!({"metadata": {"name": "n2"}})).await;
    others.refused(403, "node \"n1\" is not allowed to modify node \"n2\"");
    let merge = node.clone().with("content-type", "application/merge-patch+json");
    let label = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}).to_string();
    let words = "is not allowed to modify labels: node-role.kubernetes.io/control-plane";
    merge.send(Method::PATCH, "/api/v1/nodes/n1", label.clone()).await.refused(403, words);
    merge.send(Method::PATCH, "/api/v1/nodes/n1/status", label).await.refused(403, words);
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}).to_string();
    let words = "node \"n1\" is not allowed to modify taints";
    merge.send(Method::PATCH, "/api/v1/nodes/n1", taint).await.refused(403, words);
    let zone = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "z", "tier": "x"}}}).to_string();
    assert_eq!(merge.send(Method::PATCH, "/api/v1/nodes/n1", zone).await.code, 200);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    assert_eq!(node.post(leases, &json!({"metadata": {"name": "n1"}})).await.code, 201);
    let others = node.post(leases, &json!({"metadata": {"name": "n2"}})).await;
    others.refused(403, "can only access node lease with the same name as the requesting node");
    let status = json!({"status": {"phase": "Running"}}).to_string();
    let merge = node.clone().with("content-type", "application/merge-patch+json");
    assert_eq!(merge.send(Method::PATCH, &format!("{PODS}/own/status"), status.clone()).await.code, 200);
    merge.send(Method::PATCH, &format!("{PODS}/other/status"), status).await.refused(403, "no relationship");
    merge.send(Method::PATCH, &format!("{PODS}/own"), "{}").await.refused(403, "cannot patch");
    cluster.stop().await;
}

#[tokio::test]
async fn logs_come_from_the_pods_node() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(PODS, &pod("p", "n1")).await.ok();
    let waiting = "container \"c\" in pod \"p\" is waiting to start: ContainerCreating";
    admin.get(&format!("{PODS}/p/log")).await.refused(400, waiting);
    let running = json!({"status": {"containerStatuses": [{"name": "c", "image": "x", "imageID": "", "ready": true,
        "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}});
    let merge = admin.clone().with("content-type", "application/merge-patch+json");
    merge.send(Method::PATCH, &format!("{PODS}/p/status"), running.to_string()).await.ok();
    admin.get(&format!("{PODS}/p/log")).await.refused(503, "node n1 is not connected");

    let tunnel = tunnel(&cluster, "n1", "hello").await;
    until(&cluster, "n1", true).await;
    let log = admin.get(&format!("{PODS}/p/log?container=c&tailLines=3")).await;
    assert_eq!(log.headers["content-type"], "text/plain");
    assert_eq!(log.text(), "hello /containerLogs/default/p/c?tailLines=3\n");
    admin.get(&format!("{PODS}/p/log?container=x")).await.refused(400, "container x is not valid for pod p");
    tunnel.abort();
    until(&cluster, "n1", false).await;
    assert!(cluster.server.liveness().last_seen("n1").is_some());
    assert!(cluster.server.liveness().last_seen("n2").is_none());

    // Who asks while its connection is away for a moment is answered when it is back.
    let path = format!("{PODS}/p/log?container=c&tailLines=3");
    let asked = admin.get(&path);
    let (log, again) = tokio::join!(asked, self::tunnel(&cluster, "n1", "again"));
    assert_eq!(log.text(), "again /containerLogs/default/p/c?tailLines=3\n");
    again.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn another_server_asks_for_what_a_node_says_and_nobody_else_does() {
    let cluster = Cluster::start().await;
    let id = cluster.registry.store().identity().server;
    let peer = cluster.server.ca().peer_identity(id, &[], std::time::SystemTime::now()).expect("a certificate");
    let server = cluster.client(Some(&peer));
    let path = "/cluster/nodes/n1/containerLogs/default/p/c?tailLines=3";
    server.get(path).await.refused(421, "node n1 is not connected");
    let live = tunnel(&cluster, "n1", "hello").await;
    until(&cluster, "n1", true).await;
    assert_eq!(server.get(path).await.text(), "hello /containerLogs/default/p/c?tailLines=3\n");
    let exec = server.post("/cluster/nodes/n1/exec/default/p/c", &json!({})).await;
    assert_eq!(exec.text(), "hello /exec/default/p/c\n");
    cluster.client(Some(&cluster.node_identity("n1"))).post(path, &json!({})).await.refused(403, "cannot post path");
    cluster.client(Some(&cluster.node_identity("n1"))).get(path).await.refused(403, "cannot get path");
    live.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_that_reaches_another_server_alone_is_seen_by_its_lease() {
    let cluster = Cluster::start().await;
    let node = cluster.client(Some(&cluster.node_identity("n1")));
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let tunnels = cluster.server.liveness();
    assert!(tunnels.last_seen("n1").is_none());
    let merge = node.clone().with("content-type", "application/merge-patch+json");
    assert_eq!(node.post(leases, &json!({"metadata": {"name": "n1"}})).await.code, 201);
    let mut before = None;
    for second in 1..3 {
        // As a node does: again and again.
        let seen = async {
            for tenth in 0.. {
                let time = format!("2026-01-01T00:00:0{second}.{tenth:06}Z");
                let renewal = json!({"spec": {"renewTime": time}}).to_string();
                merge.send(Method::PATCH, &format!("{leases}/n1"), renewal).await.ok();
                if tunnels.last_seen("n1") > before {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("a sign of life");
        before = tunnels.last_seen("n1");
    }
    assert!(!tunnels.connected("n1"));
    cluster.stop().await;
}

#[tokio::test]
async fn a_second_connection_of_a_node_replaces_the_first() {
    let cluster = Cluster::start().await;
    let first = tunnel(&cluster, "n1", "first").await;
    until(&cluster, "n1", true).await;
    let second = tunnel(&cluster, "n1", "second").await;
    tokio::time::timeout(PATIENCE, first).await.expect("the first ends").expect("without a panic");
    until(&cluster, "n1", true).await;
    let request = Request::get("/healthz").body(http_body_util::combinators::UnsyncBoxBody::default());
    let tunnels = cluster.server.liveness();
    let answer = tunnels.request("n1", request.expect("a request")).await.expect("an answer");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("a body").to_bytes();
    assert_eq!(body, "second /healthz\n");
    second.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn a_live_nodes_name_is_not_given_to_a_second_joiner() {
    use base64::Engine as _;
    let cluster = Cluster::start().await;
    let fingerprint = cluster.server.ca().fingerprint().to_owned();
    let hour = std::time::Duration::from_secs(3600);
    let text = tokens::create(&cluster.registry, Role::Node, hour, "", &fingerprint).await.expect("a token");
    let joiner = cluster.anybody().with("authorization", &format!("Bearer {text}"));
    let key = rcgen::KeyPair::generate().expect("a key");
    let pem = request(&key, "system:node:n1", "system:nodes");
    let body = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "request": base64::engine::general_purpose::STANDARD.encode(&pem),
            "signerName": pal_server::pki::NODE_CLIENT_SIGNER, "usages": ["client auth"]}})
    };
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let live = tunnel(&cluster, "n1", "live").await;
    until(&cluster, "n1", true).await;
    joiner.post(path, &body("a")).await.refused(403, "a node named \"n1\" is connected");
    let itself = cluster.client(Some(&cluster.node_identity("n1")));
    assert_eq!(itself.post(path, &body("renewal")).await.code, 201);
    let another = cluster.client(Some(&cluster.node_identity("n2")));
    another.post(path, &body("theft")).await.refused(403, "certificates of its own name");
    live.abort();
    until(&cluster, "n1", false).await;
    assert_eq!(joiner.post(path, &body("b")).await.code, 201);
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_that_falls_silent_is_gone_within_seconds() {
    let cluster = Cluster::start().await;
    // Never read from, so that no ping is answered, and never closed.
    let silent = cluster.connect(&cluster.node_identity("n1"), b"pal-node/1").await;
    until(&cluster, "n1", true).await;
    let began = std::time::Instant::now();
    until(&cluster, "n1", false).await;
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    drop(silent);
    let user = cluster.connect(&cluster.server.admin().expect("an identity"), b"pal-node/1").await;
    drop(user);
    assert!(!cluster.server.liveness().connected("kubernetes-admin"), "users have no tunnels");
    cluster.stop().await;
}
