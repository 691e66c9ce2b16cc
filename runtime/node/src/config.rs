//! What an agent and a join are started with.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use pal_engine::Engine;

use crate::identity::NodeIdentity;

/// What the node offers to the scheduler; `None` is found out from the machine.
#[derive(Debug, Clone, Default)]
pub struct NodeResources {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// How many pods may be bound to the node; 4,000 (what its block of addresses is good for) unless told otherwise.
    pub pods: Option<u32>,
}

/// A pod that shows the process that the agent is part of, with one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPod {
    pub namespace: String,
    pub name: String,
    pub container: String,
}

/// The settings of a [`NodeAgent`](crate::NodeAgent).
#[derive(Clone)]
pub struct NodeConfig {
    /// The name of the Node object; the one in the identity.
    pub name: String,
    /// The address at which node ports listen and other nodes reach this one.
    pub node_ip: IpAddr,
    /// Where other nodes connect; port 0 takes a free one. `None`: a free port at `node_ip`.
    pub peer_listen: Option<SocketAddr>,
    /// The agent's own directory: identity, pods, volumes, logs, images.
    pub data_dir: PathBuf,
    /// Servers, each as `https://host:port`. The cluster's others are found out from them.
    pub servers: Vec<String>,
    /// Who the node is; from [`join`](crate::join) or [`NodeIdentity::load`].
    pub identity: NodeIdentity,
    /// Runs the components.
    pub engine: Engine,
    /// What the node offers.
    pub resources: NodeResources,
    /// `nodeInfo.kubeletVersion`, as in `v1.36.0+pal`.
    pub version: String,
    /// Further labels of the Node object.
    pub labels: Vec<(String, String)>,
    /// Directories below which volumes of kind `local` may be, beside those that the node makes.
    pub local_volumes: Vec<PathBuf>,
    /// Pods that show the agent's own process, for whose log the node answers.
    pub host_pods: Vec<HostPod>,
    /// The domain of service names, `cluster.local` by default.
    pub cluster_domain: String,
}

impl NodeConfig {
    /// The defaults for an identity.
    pub fn new(
        identity: NodeIdentity,
        node_ip: IpAddr,
        data_dir: PathBuf,
        servers: Vec<String>,
        engine: Engine,
    ) -> Self {
        Self {
            name: identity.name.clone(),
            node_ip,
            peer_listen: None,
            data_dir,
            servers,
            identity,
            engine,
            resources: NodeResources::default(),
            version: "v1.36.0+pal".to_owned(),
            labels: Vec::new(),
            local_volumes: Vec::new(),
            host_pods: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
        }
    }
}

/// What it takes to become a node of a cluster.
#[derive(Clone)]
pub struct JoinConfig {
    /// Servers of the cluster, each as `https://host:port`. One that answers is enough.
    pub servers: Vec<String>,
    /// `pal_<id>.<secret>.<sha256 of the CA, hex>`.
    pub token: String,
    /// The name to take.
    pub name: String,
    /// The address that the serving certificate is for.
    pub node_ip: IpAddr,
    /// Where the identity is kept (`pki/` in it, mode 0600).
    pub data_dir: PathBuf,
}
