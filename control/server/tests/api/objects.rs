//! Objects through their lives, as clients drive them.

use http::Method;
use serde_json::json;

use crate::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

fn pod(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
}

#[tokio::test]
async fn writes_answer_as_kubernetes_does() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let made = admin.post(&format!("{CONFIGS}?dryRun=All"), &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(made.code, 201);
    admin.get(&format!("{CONFIGS}/a")).await.refused(404, "not found");
    let made = admin.post(CONFIGS, &json!({"metadata": {"name": "a"}, "data": {"x": "1"}})).await.ok();
    admin.post(CONFIGS, &json!({"metadata": {"name": "a"}})).await.refused(409, "configmaps \"a\" already exists");

    let mut changed = made.clone();
    changed["data"]["x"] = "2".into();
    let updated = admin.send(Method::PUT, &format!("{CONFIGS}/a"), changed.to_string()).await.ok();
    assert_eq!(updated["data"]["x"], "2");
    let stale = admin.send(Method::PUT, &format!("{CONFIGS}/a"), made.to_string()).await;
    stale.refused(409, "the object has been modified; please apply your changes to the latest version");

    let merge = admin.clone().with("content-type", "application/merge-patch+json");
    let patched = merge.send(Method::PATCH, &format!("{CONFIGS}/a"), r#"{"data":{"x":null,"y":"3"}}"#).await.ok();
    assert_eq!(patched["data"], json!({"y": "3"}));
    merge.send(Method::PATCH, &format!("{CONFIGS}/a"), "{").await.refused(400, "error decoding patch");
    merge.send(Method::PATCH, &format!("{CONFIGS}/zz"), "{}").await.refused(404, "configmaps \"zz\" not found");

    let gone = admin.send(Method::DELETE, &format!("{CONFIGS}/a"), r#"{"propagationPolicy":"Background"}"#).await.ok();
    assert_eq!(gone["status"], "Success");
    let details = json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]});
    assert_eq!(gone["details"], details);
    admin.send(Method::DELETE, &format!("{CONFIGS}/a"), "").await.refused(404, "configmaps \"a\" not found");
    let pods = admin.send(Method::DELETE, &format!("{CONFIGS}/a?propagationPolicy=Sideways"), "").await;
    pods.refused(422, "propagationPolicy: Unsupported value: \"Sideways\"");
    cluster.stop().await;
}

#[tokio::test]
async fn pods_are_bound_evicted_and_deleted() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    admin.post(PODS, &pod("a")).await.ok();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"},
                         "target": {"kind": "Node", "name": "n1"}});
    let bound = admin.post(&format!("{PODS}/a/binding"), &binding).await;
    assert_eq!((bound.code.as_u16(), &bound.json()["status"]), (201, &json!("Success")));
    assert_eq!(admin.get(&format!("{PODS}/a")).await.ok()["spec"]["nodeName"], "n1");
    assert_eq!(admin.post(&format!("{PODS}/a/binding"), &binding).await.code, 409);

    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let evicted = admin.post(&format!("{PODS}/a/eviction"), &eviction).await;
    assert_eq!((evicted.code.as_u16(), &evicted.json()["status"]), (201, &json!("Success")));
    let leaving = admin.get(&format!("{PODS}/a")).await.ok();
    assert!(leaving["metadata"]["deletionTimestamp"].is_string(), "the node ends it");

    admin.post(PODS, &pod("c")).await.ok();
    let mut binding = binding;
    admin.post("/api/v1/namespaces/default/bindings", &binding).await.refused(409, "pod a is being deleted");
    binding["metadata"]["name"] = json!("c");
    admin.post("/api/v1/namespaces/default/bindings", &binding).await.ok();
    assert_eq!(admin.get(&format!("{PODS}/c")).await.ok()["spec"]["nodeName"], "n1");
    admin.get("/api/v1/namespaces/default/bindings").await.refused(405, "does not allow this method");

    admin.post(PODS, &pod("b")).await.ok();
    let gone = admin.send(Method::DELETE, &format!("{PODS}/b"), "").await.ok();
    assert_eq!((&gone["kind"], &gone["metadata"]["name"]), (&json!("Pod"), &json!("b")));
    admin.get(&format!("{PODS}/b")).await.refused(404, "pods \"b\" not found");
    for sub in ["exec", "attach", "portforward"] {
        admin.get(&format!("{PODS}/a/{sub}?command=ls")).await.refused(400, "Upgrade request required");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn lists_go_on_where_they_stopped_at_one_version() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    for name in ["a", "b", "c", "d", "e"] {
        admin.post(CONFIGS, &json!({"metadata": {"name": name}})).await.ok();
    }
    let first = admin.get(&format!("{CONFIGS}?limit=2")).await.ok();
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    admin.send(Method::DELETE, &format!("{CONFIGS}/d"), "").await.ok();
    let token = first["metadata"]["continue"].as_str().expect("a token").to_owned();
    let rest = admin.get(&format!("{CONFIGS}?limit=9&continue={token}")).await.ok();
    let names: Vec<&str> =
        rest["items"].as_array().expect("items").iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["c", "d", "e"]);
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let deleted = admin.send(Method::DELETE, CONFIGS, "").await.ok();
    assert_eq!((&deleted["kind"], deleted["items"].as_array().map(Vec::len)), (&json!("ConfigMapList"), Some(4)));
    assert_eq!(deleted["items"][0].get("kind"), None, "the list says it for all");
    cluster.stop().await;
}

#[tokio::test]
async fn a_deployment_is_scaled_through_its_scale() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}});
    admin.post(path, &deployment).await.ok();
    let scale = admin.get(&format!("{path}/d/scale")).await.ok();
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(1)));
    let merge = admin.clone().with("content-type", "application/merge-patch+json");
    let scaled = merge.send(Method::PATCH, &format!("{path}/d/scale"), r#"{"spec":{"replicas":4}}"#).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 4);
    assert_eq!(admin.get(&format!("{path}/d")).await.ok()["spec"]["replicas"], 4);
    cluster.stop().await;
}

#[tokio::test]
async fn an_update_creates_what_is_not_there_where_kubernetes_lets_it() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let put = async |path: &str, kind: &str, version: &str| {
        let body = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a", "namespace": "default"}});
        admin.send(Method::PUT, path, body.to_string()).await
    };
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a";
    assert_eq!(put(lease, "Lease", "coordination.k8s.io/v1").await.code, 201);
    put(lease, "Lease", "coordination.k8s.io/v1").await.refused(422, "must be specified for an update");
    let config = format!("{CONFIGS}/a");
    put(&config, "ConfigMap", "v1").await.refused(404, "configmaps \"a\" not found");
    cluster.stop().await;
}
