//! How long things take and how much is written. Run by hand: `cargo test -p pal-controllers figures -- --ignored
//! --nocapture`.

use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pal_registry::{WatchEvent, WatchOptions};
use serde_json::json;

use super::cluster::Cluster;
use super::{NS, deployment, pod, ready_addresses, service};
use crate::pods::{is_ready, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_thousand_pods() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(service("web")).await;
    let slices = cluster.registry.client::<EndpointSlice>();
    let mut watch = slices.watch(NS, WatchOptions::default()).await.expect("slices can be watched");
    let start = Instant::now();
    let revision = cluster.registry.store().applied().revision().0;
    let mut body = deployment("web", 1000);
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    cluster.create(body).await;
    cluster.until::<Pod>("all bound", NS, |pods| pods.iter().filter(|pod| node(pod).is_some()).count() == 1000).await;
    println!("bound after {:?}", start.elapsed());
    cluster.until::<Pod>("all ready", NS, |pods| pods.iter().filter(|pod| is_ready(pod)).count() == 1000).await;
    println!("ready after {:?}", start.elapsed());
    cluster.until::<EndpointSlice>("all served", NS, |found| ready_addresses(found) == 1000).await;
    println!("served after {:?}", start.elapsed());
    let (mut writes, mut bytes) = (0, 0);
    while let Some(event) = watch.try_next() {
        if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
            writes += 1;
            bytes += object.json().len();
        }
    }
    println!("slices: {writes} writes, {bytes} bytes");
    println!("revisions: {}", cluster.registry.store().applied().revision().0 - revision);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn one_pod_to_its_node() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let pods = cluster.registry.client::<Pod>();
    let mut times = Vec::new();
    for index in 0..100 {
        let mut watch = pods.watch(NS, WatchOptions::default()).await.expect("pods can be watched");
        let name = format!("p{index}");
        let start = Instant::now();
        cluster.create(pod(&name)).await;
        let created = start.elapsed();
        while let Some(event) = watch.next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
            let bound = object.parse::<Pod>().is_ok_and(|pod| node(&pod).is_some());
            if object.name() == name && bound {
                break;
            }
        }
        times.push((start.elapsed() - created, created));
    }
    times.sort();
    println!("created to bound: median {:?}, last {:?}; the create itself {:?}", times[50].0, times[99].0, times[50].1);
    cluster.stop().await;
}
