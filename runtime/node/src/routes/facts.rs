//! The parts of Services, EndpointSlices and Nodes that matter to the network, and what becomes of them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pal_network::{Endpoint, PortRoute, ServiceRoute};
use serde::{Deserialize, Serialize};

use crate::addresses::Block;
use crate::disk;
use crate::pods::services;
use crate::register::PEER_ADDRESS;

/// How long a client stays with its endpoint where the Service does not say it: three hours, as in Kubernetes.
const AFFINITY_SECONDS: u64 = 10_800;

/// Namespace and name.
pub(super) type Key = (String, String);

/// The part of a Service that matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServiceFacts {
    pub(super) uid: String,
    pub(super) cluster_ip: Option<Ipv4Addr>,
    #[serde(default)]
    external_name: Option<String>,
    /// Seconds for which a client stays with its endpoint.
    #[serde(default)]
    affinity: Option<u64>,
    /// Name, port, node port.
    pub(super) ports: Vec<(String, u16, Option<u16>)>,
    /// Pods reach only endpoints of their own node by it.
    #[serde(default)]
    inside_local: bool,
    /// Which endpoints come first, where there are any.
    #[serde(default)]
    prefers: Preference,
    /// A node port leads only to endpoints of its own node.
    #[serde(default)]
    outside_local: bool,
}

/// What traffic to a Service stays in, if it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Preference {
    #[default]
    None,
    /// The node, and if that has no endpoint, its zone.
    Node,
    Zone,
}

impl Preference {
    fn of(distribution: Option<&str>) -> Self {
        match distribution {
            Some("PreferSameNode") => Self::Node,
            Some("PreferSameZone" | "PreferClose") => Self::Zone,
            _ => Self::None,
        }
    }
}

/// The part of an EndpointSlice that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SliceFacts {
    /// The Service's name.
    service: String,
    /// Name and port.
    ports: Vec<(String, u16)>,
    /// Ready ones: address and node.
    endpoints: Vec<(Ipv4Addr, Arc<str>)>,
    /// The names of those that have one.
    #[serde(default)]
    names: Vec<(String, Ipv4Addr)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeFacts {
    pub(super) peer: Option<SocketAddr>,
    #[serde(default)]
    pub(super) addresses: Vec<IpAddr>,
    pub(super) blocks: Vec<Block>,
    #[serde(default)]
    pub(super) zone: Option<String>,
}

#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) services: BTreeMap<Key, ServiceFacts>,
    pub(super) slices: BTreeMap<Key, SliceFacts>,
    pub(super) nodes: BTreeMap<Key, NodeFacts>,
}

/// [`Known`] as a file.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    services: Vec<(Key, ServiceFacts)>,
    slices: Vec<(Key, SliceFacts)>,
    nodes: Vec<(Key, NodeFacts)>,
}

impl Known {
    /// What was known when it was kept last; nothing where that cannot be read.
    pub(super) fn load(path: &Path) -> Self {
        let kept: Kept = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self {
            services: kept.services.into_iter().collect(),
            slices: kept.slices.into_iter().collect(),
            nodes: kept.nodes.into_iter().collect(),
        }
    }

    pub(super) fn save(self, path: &Path) -> io::Result<()> {
        let kept = Kept {
            services: self.services.into_iter().collect(),
            slices: self.slices.into_iter().collect(),
            nodes: self.nodes.into_iter().collect(),
        };
        disk::replace(path, &serde_json::to_vec(&kept).map_err(io::Error::other)?, 0o600)
    }
}

/// What containers are told of the Services: of those that have an address and a port.
pub(super) fn told(known: &Known) -> services::All {
    let told = known.services.iter().filter_map(|(key, facts)| {
        let ports: Vec<(String, u16)> = facts.ports.iter().map(|(name, port, _)| (name.clone(), *port)).collect();
        Some((key.clone(), services::Told { address: facts.cluster_ip?, ports }))
    });
    told.filter(|(_, told)| !told.ports.is_empty()).collect()
}

pub(super) fn key<K: kube::Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|p| *p > 0)
}

pub(super) fn service_facts(service: &Service) -> Option<ServiceFacts> {
    let spec = service.spec.as_ref()?;
    let ports = spec.ports.iter().flatten().filter(|p| p.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let ports =
        ports.filter_map(|p| Some((p.name.clone().unwrap_or_default(), port(p.port)?, p.node_port.and_then(port))));
    Some(ServiceFacts {
        uid: service.metadata.uid.clone().unwrap_or_default(),
        cluster_ip: spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()),
        external_name: spec.external_name.clone().filter(|_| spec.type_.as_deref() == Some("ExternalName")),
        affinity: affinity(spec),
        ports: ports.collect(),
        prefers: Preference::of(spec.traffic_distribution.as_deref()),
        inside_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        outside_local: spec.external_traffic_policy.as_deref() == Some("Local"),
    })
}

fn affinity(spec: &ServiceSpec) -> Option<u64> {
    let by_client = spec.session_affinity.as_deref() == Some("ClientIP");
    let timeout = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    by_client.then(|| timeout.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(AFFINITY_SECONDS))
}

pub(super) fn slice_facts(slice: &EndpointSlice) -> Option<SliceFacts> {
    let service = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?.clone();
    let ports = slice.ports.iter().flatten().filter_map(|p| Some((p.name.clone().unwrap_or_default(), port(p.port?)?)));
    let ready =
        slice.endpoints.iter().flatten().filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
    let (mut endpoints, mut names) = (Vec::new(), Vec::new());
    for endpoint in ready {
        let Some(ip) = endpoint.addresses.first().and_then(|ip| ip.parse().ok()) else { continue };
        endpoints.push((ip, Arc::from(endpoint.node_name.as_deref().unwrap_or_default())));
        names.extend(endpoint.hostname.clone().map(|name| (name, ip)));
    }
    Some(SliceFacts { service, ports: ports.collect(), endpoints, names })
}

pub(super) fn node_facts(node: &Node) -> Option<NodeFacts> {
    let peer = node.metadata.annotations.as_ref().and_then(|a| a.get(PEER_ADDRESS)).and_then(|a| a.parse().ok());
    let spec = node.spec.as_ref();
    let mut blocks: Vec<Block> =
        spec.and_then(|s| s.pod_cidrs.as_ref()).into_iter().flatten().filter_map(|b| Block::parse(b)).collect();
    if blocks.is_empty() {
        blocks.extend(spec.and_then(|s| s.pod_cidr.as_deref()).and_then(Block::parse));
    }
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let addresses = addresses.filter_map(|address| address.address.parse().ok()).collect();
    let zone = node.metadata.labels.as_ref().and_then(|labels| labels.get("topology.kubernetes.io/zone")).cloned();
    Some(NodeFacts { peer, addresses, blocks, zone })
}

/// Whether the servers have given the node up, which only it can say otherwise.
pub(super) fn is_given_up(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
}

/// Leaves those endpoints that come first for a node, if there are any.
fn keep_near(endpoints: &mut Vec<Endpoint>, prefers: Preference, known: &Known, own: &str) {
    let zone = |node: &str| known.nodes.get(&(String::new(), node.to_owned())).and_then(|facts| facts.zone.as_deref());
    let mut keep = |is_near: &dyn Fn(&Endpoint) -> bool| {
        let some = endpoints.iter().any(is_near);
        if some {
            endpoints.retain(is_near);
        }
        some
    };
    if prefers == Preference::None || prefers == Preference::Node && keep(&|endpoint| endpoint.node == own) {
        return;
    }
    if let Some(own) = zone(own) {
        keep(&|endpoint| zone(&endpoint.node) == Some(own));
    }
}

/// The routes as the node of that name has them.
pub(super) fn service_routes(known: &Known, own: &str) -> Vec<ServiceRoute> {
    let mut slices: HashMap<(&str, &str), Vec<&SliceFacts>> = HashMap::new();
    for ((namespace, _), slice) in &known.slices {
        slices.entry((namespace, &slice.service)).or_default().push(slice);
    }
    let route = |((namespace, name), facts): (&Key, &ServiceFacts)| {
        let slices = slices.get(&(namespace.as_str(), name.as_str()));
        let endpoints = |port: &str, local: bool| -> Vec<Endpoint> {
            let mut found = Vec::new();
            for slice in slices.into_iter().flatten() {
                let Some((_, number)) = slice.ports.iter().find(|(n, _)| n == port) else { continue };
                let all = slice.endpoints.iter().filter(|(_, node)| !local || **node == *own);
                found.extend(all.map(|(ip, node)| Endpoint { ip: *ip, port: *number, node: node.to_string() }));
            }
            keep_near(&mut found, facts.prefers, known, own);
            found
        };
        let ports = facts.ports.iter().map(|(name, port, node_port)| PortRoute {
            name: name.clone(),
            port: *port,
            node_port: *node_port,
            endpoints: endpoints(name, facts.inside_local),
            outside: (facts.outside_local != facts.inside_local).then(|| endpoints(name, facts.outside_local)),
        });
        ServiceRoute {
            namespace: namespace.clone(),
            name: name.clone(),
            cluster_ip: facts.cluster_ip,
            external_name: facts.external_name.clone(),
            affinity: facts.affinity.map(Duration::from_secs),
            ports: ports.collect(),
            pods: slices.into_iter().flatten().flat_map(|slice| slice.names.iter().cloned()).collect(),
        }
    };
    known.services.iter().map(route).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_says_for_how_long_its_clients_stay_and_what_it_stands_for() {
        let check = |spec: serde_json::Value, affinity: Option<u64>, external: Option<&str>| {
            let service: Service = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap();
            let facts = service_facts(&service).unwrap();
            assert_eq!((facts.affinity, facts.external_name.as_deref()), (affinity, external), "{spec}");
        };
        let config = json!({"clientIP": {"timeoutSeconds": 60}});
        check(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}), Some(60), None);
        check(json!({"sessionAffinity": "ClientIP"}), Some(10_800), None);
        check(json!({"sessionAffinity": "None"}), None, None);
        check(json!({"type": "ExternalName", "externalName": "a.b"}), None, Some("a.b"));
        check(json!({"type": "ClusterIP", "externalName": "a.b"}), None, None);
    }

    #[test]
    fn a_node_is_given_up_when_nobody_knows_whether_it_is_ready() {
        let check = |kind: &str, status: &str, expected: bool| {
            let conditions = json!([{"type": "Other", "status": "True"}, {"type": kind, "status": status}]);
            let node = serde_json::from_value(json!({"status": {"conditions": conditions}})).unwrap();
            assert_eq!(is_given_up(&node), expected, "{kind} {status}");
        };
        check("Ready", "Unknown", true);
        check("Ready", "True", false);
        check("Ready", "False", false);
        check("DiskPressure", "Unknown", false);
        assert!(!is_given_up(&Node::default()));
    }

    #[test]
    fn ready_endpoints_of_all_slices_are_behind_the_port_of_their_name() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "web"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [
                {"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}]},
        }))
        .unwrap();
        let slice = |name: &str, port: u16, ip: &str, ready: Option<bool>| -> EndpointSlice {
            serde_json::from_value(json!({
                "metadata": {"namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "ports": [{"name": "http", "port": port}],
                "endpoints": [{
                    "addresses": [ip], "conditions": {"ready": ready}, "nodeName": "n1",
                    "hostname": (name == "a").then_some("a-0"),
                }],
            }))
            .unwrap()
        };
        let mut known = Known::default();
        known.services.insert(key(&service), service_facts(&service).unwrap());
        for slice in [
            slice("a", 8080, "100.64.0.1", Some(true)),
            slice("b", 9090, "100.64.0.2", None),
            slice("c", 8080, "100.64.0.3", Some(false)),
        ] {
            known.slices.insert(key(&slice), slice_facts(&slice).unwrap());
        }
        let routes = service_routes(&known, "n1");
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0].cluster_ip, Some("10.96.0.7".parse().unwrap()));
        let ports = &routes[0].ports;
        assert_eq!((ports.len(), ports[0].port, ports[0].node_port), (1, 80, Some(30080)));
        let endpoints: Vec<_> = ports[0].endpoints.iter().map(|e| format!("{}:{}@{}", e.ip, e.port, e.node)).collect();
        assert_eq!(endpoints, ["100.64.0.1:8080@n1", "100.64.0.2:9090@n1"]);
        assert_eq!(routes[0].pods, [("a-0".to_owned(), "100.64.0.1".parse().unwrap())]);

        let mut nearest = service_facts(&service).unwrap();
        nearest.prefers = Preference::Node;
        known.services.insert(key(&service), nearest);
        let elsewhere = slice("d", 8080, "100.64.16.1", Some(true));
        let mut elsewhere = slice_facts(&elsewhere).unwrap();
        elsewhere.endpoints[0].1 = "n3".into();
        known.slices.insert(("ns".to_owned(), "d".to_owned()), elsewhere);
        let count = |known: &Known, node: &str| service_routes(known, node)[0].ports[0].endpoints.len();
        assert_eq!(["n1", "n2", "n3"].map(|node| count(&known, node)), [2, 3, 1]);
        let in_zone = |name: &str, zone: &str| -> Node {
            let labels = json!({"topology.kubernetes.io/zone": zone});
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
        };
        for node in [in_zone("n1", "a"), in_zone("n2", "b"), in_zone("n3", "b"), in_zone("n4", "c")] {
            known.nodes.insert(key(&node), node_facts(&node).unwrap());
        }
        let counts = |known: &Known| ["n1", "n2", "n3", "n4"].map(|node| count(known, node));
        assert_eq!(counts(&known), [2, 1, 1, 3], "the node, and else its zone");
        known.services.values_mut().next().unwrap().prefers = Preference::Zone;
        assert_eq!(counts(&known), [2, 1, 1, 3]);
        known.services.values_mut().next().unwrap().prefers = Preference::None;
        assert_eq!(counts(&known), [3; 4]);
        known.nodes.clear();
        known.slices.remove(&("ns".to_owned(), "d".to_owned()));

        for (policy, inside, outside) in [
            (json!({}), 2, None),
            (json!({"internalTrafficPolicy": "Local"}), 0, Some(2)),
            (json!({"externalTrafficPolicy": "Local"}), 2, Some(0)),
            (json!({"internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"}), 0, None),
        ] {
            let mut service = serde_json::to_value(&service).unwrap();
            service["spec"].as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
            let service: Service = serde_json::from_value(service).unwrap();
            known.services.insert(key(&service), service_facts(&service).unwrap());
            let port = &service_routes(&known, "n2")[0].ports[0];
            assert_eq!((port.endpoints.len(), port.outside.as_ref().map(Vec::len)), (inside, outside), "{policy}");
            let here = &service_routes(&known, "n1")[0].ports[0];
            assert_eq!(here.endpoints.len(), 2, "{policy}");
        }
    }
}
