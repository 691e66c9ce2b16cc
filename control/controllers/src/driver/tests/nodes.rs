//! Nodes that go and come, and who gets a certificate.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use super::cluster::{self, Cluster};
use super::{NS, deployment, pod, service, told};
use crate::pods::{is_ready, node};

/// A cluster with two nodes, both of which have had a pod: whoever places pods knows of them.
async fn with_two_nodes() -> Cluster {
    let cluster = Cluster::start().await;
    for name in ["n1", "n2"] {
        cluster.add_node(name).await;
        let mut first = pod("first");
        first["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": name});
        cluster.create(first).await;
        cluster.until::<Pod>("a pod that is ready", NS, |pods| pods.iter().any(is_ready)).await;
        cluster.delete::<Pod>(NS, "first").await;
        cluster.until::<Pod>("no pods", NS, <[_]>::is_empty).await;
    }
    cluster
}

#[tokio::test]
async fn endpoints_are_in_the_zone_in_which_their_node_is_put() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(service("web")).await;
    cluster.create(deployment("web", 1)).await;
    let zones = |slices: &[EndpointSlice]| -> Vec<Option<String>> {
        slices.iter().flat_map(|slice| slice.endpoints.iter().flatten()).map(|found| found.zone.clone()).collect()
    };
    cluster.until::<EndpointSlice>("one without a zone", NS, |slices| zones(slices) == [None]).await;
    let nodes = cluster.registry.client::<Node>();
    for zone in ["a", "b"] {
        let label = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}});
        nodes.patch_merge(None, None, "n1", label).await.expect("a zone");
        let expected = [Some(zone.to_owned())];
        cluster.until::<EndpointSlice>("its zone", NS, |slices| zones(slices) == expected).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn pods_of_a_lost_node_are_replaced_and_removed_and_the_node_comes_back() {
    let cluster = with_two_nodes().await;
    cluster.create(deployment("web", 4)).await;
    let ready_on =
        |pods: &[Pod], name: &str| pods.iter().filter(|pod| is_ready(pod) && node(pod) == Some(name)).count();
    cluster.until::<Pod>("two on each", NS, |pods| ready_on(pods, "n1") == 2 && ready_on(pods, "n2") == 2).await;
    cluster.kill_node("n1");
    cluster.until::<Pod>("all on the other", NS, |pods| ready_on(pods, "n2") == 4 && pods.len() == 4).await;
    let lost = cluster.find::<Node>(None, "n1").await.expect("the node");
    let taints = lost.spec.and_then(|spec| spec.taints).unwrap_or_default();
    assert_eq!(taints.len(), 2, "{taints:?}");
    cluster
        .until::<Event>("events", None, |events| {
            let came = told(events, "RegisteredNode");
            !told(events, "NodeNotReady").is_empty()
                && !told(events, "TaintManagerEviction").is_empty()
                && came.contains(&"Node n1 event: Registered Node n1 in Controller".to_owned())
        })
        .await;
    cluster.revive_node("n1").await;
    cluster
        .until::<Node>("no taints", None, |nodes| {
            nodes.iter().all(|node| node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_none_or(Vec::is_empty))
        })
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn while_all_nodes_are_gone_no_pod_is_driven_away() {
    let cluster = with_two_nodes().await;
    cluster.create(deployment("web", 4)).await;
    let ready_on =
        |pods: &[Pod], name: &str| pods.iter().filter(|pod| is_ready(pod) && node(pod) == Some(name)).count();
    let before =
        cluster.until::<Pod>("two on each", NS, |pods| ready_on(pods, "n1") == 2 && ready_on(pods, "n2") == 2).await;
    cluster.kill_node("n1");
    cluster.kill_node("n2");
    // Longer than pods bear it.
    let borne = jiff::SignedDuration::from_millis(1500);
    let has_borne = |node: &Node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        let mut added = taints.into_iter().flatten().filter(|taint| taint.effect == "NoExecute");
        added.any(|taint| taint.time_added.as_ref().is_some_and(|time| jiff::Timestamp::now() > time.0 + borne))
    };
    cluster.until::<Node>("lost for long", None, |nodes| nodes.iter().all(has_borne)).await;
    let pods = cluster.list::<Pod>(NS).await;
    let uids = |pods: &[Pod]| pods.iter().map(|pod| pod.metadata.uid.clone()).collect::<Vec<_>>();
    assert_eq!(uids(&pods), uids(&before));
    assert!(pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_none()));

    let kept: Vec<_> = before.iter().filter(|pod| node(pod) == Some("n2")).collect();
    cluster.revive_node("n2").await;
    let moved = cluster.until::<Pod>("all on the other", NS, |pods| ready_on(pods, "n2") == 4 && pods.len() == 4).await;
    assert!(kept.iter().all(|old| moved.iter().any(|new| new.metadata.uid == old.metadata.uid)), "its own stayed");
    cluster.stop().await;
}

#[tokio::test]
async fn pods_of_a_deleted_node_are_removed() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    cluster.create(pod("a")).await;
    cluster.until::<Pod>("bound", NS, |pods| node(&pods[0]).is_some()).await;
    cluster.kill_node("n1");
    cluster.delete::<Node>(None, "n1").await;
    cluster.until::<Pod>("no pods", NS, <[_]>::is_empty).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_joining_node_gets_its_certificate_and_an_impostor_does_not() {
    let cluster = Cluster::start().await;
    cluster.add_node("taken").await;
    let requests = cluster.registry.client::<CertificateSigningRequest>();
    let resource = requests.resource().expect("it is served").clone();
    let joiner = pal_registry::WriteOptions {
        actor: pal_registry::Actor {
            user: "system:bootstrap:abcdef".to_owned(),
            groups: vec!["system:bootstrappers".to_owned(), "system:authenticated".to_owned()],
            ..pal_registry::Actor::default()
        },
        ..pal_registry::WriteOptions::default()
    };
    for name in ["fresh", "taken"] {
        let request = k8s_openapi::ByteString(cluster::request(&format!("system:node:{name}")));
        let body = json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": request, "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
                "usages": ["digital signature", "client auth"]
            }
        });
        cluster.registry.create(&resource, None, body, &joiner).await.expect("a request");
    }
    let found = cluster
        .until::<CertificateSigningRequest>("answers", None, |found| {
            found.iter().all(|request| {
                let status = request.status.as_ref();
                let kinds = status.and_then(|status| status.conditions.as_ref());
                let denied = kinds.is_some_and(|all| all.iter().any(|c| c.type_ == "Denied"));
                denied || status.is_some_and(|status| status.certificate.is_some())
            })
        })
        .await;
    let signed: Vec<_> = found
        .iter()
        .filter_map(|request| {
            let pem = request.status.as_ref()?.certificate.as_ref()?;
            Some(String::from_utf8_lossy(&pem.0).into_owned())
        })
        .collect();
    let text = "system:node:fresh by kubernetes.io/kube-apiserver-client-kubelet for 31536000";
    assert_eq!(signed, [cluster::certificate(text)]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_user_gets_a_certificate_once_an_administrator_has_approved() {
    let cluster = Cluster::start().await;
    for name in ["jane", "refused", "unsound"] {
        let request = k8s_openapi::ByteString(cluster::request(name));
        cluster
            .create(json!({
                "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                "metadata": {"name": name},
                "spec": {
                    "request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]
                }
            }))
            .await;
    }
    let requests = cluster.registry.client::<CertificateSigningRequest>();
    for (name, decision) in [("jane", "Approved"), ("refused", "Denied"), ("unsound", "Approved")] {
        let conditions = json!([{"type": decision, "status": "True", "reason": "ByHand"}]);
        let patch = json!({"status": {"conditions": conditions}});
        requests.patch_merge(Some("approval"), None, name, patch).await.expect("a decision");
    }
    let outcome = |found: &[CertificateSigningRequest], name: &str| {
        let status = found.iter().find(|request| request.metadata.name.as_deref() == Some(name))?.status.clone()?;
        let pem = status.certificate.map(|pem| String::from_utf8_lossy(&pem.0).into_owned());
        let kinds: Vec<_> = status.conditions.into_iter().flatten().map(|condition| condition.type_).collect();
        Some((pem, kinds.join(" ")))
    };
    let found = cluster
        .until::<CertificateSigningRequest>("answers", None, |found| {
            let failed = outcome(found, "unsound").is_some_and(|(_, kinds)| kinds.contains("Failed"));
            failed && outcome(found, "jane").is_some_and(|(pem, _)| pem.is_some())
        })
        .await;
    let expected = cluster::certificate("jane by kubernetes.io/kube-apiserver-client for 31536000");
    assert_eq!(outcome(&found, "jane"), Some((Some(expected), "Approved".to_owned())));
    assert_eq!(outcome(&found, "refused"), Some((None, "Denied".to_owned())));
    assert_eq!(outcome(&found, "unsound"), Some((None, "Approved Failed".to_owned())));
    cluster.stop().await;
}

#[tokio::test]
async fn nodes_get_blocks_of_addresses() {
    let cluster = Cluster::start().await;
    for name in ["n1", "n2", "n3"] {
        cluster.add_node(name).await;
    }
    let nodes = cluster
        .until::<Node>("blocks", None, |nodes| {
            nodes.iter().all(|node| node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.is_some()))
        })
        .await;
    let mut blocks: Vec<String> =
        nodes.into_iter().filter_map(|node| node.spec.and_then(|spec| spec.pod_cidr)).collect();
    blocks.sort();
    blocks.dedup();
    assert_eq!(blocks.len(), 3);
    cluster.stop().await;
}
