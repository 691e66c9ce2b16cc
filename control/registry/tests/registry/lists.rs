//! Lists: selectors, pages, versions.

use std::time::Duration;

use pal_registry::{Config, List, ListOptions, VersionMatch};
use pal_resources::ResourceVersion;
use pal_resources::selector::{FieldSelector, LabelSelector};
use serde_json::json;

use crate::cluster::{Cluster, config_map, of, pod};

fn names(list: &List) -> Vec<&str> {
    list.items.iter().map(|object| object.name()).collect()
}

async fn config_maps(cluster: &Cluster, count: usize) {
    for index in 0..count {
        cluster.create("configmaps", config_map(&format!("c{index}"), "1")).await.expect("created");
    }
}

async fn list(cluster: &Cluster, options: ListOptions) -> List {
    cluster.registry.list(&of("configmaps"), Some("default"), options).await.expect("a list")
}

#[tokio::test]
async fn a_list_holds_what_is_selected() {
    let cluster = Cluster::start().await;
    cluster.create("namespaces", json!({"metadata": {"name": "other"}})).await.expect("created");
    for (name, namespace, labels, node) in [
        ("a", "default", json!({"app": "x"}), "n1"),
        ("b", "default", json!({"app": "y"}), ""),
        ("a", "other", json!({}), "n1"),
    ] {
        let mut body = pod(name);
        body["metadata"]["namespace"] = namespace.into();
        body["metadata"]["labels"] = labels;
        if !node.is_empty() {
            body["spec"]["nodeName"] = node.into();
        }
        cluster.create("pods", body).await.expect("created");
    }
    let check = async |namespace: Option<&str>, label: &str, field: &str, expected: &[&str]| {
        let options = ListOptions {
            label: Some(LabelSelector::parse(label).expect("a selector")),
            field: Some(FieldSelector::parse(field).expect("a selector")),
            ..ListOptions::default()
        };
        let list = cluster.registry.list(&of("pods"), namespace, options).await.expect("a list");
        let found: Vec<String> = list
            .items
            .iter()
            .map(|object| format!("{}/{}", object.namespace().unwrap_or_default(), object.name()))
            .collect();
        assert_eq!(found, expected, "{namespace:?} {label:?} {field:?}");
    };
    check(None, "", "", &["default/a", "default/b", "other/a"]).await;
    check(Some("default"), "", "", &["default/a", "default/b"]).await;
    check(Some("def"), "", "", &[]).await;
    check(None, "app", "", &["default/a", "default/b"]).await;
    check(None, "app=x", "", &["default/a"]).await;
    check(None, "app!=x", "", &["default/b", "other/a"]).await;
    check(None, "", "spec.nodeName=n1", &["default/a", "other/a"]).await;
    check(None, "", "spec.nodeName=", &["default/b"]).await;
    check(None, "app=x", "spec.nodeName=n1", &["default/a"]).await;
    check(None, "", "metadata.name=a", &["default/a", "other/a"]).await;
    check(None, "", "metadata.namespace=other", &["other/a"]).await;
    check(Some("default"), "", "metadata.name=a", &["default/a"]).await;
    check(Some("default"), "", "metadata.name!=a", &["default/b"]).await;
    check(Some("default"), "", "metadata.namespace=other", &[]).await;

    let field = Some(FieldSelector::parse("spec.color=red").expect("a selector"));
    let refused = cluster.registry.list(&of("pods"), None, ListOptions { field, ..ListOptions::default() }).await;
    let status = refused.expect_err("no such field");
    assert_eq!((status.code, status.message.as_str()), (400, "field label not supported: spec.color"));
}

#[tokio::test]
async fn all_pages_show_one_version() {
    let cluster = Cluster::start().await;
    config_maps(&cluster, 5).await;
    let page = |token: Option<String>| ListOptions { limit: Some(2), continue_token: token, ..ListOptions::default() };
    let first = list(&cluster, page(None)).await;
    assert_eq!((names(&first), first.remaining), (vec!["c0", "c1"], Some(3)));

    cluster.create("configmaps", config_map("c11", "new")).await.expect("created");
    cluster.delete("configmaps", "c2", &Default::default()).await.expect("deleted");
    cluster.merge("configmaps", None, "c3", json!({"data": {"a": "2"}})).await.expect("patched");

    let second = list(&cluster, page(first.continue_token.clone())).await;
    assert_eq!((names(&second), second.remaining, second.version), (vec!["c2", "c3"], Some(1), first.version));
    assert_eq!(second.items[1].value().expect("parses")["data"]["a"], "1");
    let third = list(&cluster, page(second.continue_token)).await;
    assert_eq!((names(&third), third.remaining, third.version), (vec!["c4"], None, first.version));
    assert_eq!(third.continue_token, None);
    // A page can be asked for again.
    let again = list(&cluster, page(first.continue_token)).await;
    assert_eq!(names(&again), ["c2", "c3"]);
    assert_eq!(names(&list(&cluster, ListOptions::default()).await), ["c0", "c1", "c11", "c3", "c4"]);
}

#[tokio::test]
async fn a_page_that_is_full_and_last_has_no_next() {
    let cluster = Cluster::start().await;
    config_maps(&cluster, 2).await;
    for limit in [Some(2), Some(3), Some(0), None] {
        let list = list(&cluster, ListOptions { limit, ..ListOptions::default() }).await;
        assert_eq!((list.items.len(), list.continue_token, list.remaining), (2, None, None), "{limit:?}");
    }
}

#[tokio::test]
async fn whoever_takes_any_version_gets_the_whole_list() {
    let cluster = Cluster::start().await;
    config_maps(&cluster, 5).await;
    let any = ListOptions { limit: Some(2), resource_version: Some(ResourceVersion(0)), ..ListOptions::default() };
    let whole = list(&cluster, any).await;
    assert_eq!((whole.items.len(), whole.continue_token), (5, None));
    let page = list(&cluster, ListOptions { limit: Some(2), ..ListOptions::default() }).await;
    assert_eq!((page.items.len(), page.continue_token.is_some()), (2, true));
}

#[tokio::test]
async fn a_page_that_is_asked_for_too_late_has_expired() {
    let cluster = Cluster::with(Config { continue_ttl: Duration::ZERO, ..Config::default() }).await;
    config_maps(&cluster, 3).await;
    let first = list(&cluster, ListOptions { limit: Some(1), ..ListOptions::default() }).await;
    let next = ListOptions { limit: Some(1), continue_token: first.continue_token, ..ListOptions::default() };
    let refused = cluster.registry.list(&of("configmaps"), Some("default"), next).await.expect_err("expired");
    assert_eq!(refused.code, 410);
    let told: serde_json::Value = serde_json::from_slice(&refused.to_json()).expect("a Status is JSON");
    assert_eq!(told.get("details"), None);
    // The client may go on in what is there by now.
    let rest = told["metadata"]["continue"].as_str().map(str::to_owned);
    assert!(rest.is_some(), "{told}");
    let rest = list(&cluster, ListOptions { continue_token: rest, ..ListOptions::default() }).await;
    assert!(!rest.items.is_empty() && rest.continue_token.is_none());
    assert!(refused.message.starts_with("The provided continue parameter is too old"), "{}", refused.message);
}

#[tokio::test]
async fn a_list_is_as_new_as_asked() {
    let cluster = Cluster::start().await;
    config_maps(&cluster, 2).await;
    let now = list(&cluster, ListOptions::default()).await.version;
    let check = async |version: Option<u64>,
                       version_match: Option<VersionMatch>,
                       limit: Option<u64>,
                       expected: Result<usize, (u16, &str)>| {
        let options = ListOptions {
            resource_version: version.map(ResourceVersion),
            version_match,
            limit,
            ..ListOptions::default()
        };
        let listed = cluster.registry.list(&of("configmaps"), Some("default"), options).await;
        match (listed, expected) {
            (Ok(list), Ok(count)) => assert_eq!(list.items.len(), count, "{version:?} {version_match:?}"),
            (Err(status), Err((code, message))) => {
                assert_eq!(status.code, code, "{}", status.message);
                assert!(status.message.contains(message), "{}", status.message);
            }
            (listed, expected) => panic!("{version:?} {version_match:?}: {listed:?}, expected {expected:?}"),
        }
    };
    let (exact, newer) = (Some(VersionMatch::Exact), Some(VersionMatch::NotOlderThan));
    check(Some(0), None, None, Ok(2)).await;
    check(Some(0), newer, None, Ok(2)).await;
    check(Some(1), None, None, Ok(2)).await;
    check(Some(1), newer, Some(1), Ok(1)).await;
    check(Some(now.0), exact, None, Ok(2)).await;
    check(Some(now.0), None, Some(1), Ok(1)).await;
    check(Some(now.0 - 1), exact, None, Ok(1)).await;
    check(Some(now.0 - 1), None, Some(5), Ok(1)).await;
    check(Some(now.0 - 2), exact, None, Ok(0)).await;
    check(Some(now.0 + 50), None, None, Err((504, "Too large resource version: "))).await;
    check(Some(0), exact, None, Err((422, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")))
        .await;
    check(None, exact, None, Err((422, "is forbidden unless resourceVersion is provided"))).await;
}

#[tokio::test]
async fn a_version_from_before_the_history_is_too_old() {
    let cluster = Cluster::with_history(Config::default(), 4).await;
    config_maps(&cluster, 1).await;
    let version_match = Some(VersionMatch::Exact);
    let then = list(&cluster, ListOptions::default()).await.version;
    for number in 1..=8 {
        cluster.create("configmaps", config_map(&format!("d{number}"), "1")).await.expect("created");
    }
    let options = ListOptions { resource_version: Some(then), version_match, ..ListOptions::default() };
    let refused = cluster.registry.list(&of("configmaps"), Some("default"), options).await.expect_err("too old");
    assert_eq!((refused.code, &*refused.message), (410, "The resourceVersion for the provided list is too old."));
}

#[tokio::test]
async fn all_pages_of_an_earlier_version_show_it() {
    let cluster = Cluster::start().await;
    config_maps(&cluster, 4).await;
    let before = list(&cluster, ListOptions::default()).await.version;
    cluster.delete("configmaps", "c1", &Default::default()).await.expect("deleted");
    cluster.delete("configmaps", "c2", &Default::default()).await.expect("deleted");
    let exact = ListOptions {
        resource_version: Some(before),
        version_match: Some(VersionMatch::Exact),
        limit: Some(2),
        ..ListOptions::default()
    };
    let first = list(&cluster, exact).await;
    let next = ListOptions { continue_token: first.continue_token.clone(), ..ListOptions::default() };
    let rest = list(&cluster, next).await;
    assert_eq!((names(&first), names(&rest)), (vec!["c0", "c1"], vec!["c2", "c3"]));
    assert_eq!((first.version, rest.version), (before, before));
    assert_eq!(names(&list(&cluster, ListOptions::default()).await), ["c0", "c3"]);
    // What was kept for those pages is not taken for the pods of then.
    let pods = ListOptions { limit: Some(2), continue_token: first.continue_token, ..ListOptions::default() };
    let refused = cluster.registry.list(&of("pods"), Some("default"), pods).await.expect_err("nothing of pods is kept");
    assert_eq!(refused.code, 410);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_spoils_no_other() {
    let cluster = Cluster::start().await;
    config_maps(&cluster, 1).await;
    let broken =
        pal_store::Op::Put { key: "configmaps/default/bad".into(), value: "{\"kind\":".into(), revision_at: None };
    cluster.registry.store().commit(pal_store::Txn::of(vec![broken])).await.expect("written");
    let status = cluster.get("configmaps", "bad").await.expect_err("unreadable");
    assert_eq!(status.code, 500);
    assert!(status.message.contains("configmaps/default/bad"), "{}", status.message);
    let label = Some(LabelSelector::parse("!x").expect("a selector"));
    let found = list(&cluster, ListOptions { label, ..ListOptions::default() }).await;
    assert_eq!(names(&found), ["c0"]);
    let deletion = cluster.delete("configmaps", "bad", &Default::default()).await.expect("deleted");
    assert!(deletion.gone);
    assert_eq!(names(&list(&cluster, ListOptions::default()).await), ["c0"]);
}
