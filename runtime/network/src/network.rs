//! The network of one node: its pods' ports, its view of the Services, its sockets.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use pal_proxy::{Backend, Body, Client, Limits, SharedBackend, refusal, serve_http};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::dispatch::{Failure, forwarded};
use crate::outbound::{PodOrigin, PodOutbound};
use crate::peer::{self, Peers};
use crate::peer_tls::{PeerTls, TlsError};
use crate::table::{LivePort, ServiceRoute, Table};

/// What a node's network is made with.
#[derive(Clone)]
pub struct NetworkConfig {
    pub node_name: String,
    /// Where NodePorts listen.
    pub node_ip: IpAddr,
    /// Where other nodes connect; port 0 chooses one.
    pub peer_listen: SocketAddr,
    pub tls: PeerTls,
    /// `cluster.local`
    pub cluster_domain: String,
}

/// Why a node's network could not start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error(
        "cannot listen for other nodes on {address}: {source}; the node's address (--node-ip) is one of this machine"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A port on which this node cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct PortConflict {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// The network of one node; clones share it.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: NetworkConfig,
    pub peers: Peers,
    pub tasks: TaskTracker,
    table: RwLock<Arc<Table>>,
    attached: RwLock<HashMap<SocketAddrV4, SharedBackend>>,
    /// The /24 block of pod addresses that each node holds.
    blocks: RwLock<HashMap<[u8; 3], Arc<str>>>,
    /// The addresses of all nodes, at which their NodePorts are.
    node_addresses: RwLock<HashSet<IpAddr>>,
    server_tls: RwLock<Arc<rustls::ServerConfig>>,
    /// What answers for the API.
    pub api: OnceLock<SharedBackend>,
    node_ports: Mutex<HashMap<u16, CancellationToken>>,
    stop: CancellationToken,
}

impl Inner {
    pub fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn attached(&self, address: SocketAddrV4) -> Option<SharedBackend> {
        self.attached.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
    }

    pub fn node_of_block(&self, ip: Ipv4Addr) -> Option<Arc<str>> {
        let [a, b, c, _] = ip.octets();
        self.blocks.read().unwrap_or_else(PoisonError::into_inner).get(&[a, b, c]).cloned()
    }

    /// The NodePort that a pod means by an address of a node. What the pod itself serves at its loopback goes before.
    pub fn node_port(&self, origin: &PodOrigin, host: &str, port: u16) -> Option<Arc<LivePort>> {
        let ip: IpAddr = host.parse().ok()?;
        let node_addresses = self.node_addresses.read().unwrap_or_else(PoisonError::into_inner);
        let own = origin.ip.filter(|_| ip.is_loopback()).map(|own| SocketAddrV4::new(own, port));
        if !node_addresses.contains(&ip) || own.is_some_and(|own| self.attached(own).is_some()) {
            return None;
        }
        self.table().node_port(port)
    }

    pub fn server_tls(&self) -> Arc<rustls::ServerConfig> {
        self.server_tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A pod's port on the network; detached when dropped.
pub struct Attachment {
    inner: Arc<Inner>,
    address: SocketAddrV4,
    backend: SharedBackend,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut attached = self.inner.attached.write().unwrap_or_else(PoisonError::into_inner);
        // A successor at the same address may have taken the place already.
        if attached.get(&self.address).is_some_and(|b| Arc::ptr_eq(b, &self.backend)) {
            attached.remove(&self.address);
        }
    }
}

/// A port of the node on which a pod is reached; closed when dropped.
pub struct HostPort(#[expect(dead_code, reason = "held for its drop")] DropGuard);

impl Network {
    /// Starts the network: listens for other nodes.
    pub async fn start(config: NetworkConfig) -> Result<Self, NetworkError> {
        let configs = config.tls.configs()?;
        let address = config.peer_listen;
        let listener = TcpListener::bind(address).await.map_err(|source| NetworkError::Listen { address, source })?;
        let mut config = config;
        config.peer_listen = listener.local_addr().map_err(|source| NetworkError::Listen { address, source })?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let inner = Arc::new(Inner {
            config,
            peers: Peers::new(configs.client, tasks.clone(), stop.clone()),
            tasks: tasks.clone(),
            table: RwLock::default(),
            attached: RwLock::default(),
            blocks: RwLock::default(),
            node_addresses: RwLock::default(),
            server_tls: RwLock::new(configs.server),
            api: OnceLock::new(),
            node_ports: Mutex::default(),
            stop: stop.clone(),
        });
        tasks.spawn(peer::serve(listener, inner.clone(), stop));
        Ok(Self { inner })
    }

    /// Where other nodes reach this one.
    pub fn peer_addr(&self) -> SocketAddr {
        self.inner.config.peer_listen
    }

    /// Uses renewed certificates for connections from now on.
    pub fn set_tls(&self, tls: &PeerTls) -> Result<(), TlsError> {
        let configs = tls.configs()?;
        self.inner.peers.set_client(configs.client);
        *self.inner.server_tls.write().unwrap_or_else(PoisonError::into_inner) = configs.server;
        Ok(())
    }

    /// Says what answers what pods ask of the API. The first call counts.
    pub fn set_api(&self, backend: SharedBackend) {
        let _ = self.inner.api.set(backend);
    }

    /// Puts a pod's port on the network.
    pub fn attach(&self, ip: Ipv4Addr, port: u16, backend: SharedBackend) -> Attachment {
        let address = SocketAddrV4::new(ip, port);
        self.inner.attached.write().unwrap_or_else(PoisonError::into_inner).insert(address, backend.clone());
        Attachment { inner: self.inner.clone(), address, backend }
    }

    /// Whether something of this node is attached there: what a tcpSocket probe asks.
    pub fn listens(&self, ip: Ipv4Addr, port: u16) -> bool {
        self.inner.attached(SocketAddrV4::new(ip, port)).is_some()
    }

    /// What is attached there: what an httpGet probe calls.
    pub fn backend(&self, ip: Ipv4Addr, port: u16) -> Option<SharedBackend> {
        self.inner.attached(SocketAddrV4::new(ip, port))
    }

    /// Says where the other nodes are, and which block of pod addresses (the first three octets) each holds.
    pub fn set_nodes(&self, addresses: HashMap<String, SocketAddr>, blocks: HashMap<[u8; 3], String>) {
        self.inner.peers.set(addresses);
        let blocks = blocks.into_iter().map(|(block, node)| (block, node.into())).collect();
        *self.inner.blocks.write().unwrap_or_else(PoisonError::into_inner) = blocks;
    }

    /// Says at which addresses the nodes are, each of which stands for all NodePorts.
    pub fn set_node_addresses(&self, addresses: HashSet<IpAddr>) {
        *self.inner.node_addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Says which Services there are and which endpoints are ready; NodePorts open and close accordingly. Returns those
    /// that could not be opened; they are tried again at the next call.
    pub fn set_services(&self, routes: &[ServiceRoute]) -> Vec<PortConflict> {
        let table = Arc::new(Table::new(routes, &self.inner.table()));
        *self.inner.table.write().unwrap_or_else(PoisonError::into_inner) = table.clone();
        let mut open = self.inner.node_ports.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|port, listener| {
            let wanted = table.node_port(*port).is_some();
            if !wanted {
                listener.cancel();
            }
            wanted
        });
        let mut conflicts = Vec::new();
        for port in table.node_ports() {
            if open.contains_key(&port) {
                continue;
            }
            match self.open_node_port(port) {
                Ok(listener) => drop(open.insert(port, listener)),
                Err(source) => {
                    conflicts.push(PortConflict { address: SocketAddr::new(self.inner.config.node_ip, port), source });
                }
            }
        }
        conflicts
    }

    /// Opens a port of the node for what a pod serves, at the node's own address where none is given.
    pub fn open_host_port(
        &self,
        ip: Option<IpAddr>,
        port: u16,
        backend: SharedBackend,
    ) -> Result<HostPort, PortConflict> {
        let address = SocketAddr::new(ip.unwrap_or(self.inner.config.node_ip), port);
        let stop = self.listen(address, backend).map_err(|source| PortConflict { address, source })?;
        Ok(HostPort(stop.drop_guard()))
    }

    fn open_node_port(&self, port: u16) -> io::Result<CancellationToken> {
        let backend = Arc::new(NodePort { inner: self.inner.clone(), port });
        self.listen(SocketAddr::new(self.inner.config.node_ip, port), backend)
    }

    fn listen(&self, address: SocketAddr, backend: SharedBackend) -> io::Result<CancellationToken> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let stop = self.inner.stop.child_token();
        self.inner.tasks.spawn(serve_http(listener, backend, Limits::default(), stop.clone()));
        Ok(stop)
    }

    /// The way out for one pod.
    pub fn outbound(&self, origin: PodOrigin) -> PodOutbound {
        PodOutbound::new(self.inner.clone(), origin)
    }

    /// Closes the sockets and waits for what is under way, for `limit` at most.
    pub async fn stop(&self, limit: Duration) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(limit, self.inner.tasks.wait()).await.is_err() {
            tracing::debug!(left = self.inner.tasks.len(), "connections outlived the network's stop");
        }
    }
}

/// What stands behind one NodePort, looked up for each request.
struct NodePort {
    inner: Arc<Inner>,
    port: u16,
}

impl Backend for NodePort {
    fn call(&self, mut request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let (inner, port) = (self.inner.clone(), self.port);
        let client = request.extensions().get::<Client>().map(|client| client.0);
        if let Some(client) = client {
            forwarded(request.headers_mut(), client);
        }
        Box::pin(async move {
            let Some(live) = inner.table().node_port(port) else {
                return refusal(StatusCode::SERVICE_UNAVAILABLE, "no Service has this port any more");
            };
            match inner.to_port(&live, client, request).await {
                Ok(response) => response,
                Err(failure) => {
                    let status = match &failure {
                        Failure::NoEndpoints(_) | Failure::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
                        Failure::Peer(_) => StatusCode::BAD_GATEWAY,
                    };
                    refusal(status, &failure.to_string())
                }
            }
        })
    }
}
