//! Resident memory: idle, and with 1,000 ready pods.

use std::time::{Duration, Instant};

use pal_tests::{Pal, repository, wait_until};

use crate::Row;
use crate::resources::{resident_mib, settle};

const PODS: u64 = 1000;

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let up = pal.up(&[]).await;
    settle().await;
    let idle = resident_mib(&up.process);
    let hello = repository("examples/hello/hello.yaml");
    up.pal(&format!("apply --wait -f {}", hello.display())).await.ok();
    settle().await;
    let before = resident_mib(&up.process);
    let started = Instant::now();
    let client = up.client().await;
    let body = format!(r#"{{"spec":{{"replicas":{PODS}}}}}"#);
    let request = http::Request::patch("/apis/apps/v1/namespaces/default/deployments/hello/scale")
        .header("content-type", "application/merge-patch+json")
        .body(body.into_bytes())
        .expect("a request");
    client.request::<serde_json::Value>(request).await.expect("scaled");
    wait_until(Duration::from_secs(120), "all pods are ready", async || {
        let object = up.object("/apis/apps/v1/namespaces/default/deployments/hello").await?;
        let ready = object["status"]["readyReplicas"].as_u64().unwrap_or(0);
        if ready == PODS { Ok(()) } else { Err(format!("{ready} ready")) }
    })
    .await;
    let took = started.elapsed();
    settle().await;
    let after = resident_mib(&up.process);
    up.stop().await;
    vec![
        Row::new("resident, idle", format!("{idle:.0} MiB"), "505 MiB (control plane alone)", "must be under 60 MB"),
        Row::new(
            "resident, 1,000 ready pods more",
            format!("{:.0} MiB, {:.0} KiB a pod", after - before, (after - before) * 1024.0 / PODS as f64),
            "",
            "must be under 200 MB",
        ),
        Row::new(
            "scale to 1,000 ready pods",
            format!("{:.1} s", took.as_secs_f64()),
            "7.8 s until bound (no kubelet)",
            "must be under 15 s",
        ),
    ]
}
