//! The agent: what runs, and how it stops.

use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::NodeConfig;
use crate::error::NodeError;

/// A running node. It goes on until [`drained_stop`](NodeAgent::drained_stop) or until its token is cancelled.
pub struct NodeAgent {
    peer_addr: SocketAddr,
}

impl NodeAgent {
    /// Opens the node's directory, takes up the pods in it and goes on connecting to a server in the background.
    pub async fn start(_config: NodeConfig, _cancel: CancellationToken) -> Result<Self, NodeError> {
        Err(NodeError::Network("not built yet".to_owned()))
    }

    /// Where other nodes connect.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Stops all pods, giving requests under way until `deadline`, and then the agent. Pods stay on disk and run again
    /// when an agent starts on the same directory.
    pub async fn drained_stop(self, _deadline: Duration) {}
}
