//! From the request that creates a pod to the event that says it is ready; its image is there already.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use pal_tests::{Pal, repository};
use serde_json::json;

use crate::Row;
use crate::load::{millis, quantile};

const PODS: usize = 100;

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let hello = repository("examples/hello/hello.yaml");
    let up = pal.up(&["-f", hello.to_str().expect("a path of plain text")]).await;
    let source = up.object("/apis/apps/v1/namespaces/default/deployments/hello").await.expect("the deployment");
    let image = source["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let pods: Api<Pod> = Api::default_namespaced(up.client().await);
    let mut times = Vec::new();
    for n in 0..PODS {
        let name = format!("timed-{n}");
        let pod: Pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": { "containers": [{ "name": "app", "image": image, "ports": [{ "containerPort": 8080 }] }] },
        }))
        .expect("a pod");
        let list = pods.list(&Default::default()).await.expect("a list");
        let from = list.metadata.resource_version.unwrap_or_default();
        let watch = WatchParams::default().fields(&format!("metadata.name={name}"));
        let mut events = Box::pin(pods.watch(&watch, &from).await.expect("a watch"));
        let started = Instant::now();
        pods.create(&PostParams::default(), &pod).await.expect("a pod is created");
        let ready = async {
            while let Some(event) = events.try_next().await.expect("events") {
                if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event
                    && is_ready(&pod)
                {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ready).await.expect("ready in time");
        times.push(started.elapsed());
        pods.delete(&name, &DeleteParams::default().grace_period(0)).await.expect("a pod is deleted");
    }
    up.stop().await;
    times.sort_unstable();
    let (p50, p99) = (quantile(&times, 0.5), quantile(&times, 0.99));
    vec![Row::new(
        "POST pod to Ready, warm image",
        format!("median {}, p99 {}", millis(p50), millis(p99)),
        "",
        "must be under 20 ms",
    )]
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
