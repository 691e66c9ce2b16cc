//! Claims, volumes and pods together.

use k8s_openapi::api::core::v1::{Event, PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::json;

use super::cluster::Cluster;
use super::{NS, pod, told};
use crate::pods::{is_ready, node};

#[tokio::test]
async fn a_pod_and_its_claim_meet_on_a_node() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster
        .create(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "s"},
            "provisioner": pal_resources::volumes::PROVISIONER, "volumeBindingMode": "WaitForFirstConsumer"}))
        .await;
    let mut user = pod("user");
    user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    cluster.create(user).await;
    let missing = "0/1 nodes are available: persistentvolumeclaim \"c\" not found. no new claims to deallocate, \
                   preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    cluster.until::<Event>("what is missing", NS, |events| told(events, "FailedScheduling") == [missing]).await;
    cluster
        .create(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "c", "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s",
                "resources": {"requests": {"storage": "1Gi"}}}}))
        .await;
    let pods = cluster.until::<Pod>("it runs", NS, |pods| is_ready(&pods[0])).await;
    assert_eq!(node(&pods[0]), Some("n1"));
    let volumes = cluster.list::<PersistentVolume>(None).await;
    let volume = serde_json::to_value(&volumes[0]).unwrap();
    let name = volume["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(
        (&volume["status"]["phase"], &volume["spec"]["local"]["path"]),
        (&json!("Bound"), &json!(format!("/n1/{name}")))
    );
    let done = format!("Successfully provisioned volume {name}");
    cluster.until::<Event>("it is told", NS, |events| told(events, "ProvisioningSucceeded") == [done.as_str()]).await;
    // In use, it stays until the pod has gone.
    cluster.delete::<PersistentVolumeClaim>(NS, "c").await;
    let claims = cluster.list::<PersistentVolumeClaim>(NS).await;
    assert!(claims[0].metadata.deletion_timestamp.is_some());
    assert_eq!(cluster.directories.all().len(), 1);
    cluster.delete::<Pod>(NS, "user").await;
    cluster.until::<PersistentVolume>("the volume goes", None, <[_]>::is_empty).await;
    assert_eq!(cluster.directories.all(), Vec::<String>::new());
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_lacks_a_claim_is_tried_again_for_that_one_alone() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let user = |name: &str, claim: &str| {
        let mut user = pod(name);
        user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]);
        user
    };
    let failed = |events: &[Event], name: &str| -> i32 {
        let of = events.iter().filter(|event| event.reason.as_deref() == Some("FailedScheduling"));
        of.filter(|event| event.involved_object.name.as_deref() == Some(name)).filter_map(|event| event.count).sum()
    };
    cluster.create(user("first", "c")).await;
    cluster.until::<Event>("what the first lacks", NS, |events| failed(events, "first") == 1).await;
    for name in ["other", "another"] {
        cluster
            .create(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}))
            .await;
    }
    // What a pod's claims lack is told after a while: by then the first would have been tried again.
    cluster.create(user("second", "d")).await;
    cluster.until::<Event>("what the second lacks", NS, |events| failed(events, "second") == 1).await;
    assert_eq!(failed(&cluster.list::<Event>(NS).await, "first"), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn an_ephemeral_volumes_claim_comes_and_goes_with_its_pod() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}});
    cluster
        .create(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "static"},
            "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "5Gi"},
                "local": {"path": "/data"}, "nodeAffinity": affinity}}))
        .await;
    let mut user = pod("user");
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    user["spec"]["volumes"] = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}]);
    cluster.create(user).await;
    cluster.until::<Pod>("it runs", NS, |pods| is_ready(&pods[0])).await;
    let claims = cluster.list::<PersistentVolumeClaim>(NS).await;
    assert_eq!(claims[0].metadata.name.as_deref(), Some("user-v"));
    assert_eq!(claims[0].spec.as_ref().unwrap().volume_name.as_deref(), Some("static"));
    let failed = told(&cluster.list::<Event>(NS).await, "FailedScheduling");
    assert_eq!(failed, Vec::<String>::new(), "what comes in a moment is not worth a word");
    cluster.delete::<Pod>(NS, "user").await;
    cluster.until::<PersistentVolumeClaim>("the claim goes", NS, <[_]>::is_empty).await;
    let released =
        |volumes: &[PersistentVolume]| volumes[0].status.as_ref().unwrap().phase.as_deref() == Some("Released");
    cluster.until::<PersistentVolume>("the volume stays", None, released).await;
    cluster.stop().await;
}
