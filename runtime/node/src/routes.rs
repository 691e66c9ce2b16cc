//! What the network has to know of Services, endpoints and nodes, followed from the API.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use pal_network::{Endpoint, Network, PortConflict, PortRoute, ServiceRoute};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::addresses::Block;
use crate::events::Occurrence;
use crate::pods::Shared;
use crate::register::PEER_ADDRESS;
use crate::watch::observe;

/// Changes that come within this time of each other are told the network once.
const COLLECT: Duration = Duration::from_millis(20);
/// How soon a NodePort that was taken is tried again.
const PORT_RETRY: Duration = Duration::from_secs(5);

/// Namespace and name.
type Key = (String, String);

/// The part of a Service that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ServiceFacts {
    uid: String,
    cluster_ip: Option<Ipv4Addr>,
    /// Name, port, node port.
    ports: Vec<(String, u16, Option<u16>)>,
}

/// The part of an EndpointSlice that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SliceFacts {
    /// The Service's name.
    service: String,
    /// Name and port.
    ports: Vec<(String, u16)>,
    /// Ready ones: address and node.
    endpoints: Vec<(Ipv4Addr, Arc<str>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NodeFacts {
    peer: Option<SocketAddr>,
    blocks: Vec<Block>,
}

#[derive(Default)]
struct Known {
    services: BTreeMap<Key, ServiceFacts>,
    slices: BTreeMap<Key, SliceFacts>,
    nodes: HashMap<String, NodeFacts>,
}

/// Follows what the network needs.
pub(crate) struct Routes {
    node: String,
    network: Network,
    shared: Arc<Shared>,
    known: Mutex<Known>,
    changed: Notify,
}

impl Routes {
    pub(crate) fn new(node: String, network: Network, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { node, network, shared, known: Mutex::default(), changed: Notify::new() })
    }

    /// Follows the API and feeds the network until `cancel`.
    pub(crate) async fn run(self: Arc<Self>, client: kube::Client, cancel: CancellationToken) {
        let config = watcher::Config::default;
        let services = observe(Api::<Service>::all(client.clone()), config(), cancel.clone(), |event| {
            self.change(event, |k| &mut k.services, service_facts);
        });
        let slices = observe(Api::<EndpointSlice>::all(client.clone()), config(), cancel.clone(), |event| {
            self.change(event, |k| &mut k.slices, slice_facts);
        });
        let nodes = observe(Api::<Node>::all(client), config(), cancel.clone(), |event| self.node_event(event));
        tokio::join!(services, slices, nodes, self.feed(cancel.clone()));
    }

    fn change<K, F: PartialEq>(
        &self,
        event: Event<K>,
        map: impl Fn(&mut Known) -> &mut BTreeMap<Key, F>,
        facts: impl Fn(&K) -> Option<F>,
    ) where
        K: kube::Resource<DynamicType = ()>,
    {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let map = map(&mut known);
        match event {
            // The list that follows is complete; until it is, what was known goes on to be true.
            Event::Init => return,
            Event::InitApply(object) | Event::Apply(object) => match facts(&object) {
                Some(facts) if map.get(&key(&object)) == Some(&facts) => return,
                Some(facts) => drop(map.insert(key(&object), facts)),
                None => drop(map.remove(&key(&object))),
            },
            Event::Delete(object) => drop(map.remove(&key(&object))),
            Event::InitDone => {}
        }
        self.changed.notify_one();
    }

    fn node_event(&self, event: Event<Node>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init | Event::InitDone => return,
            Event::InitApply(node) | Event::Apply(node) => {
                let name = node.metadata.name.clone().unwrap_or_default();
                let facts = node_facts(&node);
                if name == self.node && !facts.blocks.is_empty() {
                    self.shared.set_blocks(&facts.blocks);
                }
                if known.nodes.get(&name) == Some(&facts) {
                    return;
                }
                known.nodes.insert(name, facts);
            }
            Event::Delete(node) => drop(known.nodes.remove(node.metadata.name.as_deref().unwrap_or_default())),
        }
        self.changed.notify_one();
    }

    async fn feed(&self, cancel: CancellationToken) {
        let mut conflicts = HashSet::new();
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(PORT_RETRY), if !conflicts.is_empty() => {}
                () = cancel.cancelled() => return,
            }
            conflicts = self.tell(&conflicts);
            tokio::select! {
                () = tokio::time::sleep(COLLECT) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Tells the network all. Returns the NodePorts that could not be opened; those in `told` were told of before.
    fn tell(&self, told: &HashSet<u16>) -> HashSet<u16> {
        let (routes, peers, blocks) = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let peers = known.nodes.iter().filter(|(name, _)| **name != self.node);
            let peers: HashMap<_, _> = peers.filter_map(|(name, f)| Some((name.clone(), f.peer?))).collect();
            let blocks = known
                .nodes
                .iter()
                .flat_map(|(name, f)| f.blocks.iter().flat_map(|b| b.thirds()).map(|b| (b, name.clone())));
            (service_routes(&known), peers, blocks.collect())
        };
        self.network.set_nodes(peers, blocks);
        let conflicts = self.network.set_services(&routes);
        for conflict in conflicts.iter().filter(|c| !told.contains(&c.address.port())) {
            tracing::warn!(%conflict, "node port");
            self.note(conflict);
        }
        conflicts.iter().map(|c| c.address.port()).collect()
    }

    /// Tells who looks at the Service that its port is taken on this node.
    fn note(&self, conflict: &PortConflict) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let port = Some(conflict.address.port());
        let has_port =
            |(_, facts): &(&Key, &ServiceFacts)| facts.ports.iter().any(|(_, _, node_port)| *node_port == port);
        let Some(((namespace, name), facts)) = known.services.iter().find(has_port) else { return };
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(facts.uid.clone()),
            ..ObjectReference::default()
        };
        self.shared.recorder.record(Occurrence {
            about: Arc::new(about),
            field_path: None,
            warning: true,
            reason: "NodePortUnavailable",
            message: format!("node {}: {conflict}", self.node),
            at: jiff::Timestamp::now(),
        });
    }
}

fn key<K: kube::Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|p| *p > 0)
}

fn service_facts(service: &Service) -> Option<ServiceFacts> {
    let spec = service.spec.as_ref()?;
    let ports = spec.ports.iter().flatten().filter(|p| p.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let ports =
        ports.filter_map(|p| Some((p.name.clone().unwrap_or_default(), port(p.port)?, p.node_port.and_then(port))));
    Some(ServiceFacts {
        uid: service.metadata.uid.clone().unwrap_or_default(),
        cluster_ip: spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()),
        ports: ports.collect(),
    })
}

fn slice_facts(slice: &EndpointSlice) -> Option<SliceFacts> {
    let service = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?.clone();
    let ports = slice.ports.iter().flatten().filter_map(|p| Some((p.name.clone().unwrap_or_default(), port(p.port?)?)));
    let ready =
        slice.endpoints.iter().flatten().filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
    let endpoints = ready.filter_map(|e| {
        let ip = e.addresses.first()?.parse().ok()?;
        Some((ip, Arc::from(e.node_name.as_deref().unwrap_or_default())))
    });
    Some(SliceFacts { service, ports: ports.collect(), endpoints: endpoints.collect() })
}

fn node_facts(node: &Node) -> NodeFacts {
    let peer = node.metadata.annotations.as_ref().and_then(|a| a.get(PEER_ADDRESS)).and_then(|a| a.parse().ok());
    let spec = node.spec.as_ref();
    let mut blocks: Vec<Block> =
        spec.and_then(|s| s.pod_cidrs.as_ref()).into_iter().flatten().filter_map(|b| Block::parse(b)).collect();
    if blocks.is_empty() {
        blocks.extend(spec.and_then(|s| s.pod_cidr.as_deref()).and_then(Block::parse));
    }
    NodeFacts { peer, blocks }
}

fn service_routes(known: &Known) -> Vec<ServiceRoute> {
    let mut slices: HashMap<(&str, &str), Vec<&SliceFacts>> = HashMap::new();
    for ((namespace, _), slice) in &known.slices {
        slices.entry((namespace, &slice.service)).or_default().push(slice);
    }
    let route = |((namespace, name), facts): (&Key, &ServiceFacts)| {
        let slices = slices.get(&(namespace.as_str(), name.as_str()));
        let endpoints = |port: &str| -> Vec<Endpoint> {
            let mut found = Vec::new();
            for slice in slices.into_iter().flatten() {
                let Some((_, number)) = slice.ports.iter().find(|(n, _)| n == port) else { continue };
                let all = slice.endpoints.iter();
                found.extend(all.map(|(ip, node)| Endpoint { ip: *ip, port: *number, node: node.to_string() }));
            }
            found
        };
        let ports = facts.ports.iter().map(|(name, port, node_port)| PortRoute {
            name: name.clone(),
            port: *port,
            node_port: *node_port,
            endpoints: endpoints(name),
        });
        ServiceRoute {
            namespace: namespace.clone(),
            name: name.clone(),
            cluster_ip: facts.cluster_ip,
            ports: ports.collect(),
        }
    };
    known.services.iter().map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_endpoints_of_all_slices_are_behind_the_port_of_their_name() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "ns", "name": "web"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [
                {"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}]},
        }))
        .unwrap();
        let slice = |name: &str, port: u16, ip: &str, ready: Option<bool>| -> EndpointSlice {
            serde_json::from_value(serde_json::json!({
                "metadata": {"namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "ports": [{"name": "http", "port": port}],
                "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}, "nodeName": "n1"}],
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
        let routes = service_routes(&known);
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0].cluster_ip, Some("10.96.0.7".parse().unwrap()));
        let ports = &routes[0].ports;
        assert_eq!((ports.len(), ports[0].port, ports[0].node_port), (1, 80, Some(30080)));
        let endpoints: Vec<_> = ports[0].endpoints.iter().map(|e| format!("{}:{}@{}", e.ip, e.port, e.node)).collect();
        assert_eq!(endpoints, ["100.64.0.1:8080@n1", "100.64.0.2:9090@n1"]);
    }
}
