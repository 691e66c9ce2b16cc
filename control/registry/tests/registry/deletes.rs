//! Deletes that wait: for finalizers, for a grace period, for what is in a namespace.

use pal_registry::{DeleteOptions, Preconditions, Propagation};
use pal_resources::Uid;
use serde_json::json;

use crate::cluster::{Cluster, by_test, config_map, of, pod};

#[tokio::test]
async fn an_object_goes_with_its_last_finalizer() {
    let cluster = Cluster::start().await;
    let mut body = config_map("a", "1");
    body["metadata"]["finalizers"] = json!(["x/one", "x/two"]);
    cluster.create("configmaps", body).await.expect("created");
    let deletion = cluster.delete("configmaps", "a", &Default::default()).await.expect("marked");
    assert!(!deletion.gone && deletion.object.index().deleting);

    let again = cluster.delete("configmaps", "a", &Default::default()).await.expect("marked already");
    assert_eq!((again.gone, again.object.version()), (false, deletion.object.version()));
    let refused =
        cluster.merge("configmaps", None, "a", json!({"metadata": {"finalizers": ["x/one", "x/three"]}})).await;
    let status = refused.expect_err("no new finalizers");
    assert!(
        status.message.contains("no new finalizers can be added if the object is being deleted"),
        "{}",
        status.message
    );

    let patched = cluster.merge("configmaps", None, "a", json!({"metadata": {"finalizers": ["x/two"]}})).await;
    assert_eq!(&*patched.expect("patched").index().finalizers, ["x/two".into()]);
    let patched = cluster.merge("configmaps", None, "a", json!({"metadata": {"finalizers": null}})).await;
    assert!(patched.expect("removed").index().finalizers.is_empty());
    assert_eq!(cluster.get("configmaps", "a").await.expect_err("gone").code, 404);
}

#[tokio::test]
async fn the_propagation_policy_is_left_to_the_garbage_collector() {
    let cluster = Cluster::start().await;
    for (name, propagation, finalizer) in [
        ("f", Propagation::Foreground, Some("foregroundDeletion")),
        ("o", Propagation::Orphan, Some("orphan")),
        ("b", Propagation::Background, None),
    ] {
        cluster.create("configmaps", config_map(name, "1")).await.expect("created");
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let deletion = cluster.delete("configmaps", name, &options).await.expect("deleted");
        assert_eq!(deletion.gone, finalizer.is_none());
        let finalizers = &deletion.object.index().finalizers;
        assert_eq!(finalizers.first().map(|finalizer| &**finalizer), finalizer);
    }
}

#[tokio::test]
async fn a_running_pod_goes_when_its_node_confirms() {
    let cluster = Cluster::start().await;
    let mut body = pod("a");
    body["spec"]["nodeName"] = "n1".into();
    cluster.create("pods", body).await.expect("created");
    let deletion = cluster.delete("pods", "a", &Default::default()).await.expect("marked");
    let metadata = deletion.object.value().expect("parses")["metadata"].clone();
    assert_eq!((deletion.gone, &metadata["deletionGracePeriodSeconds"]), (false, &json!(30)));

    // The node still tells of it.
    let status = json!({"status": {"phase": "Running"}});
    cluster.merge("pods", Some("status"), "a", status).await.expect("told");
    let confirmed = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    let deletion = cluster.delete("pods", "a", &confirmed).await.expect("deleted");
    assert!(deletion.gone);
    assert_eq!(cluster.get("pods", "a").await.expect_err("gone").code, 404);
}

#[tokio::test]
async fn a_pod_that_no_node_has_goes_at_once() {
    let cluster = Cluster::start().await;
    cluster.create("pods", pod("a")).await.expect("created");
    assert!(cluster.delete("pods", "a", &Default::default()).await.expect("deleted").gone);
}

#[tokio::test]
async fn a_delete_holds_to_its_preconditions() {
    let cluster = Cluster::start().await;
    let created = cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let delete = async |uid: &str, version: u64| {
        let preconditions = Preconditions {
            uid: Some(Uid(uid.to_owned())).filter(|uid| !uid.0.is_empty()),
            resource_version: (version != 0).then(|| version.to_string()),
        };
        let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
        cluster.delete("configmaps", "a", &options).await.map(|deletion| deletion.gone).map_err(|status| status.code)
    };
    assert_eq!(delete("another", 0).await, Err(409));
    assert_eq!(delete("", created.version().0 + 1).await, Err(409));
    assert_eq!(delete(&created.index().uid.0, created.version().0).await, Ok(true));
}

#[tokio::test]
async fn a_dry_run_deletes_nothing() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let options = DeleteOptions { dry_run: true, ..DeleteOptions::default() };
    assert!(cluster.delete("configmaps", "a", &options).await.expect("it could be").gone);
    cluster.get("configmaps", "a").await.expect("still there");
    let refused = cluster.delete("configmaps", "b", &options).await.expect_err("not there");
    assert_eq!((refused.code, refused.message.as_str()), (404, "configmaps \"b\" not found"));
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let cluster = Cluster::start().await;
    let namespaces = of("namespaces");
    cluster.create("namespaces", json!({"metadata": {"name": "n"}})).await.expect("created");
    let deletion = cluster.delete("namespaces", "n", &Default::default()).await.expect("marked");
    assert!(!deletion.gone);
    let mut value = deletion.object.value().expect("parses");
    assert_eq!(value["status"]["phase"], "Terminating");

    value["spec"] = json!({});
    let refused = cluster.registry.update(&namespaces, None, None, "n", value.clone(), &by_test()).await;
    assert_eq!(refused.expect("nothing changes").version(), deletion.object.version());
    cluster.registry.update(&namespaces, Some("finalize"), None, "n", value, &by_test()).await.expect("finalized");
    assert_eq!(cluster.get("namespaces", "n").await.expect_err("gone").code, 404);
}

#[tokio::test]
async fn a_namespace_is_finalized_before_it_is_deleted_too() {
    let cluster = Cluster::start().await;
    let created = cluster.create("namespaces", json!({"metadata": {"name": "n"}})).await.expect("created");
    let mut value = created.value().expect("parses");
    value["spec"] = json!({});
    cluster
        .registry
        .update(&of("namespaces"), Some("finalize"), None, "n", value, &by_test())
        .await
        .expect("finalized");
    cluster.get("namespaces", "n").await.expect("nobody deleted it");
    assert!(cluster.delete("namespaces", "n", &Default::default()).await.expect("deleted").gone);
}

#[tokio::test]
async fn the_first_namespaces_stay() {
    let cluster = Cluster::start().await;
    let status = cluster.delete("namespaces", "default", &Default::default()).await.expect_err("refused");
    let words = "namespaces \"default\" is forbidden: this namespace may not be deleted";
    assert_eq!((status.code, status.message.as_str()), (403, words));
}
