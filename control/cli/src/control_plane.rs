//! `pal server`: the store, the registry, the API, the controllers and the image registry, started and stopped in order.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pal_controllers::{Controllers, Options, Timing};
use pal_image::{Blobs, RegistryV2};
use pal_registry::{Bootstrap, Config, Patch, PatchKind, Registry, WriteOptions};
use pal_resources::codec::FieldValidation;
use pal_resources::resource;
use pal_server::{Mount, Server, ServerConfig};
use pal_store::{Store, StoreConfig};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::args::{ServeArgs, ServerArgs};
use crate::bridge::{Images, Liveness, Signer};
use crate::error::CliError;
use crate::{out, paths, signals};

/// Where the address that the API listened on the last time is kept.
const LISTEN_FILE: &str = "listen-address";
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6443);

/// A running control plane.
pub struct ControlPlane {
    store: Store,
    pub registry: Registry,
    pub server: Server,
    controllers: Controllers,
    /// Where this machine reaches the API.
    pub url: String,
    pub kubeconfig: PathBuf,
}

/// `pal server`
pub async fn run(args: ServerArgs) -> Result<(), CliError> {
    let stop = signals::stop_on_signal()?;
    let data_dir = paths::data_dir(args.serve.data_dir.as_deref())?;
    let plane = ControlPlane::start(&args.serve, &data_dir).await?;
    out::note(format_args!("API:        {}", plane.url));
    out::note(format_args!("kubeconfig: {}", plane.kubeconfig.display()));
    let failure = tokio::select! {
        () = stop.cancelled() => None,
        failure = plane.failed() => Some(failure),
    };
    eprintln!("stopping");
    plane.stop().await;
    failure.map_or(Ok(()), Err)
}

impl ControlPlane {
    /// Starts everything, or nothing.
    pub async fn start(args: &ServeArgs, data_dir: &Path) -> Result<Self, CliError> {
        paths::make_private(data_dir)?;
        let store = Store::open(StoreConfig { dir: data_dir.join("store"), ..StoreConfig::default() })
            .await
            .map_err(CliError::other)?;
        match Self::start_on(args, data_dir, store.clone()).await {
            Ok(plane) => Ok(plane),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn start_on(args: &ServeArgs, data_dir: &Path, store: Store) -> Result<Self, CliError> {
        let config = Config { toleration_seconds: args.default_toleration_seconds, ..Config::default() };
        let registry = Registry::new(store.clone(), config);
        let listen = listen_address(args.listen, data_dir)?;
        let images = Blobs::open(data_dir.join("images")).await.map_err(CliError::other)?;
        let mut server = ServerConfig::new(listen, data_dir);
        server.advertise = args.advertise.clone();
        server.mounts = vec![Mount { prefix: "/v2/".to_owned(), handler: Arc::new(Images(RegistryV2::new(images))) }];
        let server = Server::start(server, registry.clone()).await.map_err(|error| in_use(error, listen))?;
        let local = server.local_addr();
        if local != listen || args.listen.is_some() {
            paths::write_private(&data_dir.join(LISTEN_FILE), &local.to_string())?;
        }
        let endpoint = SocketAddr::new(reachable(local.ip()), local.port());
        registry.bootstrap(&Bootstrap { servers: vec![endpoint] }).await.map_err(CliError::other)?;
        let url = format!("https://{}", SocketAddr::new(loopback_if_any(local.ip()), local.port()));
        publish_address(&registry, &server, args, endpoint).await?;
        let options = Options {
            root_ca_pem: server.ca().root_pem().to_owned(),
            liveness: Arc::new(Liveness(server.liveness())),
            signer: Arc::new(Signer(server.ca().clone())),
            timing: Timing {
                node_grace: Duration::from_secs(args.node_grace_seconds),
                certificate_validity: args.cluster_signing_duration,
                ..Timing::default()
            },
            reserved_addresses: reserved(args, &registry),
        };
        let controllers =
            pal_controllers::start(registry.clone(), options, CancellationToken::new()).map_err(CliError::other)?;
        let kubeconfig = paths::kubeconfig(data_dir);
        paths::write_private(&kubeconfig, &server.kubeconfig(&url).map_err(CliError::other)?)?;
        Ok(Self { store, registry, server, controllers, url, kubeconfig })
    }

    /// Returns when a part that everything hangs on has ended by itself, with what to say. To go on would be to answer
    /// that all is well while nothing is done.
    pub async fn failed(&self) -> CliError {
        tokio::select! {
            () = self.store.stopped() => {
                let why = self.store.failure().map_or_else(|| "its thread has ended".to_owned(), |error| error.to_string());
                CliError::other(format!("the store has stopped: {why}; start pal again, it goes on from what is on disk"))
            }
            () = self.controllers.failed() => {
                CliError::other("the controllers have stopped (the log says why); start pal again, it goes on where it was")
            }
        }
    }

    /// Stops everything in order: who writes first, then who answers, then what is written to.
    pub async fn stop(self) {
        self.controllers.stop().await;
        self.server.shutdown().await;
        self.store.close().await;
    }
}

/// The address to listen on: what was asked for, else where it was the last time. Port 0 is chosen once for a data
/// directory, because nodes and kubeconfigs hold the address.
fn listen_address(given: Option<SocketAddr>, data_dir: &Path) -> Result<SocketAddr, CliError> {
    if let Some(given) = given
        && given.port() != 0
    {
        return Ok(given);
    }
    let file = data_dir.join(LISTEN_FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let kept: SocketAddr = text.trim().parse().map_err(|_| {
                CliError::other(format!(
                    "{}: {text:?} is not an address; remove the file to choose a new port",
                    file.display()
                ))
            })?;
            Ok(given.map_or(kept, |given| SocketAddr::new(given.ip(), kept.port())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(given.unwrap_or(DEFAULT_LISTEN)),
        Err(error) => Err(CliError::file(file)(error)),
    }
}

/// The server's error, with what to do where the port is taken.
fn in_use(error: pal_server::ServerError, listen: SocketAddr) -> CliError {
    match &error {
        pal_server::ServerError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            CliError::other(format!(
                "{listen} is in use, perhaps by another cluster: stop that, or choose another with --listen (port 0 takes a free one)"
            ))
        }
        _ => CliError::other(error),
    }
}

/// What no node may call itself or serve as: the API's address inside the cluster, and the names under which servers are
/// reached. Their addresses are not among them, for a node may run beside a server.
fn reserved(args: &ServeArgs, registry: &Registry) -> Vec<String> {
    let names = args.advertise.iter().map(|name| name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host));
    let names = names.filter(|name| name.parse::<IpAddr>().is_err()).map(str::to_owned);
    let own = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    let inside = format!("kubernetes.default.svc.{}", registry.config().cluster_domain);
    names.chain(own).chain([inside, registry.config().service_cidr.at(1).to_string()]).collect()
}

/// The address itself, or this machine's where it is "any".
fn reachable(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    // No packet is sent: connecting a datagram socket only looks up which address would be the sender's.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    probe.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

fn loopback_if_any(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip }
}

/// Writes where the cluster is reached into `cluster-info` of `kube-public`, as kubeadm does: `pal token create` prints it.
async fn publish_address(
    registry: &Registry,
    server: &Server,
    args: &ServeArgs,
    endpoint: SocketAddr,
) -> Result<(), CliError> {
    let address = match args.advertise.first() {
        Some(name)
            if name.parse::<SocketAddr>().is_ok()
                || name.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok()) =>
        {
            name.clone()
        }
        Some(name) => format!("{name}:{}", endpoint.port()),
        None => endpoint.to_string(),
    };
    let resource =
        resource::find("", "v1", "configmaps").ok_or_else(|| CliError::other("ConfigMaps are not served"))?;
    let data = json!({ "server": format!("https://{address}"), "ca.crt": server.ca().root_pem() });
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "cluster-info", "namespace": "kube-public" }, "data": data,
    });
    let options = WriteOptions::system("apiserver");
    match registry.create(&resource, Some("kube-public"), body, &options).await {
        Err(status) if status.code == 409 => {
            let patch =
                Patch { kind: PatchKind::Merge, body: json!({ "data": data }), validation: FieldValidation::Strict };
            let patched = registry.patch(&resource, None, Some("kube-public"), "cluster-info", &patch, &options).await;
            patched.map(drop).map_err(CliError::other)
        }
        result => result.map(drop).map_err(CliError::other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_listens_where_it_is_told_else_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let check = |given: Option<&str>, expected: &str| {
            let address = listen_address(given.map(|text| text.parse().unwrap()), dir.path()).unwrap();
            assert_eq!(address.to_string(), expected, "{given:?}");
        };
        check(None, "127.0.0.1:6443");
        check(Some("127.0.0.1:0"), "127.0.0.1:0");
        check(Some("0.0.0.0:7000"), "0.0.0.0:7000");
        std::fs::write(dir.path().join(LISTEN_FILE), "127.0.0.1:40123\n").unwrap();
        check(None, "127.0.0.1:40123");
        check(Some("0.0.0.0:0"), "0.0.0.0:40123");
        check(Some("127.0.0.1:7000"), "127.0.0.1:7000");
        std::fs::write(dir.path().join(LISTEN_FILE), "nonsense").unwrap();
        let refused = listen_address(None, dir.path()).unwrap_err().to_string();
        assert!(refused.contains(LISTEN_FILE), "{refused}");
    }
}
