//! Watches: where they begin, what they show, when they end.

use std::time::Duration;

use pal_registry::{Config, ListOptions, Watch, WatchEvent, WatchOptions};
use pal_resources::ResourceVersion;
use pal_resources::selector::{FieldSelector, LabelSelector};
use serde_json::json;

use crate::cluster::{Cluster, config_map, next, of, pod};

async fn watch(cluster: &Cluster, options: WatchOptions) -> Watch {
    cluster.registry.watch(&of("configmaps"), Some("default"), options).await.expect("a watch")
}

async fn check(watch: &mut Watch, expected: &[&str]) {
    for expected in expected {
        assert_eq!(next(watch).await, *expected);
    }
}

async fn now(cluster: &Cluster) -> ResourceVersion {
    let list = cluster.registry.list(&of("configmaps"), None, ListOptions::default()).await;
    list.expect("a list").version
}

/// a is created, changed and deleted, with b created in between.
async fn history(cluster: &Cluster) {
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    cluster.merge("configmaps", None, "a", json!({"data": {"a": "2"}})).await.expect("patched");
    cluster.create("configmaps", config_map("b", "1")).await.expect("created");
    cluster.delete("configmaps", "a", &Default::default()).await.expect("deleted");
}

const HISTORY: &[&str] = &["ADDED a", "MODIFIED a", "ADDED b", "DELETED a"];

#[tokio::test]
async fn a_watch_from_a_version_tells_what_came_after() {
    let cluster = Cluster::start().await;
    let start = now(&cluster).await;
    history(&cluster).await;
    let mut past = watch(&cluster, WatchOptions { after: Some(start), ..WatchOptions::default() }).await;
    check(&mut past, HISTORY).await;
    let after = Some(now(&cluster).await);
    let mut live = watch(&cluster, WatchOptions { after, ..WatchOptions::default() }).await;
    cluster.create("configmaps", config_map("c", "1")).await.expect("created");
    check(&mut live, &["ADDED c"]).await;
    check(&mut past, &["ADDED c"]).await;
    assert!(live.try_next().is_none());
}

#[tokio::test]
async fn a_watch_from_scratch_begins_with_what_there_is() {
    let cluster = Cluster::start().await;
    history(&cluster).await;
    cluster.create("configmaps", config_map("c", "1")).await.expect("created");
    for after in [None, Some(ResourceVersion(0))] {
        let mut watch = watch(&cluster, WatchOptions { after, ..WatchOptions::default() }).await;
        check(&mut watch, &["ADDED b", "ADDED c"]).await;
        cluster.merge("configmaps", None, "b", json!({"data": {"a": format!("{after:?}")}})).await.expect("patched");
        check(&mut watch, &["MODIFIED b"]).await;
    }
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let cluster = Cluster::start().await;
    history(&cluster).await;
    let version = now(&cluster).await;
    for after in [None, Some(ResourceVersion(0)), Some(ResourceVersion(1)), Some(version)] {
        let options =
            WatchOptions { after, send_initial_events: Some(true), bookmarks: true, ..WatchOptions::default() };
        let mut watch = watch(&cluster, options).await;
        check(&mut watch, &["ADDED b"]).await;
        let Some(WatchEvent::Bookmark { version: told, initial_events_end: true }) = watch.next().await else {
            panic!("no bookmark");
        };
        assert_eq!(told, version);
        assert!(watch.try_next().is_none());
    }
    let bookmark = pal_registry::bookmark(&of("configmaps"), version, true);
    let bookmark: serde_json::Value = serde_json::from_slice(&bookmark).expect("parses");
    assert_eq!(
        bookmark,
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {
            "resourceVersion": version.to_string(), "annotations": {"k8s.io/initial-events-end": "true"}}})
    );
}

#[tokio::test]
async fn a_watch_without_initial_events_begins_now() {
    let cluster = Cluster::start().await;
    history(&cluster).await;
    for after in [None, Some(ResourceVersion(0))] {
        let options = WatchOptions { after, send_initial_events: Some(false), ..WatchOptions::default() };
        let mut watch = watch(&cluster, options).await;
        assert!(watch.try_next().is_none());
        cluster.merge("configmaps", None, "b", json!({"data": {"a": format!("{after:?}")}})).await.expect("patched");
        check(&mut watch, &["MODIFIED b"]).await;
    }
}

#[tokio::test]
async fn objects_come_and_go_as_they_enter_and_leave_the_selection() {
    let cluster = Cluster::start().await;
    let label = Some(LabelSelector::parse("app=x").expect("a selector"));
    let after = Some(now(&cluster).await);
    let mut watch = watch(&cluster, WatchOptions { label, after, ..WatchOptions::default() }).await;
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let label = async |value: &str| {
        let body = json!({"metadata": {"labels": {"app": value}}});
        cluster.merge("configmaps", None, "a", body).await.expect("patched").version()
    };
    label("x").await;
    check(&mut watch, &["ADDED a"]).await;
    cluster.merge("configmaps", None, "a", json!({"data": {"a": "2"}})).await.expect("patched");
    check(&mut watch, &["MODIFIED a"]).await;
    let left = label("y").await;
    let Some(WatchEvent::Deleted(gone)) = watch.next().await else { panic!("not deleted") };
    // The last state that was selected, at the version at which it no longer was.
    let value = gone.value().expect("parses");
    assert_eq!((&value["metadata"]["labels"]["app"], gone.version()), (&json!("x"), left));
    assert_eq!(value["metadata"]["resourceVersion"], left.to_string());
    cluster.merge("configmaps", None, "a", json!({"data": {"a": "3"}})).await.expect("patched");
    label("x").await;
    check(&mut watch, &["ADDED a"]).await;
    cluster.delete("configmaps", "a", &Default::default()).await.expect("deleted");
    check(&mut watch, &["DELETED a"]).await;
}

#[tokio::test]
async fn one_object_is_watched_by_its_name() {
    let cluster = Cluster::start().await;
    let field = Some(FieldSelector::parse("metadata.name=a").expect("a selector"));
    let mut watch = watch(&cluster, WatchOptions { field, ..WatchOptions::default() }).await;
    cluster.create("configmaps", config_map("ab", "1")).await.expect("created");
    history(&cluster).await;
    check(&mut watch, &["ADDED a", "MODIFIED a", "DELETED a"]).await;
}

#[tokio::test]
async fn a_node_sees_its_pods_come() {
    let cluster = Cluster::start().await;
    let field = Some(FieldSelector::parse("spec.nodeName=n1").expect("a selector"));
    let options = WatchOptions { field, ..WatchOptions::default() };
    let mut watch = cluster.registry.watch(&of("pods"), None, options).await.expect("a watch");
    for name in ["a", "b"] {
        cluster.create("pods", pod(name)).await.expect("created");
    }
    for (name, node) in [("a", "n2"), ("b", "n1")] {
        let binding = pal_registry::Binding::to(node);
        cluster.registry.bind("default", name, &binding, &crate::cluster::by_test()).await.expect("bound");
    }
    check(&mut watch, &["ADDED b"]).await;
}

#[tokio::test]
async fn a_deleted_object_is_shown_at_the_version_of_its_delete() {
    let cluster = Cluster::start().await;
    let mut watch = watch(&cluster, WatchOptions::default()).await;
    let created = cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    cluster.delete("configmaps", "a", &Default::default()).await.expect("deleted");
    check(&mut watch, &["ADDED a"]).await;
    let Some(WatchEvent::Deleted(gone)) = watch.next().await else { panic!("not deleted") };
    assert!(gone.version() > created.version());
    assert_eq!(gone.value().expect("parses")["metadata"]["resourceVersion"], gone.version().to_string());
    assert_eq!(gone.version(), now(&cluster).await);
}

#[tokio::test]
async fn a_version_that_is_too_old_is_told_as_an_event() {
    let cluster = Cluster::with_history(Config::default(), 4).await;
    for index in 0..20 {
        cluster.create("configmaps", config_map(&format!("c{index}"), "1")).await.expect("created");
    }
    let mut watch = watch(&cluster, WatchOptions { after: Some(ResourceVersion(3)), ..WatchOptions::default() }).await;
    let told = next(&mut watch).await;
    assert!(told.starts_with("ERROR 410 too old resource version: 3 ("), "{told}");
    assert_eq!(next(&mut watch).await, "END");
}

#[tokio::test]
async fn bookmarks_come_when_something_else_has_happened() {
    let config = Config { bookmark_interval: Duration::from_millis(2), ..Config::default() };
    let cluster = Cluster::with(config).await;
    let mut watch = watch(&cluster, WatchOptions { bookmarks: true, ..WatchOptions::default() }).await;
    for name in ["one", "two"] {
        let waiting = tokio::spawn(async move { (watch.next().await, watch) });
        cluster.create("namespaces", json!({"metadata": {"name": name}})).await.expect("created");
        let version = now(&cluster).await;
        let (told, back) = waiting.await.expect("no panic");
        watch = back;
        let Some(WatchEvent::Bookmark { version: told, initial_events_end: false }) = told else {
            panic!("{told:?}");
        };
        assert_eq!(told, version);
    }
}

#[tokio::test]
async fn a_watch_ends_with_the_store() {
    let cluster = Cluster::start().await;
    let mut watch = watch(&cluster, WatchOptions::default()).await;
    cluster.registry.store().close().await;
    assert_eq!(next(&mut watch).await, "END");
}

#[tokio::test]
async fn a_watch_from_a_version_that_has_not_been_is_told_to_begin_anew() {
    let cluster = Cluster::start().await;
    let ahead = ResourceVersion(now(&cluster).await.0 + 1_000);
    let mut watch =
        watch(&cluster, WatchOptions { after: Some(ahead), bookmarks: true, ..WatchOptions::default() }).await;
    let told = next(&mut watch).await;
    assert!(told.starts_with("ERROR 410 "), "{told}");
    assert_eq!(next(&mut watch).await, "END");
}
