//! `pal agent`: one node.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pal_engine::{Compile, Engine, EngineConfig, LogSink};
use pal_node::{HostPod, JoinConfig, NodeAgent, NodeConfig, NodeIdentity, join};
use tokio_util::sync::CancellationToken;

use crate::args::AgentArgs;
use crate::error::CliError;
use crate::{out, paths, signals};

/// How long requests under way may go on when the node stops.
const DRAIN: Duration = Duration::from_secs(10);
const SERVER_FILE: &str = "server";
const NODE_IP_FILE: &str = "node-ip";

/// What a node is started with.
pub struct NodeStart {
    pub data_dir: PathBuf,
    /// URLs of servers of the cluster.
    pub servers: Vec<String>,
    /// Needed where the node has not joined yet.
    pub token: Option<String>,
    pub name: Option<String>,
    pub node_ip: IpAddr,
    pub labels: Vec<(String, String)>,
    /// Directories below which volumes of kind `local` may be.
    pub local_volumes: Vec<PathBuf>,
    /// The pods that show this process on the node of that name.
    pub shown_by: fn(&str) -> Vec<HostPod>,
}

/// A running node and its folder's lock.
pub struct Node {
    agent: NodeAgent,
    pub name: String,
    _lock: File,
}

/// `pal agent`
pub async fn run(args: AgentArgs) -> Result<(), CliError> {
    let stop = signals::stop_on_signal()?;
    let data_dir = paths::node_dir(args.data_dir.as_deref())?;
    paths::make_private(&data_dir)?;
    let named: Vec<String> = args.join.iter().map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
    let servers = match kept(&data_dir.join(SERVER_FILE))? {
        _ if !named.is_empty() => named,
        Some(kept) => kept.split_whitespace().map(str::to_owned).collect(),
        None => {
            return Err(CliError::other(
                "this node has joined no cluster yet: `pal token create --role node`, run where the cluster is, prints the line to run here",
            ));
        }
    };
    let node_ip = match (args.node_ip, kept(&data_dir.join(NODE_IP_FILE))?) {
        (Some(ip), _) => ip,
        (None, Some(text)) => text.parse().map_err(|_| {
            CliError::other(format!("{}: {text:?} is not an address", data_dir.join(NODE_IP_FILE).display()))
        })?,
        (None, None) => address_towards_any(&servers)?,
    };
    let start = NodeStart {
        data_dir: data_dir.clone(),
        servers: servers.clone(),
        token: args.token,
        name: args.name,
        node_ip,
        labels: args.label,
        local_volumes: args.local_volumes,
        shown_by: |_| Vec::new(),
    };
    let node = Node::start(start, |text| eprintln!("{text}"), stop.clone()).await?;
    paths::write_private(&data_dir.join(SERVER_FILE), &servers.join("\n"))?;
    paths::write_private(&data_dir.join(NODE_IP_FILE), &node_ip.to_string())?;
    out::note(format_args!("node {} is running, at {node_ip}", node.name));
    stop.cancelled().await;
    eprintln!("stopping");
    node.stop().await;
    Ok(())
}

impl Node {
    /// Joins where that was not done yet, and starts the agent. `progress` hears what is waited for.
    pub async fn start(
        start: NodeStart,
        progress: impl Fn(&str) + Send,
        stop: CancellationToken,
    ) -> Result<Self, CliError> {
        paths::make_private(&start.data_dir)?;
        let lock = paths::lock(&start.data_dir, "lock")?;
        let identity = match NodeIdentity::load(&start.data_dir).map_err(CliError::other)? {
            Some(identity) => known(identity, &start)?,
            None => joined(&start, progress, stop).await?,
        };
        let engine = engine(&start.data_dir)?;
        let name = identity.name.clone();
        let mut config =
            NodeConfig::new(identity, start.node_ip, start.data_dir.clone(), start.servers.clone(), engine);
        config.version = pal_server::VERSION.to_owned();
        config.labels = start.labels;
        config.local_volumes = start.local_volumes;
        config.host_pods = (start.shown_by)(&name);
        let agent = NodeAgent::start(config, CancellationToken::new()).await.map_err(CliError::other)?;
        Ok(Self { agent, name, _lock: lock })
    }

    /// Where the log of the pods that show this process is written to.
    pub fn log(&self) -> Arc<dyn LogSink> {
        self.agent.host_log()
    }

    /// Ends the pods and the agent. They stay on disk and run again at the next start.
    pub async fn stop(self) {
        self.agent.drained_stop(DRAIN).await;
    }
}

/// The identity that is there, if it is the one that is asked for.
fn known(identity: NodeIdentity, start: &NodeStart) -> Result<NodeIdentity, CliError> {
    let dir = start.data_dir.display();
    if start.name.as_ref().is_some_and(|name| *name != identity.name) {
        return Err(CliError::other(format!(
            "{dir} already holds the identity of node {:?}: use that name, or another --data-dir",
            identity.name
        )));
    }
    let same = start.token.as_ref().map_or(Ok(true), |token| identity.is_of_cluster(token));
    if !same.map_err(CliError::other)? {
        return Err(CliError::other(format!(
            "{dir} holds the identity of node {:?} of another cluster than the token is for: use another --data-dir, or remove that one",
            identity.name
        )));
    }
    Ok(identity)
}

async fn joined(
    start: &NodeStart,
    progress: impl Fn(&str) + Send,
    stop: CancellationToken,
) -> Result<NodeIdentity, CliError> {
    let token = start.token.clone().ok_or_else(|| {
        CliError::other("joining needs a token: `pal token create --role node`, run where the cluster is, prints one")
    })?;
    let config = JoinConfig {
        servers: start.servers.clone(),
        token,
        name: start.name.clone().unwrap_or_else(paths::node_name),
        node_ip: start.node_ip,
        data_dir: start.data_dir.clone(),
    };
    join(config, progress, stop).await.map_err(CliError::other)
}

fn engine(data_dir: &Path) -> Result<Engine, CliError> {
    let exe = std::env::current_exe().map_err(CliError::other)?;
    Engine::new(EngineConfig::new(data_dir.join("compiled"), Compile::Child { exe })).map_err(CliError::other)
}

fn kept(path: &Path) -> Result<Option<String>, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::file(path)(error)),
    }
}

/// This machine's address on the way to the first server that has one.
fn address_towards_any(servers: &[String]) -> Result<IpAddr, CliError> {
    let mut found = Err(CliError::other("--join names no server; a server is named as https://HOST:PORT"));
    for server in servers {
        found = address_towards(server);
        if found.is_ok() {
            break;
        }
    }
    found
}

/// This machine's address on the way to the server.
fn address_towards(server: &str) -> Result<IpAddr, CliError> {
    // Where the server's URL is wrong, saying the own address does not help.
    let hint = if url::Url::parse(server).is_ok() { "; say this node's address with --node-ip" } else { "" };
    paths::address_towards(server).map_err(|why| CliError::other(format!("{server}: {why}{hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_address_is_asked_for_only_where_that_helps() {
        let check = |server: &str, part: &str, hinted: bool| {
            let error = address_towards(server).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("--node-ip") == hinted, "{error}");
        };
        check("foo", "this is no URL", false);
        check("https://nowhere.invalid:6443", "https://nowhere.invalid:6443: ", true);
        assert!(address_towards("https://127.0.0.1:6443").unwrap().is_loopback());
    }
}
