//! The typed client.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use pal_registry::{ListOptions, WatchOptions};
use serde_json::json;

use crate::cluster::{Cluster, config_map, next};
use crate::writes::deployment;

/// A time as Kubernetes writes it.
pub fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).expect("a time").to_string()
}

#[tokio::test]
async fn objects_are_read_and_written_as_their_type() {
    let cluster = Cluster::start().await;
    let maps = cluster.registry.client::<ConfigMap>().by("tester");
    assert_eq!(maps.actor().user, "system:tester");
    let mut map: ConfigMap = serde_json::from_value(config_map("a", "1")).expect("a ConfigMap");
    map.metadata.namespace = Some("default".to_owned());
    let mut watch = maps.watch(Some("default"), WatchOptions::default()).await.expect("a watch");
    let mut map = maps.create(&map).await.expect("created");
    assert!(map.metadata.uid.is_some());
    map.data.get_or_insert_default().insert("b".to_owned(), "2".to_owned());
    let map = maps.update(&map).await.expect("updated");
    let patched = maps.patch_merge(None, Some("default"), "a", json!({"data": {"c": "3"}})).await.expect("patched");
    assert_eq!(patched.data.as_ref().map(|data| data.len()), Some(3));
    assert_eq!(maps.update(&map).await.expect_err("stale").code, 409);
    let (_, listed) = maps.list(Some("default"), ListOptions::default()).await.expect("a list");
    assert_eq!(listed.as_slice(), std::slice::from_ref(&patched));
    assert_eq!(maps.get(Some("default"), "a").await, Ok(patched));
    maps.delete(Some("default"), "a", &Default::default()).await.expect("deleted");
    assert_eq!(maps.find(Some("default"), "a").await, Ok(None));
    for expected in ["ADDED a", "MODIFIED a", "MODIFIED a", "DELETED a"] {
        assert_eq!(next(&mut watch).await, expected);
    }
}

#[tokio::test]
async fn a_status_is_written_apart() {
    let cluster = Cluster::start().await;
    cluster.create("deployments", deployment("a", 2)).await.expect("created");
    let deployments = cluster.registry.client::<Deployment>();
    let mut object = deployments.get(Some("default"), "a").await.expect("stored");
    let status = object.status.get_or_insert_default();
    (status.replicas, status.ready_replicas) = (Some(2), Some(2));
    object.spec.as_mut().expect("a spec").replicas = Some(9);
    let written = deployments.update_status(&object).await.expect("written");
    assert_eq!(written.status.and_then(|status| status.ready_replicas), Some(2));
    assert_eq!(written.spec.and_then(|spec| spec.replicas), Some(2));
    let written = deployments
        .modify(None, Some("default"), "a", |object| {
            object.spec.as_mut().expect("a spec").replicas = Some(3);
            Ok(())
        })
        .await;
    assert_eq!(written.expect("written").metadata.generation, Some(2));
}
