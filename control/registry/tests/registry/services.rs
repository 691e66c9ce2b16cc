//! Addresses and node ports.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use pal_registry::{Cidr, Config};
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_test, dry_run, of};

fn service(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec["ports"].is_null() && spec["type"] != "ExternalName" {
        spec["ports"] = json!([{"port": 80}]);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn created(cluster: &Cluster, name: &str, spec: Value) -> Value {
    let object = cluster.create("services", service(name, spec)).await.expect("created");
    object.value().expect("parses")["spec"].clone()
}

async fn refusal(cluster: &Cluster, name: &str, spec: Value) -> (u16, String) {
    let status = cluster.create("services", service(name, spec)).await.expect_err("refused");
    (status.code, status.message)
}

fn ranges(prefix: u8, ports: std::ops::RangeInclusive<u16>) -> Config {
    Config { service_cidr: Cidr::new(Ipv4Addr::new(10, 96, 0, 0), prefix), node_ports: ports, ..Config::default() }
}

#[tokio::test]
async fn a_service_gets_an_address_of_its_own() {
    let cluster = Cluster::start().await;
    let spec = created(&cluster, "a", json!({})).await;
    let address: Ipv4Addr = spec["clusterIP"].as_str().expect("an address").parse().expect("IPv4");
    assert!(Config::default().service_cidr.contains(address));
    assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
    assert_eq!((&spec["ipFamilies"], &spec["ipFamilyPolicy"]), (&json!(["IPv4"]), &json!("SingleStack")));
    assert_eq!(spec["ports"][0]["nodePort"], Value::Null);

    let headless = json!({"metadata": {"name": "b"}, "spec": {"clusterIP": "None"}});
    let headless =
        cluster.create("services", headless).await.expect("created").value().expect("parses")["spec"].clone();
    assert_eq!((&headless["clusterIP"], &headless["clusterIPs"]), (&json!("None"), &json!(["None"])));
    let elsewhere = created(&cluster, "c", json!({"type": "ExternalName", "externalName": "example.org"})).await;
    assert_eq!(elsewhere["clusterIP"], Value::Null);
    assert_eq!((headless.get("ports"), elsewhere.get("ports")), (None, None));
}

#[tokio::test]
async fn an_address_or_port_can_be_chosen_once() {
    let cluster = Cluster::start().await;
    let chosen = json!({"type": "NodePort", "clusterIP": "10.96.0.10", "ports": [{"port": 80, "nodePort": 30080}]});
    let spec = created(&cluster, "a", chosen.clone()).await;
    assert_eq!((&spec["clusterIP"], &spec["ports"][0]["nodePort"]), (&json!("10.96.0.10"), &json!(30080)));
    let refused = refusal(&cluster, "b", json!({"clusterIP": "10.96.0.10"})).await;
    let message = "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP \
                   10.96.0.10: provided IP is already allocated";
    assert_eq!(refused, (422, message.to_owned()));
    let refused = refusal(&cluster, "b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]})).await;
    let message = "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already \
                   allocated";
    assert_eq!(refused, (422, message.to_owned()));
    let refused = refusal(&cluster, "b", json!({"clusterIP": "10.97.0.10"})).await;
    let message = "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.97.0.10\"]: failed to allocate IP \
                   10.97.0.10: the provided network does not match the current range";
    assert_eq!(refused, (422, message.to_owned()));
    let block = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}});
    cluster.create("servicecidrs", block).await.expect("created");
    assert_eq!(created(&cluster, "c", json!({"clusterIP": "10.97.0.10"})).await["clusterIP"], "10.97.0.10");
    let refused = refusal(&cluster, "b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]})).await;
    let message = "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the \
                   valid range. The range of valid ports is 30000-32767";
    assert_eq!(refused, (422, message.to_owned()));
    for health in [-1, 80, 70000] {
        let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}],
            "healthCheckNodePort": health});
        let message = format!(
            "Service \"b\" is invalid: spec.healthCheckNodePort: Invalid value: {health}: provided port is not in the \
             valid range. The range of valid ports is 30000-32767"
        );
        assert_eq!(refusal(&cluster, "b", local).await, (422, message));
    }

    cluster.delete("services", "a", &Default::default()).await.expect("deleted");
    created(&cluster, "b", chosen).await;
}

#[tokio::test]
async fn protocols_of_one_port_share_a_node_port() {
    let cluster = Cluster::start().await;
    let port = |protocol: &str, number: Option<u16>| json!({"name": protocol.to_lowercase(), "port": 80, "protocol": protocol, "nodePort": number});
    let spec = json!({"type": "NodePort", "ports": [port("UDP", None), port("TCP", Some(30080))]});
    let spec = created(&cluster, "a", spec).await;
    assert_eq!((&spec["ports"][0]["nodePort"], &spec["ports"][1]["nodePort"]), (&json!(30080), &json!(30080)));
    let spec =
        created(&cluster, "b", json!({"type": "NodePort", "ports": [port("UDP", None), port("TCP", None)]})).await;
    assert_eq!(spec["ports"][0]["nodePort"], spec["ports"][1]["nodePort"]);
}

#[tokio::test]
async fn a_refused_service_takes_nothing() {
    let cluster = Cluster::with(ranges(29, 30000..=30001)).await;
    for _ in 0..10 {
        let spec = json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 0, "name": "x"}]});
        assert_eq!(refusal(&cluster, "a", spec).await.0, 422);
        let body = service("a", json!({"type": "NodePort"}));
        cluster.registry.create(&of("services"), Some("default"), body, &dry_run()).await.expect("it could be");
    }
    let two = json!({"type": "NodePort", "ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]});
    let spec = created(&cluster, "a", two).await;
    let ports: BTreeSet<u64> = [0, 1].map(|index| spec["ports"][index]["nodePort"].as_u64().expect("a port")).into();
    assert_eq!(ports, BTreeSet::from([30000, 30001]));
    let refused = refusal(&cluster, "b", json!({"type": "NodePort"})).await;
    assert_eq!(refused, (500, "Internal error occurred: failed to allocate a nodePort: range is full".to_owned()));
    // The address that the refused one had been given is free: five more of the six can be had.
    for name in ["c", "d", "e", "f", "g"] {
        created(&cluster, name, json!({})).await;
    }
    let refused = refusal(&cluster, "h", json!({})).await;
    assert_eq!(refused, (500, "Internal error occurred: failed to allocate a serviceIP: range is full".to_owned()));
}

#[tokio::test]
async fn a_change_of_type_takes_and_gives_back() {
    let cluster = Cluster::with(ranges(30, 30000..=30000)).await;
    let spec = created(&cluster, "a", json!({})).await;
    let patch = async |name: &str, spec: Value| {
        let patched = cluster.merge("services", None, name, json!({"spec": spec})).await;
        patched.expect("patched").value().expect("parses")["spec"].clone()
    };
    let exposed = patch("a", json!({"type": "NodePort"})).await;
    assert_eq!((&exposed["clusterIP"], &exposed["ports"][0]["nodePort"]), (&spec["clusterIP"], &json!(30000)));
    assert_eq!(refusal(&cluster, "b", json!({"type": "NodePort"})).await.0, 500);
    let hidden = patch("a", json!({"type": "ClusterIP"})).await;
    assert_eq!(hidden["ports"][0]["nodePort"], Value::Null);
    created(&cluster, "b", json!({"type": "NodePort"})).await;
    assert_eq!(refusal(&cluster, "c", json!({})).await.0, 500);
    let gone = patch("a", json!({"type": "ExternalName", "externalName": "example.org"})).await;
    assert_eq!((&gone["clusterIP"], &gone["clusterIPs"]), (&Value::Null, &Value::Null));
    created(&cluster, "c", json!({})).await;
}

#[tokio::test]
async fn an_update_keeps_what_the_client_leaves_out() {
    let cluster = Cluster::start().await;
    let spec = created(&cluster, "a", json!({"type": "NodePort"})).await;
    let body = service("a", json!({"type": "NodePort", "selector": {"app": "x"}}));
    let updated = cluster.registry.update(&of("services"), None, Some("default"), "a", body, &by_test()).await;
    let updated = updated.expect("updated").value().expect("parses")["spec"].clone();
    assert_eq!(updated["clusterIP"], spec["clusterIP"]);
    assert_eq!(updated["ports"][0]["nodePort"], spec["ports"][0]["nodePort"]);
    let body = json!({"spec": {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}});
    let status = cluster.merge("services", None, "a", body).await.expect_err("refused");
    assert!(status.message.contains("may not change once set"), "{}", status.message);
    let moved = json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30007}]}});
    cluster.merge("services", None, "a", moved).await.expect("moved");
    let old = spec["ports"][0]["nodePort"].clone();
    created(&cluster, "b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": old}]})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_are_made_at_once_each_gets_its_own() {
    let cluster = Cluster::with(ranges(26, 30000..=30061)).await;
    let creates = (0..80).map(|index| {
        let registry = cluster.registry.clone();
        tokio::spawn(async move {
            let body = service(&format!("s{index}"), json!({"type": "NodePort"}));
            registry.create(&of("services"), Some("default"), body, &by_test()).await
        })
    });
    let mut taken = BTreeSet::new();
    let mut full = 0;
    for create in creates.collect::<Vec<_>>() {
        match create.await.expect("no panic") {
            Ok(object) => {
                let spec = object.value().expect("parses")["spec"].clone();
                assert!(taken.insert(spec["clusterIP"].to_string()), "{spec}");
                assert!(taken.insert(spec["ports"][0]["nodePort"].to_string()), "{spec}");
            }
            Err(status) => {
                assert!(status.message.ends_with("range is full"), "{}", status.message);
                full += 1;
            }
        }
    }
    // 62 addresses, 62 ports, 80 Services.
    assert_eq!((taken.len(), full), (124, 18));
    for index in 0..80 {
        let _ = cluster.delete("services", &format!("s{index}"), &Default::default()).await;
    }
    created(&cluster, "after", json!({"type": "NodePort", "clusterIP": "10.96.0.1"})).await;
}
