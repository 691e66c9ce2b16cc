//! Many writers of one object.

use pal_registry::{Patch, PatchKind};
use pal_resources::codec::FieldValidation;
use serde_json::json;

use crate::cluster::{Cluster, by_test, config_map, of};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patches_of_different_fields_all_happen() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a", "1")).await.expect("created");
    let patches = (0..32).map(|index| {
        let registry = cluster.registry.clone();
        tokio::spawn(async move {
            let body = json!({"data": {format!("k{index}"): "v"}});
            let patch = Patch { kind: PatchKind::Merge, body, validation: FieldValidation::Strict, found: Vec::new() };
            registry.patch(&of("configmaps"), None, Some("default"), "a", &patch, &by_test()).await
        })
    });
    for patch in patches.collect::<Vec<_>>() {
        patch.await.expect("no panic").expect("patched");
    }
    let data = cluster.value("configmaps", "a").await["data"].clone();
    assert_eq!(data.as_object().expect("data").len(), 33);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_updates_of_one_version_one_happens() {
    let cluster = Cluster::start().await;
    let created = cluster.create("configmaps", config_map("a", "0")).await.expect("created");
    let updates = (0..16).map(|index| {
        let registry = cluster.registry.clone();
        let mut body = created.value().expect("parses");
        body["data"]["a"] = index.to_string().into();
        body["data"]["b"] = "changed".into();
        tokio::spawn(
            async move { registry.update(&of("configmaps"), None, Some("default"), "a", body, &by_test()).await },
        )
    });
    let mut won = Vec::new();
    for update in updates.collect::<Vec<_>>() {
        match update.await.expect("no panic") {
            Ok(object) => won.push(object),
            Err(status) => assert_eq!(status.code, 409, "{}", status.message),
        }
    }
    let [winner] = won.as_slice() else { panic!("{} won", won.len()) };
    assert_eq!(cluster.get("configmaps", "a").await.expect("stored").json(), winner.json());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_counter_counts_every_modification() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a", "0")).await.expect("created");
    let writers = (0..8).map(|_| {
        let registry = cluster.registry.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let change = |mut object: serde_json::Value| {
                    let count: u64 = object["data"]["a"].as_str().and_then(|text| text.parse().ok()).expect("a number");
                    object["data"]["a"] = (count + 1).to_string().into();
                    Ok(object)
                };
                let written = registry.modify(&of("configmaps"), None, Some("default"), "a", change, &by_test()).await;
                written.expect("written");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    assert_eq!(cluster.value("configmaps", "a").await["data"]["a"], "80");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_behind_in_a_namespace_that_terminates() {
    let cluster = Cluster::start().await;
    cluster.create("namespaces", json!({"metadata": {"name": "n"}})).await.expect("created");
    let creates = (0..32).map(|index| {
        let registry = cluster.registry.clone();
        tokio::spawn(async move {
            let body = config_map(&format!("c{index}"), "1");
            registry.create(&of("configmaps"), Some("n"), body, &by_test()).await
        })
    });
    let creates = creates.collect::<Vec<_>>();
    let terminating = cluster.delete("namespaces", "n", &Default::default()).await.expect("marked");
    for create in creates {
        match create.await.expect("no panic") {
            Ok(object) => assert!(object.version() < terminating.object.version()),
            Err(status) => assert_eq!(status.code, 403, "{}", status.message),
        }
    }
}
