//! The agent: what runs, and how it stops.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use pal_engine::LogSink;
use pal_image::{Blobs, ClusterRegistry, Puller, PullerConfig, Urls};
use pal_network::{Network, NetworkConfig, PeerTls};
use tokio::sync::{Notify, OnceCell, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::{Addresses, Block};
use crate::api::{API_ALPN, api_client};
use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::connect::ServerAddress;
use crate::disk;
use crate::error::NodeError;
use crate::events::Recorder;
use crate::exec::PodExec;
use crate::host::Host;
use crate::identity::NodeIdentity;
use crate::in_cluster;
use crate::join::renew;
use crate::kubelet::Kubelet;
use crate::local_volumes::LocalVolumes;
use crate::logs::{LogLimits, LogStore};
use crate::pods::host_ports::HostPorts;
use crate::pods::services::Services;
use crate::pods::{Manager, Records, Shared};
use crate::register::{Links, Registration, capacity, renew_lease};
use crate::retry::Retry;
use crate::routes::Routes;
use crate::servers::Servers;
use crate::stats::Stats;
use crate::tls::{OwnCertificate, client_config};
use crate::tunnel;
use crate::tunnels::{Tunnels, Up};
use crate::wasm::WasmRuntime;

/// Status writes at a time.
const WRITES: usize = 32;
/// Services that are tried at a time.
const TRIALS: usize = 32;
/// How long connections may take to end when the agent stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running node. It goes on until [`drained_stop`](NodeAgent::drained_stop) or until its token is cancelled.
pub struct NodeAgent {
    peer_addr: SocketAddr,
    network: Network,
    pods: Arc<Manager>,
    host: Arc<Host>,
    tasks: TaskTracker,
    /// Ends all but the pods.
    stop: CancellationToken,
    connected: watch::Receiver<Up>,
    /// Held as long as the agent uses its directory.
    _lock: File,
}

impl NodeAgent {
    /// Opens the node's directory, takes up the pods in it and goes on connecting to a server in the background.
    pub async fn start(config: NodeConfig, cancel: CancellationToken) -> Result<Self, NodeError> {
        let lock = lock(&config.data_dir)?;
        let servers = Servers::open(&config.servers, config.data_dir.join("servers.json"))?;
        let own = OwnCertificate::new(&config.identity.client)?;
        let api_tls = client_config(&config.identity.ca_pem, Some(own.clone()), API_ALPN)?;
        let client = api_client(&servers, api_tls.clone(), None)?;
        let network = start_network(&config).await?;
        network.set_api(in_cluster::backend(&servers, &config.identity.ca_pem)?);
        let stats = Arc::new(Stats::default());
        let runtime = WasmRuntime {
            engine: config.engine.clone(),
            puller: puller(&config, servers.clone(), api_tls).await?,
            network: network.clone(),
            stats: stats.clone(),
            trials: Semaphore::new(TRIALS),
            tools: OnceCell::new(),
        };
        let (tasks, stop) = (TaskTracker::new(), cancel.child_token());
        let (recorder, writer) = Recorder::new(client.clone(), config.name.clone(), stop.clone());
        tasks.spawn(writer);
        let shared = shared(&config, client.clone(), Arc::new(runtime), recorder)?;
        let pods = Manager::start(shared.clone())?;
        let host = Arc::new(Host::begin(config.host_pods.clone(), shared.logs.clone()));
        let up = watch::Sender::new(Up::default());
        let agent = Self {
            peer_addr: network.peer_addr(),
            network: network.clone(),
            pods: pods.clone(),
            host: host.clone(),
            tasks,
            stop: stop.clone(),
            connected: up.subscribe(),
            _lock: lock,
        };
        let registration = Registration::new(&shared, &config, agent.peer_addr);
        agent.tasks.spawn(registration.run(up.subscribe(), stop.clone()));
        agent.tasks.spawn(servers.clone().follow(client.clone(), stop.clone()));
        let links = Links { servers: servers.clone(), up: up.subscribe() };
        agent.tasks.spawn(renew_lease(client.clone(), config.name.clone(), links, stop.clone()));
        agent.tasks.spawn(pods.clone().follow(client.clone(), config.name.clone(), stop.clone()));
        let kept = config.data_dir.join("routes.json");
        let routes = Routes::new(config.name.clone(), network.clone(), shared.clone(), kept);
        agent.tasks.spawn(routes.run(client.clone(), stop.clone()));
        let exec = Arc::new(PodExec { pods: pods.clone(), runtime: shared.runtime.clone() });
        let listening = network.clone();
        let kubelet = Arc::new(Kubelet {
            node: config.name.clone(),
            pods,
            host,
            logs: shared.logs.clone(),
            volumes: shared.local_volumes.clone(),
            stats,
            exec,
            listeners: Arc::new(move |ip, port| listening.backend(ip, port)),
            tasks: agent.tasks.clone(),
        });
        let tls = client_config(&config.identity.ca_pem, Some(own.clone()), &[tunnel::ALPN])?;
        agent.tasks.spawn(Tunnels { servers, tls, kubelet, up }.run(stop.clone()));
        agent.tasks.spawn(Renewal { client, own, network, config }.run(stop));
        Ok(agent)
    }

    /// Where other nodes connect.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Where the process writes what it says, for those who ask for the logs of the pods that show it.
    pub fn host_log(&self) -> Arc<dyn LogSink> {
        self.host.sink()
    }

    /// Waits until the tunnel to a server has been up once.
    pub async fn connected(&self) {
        // An error is an agent that stops.
        let _ = self.connected.clone().wait_for(|up| up.times > 0).await;
    }

    /// How many pods the node has.
    pub fn pods(&self) -> usize {
        self.pods.count()
    }

    /// Stops all pods, giving requests under way until `deadline`, and then the agent. Pods stay on disk and run again
    /// when an agent starts on the same directory.
    pub async fn drained_stop(self, deadline: Duration) {
        self.pods.stop(deadline).await;
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "tasks of the node did not end in time");
        }
        self.network.stop(STOP_LIMIT).await;
        self.host.close();
    }
}

fn lock(dir: &Path) -> Result<File, NodeError> {
    disk::private_dir(dir).map_err(NodeError::io(dir))?;
    let path = dir.join("node.lock");
    let file = File::create(&path).map_err(NodeError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(NodeError::Locked { dir: dir.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(NodeError::Io { path, source }),
    }
}

/// Starts the network, where possible at the port at which other nodes knew it before.
async fn start_network(config: &NodeConfig) -> Result<Network, NodeError> {
    let kept = config.data_dir.join("peer-port");
    let before = fs::read_to_string(&kept).ok().and_then(|text| text.trim().parse().ok());
    let wanted = config.peer_listen.unwrap_or(SocketAddr::new(config.node_ip, 0));
    let start = |port: u16| {
        Network::start(NetworkConfig {
            node_name: config.name.clone(),
            node_ip: config.node_ip,
            peer_listen: SocketAddr::new(wanted.ip(), port),
            tls: peer_tls(&config.identity),
            cluster_domain: config.cluster_domain.clone(),
        })
    };
    let network = match before.filter(|_| wanted.port() == 0) {
        Some(port) => match start(port).await {
            Ok(network) => Ok(network),
            // Somebody else has it now.
            Err(_) => start(0).await,
        },
        None => start(wanted.port()).await,
    };
    let network = network.map_err(|e| NodeError::Network(e.to_string()))?;
    let port = network.peer_addr().port().to_string();
    disk::replace(&kept, port.as_bytes(), 0o600).map_err(NodeError::io(&kept))?;
    Ok(network)
}

fn peer_tls(identity: &NodeIdentity) -> PeerTls {
    PeerTls {
        client_chain: identity.client.chain_pem.clone(),
        client_key: identity.client.key_pem.clone(),
        server_chain: identity.serving.chain_pem.clone(),
        server_key: identity.serving.key_pem.clone(),
        ca: identity.ca_pem.clone(),
    }
}

async fn puller(config: &NodeConfig, servers: Servers, tls: Arc<rustls::ClientConfig>) -> Result<Puller, NodeError> {
    let cache = Blobs::open(config.data_dir.join("images")).await.map_err(|e| NodeError::Images(e.to_string()))?;
    let urls = Urls::new(move || servers.list().all().iter().map(ServerAddress::url).collect());
    let cluster = Some(ClusterRegistry { urls, tls, bearer: None });
    Puller::new(PullerConfig { cache, cluster, plain_http: Vec::new() }).map_err(|e| NodeError::Images(e.to_string()))
}

fn shared(
    config: &NodeConfig,
    client: kube::Client,
    runtime: Arc<WasmRuntime>,
    recorder: Recorder,
) -> Result<Arc<Shared>, NodeError> {
    let dir = &config.data_dir;
    let pods = dir.join("pods");
    let blocks_file = dir.join("blocks.json");
    let blocks: Vec<String> = match fs::read(&blocks_file) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    Ok(Arc::new(Shared {
        client,
        runtime,
        logs: LogStore::new(dir.join("logs"), LogLimits::default()),
        addresses: Addresses::new(blocks.iter().filter_map(|b| Block::parse(b)).collect()),
        recorder,
        records: Records::open(pods.clone()).map_err(NodeError::io(&pods))?,
        clock: Clock::start(),
        host_ip: config.node_ip,
        capacity: capacity(config),
        services: Services::default(),
        host_ports: HostPorts::default(),
        root_ca: config.identity.ca_pem.clone(),
        volumes_dir: dir.join("volumes"),
        local_volumes: Arc::new(LocalVolumes::open(&dir.join("claims"), &config.local_volumes)?),
        blocks_file,
        writes: Semaphore::new(WRITES),
        stop_grace: OnceLock::new(),
        unregistered: Notify::new(),
        unoffered: Notify::new(),
    }))
}

/// Renews the node's certificates.
struct Renewal {
    client: kube::Client,
    own: Arc<OwnCertificate>,
    network: Network,
    config: NodeConfig,
}

impl Renewal {
    async fn run(mut self, cancel: CancellationToken) {
        let mut retry = Retry::new(Duration::from_secs(5), Duration::from_secs(300));
        loop {
            let wait = match self.due() {
                Ok(wait) if wait > Duration::ZERO => wait,
                Ok(_) => match self.renew().await {
                    Ok(()) => {
                        tracing::info!("the node's certificates were renewed");
                        after_renewal(self.due().unwrap_or_default(), &mut retry)
                    }
                    Err(why) => {
                        tracing::warn!(why, "the node's certificates were not renewed");
                        retry.pause()
                    }
                },
                Err(error) => {
                    tracing::error!(%error, "the node's certificate");
                    retry.pause()
                }
            };
            tokio::select! {
                // Long sleeps are cut, so that a machine that was asleep notices.
                () = tokio::time::sleep(wait.min(Duration::from_secs(3600))) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// How long the certificates need not be renewed.
    fn due(&self) -> Result<Duration, NodeError> {
        let identity = &self.config.identity;
        let at = identity.client.validity()?.renewal().min(identity.serving.validity()?.renewal());
        let seconds = at.as_second() - Timestamp::now().as_second();
        Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    async fn renew(&mut self) -> Result<(), String> {
        let config = &mut self.config;
        let identity = renew(&self.client, &config.identity, config.node_ip, "the cluster").await?;
        identity.save(&config.data_dir).map_err(|e| e.to_string())?;
        self.own.set(&identity.client).map_err(|e| e.to_string())?;
        self.network.set_tls(&peer_tls(&identity)).map_err(|e| e.to_string())?;
        config.identity = identity;
        Ok(())
    }
}

/// How long to rest when certificates were renewed that are due in so long. New ones that are due at once, by a clock that is
/// ahead, would be renewed without a pause.
fn after_renewal(due: Duration, retry: &mut Retry) -> Duration {
    if due == Duration::ZERO {
        return retry.pause();
    }
    retry.reset();
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_are_due_as_soon_as_they_are_made_are_not_renewed_without_a_pause() {
        let seconds = Duration::from_secs;
        let mut retry = Retry::new(seconds(8), seconds(300));
        let mut check = |due: Duration, expected: std::ops::RangeInclusive<Duration>| {
            let rest = after_renewal(due, &mut retry);
            assert!(expected.contains(&rest), "{due:?}: {rest:?}");
        };
        check(Duration::ZERO, seconds(4)..=seconds(8));
        check(Duration::ZERO, seconds(8)..=seconds(16));
        check(seconds(60), seconds(60)..=seconds(60));
        check(Duration::ZERO, seconds(4)..=seconds(8));
    }
}
