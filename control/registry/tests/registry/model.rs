//! What must hold after any history: a follower of a watch ends with what a list shows, and what is taken is what
//! Services hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use pal_registry::{Cidr, Config, ListOptions, Registry, WatchEvent, WatchOptions};
use pal_resources::ResourceVersion;
use pal_resources::selector::LabelSelector;
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_test, config_map, of};

/// A sequence that looks random and is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn scribble(registry: Registry, seed: u64) {
    let mut dice = Dice(seed);
    let maps = of("configmaps");
    for round in 0..60 {
        let name = format!("c{}", dice.roll(6));
        let app = ["x", "y"][usize::try_from(dice.roll(2)).expect("small")];
        match dice.roll(4) {
            0 => {
                let mut body = config_map(&name, &round.to_string());
                body["metadata"]["labels"] = json!({"app": app});
                let _ = registry.create(&maps, Some("default"), body, &by_test()).await;
            }
            1 => drop(registry.delete(&maps, Some("default"), &name, &Default::default()).await),
            _ => {
                let change = |mut object: Value| {
                    object["metadata"]["labels"] = json!({"app": app});
                    object["data"]["a"] = format!("{seed} {round}").into();
                    Ok(object)
                };
                let _ = registry.modify(&maps, None, Some("default"), &name, change, &by_test()).await;
            }
        }
    }
}

/// Applies events until it has seen everything up to `end`.
async fn follow(
    registry: Registry,
    label: &str,
    after: ResourceVersion,
    end: impl Future<Output = ResourceVersion>,
) -> BTreeMap<String, String> {
    let label = LabelSelector::parse(label).expect("a selector");
    let options = WatchOptions { label: Some(label), after: Some(after), bookmarks: true, ..WatchOptions::default() };
    let mut watch = registry.watch(&of("configmaps"), Some("default"), options).await.expect("a watch");
    let mut known = BTreeMap::new();
    let end = end.await;
    loop {
        match watch.next().await.expect("an event") {
            WatchEvent::Added(object) => {
                let text = String::from_utf8_lossy(object.json()).into_owned();
                assert_eq!(known.insert(object.name().to_owned(), text), None, "added twice");
            }
            WatchEvent::Modified(object) => {
                let text = String::from_utf8_lossy(object.json()).into_owned();
                assert!(known.insert(object.name().to_owned(), text).is_some(), "modified and never added");
            }
            WatchEvent::Deleted(object) => {
                assert!(known.remove(object.name()).is_some(), "deleted and never added");
            }
            WatchEvent::Bookmark { version, .. } if version >= end => return known,
            WatchEvent::Bookmark { .. } => {}
            WatchEvent::Error(status) => panic!("{status}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_ends_with_what_a_list_shows() {
    let config = Config { bookmark_interval: std::time::Duration::from_millis(5), ..Config::default() };
    let cluster = Cluster::with(config).await;
    let registry = &cluster.registry;
    let listed = async |label: &str| {
        let label = Some(LabelSelector::parse(label).expect("a selector"));
        let options = ListOptions { label, ..ListOptions::default() };
        registry.list(&of("configmaps"), Some("default"), options).await.expect("a list")
    };
    let start = listed("").await.version;
    let (done, ended) = tokio::sync::watch::channel(None);
    let followers = ["", "app=x", "app!=x"].map(|label| {
        let mut ended = ended.clone();
        let end = async move {
            let end = ended.wait_for(Option::is_some).await.expect("the writers end");
            end.expect("it is some")
        };
        tokio::spawn(follow(registry.clone(), label, start, end))
    });
    let writers = (1..5).map(|seed| tokio::spawn(scribble(registry.clone(), seed))).collect::<Vec<_>>();
    for writer in writers {
        writer.await.expect("no panic");
    }
    // One write more, so that the store is past all that the followers must have seen.
    cluster.create("namespaces", json!({"metadata": {"name": "end"}})).await.expect("created");
    done.send(Some(listed("").await.version)).expect("they follow");
    for (label, follower) in ["", "app=x", "app!=x"].into_iter().zip(followers) {
        let known = follower.await.expect("no panic");
        let list = listed(label).await;
        let expected: BTreeMap<String, String> = list
            .items
            .iter()
            .map(|object| (object.name().to_owned(), String::from_utf8_lossy(object.json()).into_owned()))
            .collect();
        assert_eq!(known, expected, "{label}");
    }
}

async fn juggle(registry: Registry, seed: u64) {
    let mut dice = Dice(seed);
    let services = of("services");
    for _ in 0..40 {
        let name = format!("s{}", dice.roll(8));
        let kind = ["ClusterIP", "NodePort", "ExternalName"][usize::try_from(dice.roll(3)).expect("small")];
        let spec = json!({"type": kind, "externalName": "example.org", "ports": [{"port": 80}]});
        match dice.roll(3) {
            0 => {
                let body = json!({"metadata": {"name": name}, "spec": spec});
                let _ = registry.create(&services, Some("default"), body, &by_test()).await;
            }
            1 => drop(registry.delete(&services, Some("default"), &name, &Default::default()).await),
            _ => {
                let change = |mut object: Value| {
                    object["spec"]["type"] = kind.into();
                    object["spec"]["externalName"] = "example.org".into();
                    Ok(object)
                };
                let _ = registry.modify(&services, None, Some("default"), &name, change, &by_test()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_taken_is_what_services_hold() {
    let config = Config {
        service_cidr: Cidr::new(Ipv4Addr::new(10, 96, 0, 0), 28),
        node_ports: 30000..=30004,
        ..Config::default()
    };
    let cluster = Cluster::with(config).await;
    let jugglers = (1..5).map(|seed| tokio::spawn(juggle(cluster.registry.clone(), seed))).collect::<Vec<_>>();
    for juggler in jugglers {
        juggler.await.expect("no panic");
    }
    let services = cluster.registry.list(&of("services"), None, ListOptions::default()).await.expect("a list");
    let mut held = BTreeSet::new();
    for service in &services.items {
        let spec = service.value().expect("parses")["spec"].clone();
        if let Some(address) = spec["clusterIP"].as_str() {
            assert!(held.insert(format!("clusterips/{address}")), "{address} twice");
        }
        if let Some(port) = spec["ports"][0]["nodePort"].as_u64() {
            assert!(held.insert(format!("nodeports/{port}")), "{port} twice");
        }
    }
    let snapshot = cluster.registry.store().applied();
    let taken: BTreeSet<String> = ["clusterips/", "nodeports/"]
        .into_iter()
        .flat_map(|prefix| snapshot.range(prefix, None).map(|entry| entry.key().to_string()).collect::<Vec<_>>())
        .collect();
    assert_eq!(taken, held);
}
