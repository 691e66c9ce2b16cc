//! Deleting many at once, and what is deleted by age.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pal_registry::{Config, DeleteOptions, ListOptions};
use pal_resources::selector::LabelSelector;
use serde_json::json;

use crate::cluster::{Cluster, config_map, of};

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_it_is_selected() {
    let cluster = Cluster::start().await;
    for index in 0..6 {
        let mut body = config_map(&format!("c{index}"), "1");
        body["metadata"]["labels"] = json!({"odd": (index % 2 == 1).to_string()});
        cluster.create("configmaps", body).await.expect("created");
    }
    let label = Some(LabelSelector::parse("odd=true").expect("a selector"));
    let selected = ListOptions { label, ..ListOptions::default() };
    let resource = of("configmaps");
    let delete = async |list: ListOptions, dry_run: bool| {
        let options = DeleteOptions { dry_run, ..DeleteOptions::default() };
        let deleted = cluster.registry.delete_collection(&resource, Some("default"), list, &options).await;
        deleted.expect("deleted").items.len()
    };
    assert_eq!(delete(selected.clone(), true).await, 3);
    assert_eq!(delete(selected.clone(), false).await, 3);
    assert_eq!(delete(selected, false).await, 0);
    assert_eq!(delete(ListOptions::default(), false).await, 3);
}

#[tokio::test]
async fn system_priority_classes_go_with_a_collection_and_not_alone() {
    let cluster = Cluster::start().await;
    let name = "system-node-critical";
    let class = json!({"metadata": {"name": name}, "value": 2_000_001_000});
    cluster.create("priorityclasses", class).await.expect("created");
    let refused = cluster.delete("priorityclasses", name, &DeleteOptions::default()).await.expect_err("it is needed");
    assert_eq!(refused.code, 403, "{}", refused.message);
    let (classes, all) = (of("priorityclasses"), ListOptions::default());
    let deleted = cluster.registry.delete_collection(&classes, None, all, &DeleteOptions::default()).await;
    assert_eq!(deleted.expect("deleted").items.len(), 1);
    assert_eq!(cluster.get("priorityclasses", name).await.expect_err("gone").code, 404);
}

#[tokio::test]
async fn events_are_kept_for_their_time() {
    let cluster = Cluster::with(Config { event_ttl: Duration::from_secs(3600), ..Config::default() }).await;
    let now = Timestamp::now();
    let at = |seconds: i64| now.checked_add(SignedDuration::from_secs(seconds)).expect("a time");
    for (name, last) in [("old", -7200), ("new", -60), ("ahead", 1_000_000)] {
        let body = json!({
            "metadata": {"name": name}, "reason": "Tested", "type": "Normal", "message": "m",
            "involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"},
            "firstTimestamp": crate::typed::seconds(at(last)), "lastTimestamp": crate::typed::seconds(at(last))
        });
        cluster.create("events", body).await.expect("created");
    }
    let check = async |seconds: i64, most: usize, expected: usize| {
        assert_eq!(cluster.registry.purge_events(at(seconds), most).await, Ok(expected), "{seconds}");
    };
    // An hour counts from the later of the last occurrence and the creation.
    check(0, 10, 0).await;
    check(3500, 10, 0).await;
    check(3700, 2, 2).await;
    check(3700, 10, 1).await;
    check(3700, 10, 0).await;
}
