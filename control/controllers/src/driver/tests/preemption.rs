//! Who goes for whom, and what is told of it.

use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::json;

use super::cluster::Cluster;
use super::{NS, pod, told};
use crate::pods::is_ready;

#[tokio::test]
async fn a_pod_goes_for_one_of_higher_priority() {
    let cluster = Cluster::start().await;
    let class = |name: &str, value: i32| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value});
    cluster.create(class("low", 1)).await;
    cluster.create(class("high", 2)).await;
    cluster.add_node("n1").await;
    let asking = |name: &str, class: &str| {
        let mut pod = pod(name);
        pod["spec"]["priorityClassName"] = json!(class);
        pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
        pod
    };
    cluster.create(asking("first", "low")).await;
    cluster.until::<Pod>("placed", NS, |pods| is_ready(&pods[0])).await;
    cluster.create(asking("second", "high")).await;
    let second = |pods: &[Pod]| pods.len() == 1 && pods[0].metadata.name.as_deref() == Some("second");
    let pods = cluster.until::<Pod>("it goes", NS, |pods| second(pods) && is_ready(&pods[0])).await;
    let status = pods[0].status.as_ref().expect("a status");
    assert_eq!(status.nominated_node_name, None, "it is there");
    cluster.create(asking("third", "high")).await;
    let why = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    cluster
        .until::<Event>("who went, and for whom", NS, |events| {
            let gone = told(events, "Preempted");
            let failed = told(events, "FailedScheduling");
            let none = format!(
                "{why} no new claims to deallocate, preemption: 0/1 nodes are available: \
                 1 No preemption victims found for incoming pod."
            );
            gone.len() == 1
                && gone[0].ends_with(" on node n1")
                && failed.contains(&why.to_owned())
                && failed.contains(&none)
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_for_which_room_was_made_gives_way_to_one_of_higher_priority() {
    let cluster = Cluster::start().await;
    for (name, value) in [("low", 1), ("middle", 2), ("high", 3)] {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value});
        cluster.create(class).await;
    }
    cluster.add_node("n1").await;
    let asking = |class: &str| {
        let mut pod = pod(class);
        pod["spec"]["priorityClassName"] = json!(class);
        pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
        pod
    };
    let mut first = asking("low");
    // It does not go before somebody says so.
    first["metadata"]["finalizers"] = json!(["example.com/stays"]);
    cluster.create(first).await;
    cluster.until::<Pod>("placed", NS, |pods| is_ready(&pods[0])).await;
    let nominated = |pods: &[Pod], name: &str| {
        let pod = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name));
        pod.and_then(|pod| pod.status.as_ref()?.nominated_node_name.clone())
    };
    cluster.create(asking("middle")).await;
    cluster.until::<Pod>("room is made", NS, |pods| nominated(pods, "middle").is_some()).await;
    cluster.create(asking("high")).await;
    cluster
        .until::<Pod>("for another", NS, |pods| {
            nominated(pods, "high").is_some() && nominated(pods, "middle").is_none()
        })
        .await;
    cluster.stop().await;
}
