//! Custom resources among the others: their definitions, their namespaces, their owners.

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pal_registry::{ListOptions, WriteOptions};
use serde_json::{Value, json};

use super::NS;
use super::cluster::Cluster;

const NAME: &str = "tabs.example.com";

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })
}

fn tab(name: &str, namespace: &str, metadata: Value) -> Value {
    let mut body = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": metadata});
    body["metadata"]["name"] = name.into();
    body["metadata"]["namespace"] = namespace.into();
    body
}

async fn establish(cluster: &Cluster, definition: Value) {
    cluster.create(definition).await;
    let established = |found: &[CustomResourceDefinition]| {
        let conditions = found.iter().filter_map(|one| one.status.as_ref()?.conditions.as_ref()).flatten();
        conditions.filter(|one| one.type_ == "Established").any(|one| one.status == "True")
    };
    cluster.until::<CustomResourceDefinition>("established", None, established).await;
}

async fn tabs(cluster: &Cluster) -> usize {
    let resource = cluster.registry.find("example.com", "v1", "tabs").expect("it is served");
    cluster.registry.list(&resource, None, ListOptions::default()).await.expect("a list").items.len()
}

#[tokio::test]
async fn custom_objects_own_are_owned_and_go_with_their_namespace() {
    let cluster = Cluster::start().await;
    establish(&cluster, definition()).await;
    let config = cluster
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "root", "namespace": "default"}}))
        .await;
    let by_config = json!({"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "root", "uid": config.index().uid.0}]});
    let owner = cluster.create(tab("middle", "default", by_config)).await;
    cluster
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "leaf", "namespace": "default", "ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Tab", "name": "middle", "uid": owner.index().uid.0}]}}))
        .await;
    cluster.delete::<ConfigMap>(NS, "root").await;
    let named = |name: &'static str| {
        move |found: &[ConfigMap]| found.iter().all(|one| one.metadata.name.as_deref() != Some(name))
    };
    cluster.until::<ConfigMap>("the leaf is gone", NS, named("leaf")).await;
    assert_eq!(tabs(&cluster).await, 0);

    cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})).await;
    cluster.create(tab("one", "a", json!({}))).await;
    cluster.delete::<Namespace>(None, "a").await;
    let gone = |found: &[Namespace]| found.iter().all(|one| one.metadata.name.as_deref() != Some("a"));
    cluster.until::<Namespace>("the namespace is gone", None, gone).await;
    assert_eq!(tabs(&cluster).await, 0);
    cluster.stop().await;
}

#[tokio::test]
async fn an_owner_in_another_namespace_is_none() {
    let cluster = Cluster::start().await;
    cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})).await;
    let map = |name: &str, namespace: &str, owners: Value| {
        let metadata = json!({"name": name, "namespace": namespace, "ownerReferences": owners});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    };
    let owner = cluster.create(map("owner", "default", json!([]))).await;
    let by = |name: &str| json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner.index().uid.0}]);
    cluster.create(map("kept", "default", by("owner"))).await;
    cluster.create(map("misnamed", "default", by("other"))).await;
    cluster.create(map("astray", "a", by("owner"))).await;
    let left = |found: &[ConfigMap]| {
        let names: Vec<&str> = found.iter().filter_map(|one| one.metadata.name.as_deref()).collect();
        !names.contains(&"misnamed") && !names.contains(&"astray")
    };
    let found = cluster.until::<ConfigMap>("those without an owner are gone", None, left).await;
    assert!(found.iter().any(|one| one.metadata.name.as_deref() == Some("kept")), "{found:?}");
    let astray = |found: &[Event]| {
        let named = |event: &Event| event.involved_object.name.as_deref() == Some("astray");
        found.iter().any(|event| event.reason.as_deref() == Some("OwnerRefInvalidNamespace") && named(event))
    };
    cluster.until::<Event>("who names an owner of another namespace is told", Some("a"), astray).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_definition_goes_after_its_objects_and_may_come_again() {
    let cluster = Cluster::start().await;
    let told = |there: bool| {
        move |found: &[APIService]| {
            found.iter().any(|one| one.metadata.name.as_deref() == Some("v1.example.com")) == there
        }
    };
    for _ in 0..2 {
        establish(&cluster, definition()).await;
        cluster.until::<APIService>("its version is told of", None, told(true)).await;
        cluster.create(tab("one", "default", json!({}))).await;
        cluster.create(tab("kept", "default", json!({"finalizers": ["example.com/keep"]}))).await;
        cluster.delete::<CustomResourceDefinition>(None, NAME).await;
        let resource = cluster.registry.find("example.com", "v1", "tabs").expect("it is served as long as it is there");
        let release = |mut old: Value| {
            old["metadata"]["finalizers"] = json!([]);
            Ok(old)
        };
        let options = WriteOptions::system("test");
        cluster.registry.modify(&resource, None, NS, "kept", release, &options).await.expect("it waits for that");
        cluster.until::<CustomResourceDefinition>("gone", None, <[_]>::is_empty).await;
        assert!(cluster.registry.find("example.com", "v1", "tabs").is_none());
        cluster.until::<APIService>("and no more", None, told(false)).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_budget_counts_the_pods_that_a_custom_resource_wants() {
    let cluster = Cluster::start().await;
    cluster.add_node("n1").await;
    let mut scaled = definition();
    scaled["spec"]["versions"][0]["subresources"] =
        json!({"scale": {"specReplicasPath": ".spec.count", "statusReplicasPath": ".status.count"}});
    establish(&cluster, scaled).await;
    let mut owner = tab("owner", "default", json!({}));
    owner["spec"] = json!({"count": 4});
    let owner = cluster.create(owner).await;
    for name in ["a", "b", "c"] {
        let by = json!([{"apiVersion": "example.com/v1", "kind": "Tab", "name": "owner", "controller": true,
            "uid": owner.index().uid.0}]);
        let metadata = json!({"name": name, "namespace": "default", "labels": {"app": "a"}, "ownerReferences": by});
        let spec = json!({"containers": [{"name": "main", "image": "pal.local/a:1"}]});
        cluster.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await;
    }
    let spec = json!({"maxUnavailable": "50%", "selector": {"matchLabels": {"app": "a"}}});
    let metadata = json!({"name": "b", "namespace": "default"});
    cluster
        .create(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}))
        .await;
    let counted = |found: &[PodDisruptionBudget]| {
        let status = found[0].status.clone().unwrap_or_default();
        (status.expected_pods, status.desired_healthy, status.disruptions_allowed) == (Some(4), Some(2), Some(1))
    };
    cluster.until::<PodDisruptionBudget>("four are wanted, and one of three can be spared", NS, counted).await;
    cluster.stop().await;
}
