//! What every cluster begins with.

use pal_registry::{Bootstrap, Config, ListOptions, Registry};
use pal_store::{Store, StoreConfig};
use serde_json::json;

use crate::cluster::{Cluster, of};

fn endpoint(text: &str) -> Bootstrap {
    Bootstrap { endpoint: text.parse().expect("an address") }
}

#[tokio::test]
async fn a_cluster_begins_with_what_clients_expect() {
    let cluster = Cluster::start().await;
    cluster.registry.bootstrap(&endpoint("192.168.7.1:6443")).await.expect("bootstrapped");
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let value = cluster.value("namespaces", namespace).await;
        assert_eq!(value["status"]["phase"], "Active");
    }
    let spec = cluster.value("services", "kubernetes").await["spec"].clone();
    assert_eq!(spec["clusterIP"], "10.96.0.1");
    let port = &spec["ports"][0];
    assert_eq!((&port["name"], &port["port"], &port["targetPort"]), (&json!("https"), &json!(443), &json!(6443)));
    let slice = cluster.value("endpointslices", "kubernetes").await;
    assert_eq!(
        (&slice["endpoints"][0]["addresses"], &slice["ports"][0]["port"]),
        (&json!(["192.168.7.1"]), &json!(6443))
    );
    for role in ["cluster-admin", "admin", "edit", "view", "system:node", "system:discovery"] {
        cluster.value("clusterroles", role).await;
    }
    let binding = cluster.value("clusterrolebindings", "cluster-admin").await;
    assert_eq!(binding["subjects"][0]["name"], "system:masters");
}

#[tokio::test]
async fn a_second_start_changes_only_the_address() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = async || {
        let store = StoreConfig { dir: dir.path().to_owned(), ..StoreConfig::default() };
        let store = Store::open(store).await.expect("the store opens");
        (Registry::new(store.clone(), Config::default()), store)
    };
    let version = async |registry: &Registry| {
        registry.list(&of("services"), None, ListOptions::default()).await.expect("a list").version
    };
    let (registry, store) = open().await;
    registry.bootstrap(&endpoint("127.0.0.1:6443")).await.expect("bootstrapped");
    let first = version(&registry).await;
    registry.bootstrap(&endpoint("127.0.0.1:6443")).await.expect("bootstrapped");
    assert_eq!(version(&registry).await, first);
    store.close().await;
    drop((registry, store));

    let (registry, store) = open().await;
    assert_eq!(version(&registry).await, first);
    registry.bootstrap(&endpoint("127.0.0.1:7443")).await.expect("bootstrapped");
    let services = registry.list(&of("services"), None, ListOptions::default()).await.expect("a list");
    let spec = services.items[0].value().expect("parses")["spec"].clone();
    assert_eq!((&spec["ports"][0]["targetPort"], &spec["clusterIP"]), (&json!(7443), &json!("10.96.0.1")));
    store.close().await;
}
