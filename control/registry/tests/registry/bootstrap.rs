//! What every cluster begins with.

use pal_registry::{Bootstrap, Config, DeleteOptions, ListOptions, Read, Registry};
use pal_store::{Store, StoreConfig};
use serde_json::json;

use crate::cluster::{Cluster, of};

fn endpoint(text: &str) -> Bootstrap {
    Bootstrap { servers: text.split(' ').map(|text| text.parse().expect("an address")).collect() }
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
async fn the_api_is_found_at_all_servers_and_no_longer_at_those_that_went() {
    let cluster = Cluster::start().await;
    let check = async |servers: &str, expected: &[(&str, &str, u16)]| {
        cluster.registry.publish_servers(&endpoint(servers).servers).await.expect("published");
        let list = cluster.registry.list(&of("endpointslices"), Some("default"), ListOptions::default()).await;
        let mut found: Vec<(String, String, u64)> = Vec::new();
        for slice in list.expect("a list").items {
            let slice = slice.value().expect("parses");
            for endpoint in slice["endpoints"].as_array().expect("endpoints") {
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let port = slice["ports"][0]["port"].as_u64().unwrap_or_default();
                found.push((text(&slice["metadata"]["name"]), text(&endpoint["addresses"][0]), port));
            }
        }
        let expected: Vec<_> =
            expected.iter().map(|(name, ip, port)| ((*name).to_owned(), (*ip).to_owned(), u64::from(*port))).collect();
        assert_eq!(found, expected, "{servers}");
        let endpoints = cluster.value("endpoints", "kubernetes").await;
        assert_eq!(endpoints["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"], "true");
        let subsets = endpoints["subsets"].as_array().cloned().unwrap_or_default();
        let addresses: usize =
            subsets.iter().map(|subset| subset["addresses"].as_array().expect("addresses").len()).sum();
        assert_eq!(addresses, expected.len(), "{endpoints}");
    };
    check("192.168.7.1:6443", &[("kubernetes", "192.168.7.1", 6443)]).await;
    let two = [("kubernetes", "192.168.7.1", 6443), ("kubernetes", "192.168.7.2", 6443)];
    check("192.168.7.2:6443 192.168.7.1:6443", &two).await;
    let ports = [("kubernetes", "192.168.7.2", 6443), ("kubernetes-ipv4-7443", "192.168.7.3", 7443)];
    check("192.168.7.2:6443 192.168.7.3:7443 127.0.0.1:6443", &ports).await;
    check("192.168.7.3:7443", &[("kubernetes", "192.168.7.3", 7443)]).await;
    check("[fd00::1]:7443", &[("kubernetes", "fd00::1", 7443)]).await;
    check("127.0.0.1:6443", &[]).await;
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
    let classes = of("storageclasses");
    let list = async || registry.list(&classes, None, ListOptions::default()).await.expect("a list").items.len();
    assert_eq!(list().await, 1);
    let class = registry.get(&classes, None, "standard", Read::Consistent).await.expect("the first class");
    let annotations = class.value().expect("parses")["metadata"]["annotations"].clone();
    assert_eq!(annotations["storageclass.kubernetes.io/is-default-class"], "true");
    registry.delete(&classes, None, "standard", &DeleteOptions::system("test")).await.expect("it goes");
    registry.bootstrap(&endpoint("127.0.0.1:7443")).await.expect("bootstrapped");
    assert_eq!(list().await, 0, "who removes the class of the beginning does not get it back");
    let services = registry.list(&of("services"), None, ListOptions::default()).await.expect("a list");
    let spec = services.items[0].value().expect("parses")["spec"].clone();
    assert_eq!((&spec["ports"][0]["targetPort"], &spec["clusterIP"]), (&json!(7443), &json!("10.96.0.1")));
    store.close().await;
}
