//! What controls pods, beside Deployments.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ReplicationController, ResourceQuota, Service};
use k8s_openapi::api::networking::v1::IPAddress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use pal_registry::DeleteOptions;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{NS, service};
use crate::pods::{is_ready, node};

/// An object of a kind whose spec has a selector and a template.
fn workload(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "pal.local/a:1"}]}
            }
        }
    });
    let fields = spec.as_object().expect("an object").clone();
    object["spec"].as_object_mut().expect("an object").extend(fields);
    object
}

#[tokio::test]
async fn a_daemon_set_follows_the_nodes() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(workload("apps/v1", "DaemonSet", "d", json!({}))).await;
    let ready =
        |found: &[DaemonSet], pods: i32| found[0].status.as_ref().is_some_and(|status| status.number_ready == pods);
    cluster.until::<DaemonSet>("one pod", NS, |found| ready(found, 1)).await;
    cluster.add_node("n2").await;
    cluster.until::<DaemonSet>("one more", NS, |found| ready(found, 2)).await;
    let mut nodes: Vec<_> =
        cluster.list::<Pod>(NS).await.iter().filter_map(|pod| node(pod).map(str::to_owned)).collect();
    nodes.sort();
    assert_eq!(nodes, ["n1", "n2"]);
    cluster.delete::<DaemonSet>(NS, "d").await;
    cluster.until::<Pod>("no pods", NS, <[_]>::is_empty).await;
    cluster.until::<ControllerRevision>("no templates", NS, <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_stateful_set_and_a_replication_controller_come_up_and_go() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(workload("apps/v1", "StatefulSet", "s", json!({"serviceName": "s", "replicas": 2}))).await;
    let selector = json!({"replicas": 1, "selector": {"app": "r"}});
    cluster.create(workload("v1", "ReplicationController", "r", selector)).await;
    cluster
        .until::<StatefulSet>("two available", NS, |found| {
            found[0].status.as_ref().and_then(|status| status.available_replicas) == Some(2)
        })
        .await;
    cluster
        .until::<ReplicationController>("one available", NS, |found| {
            found[0].status.as_ref().and_then(|status| status.available_replicas) == Some(1)
        })
        .await;
    let names: Vec<_> = cluster.list::<Pod>(NS).await.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    assert!(names.iter().any(|name| name == "s-0") && names.iter().any(|name| name == "s-1"), "{names:?}");
    cluster.delete::<StatefulSet>(NS, "s").await;
    cluster.delete::<ReplicationController>(NS, "r").await;
    cluster.until::<Pod>("no pods", NS, <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_ends_with_its_pods_and_one_that_is_deleted_takes_them_along() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let job = |name: &str| {
        let mut job = workload("batch/v1", "Job", name, json!({"completions": 2, "parallelism": 2}));
        job["spec"].as_object_mut().expect("an object").remove("selector");
        job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
        job
    };
    cluster.create(job("done")).await;
    let run = |found: &[Pod]| found.len() == 2 && found.iter().all(is_ready);
    for pod in cluster.until::<Pod>("two pods", NS, run).await {
        let name = pod.metadata.name.expect("a name");
        let ended = json!({"status": {"phase": "Succeeded"}});
        cluster.registry.client::<Pod>().patch_merge(Some("status"), NS, &name, ended).await.expect("a patch");
    }
    let complete = |found: &[Job]| {
        let status = found[0].status.as_ref();
        let conditions = status.and_then(|status| status.conditions.clone()).unwrap_or_default();
        status.and_then(|status| status.succeeded) == Some(2)
            && conditions.iter().any(|condition| condition.type_ == "Complete" && condition.status == "True")
    };
    cluster.until::<Job>("it is complete", NS, complete).await;
    cluster.delete::<Job>(NS, "done").await;
    cluster.until::<Pod>("no pods", NS, <[_]>::is_empty).await;
    cluster.create(job("gone")).await;
    cluster.until::<Pod>("two pods", NS, run).await;
    cluster.delete::<Job>(NS, "gone").await;
    cluster.until::<Pod>("no pods", NS, <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn of_many_evictions_a_budget_allows_as_many_as_it_can_spare() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    for name in ["a", "b", "c"] {
        let metadata = json!({"name": name, "namespace": "default", "labels": {"app": "a"}});
        let spec = json!({"containers": [{"name": "main", "image": "pal.local/a:1"}]});
        cluster.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await;
    }
    let spec = json!({"minAvailable": 2, "selector": {"matchLabels": {"app": "a"}}});
    let metadata = json!({"name": "b", "namespace": "default"});
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec});
    cluster.create(budget).await;
    let allowed = |found: &[PodDisruptionBudget]| found[0].status.as_ref()?.disruptions_allowed;
    cluster.until::<PodDisruptionBudget>("one can be spared", NS, |found| allowed(found) == Some(1)).await;
    let options = DeleteOptions::system("test");
    let evictions = ["a", "b", "c"].map(|name| cluster.registry.evict("default", name, &options));
    let outcomes = futures::future::join_all(evictions).await;
    let mut codes: Vec<u16> =
        outcomes.iter().map(|outcome| outcome.as_ref().map_or_else(|s| s.code, |_| 200)).collect();
    codes.sort_unstable();
    assert_eq!(codes, [200, 429, 429]);
    cluster.until::<Pod>("two pods", NS, |found| found.len() == 2).await;
    cluster
        .until::<PodDisruptionBudget>("it knows", NS, |found| {
            let status = found[0].status.clone().unwrap_or_default();
            status.disrupted_pods.is_none_or(|pods| pods.is_empty()) && status.disruptions_allowed == Some(0)
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_budget_counts_what_a_replica_set_wants_whose_deployment_is_not_there() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let mut set = workload("apps/v1", "ReplicaSet", "s", json!({"replicas": 2}));
    let metadata = json!({"name": "b", "namespace": "default"});
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": "s"}}});
    // The collector of garbage would take a set whose owner is gone; one in another group may be anything.
    set["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps.example.com/v1", "kind": "Deployment",
        "name": "d", "uid": "u", "controller": true}]);
    cluster.create(set).await;
    cluster
        .create(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}))
        .await;
    let counted = |found: &[PodDisruptionBudget]| {
        found[0]
            .status
            .as_ref()
            .is_some_and(|status| (status.expected_pods, status.desired_healthy) == (Some(2), Some(1)))
    };
    cluster.until::<PodDisruptionBudget>("both are counted", NS, counted).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_deployment_whose_pods_are_busy_grows() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let mut body = workload("apps/v1", "Deployment", "d", json!({"replicas": 1}));
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "10m"}});
    cluster.create(body).await;
    cluster.until::<Pod>("it runs", NS, |found| found.len() == 1 && is_ready(&found[0])).await;
    let metric = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "AverageValue", "averageValue": "500m"}}});
    cluster
        .create(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h", "namespace": "default"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                "minReplicas": 2, "maxReplicas": 3, "metrics": [metric]},
        }))
        .await;
    let shown = cluster
        .until::<HorizontalPodAutoscaler>("it has acted", NS, |found| {
            found[0].status.as_ref().is_some_and(|status| status.desired_replicas == 2)
        })
        .await;
    assert!(shown[0].status.as_ref().is_some_and(|status| status.last_scale_time.is_some()), "{shown:?}");
    cluster.until::<Pod>("two pods", NS, |found| found.len() == 2).await;
    cluster.stop().await;
}

#[tokio::test]
async fn each_address_of_a_service_has_an_object_that_goes_with_it() {
    let cluster = Cluster::start().await;
    cluster.create(service("web")).await;
    let services = cluster.list::<Service>(NS).await;
    let own = services[0].spec.as_ref().and_then(|spec| spec.cluster_ip.clone()).expect("an address");
    let of_web = |found: &[IPAddress]| found.iter().any(|address| address.metadata.name.as_deref() == Some(&own));
    let addresses = cluster.until::<IPAddress>("its object", None, of_web).await;
    let parent =
        &addresses.iter().find(|address| address.metadata.name.as_deref() == Some(&own)).unwrap().spec.parent_ref;
    assert_eq!((parent.resource.as_str(), parent.name.as_str()), ("services", "web"));
    cluster.delete::<IPAddress>(None, &own).await;
    cluster.until::<IPAddress>("it comes back", None, of_web).await;
    cluster.delete::<Service>(NS, "web").await;
    cluster.until::<IPAddress>("gone", None, |found| !of_web(found)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_set_says_how_many_pods_it_has_though_no_more_can_be_made() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.add_node("n2").await;
    cluster.add_node("n3").await;
    cluster
        .create(json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "default"},
            "spec": {"hard": {"pods": "2"}},
        }))
        .await;
    cluster
        .until::<ResourceQuota>("counted", NS, |found| {
            found[0].status.as_ref().is_some_and(|status| status.used.is_some())
        })
        .await;
    cluster.create(workload("apps/v1", "DaemonSet", "d", json!({}))).await;
    cluster
        .until::<DaemonSet>("two of three", NS, |found| {
            let status = found[0].status.clone().unwrap_or_default();
            (status.desired_number_scheduled, status.current_number_scheduled, status.number_ready) == (3, 2, 2)
        })
        .await;
    cluster.stop().await;
}
