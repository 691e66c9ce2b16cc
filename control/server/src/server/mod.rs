//! The listening server: connections in, and how they end.

mod client;
mod connection;
mod crowd;
mod idle;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pal_registry::Registry;
use pal_store::ServerId;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Api, Directories, Keys, Usage};
use crate::audit::Auditor;
use crate::auth::TokenKey;
use crate::pki::{ClusterCa, Identity, PkiError};
use crate::{PeerLinks, ServerConfig, ServerError, Tunnels, access, auth, kubeconfig, leases};

/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How often the serving certificate's age is looked at.
const RENEWAL_CHECK: Duration = Duration::from_secs(6 * 3600);
const ADMIN: &str = "admin";
/// Connections that wait to be accepted, where the kernel grants as many (`net.core.somaxconn`). The standard library asks for
/// 128, and a client for which there was no room tries again only a second later.
const WAITING: i32 = 4096;

/// A running API server. Dropping it ends it at once; `shutdown` lets requests finish.
pub struct Server {
    local: SocketAddr,
    ca: Arc<ClusterCa>,
    api: Arc<Api>,
    tunnels: Arc<Tunnels>,
    stop: CancellationToken,
    kill: CancellationToken,
    connections: TaskTracker,
    cut: CancellationToken,
    accepting: JoinHandle<()>,
    renewing: JoinHandle<()>,
    leases: JoinHandle<()>,
    /// What fetches the keys of those who issue tokens.
    fetching: Vec<JoinHandle<()>>,
    definitions: JoinHandle<()>,
    auditor: Option<Arc<Auditor>>,
}

impl Server {
    /// Opens the cluster's keys, listens, and serves.
    pub async fn start(config: ServerConfig, registry: Registry) -> Result<Self, ServerError> {
        let address = config.listen;
        let listener = TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })?;
        Self::start_on(listener, config, registry)
    }

    /// The same on a socket that listens already.
    pub fn start_on(listener: TcpListener, config: ServerConfig, registry: Registry) -> Result<Self, ServerError> {
        let address = config.listen;
        let listening = rustix::net::listen(&listener, WAITING).map_err(std::io::Error::from);
        listening.map_err(|source| ServerError::Listen { address, source })?;
        let ca = Arc::new(ClusterCa::open(&config.data_dir.join("pki"), SystemTime::now())?);
        let key = TokenKey::from_pkcs8(&ca.service_account_key()?).map_err(ServerError::TokenKey)?;
        let known = access::known(&config.access)?;
        let auditor = config.audit.as_ref().map(Auditor::open).transpose()?;
        let local = listener.local_addr().map_err(|source| ServerError::Listen { address, source })?;
        let names = names(&config, local, &registry);
        let certificates =
            Certificates { ca: ca.clone(), id: registry.store().identity().server, names, links: config.links.clone() };
        let serving = certificates.first()?;
        let acceptor = TlsAcceptor::from(Arc::new(tls::config(&ca, serving.clone())?));
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let fetching = known.issuers.run(&stop);
        let tunnels = Arc::new(Tunnels::default());
        let crowd = crowd::Crowd::new(config.max_connections);
        let stranger_idle = config.stranger_idle;
        let strangers = Arc::new(Semaphore::new((config.max_connections / 2).max(1)));
        let (leased, defined) = (registry.clone(), registry.clone());
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        let api = Arc::new(Api::new(
            config,
            local,
            registry,
            Keys { ca: ca.clone(), key: Arc::new(key), known, auditor: auditor.clone() },
            tunnels.clone(),
            stop.clone(),
            connections.clone(),
        ));
        let accept = connection::Accept {
            listener,
            acceptor,
            api: api.clone(),
            tunnels: tunnels.clone(),
            crowd,
            strangers,
            stranger_idle,
            tasks: connections.clone(),
            stop: stop.clone(),
            kill: kill.clone(),
            peers: TaskTracker::new(),
            cut: cut.clone(),
        };
        let accepting = tokio::spawn(accept.run());
        let renewing = tokio::spawn(certificates.renew(serving, stop.clone()));
        let leases = tokio::spawn(leases::follow(leased, tunnels.clone(), stop.clone()));
        let definitions = tokio::spawn(async move { defined.follow_definitions().await });
        Ok(Self {
            local,
            ca,
            api,
            tunnels,
            stop,
            kill,
            connections,
            cut,
            accepting,
            renewing,
            leases,
            definitions,
            fetching,
            auditor,
        })
    }

    /// Where the server listens, with the port that it really has.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The cluster's certificate authority.
    pub fn ca(&self) -> &Arc<ClusterCa> {
        &self.ca
    }

    /// What pods use.
    pub fn usage(&self) -> Usage {
        Usage(self.api.clone())
    }

    /// Directories of nodes that are volumes.
    pub fn directories(&self) -> Directories {
        Directories(self.api.clone())
    }

    /// Which nodes are connected.
    pub fn liveness(&self) -> Arc<Tunnels> {
        self.tunnels.clone()
    }

    /// A kubeconfig for the cluster's administrator, by way of `url`.
    pub fn kubeconfig(&self, url: &str) -> Result<String, PkiError> {
        let admin = self.admin()?;
        Ok(kubeconfig(url, self.ca.root_pem(), ADMIN, &admin.certificate_pem, &admin.key_pem))
    }

    /// The administrator's certificate.
    pub fn admin(&self) -> Result<Identity, PkiError> {
        self.ca.client_identity(ADMIN, "kubernetes-admin", auth::MASTERS, SystemTime::now())
    }

    /// Stops accepting, ends watches, lets requests finish within a limit, and closes what is left. The connections of
    /// other servers last until this is dropped: the store still needs them when it is closed.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "closing connections that did not finish");
            self.kill.cancel();
            self.connections.wait().await;
        }
        if let Some(auditor) = &self.auditor {
            auditor.flush().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
        self.cut.cancel();
        self.accepting.abort();
        self.renewing.abort();
        self.leases.abort();
        self.fetching.iter().for_each(JoinHandle::abort);
        self.definitions.abort();
    }
}

/// Every name and address under which the server is reached.
fn names(config: &ServerConfig, local: SocketAddr, registry: &Registry) -> Vec<String> {
    let mut names: Vec<String> =
        ["localhost", "127.0.0.1", "kubernetes", "kubernetes.default"].into_iter().map(str::to_owned).collect();
    names.push("kubernetes.default.svc".to_owned());
    names.push(format!("kubernetes.default.svc.{}", registry.config().cluster_domain));
    names.push(registry.config().service_cidr.at(1).to_string());
    if !local.ip().is_unspecified() {
        names.push(local.ip().to_string());
    }
    names.extend(config.advertise.iter().map(|name| host(name).to_owned()));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.clone()));
    names
}

/// A name without the port that it may carry.
fn host(advertised: &str) -> &str {
    let bare = advertised.trim_start_matches("https://").trim_end_matches('/');
    if bare.parse::<IpAddr>().is_ok() {
        return bare;
    }
    match bare.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host.trim_matches(['[', ']']),
        _ => bare.trim_matches(['[', ']']),
    }
}

/// What this server's certificates are made of.
struct Certificates {
    ca: Arc<ClusterCa>,
    id: ServerId,
    names: Vec<String>,
    links: Option<Arc<PeerLinks>>,
}

impl Certificates {
    /// The certificates as they are kept, or new ones where those are over soon: for clients, and for other servers.
    fn current(&self) -> Result<(Identity, Identity), PkiError> {
        let now = SystemTime::now();
        let peer = self.ca.peer_identity(self.id, &self.names, now)?;
        if let Some(links) = &self.links {
            links.secure(&peer, &self.ca)?;
        }
        Ok((self.ca.server_identity(&self.names, now)?, peer))
    }

    fn first(&self) -> Result<Arc<tls::Serving>, PkiError> {
        let (api, peer) = self.current()?;
        tls::Serving::new(&api, &peer, &self.ca)
    }

    async fn renew(self, serving: Arc<tls::Serving>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RENEWAL_CHECK) => {}
                () = stop.cancelled() => return,
            }
            let renewed = self.current().and_then(|(api, peer)| serving.replace(&api, &peer, &self.ca));
            if let Err(error) = renewed {
                tracing::error!(%error, "the server's certificates could not be renewed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_names_lose_their_port() {
        let check = |input: &str, expected: &str| assert_eq!(host(input), expected, "{input}");
        check("example.com", "example.com");
        check("example.com:6443", "example.com");
        check("https://example.com:6443/", "example.com");
        check("10.0.0.1:6443", "10.0.0.1");
        check("::1", "::1");
        check("[::1]:6443", "::1");
        check("[::1]", "::1");
    }
}
