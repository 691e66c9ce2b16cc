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
}

/// One port of a Service with the endpoints that are ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortRoute {
    /// Empty where the Service has one unnamed port.
    pub name: String,
    pub port: u16,
    pub node_port: Option<u16>,
    pub endpoints: Vec<Endpoint>,
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
            };
            for port in &route.ports {
                let live = Arc::new(LivePort {
                    label: format!("{}/{}:{}", route.namespace, route.name, port.port),
                    endpoints: port.endpoints.iter().map(|e| table.endpoint(e, previous)).collect(),
                    affinity: route.affinity.map(|timeout| previous.affinity(route, port.port, timeout)),
                });
                if let Some(node_port) = port.node_port {
                    table.by_node_port.insert(node_port, live.clone());
                }
                service.ports.insert(port.port, live);
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
        let (short, ours) = match host.strip_suffix(domain).and_then(|rest| rest.strip_suffix(".svc.")) {
            Some(short) => (short, true),
            None => match host.strip_suffix(".svc") {
                Some(short) => (short, true),
                None => (host.as_str(), false),
            },
        };
        let (name, namespace, ours) = match short.split_once('.') {
            None => (short, origin.namespace.as_str(), true),
            Some((name, namespace)) => (name, namespace, ours),
        };
        match self.by_name.get(namespace).and_then(|services| services.get(name).map(|service| &**service)) {
            Some(LiveService { external_name: Some(alias), .. }) => Err(alias.clone()),
            Some(service) => Ok(service.target(&host, port)),
            None if ours => Ok(Target::NoSuchHost(host)),
            None => Ok(Target::Outside),
        }
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

impl LiveService {
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
mod tests {
    use super::*;

    fn table() -> Table {
        let route = |namespace: &str, name: &str, ip: Option<[u8; 4]>, port: u16, pods: &[u8]| ServiceRoute {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            cluster_ip: ip.map(Ipv4Addr::from),
            external_name: None,
            affinity: None,
            ports: vec![PortRoute {
                name: String::new(),
                port,
                node_port: ip.map(|_| 30_000 + port),
                endpoints: pods
                    .iter()
                    .map(|n| Endpoint { ip: Ipv4Addr::new(100, 64, 0, *n), port: 8080, node: "a".to_owned() })
                    .collect(),
            }],
        };
        let alias = |name: &str, of: &str| ServiceRoute {
            external_name: Some(of.to_owned()),
            name: name.to_owned(),
            namespace: "default".to_owned(),
            ..ServiceRoute::default()
        };
        let routes = [
            alias("shop", "web.other.svc.cluster.local"),
            alias("away", "example.com"),
            alias("round", "round.default.svc.cluster.local"),
            route("default", "web", Some([10, 96, 0, 7]), 80, &[1, 2]),
            route("other", "web", Some([10, 96, 0, 8]), 81, &[3]),
            route("default", "db", None, 5432, &[4]),
            route("default", "kubernetes", Some([10, 96, 0, 1]), 443, &[]),
            route("other", "kubernetes", Some([10, 96, 0, 2]), 443, &[]),
        ];
        Table::new(&routes, &Table::default())
    }

    fn check(host: &str, port: u16, expected: &str) {
        check_for(None, host, port, expected);
    }

    fn origin(ip: Option<Ipv4Addr>) -> PodOrigin {
        PodOrigin { namespace: "default".to_owned(), name: "asker".to_owned(), ip }
    }

    fn check_for(ip: Option<Ipv4Addr>, host: &str, port: u16, expected: &str) {
        let target = match table().resolve(&origin(ip), host, port, "cluster.local") {
            Target::Port(port) => format!("service {}", port.label),
            Target::Pod(address) => format!("pod {address}"),
            Target::Api => "the API".to_owned(),
            Target::NoSuchPort(name) => format!("no port {name}"),
            Target::NoSuchHost(name) => format!("no host {name}"),
            Target::Denied(_) => "denied".to_owned(),
            Target::Outside => "outside".to_owned(),
        };
        assert_eq!(target, expected, "{host}:{port}");
    }

    #[test]
    fn a_service_is_found_by_all_of_its_names_and_by_its_address() {
        check("web", 80, "service default/web:80");
        check("WEB.", 80, "service default/web:80");
        check("web.default", 80, "service default/web:80");
        check("web.other", 81, "service other/web:81");
        check("web.other.svc", 81, "service other/web:81");
        check("web.other.svc.cluster.local", 81, "service other/web:81");
        check("web.other.svc.cluster.local.", 81, "service other/web:81");
        check("10.96.0.8", 81, "service other/web:81");
    }

    #[test]
    fn one_service_stands_for_the_api() {
        check("kubernetes", 443, "the API");
        check("kubernetes.default.svc.cluster.local", 443, "the API");
        check("10.96.0.1", 443, "the API");
        check("kubernetes", 80, "no port kubernetes:80");
        check("kubernetes.other", 443, "service other/kubernetes:443");
    }

    #[test]
    fn an_external_name_means_what_it_stands_for() {
        check("shop", 81, "service other/web:81");
        check("away", 81, "outside");
        check("round", 81, "no host round.default.svc.cluster.local");
    }

    #[test]
    fn pods_are_found_by_address_and_headless_services_mean_their_pods() {
        check("100.64.0.9", 1234, "pod 100.64.0.9:1234");
        check("db", 5432, "service default/db:5432");
        check("db", 8080, "pod 100.64.0.4:8080");
    }

    #[test]
    fn what_is_not_there_is_named_and_the_node_itself_is_out_of_reach() {
        check("web", 81, "no port web:81");
        check("nobody", 80, "no host nobody");
        check("web.none.svc", 80, "no host web.none.svc");
        check("localhost", 80, "denied");
        check("127.0.0.1", 80, "denied");
        check("127.8.8.8", 80, "denied");
        check("169.254.169.254", 80, "denied");
        check("0.0.0.0", 80, "denied");
        check("[::1]", 80, "denied");
        check("example.com", 80, "outside");
        check("192.0.2.1", 80, "outside");
    }

    #[test]
    fn a_pods_loopback_is_its_own() {
        let own = Some(Ipv4Addr::new(100, 64, 0, 5));
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "0.0.0.0", "[::1]", "100.64.0.5"] {
            check_for(own, host, 8080, "pod 100.64.0.5:8080");
        }
        check_for(own, "169.254.169.254", 80, "denied");
    }

    #[test]
    fn a_client_stays_with_its_endpoint_through_new_tables() {
        let route = |affinity: Option<u64>, pods: &[u8]| ServiceRoute {
            affinity: affinity.map(Duration::from_secs),
            ports: vec![PortRoute {
                port: 80,
                endpoints: pods
                    .iter()
                    .map(|n| Endpoint { ip: Ipv4Addr::new(100, 64, 0, *n), port: 8080, node: "a".to_owned() })
                    .collect(),
                ..PortRoute::default()
            }],
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            ..ServiceRoute::default()
        };
        let live = |table: &Table| table.by_name["default"]["web"].ports[&80].clone();
        let (client, now) = (Some(IpAddr::from([100, 64, 0, 99])), Instant::now());
        let picked = |table: &Table| -> std::collections::BTreeSet<usize> {
            let port = live(table);
            (0..64).filter_map(|draw: u64| port.pick(client, now, draw.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
        };
        let first = Table::new(&[route(Some(60), &[1, 2, 3])], &Table::default());
        assert_eq!(picked(&first).len(), 3);
        live(&first).took(client, now, SocketAddrV4::new(Ipv4Addr::new(100, 64, 0, 2), 8080));
        assert_eq!(picked(&first).into_iter().collect::<Vec<_>>(), [1]);
        let second = Table::new(&[route(Some(60), &[2, 3])], &first);
        assert_eq!(picked(&second).into_iter().collect::<Vec<_>>(), [0]);
        assert_eq!(picked(&Table::new(&[route(Some(60), &[1, 3])], &first)).len(), 2, "its endpoint is gone");
        assert_eq!(picked(&Table::new(&[route(Some(61), &[1, 2, 3])], &first)).len(), 3, "another time-out");
        assert_eq!(picked(&Table::new(&[route(None, &[1, 2, 3])], &first)).len(), 3, "no affinity any more");
    }

    #[test]
    fn counts_outlive_a_new_table() {
        let old = table();
        let endpoint = old.node_port(30_080).unwrap().endpoints[0].clone();
        endpoint.under_way.store(3, Ordering::Relaxed);
        let route = ServiceRoute {
            ports: vec![PortRoute {
                port: 80,
                endpoints: vec![Endpoint { ip: *endpoint.address.ip(), port: 8080, node: "a".to_owned() }],
                ..PortRoute::default()
            }],
            ..ServiceRoute::default()
        };
        let new = Table::new(&[route], &old);
        assert_eq!(new.endpoints[&(endpoint.address, "a".into())].under_way.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_node_that_claims_the_address_of_anothers_pod_does_not_get_its_requests() {
        let address = SocketAddrV4::new(Ipv4Addr::new(100, 64, 0, 1), 8080);
        let route = |name: &str, node: &str| ServiceRoute {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            cluster_ip: None,
            external_name: None,
            affinity: None,
            ports: vec![PortRoute {
                port: 80,
                endpoints: vec![Endpoint { ip: *address.ip(), port: 8080, node: node.to_owned() }],
                ..PortRoute::default()
            }],
        };
        let table = Table::new(&[route("thief", "b"), route("web", "a"), route("web2", "a")], &Table::default());
        let node = |name: &str| match table.resolve(&origin(None), name, 80, "cluster.local") {
            Target::Port(port) => port.endpoints[0].node.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!((node("thief").as_str(), node("web").as_str(), node("web2").as_str()), ("b", "a", "a"));
        assert_eq!(table.node_of(address), None);
        let alone = Table::new(&[route("web", "a"), route("web2", "a")], &table);
        assert_eq!(alone.node_of(address).as_deref(), Some("a"));
    }
}
