//! Objects created over TLS, by 1, 16 and 64 clients, each on its own connection. The pods name a scheduler nobody runs.

use std::sync::Arc;
use std::time::Duration;

use pal_tests::{Cluster, Pal};
use tokio::sync::Mutex;

use crate::Row;
use crate::connection::Entrance;
use crate::load::{Measured, millis, run};
use crate::resources::cpu;

const TIME: Duration = Duration::from_secs(5);
/// Kubernetes 1.36.2 on two cores: clients, pod creates per second, p99 in milliseconds.
const KUBERNETES: [(usize, f64, f64); 3] = [(1, 215.0, 8.4), (16, 597.0, 77.0), (64, 789.0, 217.0)];
/// What its four processes use of the processors for a pod, in milliseconds.
const KUBERNETES_CPU: f64 = 2.2;
/// ConfigMaps per second, with 16 clients.
const KUBERNETES_CONFIG_MAPS: f64 = 533.0;

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let server = pal.server(&[]).await;
    let mut rows = Vec::new();
    for (clients, peer, peer_p99) in KUBERNETES {
        let (ours, each) = creates(&server, clients, "pods", pod).await;
        rows.push(row("pod", clients, &ours, (peer, format!("{peer:.0}/s, p99 {peer_p99:.2} ms (kube-apiserver)"))));
        rows.push(Row::new(
            format!("processor time of the server for each of these, {clients} clients"),
            format!("{each:.3} ms"),
            format!("{KUBERNETES_CPU} ms (four processes)"),
            format!("{:.3} (must be at most 0.1)", each / KUBERNETES_CPU),
        ));
    }
    let (ours, _) = creates(&server, 16, "configmaps", config_map).await;
    let peer = (KUBERNETES_CONFIG_MAPS, format!("{KUBERNETES_CONFIG_MAPS:.0}/s (kube-apiserver)"));
    rows.push(row("ConfigMap", 16, &ours, peer));
    server.stop().await;
    rows
}

fn row(kind: &str, clients: usize, ours: &Measured, (peer, peer_text): (f64, String)) -> Row {
    Row::new(
        format!("{kind} creates over TLS, {clients} clients"),
        format!("{:.0}/s, p99 {}", ours.per_second, millis(ours.p99)),
        peer_text,
        format!("{:.1}", ours.per_second / peer),
    )
}

/// What a load measured, and the processor time of the server for each create in milliseconds.
async fn creates(server: &Cluster, clients: usize, kind: &str, body: fn(&str) -> String) -> (Measured, f64) {
    let entrance = Entrance::of(server).await;
    let path: Arc<str> = format!("/api/v1/namespaces/default/{kind}").into();
    let begun = cpu(&server.process);
    let ours = run(clients, TIME, async |client| {
        let connection = Arc::new(Mutex::new(entrance.open().await));
        let path = path.clone();
        move |count| {
            let (connection, path) = (connection.clone(), path.clone());
            let body = body(&format!("p{clients}-{client}-{count}"));
            async move { connection.lock().await.create(&path, body).await }
        }
    })
    .await;
    assert_eq!(ours.failures, 0, "creates fail with {clients} clients");
    let used = cpu(&server.process) - begun;
    let each = used.as_secs_f64() * 1e3 / (ours.per_second * TIME.as_secs_f64());
    (ours, each)
}

pub fn pod(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"app":"bench"}}}},"spec":{{"schedulerName":"nobody","containers":[{{"name":"app","image":"pal.local/none:v1","env":[{{"name":"A","value":"1"}}],"resources":{{"requests":{{"cpu":"10m","memory":"16Mi"}}}}}}]}}}}"#
    )
}

fn config_map(name: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"key":"value"}}}}"#)
}
