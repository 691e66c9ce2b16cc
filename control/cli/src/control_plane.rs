//! `pal server`: the store, the registry, the API, the controllers and the image registry, started and stopped in order.

mod joining;
mod leadership;
mod listen;
mod publish;
mod record;

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pal_controllers::{Figures, Options, Timing};
use pal_image::{Blobs, RegistryV2};
use pal_registry::{Config, Registry};
use pal_server::{Mount, PeerLinks, Peers, Server, ServerConfig};
use pal_store::{Revision, Role, Start, Store, StoreConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::joining::Place;
use self::leadership::{Duties, Leadership};
pub use self::record::Record;
use self::record::{Begin, Member};
use crate::args::{JoinArgs, ServeArgs, ServerArgs};
use crate::bridge::{Counted, Directories, Images, Liveness, Metrics, OtherRegistries, Signer};
use crate::error::CliError;
use crate::progress::Progress;
use crate::{out, paths, signals};

/// How often it is looked again whether the cluster answers.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A server that joined and was not reached within this time may be looked for in the wrong place.
const REACHED_LIMIT: Duration = Duration::from_secs(10);
/// A new name or address is known to all within this time, if it is free.
const KNOWN_LIMIT: Duration = Duration::from_secs(3);

/// A running control plane.
pub struct ControlPlane {
    store: Store,
    pub registry: Registry,
    pub server: Server,
    leadership: Leadership,
    data_dir: PathBuf,
    record: Record,
    /// `host:port` for the others.
    address: String,
    /// Where this machine reaches the API.
    pub url: String,
    pub kubeconfig: PathBuf,
    _lock: File,
}

/// `pal server`
pub async fn run(args: ServerArgs) -> Result<(), CliError> {
    let stop = signals::stop_on_signal()?;
    let data_dir = paths::data_dir(args.serve.data_dir.as_deref())?;
    let step = Progress::new().step("starting the server");
    let started = ControlPlane::start(&args.serve, &args.join, &data_dir, &stop, |text| step.note(text)).await?;
    let Some(plane) = started else { return Ok(()) };
    step.done(format!("server {} is running", plane.record.name));
    out::note(format_args!("API:        {}", plane.url));
    out::note(format_args!("kubeconfig: {}", plane.kubeconfig.display()));
    let failure = tokio::select! {
        () = stop.cancelled() => None,
        failure = plane.failed() => Some(failure),
    };
    if failure.is_none() {
        eprintln!("stopping");
    }
    plane.stop().await;
    failure.map_or(Ok(()), Err)
}

impl ControlPlane {
    /// Starts everything, or nothing; joins a cluster first where that was asked for. Returns when the cluster can be
    /// asked through this server, or nothing if `stop` comes before. `say` hears what is waited for.
    pub async fn start(
        args: &ServeArgs,
        join: &JoinArgs,
        data_dir: &Path,
        stop: &CancellationToken,
        say: impl Fn(&str) + Send,
    ) -> Result<Option<Self>, CliError> {
        paths::make_private(data_dir)?;
        let lock = paths::lock(data_dir, "server.lock")?;
        let mut record = Record::load(data_dir)?;
        record.call(join.name.as_deref())?;
        // Kept only when it has served: a mistake is not remembered.
        let advertise = if args.advertise.is_empty() { record.advertise.clone() } else { args.advertise.clone() };
        let begin = joining::begin(&record, join, data_dir)?;
        let (listener, local) = listen::listen(args.listen, join.join.as_deref(), data_dir).await?;
        let address = listen::public_address(&advertise, local);
        let place = Place { data_dir: data_dir.to_owned(), local, advertise, address };
        let start = match begin {
            Begin::GoOn | Begin::Found => Start::Found,
            Begin::Join { cluster, id } => Start::Join { cluster, server: id },
            Begin::Ask(id) => match joining::ask(&mut record, &place, join, id, stop, &say).await? {
                Some(start) => start,
                None => return Ok(None),
            },
        };
        let links = PeerLinks::new(local.ip());
        let store = Store::open(StoreConfig {
            dir: data_dir.join("store"),
            name: record.name.clone(),
            address: place.address.clone(),
            start,
            dialer: Some(links.clone()),
            ..StoreConfig::default()
        })
        .await
        .map_err(CliError::other)?;
        let parts = Parts { args, place, record, listener, links, lock };
        let started = match Self::start_on(parts, store.clone()).await {
            Ok(plane) => plane.settle(stop, &say).await,
            Err(error) => Err(error),
        };
        if !matches!(started, Ok(Some(_))) {
            store.close().await;
        }
        started
    }

    async fn start_on(parts: Parts<'_>, store: Store) -> Result<Self, CliError> {
        let Parts { args, place, mut record, listener, links, lock } = parts;
        let Place { data_dir, local, advertise, address } = place;
        let identity = store.identity();
        record.joining = None;
        record.advertise = advertise;
        record.member = Some(Member { cluster: identity.cluster.clone(), id: identity.server.to_string() });
        record.save(&data_dir)?;
        let config = Config { toleration_seconds: args.default_toleration_seconds, ..Config::default() };
        let registry = Registry::new(store.clone(), config);
        let images = Blobs::open(data_dir.join("images")).await.map_err(CliError::other)?;
        let mut server = ServerConfig::new(local, &data_dir);
        server.advertise = record.advertise.clone();
        server.flags = args.flags.clone();
        server.access = args.access.access();
        server.audit = args.access.audit().map_err(CliError::other)?;
        let peers = Arc::new(Peers::new(store.clone(), links.clone()));
        let images = RegistryV2::among(images, Arc::new(OtherRegistries(peers.clone())));
        server.links = Some(links);
        server.peers = Some(peers);
        server.mounts = vec![Mount { prefix: "/v2/".to_owned(), handler: Arc::new(Images(images)) }];
        let figures = Arc::new(Figures::default());
        server.figures = vec![Arc::new(Counted(figures.clone()))];
        let server = Server::start_on(listener, server, registry.clone()).map_err(CliError::other)?;
        let url = listen::local_url(local);
        let kubeconfig = paths::kubeconfig(&data_dir);
        paths::write_private(&kubeconfig, &server.kubeconfig(&url).map_err(CliError::other)?)?;
        let options = Options {
            root_ca_pem: server.ca().root_pem().to_owned(),
            liveness: Arc::new(Liveness { tunnels: server.liveness(), since: Instant::now() }),
            signer: Arc::new(Signer(server.ca().clone())),
            tokens: Arc::new(Signer(server.ca().clone())),
            metrics: Arc::new(Metrics(server.usage())),
            directories: Arc::new(Directories(server.directories())),
            timing: Timing {
                node_grace: Duration::from_secs(args.node_grace_seconds),
                certificate_validity: args.cluster_signing_duration,
                ..Timing::default()
            },
            reserved_addresses: reserved(&record.advertise, &registry),
            figures,
        };
        let leadership = Leadership::start(Duties {
            registry: registry.clone(),
            tunnels: server.liveness(),
            options,
            root_pem: server.ca().root_pem().to_owned(),
            address: address.clone(),
        });
        Ok(Self { store, registry, server, leadership, data_dir, record, address, url, kubeconfig, _lock: lock })
    }

    /// Waits until the cluster can be asked through this server: it has caught up, and there is a leader, which has done
    /// what comes first if it is this one.
    async fn settle(mut self, stop: &CancellationToken, say: &impl Fn(&str)) -> Result<Option<Self>, CliError> {
        let started = Instant::now();
        let settled = async {
            loop {
                match self.store.role() {
                    Role::Leader if *self.leadership.at_work().borrow() => return,
                    Role::Leader => say("bringing up the controllers"),
                    Role::Learner => match self.store.applied().revision() {
                        Revision(0) if started.elapsed() > REACHED_LIMIT => say(&format!(
                            "the others have not reached this server yet, which they look for at {}: is it there for them (else --advertise says where), and is it in `pal server list`?",
                            self.address
                        )),
                        revision => say(&format!("catching up, at revision {revision}")),
                    },
                    Role::Removed => std::future::pending().await,
                    Role::Follower => {
                        if self.store.membership().leader.is_some() && self.store.consistent().await.is_ok() {
                            return;
                        }
                        say(&format!("there is no leader yet; the servers are {}", self.members()));
                    }
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let outcome = tokio::select! {
            () = settled => Ok(true),
            () = stop.cancelled() => Ok(false),
            failure = self.failed() => Err(failure),
        };
        match outcome {
            Ok(true) => {
                self.as_known().await?;
                Ok(Some(self))
            }
            Ok(false) => {
                self.stop().await;
                Ok(None)
            }
            Err(error) => {
                self.stop().await;
                Err(error)
            }
        }
    }

    /// Waits until the others know this server by the name and address that it was started with. Where those are taken, it
    /// goes on under what it was called before, and says so.
    async fn as_known(&mut self) -> Result<(), CliError> {
        let started = Instant::now();
        let known = loop {
            let membership = self.store.membership();
            let own =
                membership.members.into_iter().map(|status| status.member).find(|member| member.id == membership.me);
            // A server that stays alone has no record that matters.
            let Some(own) = own else { return Ok(()) };
            if own.name == self.record.name && own.address == self.address {
                return Ok(());
            }
            if started.elapsed() > KNOWN_LIMIT {
                break own;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        eprintln!(
            "warning: the others know this server as {} at {}, not as {} at {}: perhaps another server has that name or address",
            known.name, known.address, self.record.name, self.address
        );
        if !known.name.is_empty() && known.name != self.record.name {
            self.record.name = known.name;
            self.record.save(&self.data_dir)?;
        }
        Ok(())
    }

    fn members(&self) -> String {
        let members = self.store.membership().members.into_iter().map(|status| status.member);
        members.map(|member| format!("{} ({})", member.name, member.address)).collect::<Vec<_>>().join(", ")
    }

    /// Returns when a part that everything hangs on has ended by itself, or when this server is no member any more, with
    /// what to say. To go on would be to answer that all is well while nothing is done.
    pub async fn failed(&self) -> CliError {
        let mut roles = self.store.roles();
        tokio::select! {
            biased;
            Ok(_) = roles.wait_for(|role| *role == Role::Removed) => self.removed(),
            () = self.store.stopped() => {
                let why = self.store.failure().map_or_else(|| "its thread has ended".to_owned(), |error| error.to_string());
                CliError::other(format!("the store has stopped: {why}; start pal again, it goes on from what is on disk"))
            }
            () = self.leadership.failed() => {
                CliError::other("the controllers have stopped (the log says why); start pal again, it goes on where it was")
            }
        }
    }

    fn removed(&self) -> CliError {
        let (name, dir) = (&self.record.name, self.data_dir.display());
        CliError::other(format!(
            "server {name} was removed from the cluster and has stopped serving. Its data stays in {dir}, and cannot be used to come back: to join anew, move that directory away and run the line that `pal token create --role server` prints where the cluster is"
        ))
    }

    /// Stops everything in order: who writes first, then who answers, then what is written to, which hands over what it
    /// leads by the connections that the server still holds.
    pub async fn stop(mut self) {
        self.leadership.stop().await;
        self.server.shutdown().await;
        self.store.close().await;
    }
}

/// What is there before the store is open.
struct Parts<'a> {
    args: &'a ServeArgs,
    place: Place,
    record: Record,
    listener: TcpListener,
    links: Arc<PeerLinks>,
    lock: File,
}

/// What no node may call itself or serve as: the API's address inside the cluster, and the names under which servers are
/// reached. Their addresses are not among them, for a node may run beside a server.
fn reserved(advertise: &[String], registry: &Registry) -> Vec<String> {
    let names = advertise.iter().map(|name| name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host));
    let names = names.filter(|name| name.parse::<IpAddr>().is_err()).map(str::to_owned);
    let own = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    let inside = format!("kubernetes.default.svc.{}", registry.config().cluster_domain);
    names.chain(own).chain([inside, registry.config().service_cidr.at(1).to_string()]).collect()
}
