//! Names and addresses: which Service or pod a host means to the pod that asks. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::affinity::Affinity;
use crate::outbound::PodOrigin;

/// The addresses of pods: the shared address space of RFC 6598, which no outside network routes.
const POD_NETWORK: (Ipv4Addr, u32) = (Ipv4Addr::new(100, 64, 0, 0), 10);

/// Services of type ExternalName that may lead to one another.
const MAX_ALIASES: usize = 8;

/// A Service as a node needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRoute {
    pub namespace: String,
    pub name: String,
    /// `None` for a headless Service.
    pub cluster_ip: Option<Ipv4Addr>,
    /// The name that this one stands for, of a Service of type ExternalName.
    pub external_name: Option<String>,
    /// How long a client that was away finds the endpoint that it had; `None` where each request goes anywhere.
    pub affinity: Option<Duration>,
    pub ports: Vec<PortRoute>,
    /// The pods behind it that have a name of their own within the Service's.
    pub pods: Vec<(String, Ipv4Addr)>,
}

/// One port of a Service with the endpoints that are ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortRoute {
    /// Empty where the Service has one unnamed port.
    pub name: String,
    pub port: u16,
    pub node_port: Option<u16>,
    /// Those to which its address leads pods of this node.
    pub endpoints: Vec<Endpoint>,
    /// Those to which the node port leads, where they are others.
    pub outside: Option<Vec<Endpoint>>,
}

/// A pod's port behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: Ipv4Addr,
    pub port: u16,
    /// The node that runs it; empty when it is the one in whose block the address is.
    pub node: String,
}

/// An endpoint with the number of requests under way to it from this node.
#[derive(Debug)]
pub(crate) struct LiveEndpoint {
    pub address: SocketAddrV4,
    pub node: Arc<str>,
    pub under_way: AtomicU32,
}

/// One port of a Service, ready for use.
#[derive(Debug)]
pub(crate) struct LivePort {
    /// `namespace/name:port`, for messages.
    pub label: String,
    pub endpoints: Vec<Arc<LiveEndpoint>>,
    affinity: Option<Arc<Affinity>>,
}

impl LivePort {
    /// The index of the endpoint to take for a client, as far as that is known, with a random draw.
    pub fn pick(&self, client: Option<IpAddr>, now: Instant, random: u64) -> Option<usize> {
        let last = self.affinity.as_ref().zip(client).and_then(|(affinity, client)| affinity.of(client, now));
        if let Some(index) = last.and_then(|last| self.endpoints.iter().position(|known| known.address == last)) {
            return Some(index);
        }
        pal_proxy::pick(self.endpoints.len(), |i| self.endpoints[i].under_way.load(Ordering::Relaxed), random)
    }

    /// Says which endpoint took the client's request.
    pub fn took(&self, client: Option<IpAddr>, now: Instant, endpoint: SocketAddrV4) {
        if let (Some(affinity), Some(client)) = (&self.affinity, client) {
            affinity.note(client, endpoint, now);
        }
    }
}

/// Namespace and name of the Service by which pods reach the API.
const API: (&str, &str) = ("default", "kubernetes");

#[derive(Debug, Default)]
struct LiveService {
    headless: bool,
    /// It stands for the API.
    api: bool,
    external_name: Option<String>,
    ports: HashMap<u16, Arc<LivePort>>,
    pods: HashMap<String, Ipv4Addr>,
}

/// What a host and port mean.
#[derive(Debug)]
pub(crate) enum Target {
    Port(Arc<LivePort>),
    Pod(SocketAddrV4),
    /// The API, whichever server answers.
    Api,
    /// The name is one of ours and nothing has it, or the Service has no such port.
    NoSuchPort(String),
    NoSuchHost(String),
    /// Never reachable from a pod: this machine itself, or the link.
    Denied(&'static str),
    /// A host that is not the cluster's.
    Outside,
}

/// All Services at one moment.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_name: HashMap<String, HashMap<String, Arc<LiveService>>>,
    by_ip: HashMap<Ipv4Addr, Arc<LiveService>>,
    by_node_port: HashMap<u16, Arc<LivePort>>,
    /// By the node, too: what one node says of an address must not become another's.
    endpoints: HashMap<(SocketAddrV4, Arc<str>), Arc<LiveEndpoint>>,
    /// Where an address is when nothing else is known of it; empty where nodes contradict each other.
    nodes: HashMap<SocketAddrV4, Option<Arc<str>>>,
}

impl Table {
    /// The table of these Services. Endpoints that `previous` has keep their counts, and Services their clients.
    pub fn new(routes: &[ServiceRoute], previous: &Self) -> Self {
        let mut table = Self::default();
        for route in routes {
            let mut service = LiveService {
                headless: route.cluster_ip.is_none(),
                api: (route.namespace.as_str(), route.name.as_str()) == API,
                external_name: route.external_name.clone(),
                ports: HashMap::new(),
                pods: route.pods.iter().cloned().collect(),
            };
            for port in &route.ports {
                let mut live = |endpoints: &[Endpoint]| {
                    Arc::new(LivePort {
                        label: format!("{}/{}:{}", route.namespace, route.name, port.port),
                        endpoints: endpoints.iter().map(|e| table.endpoint(e, previous)).collect(),
                        affinity: route.affinity.map(|timeout| previous.affinity(route, port.port, timeout)),
                    })
                };
                let inside = live(&port.endpoints);
                let outside = port.outside.as_deref().map(live);
                if let Some(node_port) = port.node_port {
                    table.by_node_port.insert(node_port, outside.unwrap_or_else(|| inside.clone()));
                }
                service.ports.insert(port.port, inside);
            }
            let service = Arc::new(service);
            if let Some(ip) = route.cluster_ip {
                table.by_ip.insert(ip, service.clone());
            }
            table.by_name.entry(route.namespace.clone()).or_default().insert(route.name.clone(), service);
        }
        table
    }

    /// What is remembered of the port's clients, if that is for so long.
    fn affinity(&self, of: &ServiceRoute, port: u16, timeout: Duration) -> Arc<Affinity> {
        let service = self.by_name.get(&of.namespace).and_then(|services| services.get(&of.name));
        let known = service.and_then(|service| service.ports.get(&port)?.affinity.clone());
        known.filter(|known| known.timeout == timeout).unwrap_or_else(|| Arc::new(Affinity::new(timeout)))
    }

    fn endpoint(&mut self, endpoint: &Endpoint, previous: &Self) -> Arc<LiveEndpoint> {
        let address = SocketAddrV4::new(endpoint.ip, endpoint.port);
        let node: Arc<str> = endpoint.node.as_str().into();
        let key = (address, node.clone());
        if let Some(live) = self.endpoints.get(&key) {
            return live.clone();
        }
        let live = match previous.endpoints.get(&key) {
            Some(live) => live.clone(),
            None => Arc::new(LiveEndpoint { address, node: node.clone(), under_way: AtomicU32::new(0) }),
        };
        if !node.is_empty() {
            self.nodes.entry(address).and_modify(|known| *known = None).or_insert(Some(node));
        }
        self.endpoints.insert(key, live.clone());
        live
    }

    /// The ports on which this node listens for Services.
    pub fn node_ports(&self) -> impl Iterator<Item = u16> {
        self.by_node_port.keys().copied()
    }

    /// What stands behind a NodePort.
    pub fn node_port(&self, port: u16) -> Option<Arc<LivePort>> {
        self.by_node_port.get(&port).cloned()
    }

    /// The node of a pod that some Service names; none when more than one node claims the address.
    pub fn node_of(&self, address: SocketAddrV4) -> Option<Arc<str>> {
        self.nodes.get(&address).cloned().flatten()
    }

    /// What `host:port` means to a pod. `domain` is the cluster's (`cluster.local`).
    pub fn resolve(&self, origin: &PodOrigin, host: &str, port: u16, domain: &str) -> Target {
        let mut host = host.to_owned();
        for _ in 0..MAX_ALIASES {
            match self.resolve_name(origin, &host, port, domain) {
                Ok(target) => return target,
                Err(alias) => host = alias,
            }
        }
        Target::NoSuchHost(host)
    }

    /// What the host means, or the name that it stands for.
    fn resolve_name(&self, origin: &PodOrigin, host: &str, port: u16, domain: &str) -> Result<Target, String> {
        let loopback = || match origin.ip {
            Some(ip) => Target::Pod(SocketAddrV4::new(ip, port)),
            None => Target::Denied("a pod reaches neither the node's loopback nor its link"),
        };
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        match literal.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() || ip.is_unspecified() => return Ok(loopback()),
            Ok(IpAddr::V4(ip)) => return Ok(self.resolve_ip(ip, host, port)),
            Ok(IpAddr::V6(ip)) if ip.is_unicast_link_local() => {
                return Ok(Target::Denied("a pod reaches neither the node's loopback nor its link"));
            }
            Ok(IpAddr::V6(_)) => return Ok(Target::Outside),
            Err(_) => {}
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if host == "localhost" || host.ends_with(".localhost") {
            return Ok(loopback());
        }
        if let Some(ip) = pod_record(&host, domain) {
            return Ok(Target::Pod(SocketAddrV4::new(ip, port)));
        }
        let mut found = names(&host, &origin.namespace, domain).into_iter().filter_map(|name| {
            let service = self.by_name.get(name.namespace)?.get(name.service)?;
            match name.pod {
                Some(pod) => service.pod(pod).map(|ip| Ok(Target::Pod(SocketAddrV4::new(ip, port)))),
                None => Some(service.external_name.clone().map_or_else(|| Ok(service.target(&host, port)), Err)),
            }
        });
        let ours = !host.contains('.') || host.ends_with(".svc") || is_full(&host, domain);
        found.next().unwrap_or_else(|| Ok(if ours { Target::NoSuchHost(host.clone()) } else { Target::Outside }))
    }

    fn resolve_ip(&self, ip: Ipv4Addr, host: &str, port: u16) -> Target {
        if ip.is_link_local() || ip.is_broadcast() {
            return Target::Denied("a pod reaches neither the node's loopback nor its link");
        }
        if let Some(service) = self.by_ip.get(&ip) {
            return service.target(host, port);
        }
        if is_pod_address(ip) { Target::Pod(SocketAddrV4::new(ip, port)) } else { Target::Outside }
    }
}

/// A name in the cluster's domain.
struct ServiceName<'a> {
    /// A pod behind the Service.
    pod: Option<&'a str>,
    service: &'a str,
    namespace: &'a str,
}

fn is_full(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with(".svc."))
}

/// What a host can mean, in the order in which a pod's resolver looks: `search NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN`.
fn names<'a>(host: &'a str, own: &'a str, domain: &str) -> Vec<ServiceName<'a>> {
    let within = |short: &'a str, namespace: Option<&'a str>| {
        let labels: Vec<&str> = short.split('.').chain(namespace).collect();
        match labels[..] {
            [service, namespace] => Some(ServiceName { pod: None, service, namespace }),
            [pod, service, namespace] => Some(ServiceName { pod: Some(pod), service, namespace }),
            _ => None,
        }
    };
    let full = host.strip_suffix(domain).and_then(|rest| rest.strip_suffix(".svc."));
    if let Some(short) = full {
        return within(short, None).into_iter().collect();
    }
    let third = host.strip_suffix(".svc").and_then(|short| within(short, None));
    [within(host, Some(own)), within(host, None), third].into_iter().flatten().collect()
}

/// The address in a name like `100-64-0-4.NAMESPACE.pod.DOMAIN`.
fn pod_record(host: &str, domain: &str) -> Option<Ipv4Addr> {
    let short = host.strip_suffix(domain)?.strip_suffix(".pod.")?;
    let (dashed, namespace) = short.split_once('.')?;
    dashed_ip(dashed).filter(|_| !namespace.contains('.'))
}

fn dashed_ip(text: &str) -> Option<Ipv4Addr> {
    text.replace('-', ".").parse().ok().filter(|ip| is_pod_address(*ip))
}

impl LiveService {
    /// The pod of that name behind a headless Service; one that has none goes by its address.
    fn pod(&self, name: &str) -> Option<Ipv4Addr> {
        if !self.headless {
            return None;
        }
        let behind = |ip: &Ipv4Addr| self.ports.values().flat_map(|p| &p.endpoints).any(|e| e.address.ip() == ip);
        self.pods.get(name).copied().or_else(|| dashed_ip(name).filter(behind))
    }

    fn target(&self, host: &str, port: u16) -> Target {
        if let Some(live) = self.ports.get(&port) {
            return if self.api { Target::Api } else { Target::Port(live.clone()) };
        }
        if self.headless {
            // A headless name means the pods themselves, so that any port of theirs can be asked for.
            let pod = self.ports.values().flat_map(|p| &p.endpoints).find(|e| e.address.port() == port);
            if let Some(pod) = pod {
                return Target::Pod(pod.address);
            }
        }
        Target::NoSuchPort(format!("{host}:{port}"))
    }
}

/// Whether the address is one of a pod.
pub(crate) fn is_pod_address(ip: Ipv4Addr) -> bool {
    let (network, prefix) = POD_NETWORK;
    let mask = u32::MAX << (32 - prefix);
    ip.to_bits() & mask == network.to_bits() & mask
}

#[cfg(test)]
mod tests;
