//! Which volume suits which claim, and where pods with claims go.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;
use crate::{Candidate, Cluster, schedule};

fn claim(change: Value) -> Claim {
    let mut value = json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "u"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s",
            "resources": {"requests": {"storage": "1Gi"}}}});
    merge(&mut value, change);
    Claim::of(&serde_json::from_value(value).unwrap())
}

fn volume(name: &str, size: &str, change: Value) -> Volume {
    let mut value = json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s", "capacity": {"storage": size}},
        "status": {"phase": "Available"}});
    merge(&mut value, change);
    Volume::of(&serde_json::from_value(value).unwrap())
}

fn merge(value: &mut Value, change: Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            change.into_iter().for_each(|(key, change)| merge(value.entry(key).or_insert(Value::Null), change));
        }
        (value, change) => *value = change,
    }
}

fn on(node: &str) -> Value {
    json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}})
}

#[test]
fn the_smallest_volume_that_suits_is_taken() {
    let check = |claim: Value, waits: bool, volumes: &[Volume], expected: Option<&str>| {
        let claim = self::claim(claim);
        let found = best(&claim, volumes, waits, |_| true).map(|volume| volume.name.as_str());
        assert_eq!(found, expected, "{claim:?}");
    };
    let sizes = [volume("a", "5Gi", json!({})), volume("b", "2Gi", json!({})), volume("c", "2Gi", json!({}))];
    check(json!({}), false, &sizes, Some("b"));
    check(json!({}), true, &sizes, None);
    check(json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}}), false, &sizes, Some("a"));
    check(json!({"spec": {"resources": {"requests": {"storage": "6Gi"}}}}), false, &sizes, None);
    check(json!({"spec": {"storageClassName": ""}}), false, &sizes, None);
    check(
        json!({"spec": {"storageClassName": null}}),
        false,
        &[volume("a", "1Gi", json!({"spec": {"storageClassName": null}}))],
        Some("a"),
    );
    check(
        json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "s"}}, "spec": {"storageClassName": null}}),
        false,
        &sizes,
        Some("b"),
    );
    check(json!({"spec": {"accessModes": ["ReadWriteMany"]}}), false, &sizes, None);
    check(json!({"spec": {"volumeMode": "Block"}}), false, &sizes, None);
    check(json!({"spec": {"volumeAttributesClassName": "fast"}}), false, &sizes, None);
    let one = |change: Value| [volume("a", "1Gi", change)];
    check(json!({}), false, &one(json!({"status": {"phase": "Pending"}})), None);
    check(json!({}), false, &one(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})), None);
    check(json!({"spec": {"selector": {"matchLabels": {"k": "v"}}}}), false, &one(json!({})), None);
    check(
        json!({"spec": {"selector": {"matchLabels": {"k": "v"}}}}),
        false,
        &one(json!({"metadata": {"labels": {"k": "v"}}})),
        Some("a"),
    );
    let named = |uid: &str, name: &str, size: &str| {
        let claim = json!({"namespace": "ns", "name": name, "uid": uid});
        [volume("a", "2Gi", json!({})), volume("b", size, json!({"spec": {"claimRef": claim}}))]
    };
    check(json!({}), false, &named("", "c", "9Gi"), Some("b"));
    check(json!({}), true, &named("u", "c", "9Gi"), Some("b"));
    check(json!({}), false, &named("other", "c", "1Gi"), Some("a"));
    check(json!({}), false, &named("", "d", "1Gi"), Some("a"));
    check(json!({}), false, &named("", "c", "1Mi"), Some("a"));
}

/// Two nodes, and a class that waits and one that does not.
fn cluster(claims: &[Value], volumes: &[Volume]) -> Cluster {
    let node = |name: &str| -> Arc<Node> {
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"pods": "10"}});
        let labels = json!({"kubernetes.io/hostname": name});
        let node = json!({"metadata": {"name": name, "labels": labels}, "status": status});
        Arc::new(serde_json::from_value(node).unwrap())
    };
    let mut cluster = Cluster::from(vec![node("n1"), node("n2")]);
    let storage = cluster.storage_mut();
    for (name, waits, provisioner) in
        [("s", true, "x"), ("static", true, "kubernetes.io/no-provisioner"), ("now", false, "x")]
    {
        storage.set_class(Arc::new(Class {
            name: name.to_owned(),
            waits,
            provisioner: provisioner.to_owned(),
            ..Class::default()
        }));
    }
    claims.iter().for_each(|change| assert!(storage.set_claim(Arc::new(claim(change.clone())))));
    volumes.iter().for_each(|volume| assert!(storage.set_volume(Arc::new(volume.clone()))));
    cluster
}

fn pod(name: &str, volumes: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name},
        "spec": {"containers": [], "volumes": volumes},
    }))
    .unwrap()
}

fn using(name: &str) -> Pod {
    pod(name, json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]))
}

/// Where the pod goes and what becomes of its claims, or the first sentence of why not.
fn told(cluster: &Cluster, pod: Pod) -> String {
    match schedule(cluster, &Candidate::of(Arc::new(pod)), 0) {
        Ok(placement) => {
            let choice = |choice: &Choice| match choice {
                Choice::Bind { claim, volume } => format!(" {} gets {}", claim.name, volume.name),
                Choice::Provision { claim } => format!(" {} is made", claim.name),
            };
            placement.node + &placement.claims.iter().map(choice).collect::<String>()
        }
        Err(why) => {
            let why = why.to_string();
            let why = why.strip_prefix("0/2 nodes are available: ").unwrap_or(&why);
            why.split(". no new claims").next().unwrap_or_default().to_owned()
        }
    }
}

#[test]
fn pods_go_where_the_volumes_of_their_claims_are_or_can_be() {
    let check = |claims: Value, volumes: &[Volume], expected: &str| {
        let cluster = cluster(claims.as_array().unwrap(), volumes);
        assert_eq!(told(&cluster, using("p")), expected, "{claims}");
    };
    let bound = |change: Value| {
        let mut claim = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": "a"}, "status": {"phase": "Bound"}});
        merge(&mut claim, change);
        json!([claim])
    };
    check(json!([]), &[], "persistentvolumeclaim \"c\" not found");
    check(bound(json!({})), &[volume("a", "1Gi", on("n2"))], "n2");
    check(bound(json!({})), &[volume("a", "1Gi", json!({}))], "n1");
    check(bound(json!({})), &[volume("a", "1Gi", on("n3"))], "2 node(s) didn't match PersistentVolume's node affinity");
    check(bound(json!({})), &[], "2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
    check(
        bound(json!({"status": {"phase": "Lost"}})),
        &[],
        "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"a\"",
    );
    check(
        bound(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
        &[],
        "persistentvolumeclaim \"c\" is being deleted",
    );
    let unbound = "pod has unbound immediate PersistentVolumeClaims";
    check(json!([{"spec": {"storageClassName": "now"}}]), &[], unbound);
    check(json!([{"spec": {"storageClassName": "unknown"}}]), &[], unbound);
    check(json!([{"spec": {"storageClassName": ""}}]), &[], unbound);
    check(json!([{"spec": {"volumeName": "a"}}]), &[volume("a", "1Gi", json!({}))], unbound);
    check(json!([{}]), &[], "n1 c is made");
    check(json!([{"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n2"}}}]), &[], "n2 c is made");
    let none = "2 node(s) didn't find available persistent volumes to bind";
    check(json!([{"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n3"}}}]), &[], none);
    check(json!([{"spec": {"storageClassName": "static"}}]), &[], none);
    let of_static = |size: &str, node: &str| {
        let mut change = on(node);
        change["spec"]["storageClassName"] = json!("static");
        volume("a", size, change)
    };
    check(json!([{"spec": {"storageClassName": "static"}}]), &[of_static("1Gi", "n2")], "n2 c gets a");
    check(json!([{"spec": {"storageClassName": "static"}}]), &[of_static("1Mi", "n2")], none);
}

#[test]
fn two_claims_of_a_pod_get_two_volumes() {
    let volumes = [volume("a", "1Gi", on("n1")), volume("b", "1Gi", on("n2")), volume("d", "9Gi", on("n2"))];
    let claims = [json!({}), json!({"metadata": {"name": "e"}, "spec": {"storageClassName": "s"}})];
    let mut cluster = cluster(&claims, &volumes);
    let class = Class { name: "s".to_owned(), waits: true, ..Class::default() };
    cluster.storage_mut().set_class(Arc::new(class));
    let both = pod(
        "p",
        json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "w", "persistentVolumeClaim": {"claimName": "e"}}]),
    );
    assert_eq!(told(&cluster, both), "n2 c gets b e gets d");
}

#[test]
fn an_ephemeral_volumes_claim_is_the_pods_own() {
    let pod = || pod("p", json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]));
    let check = |claims: &[Value], expected: &str| assert_eq!(told(&cluster(claims, &[]), pod()), expected);
    check(&[], "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-v\"");
    let owned = |uid: &str| {
        json!({"metadata": {"name": "p-v", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true}]}})
    };
    check(&[owned("p")], "n1 p-v is made");
    check(&[owned("q")], "PVC ns/p-v was not created for pod ns/p (pod is not owner)");
}

#[test]
fn a_claim_for_one_pod_is_one_pods() {
    let mut cluster = cluster(&[json!({"spec": {"accessModes": [SINGLE_POD]}})], &[]);
    cluster.assume(&Candidate::of(Arc::new(using("first"))), "n1");
    assert_eq!(told(&cluster, using("first")), "n1 c is made");
    let taken = "2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
    assert_eq!(told(&cluster, using("second")), taken);
    cluster.remove_pod("first");
    assert_eq!(told(&cluster, using("second")), "n1 c is made");
}
