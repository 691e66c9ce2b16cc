//! Controllers on a real registry in a temporary directory, with nodes that are made of a watch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pal_registry::{
    Config, DeleteOptions, Kind, ListOptions, Object, Propagation, Registry, WatchEvent, WatchOptions, WriteOptions,
};
use pal_resources::ResourceRef;
use pal_store::{Store, StoreConfig};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::autoscaler::{ContainerUsage, PodUsage};
use crate::{
    AccountToken, CertificateSigner, Controllers, CsrSubject, NodeLiveness, Options, PodMetrics, Timing, TokenSigner,
    VolumeDirectories, start,
};

/// Nodes whose connection lives, and when that of others last did.
pub(super) struct Connections {
    seen: Mutex<HashMap<String, Option<Instant>>>,
    ticks: watch::Sender<u64>,
}

impl Connections {
    fn set(&self, node: &str, gone_since: Option<Instant>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(node.to_owned(), gone_since);
        self.ticks.send_modify(|ticks| *ticks += 1);
    }
}

impl NodeLiveness for Connections {
    fn last_seen(&self, node: &str) -> Option<Instant> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(node).map(|gone_since| gone_since.unwrap_or_else(Instant::now))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }
}

/// Signs anything but what is for `unsound`.
struct Signer;

const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----\n";

/// A request by that common name, as far as [`Signer`] reads it.
pub(super) fn request(common_name: &str) -> Vec<u8> {
    format!("{BEGIN}{common_name}\n-----END CERTIFICATE REQUEST-----\n").into_bytes()
}

fn common_name(pem: &[u8]) -> String {
    let text = String::from_utf8_lossy(pem).into_owned();
    text.strip_prefix(BEGIN).and_then(|rest| rest.lines().next()).unwrap_or_default().to_owned()
}

/// A certificate that says what is in it.
pub(super) fn certificate(text: &str) -> String {
    // A colon would make it a header.
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", text.replace(':', "_"))
}

impl CertificateSigner for Signer {
    fn sign(&self, csr_pem: &[u8], signer_name: &str, seconds: i64) -> Result<String, String> {
        match common_name(csr_pem).as_str() {
            "unsound" => Err("the key is too short".to_owned()),
            name => Ok(certificate(&format!("{name} by {signer_name} for {seconds}"))),
        }
    }

    fn subject(&self, csr_pem: &[u8]) -> Result<CsrSubject, String> {
        Ok(CsrSubject {
            common_name: common_name(csr_pem),
            organizations: vec!["system:nodes".to_owned()],
            ..CsrSubject::default()
        })
    }
}

impl TokenSigner for Signer {
    fn sign(&self, token: AccountToken) -> Result<String, String> {
        Ok(format!("{} of {}", token.account, token.uid))
    }
}

/// Every pod uses a whole core.
struct Busy;

impl PodMetrics for Busy {
    fn usage(&self, _: &str, pods: Vec<(String, String)>) -> BoxFuture<'static, BTreeMap<String, PodUsage>> {
        let container = ContainerUsage { name: "main".to_owned(), cpu_nanos: 1_000_000_000, memory_bytes: 1 };
        let used = PodUsage { at: Timestamp::now(), window: Duration::ZERO, containers: vec![container] };
        Box::pin(async move { pods.into_iter().map(|(pod, _)| (pod, used.clone())).collect() })
    }
}

/// Directories that nodes would make.
#[derive(Default)]
pub(super) struct Directories(Mutex<BTreeSet<String>>);

impl Directories {
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl VolumeDirectories for Directories {
    fn make(&self, node: &str, volume: &str) -> BoxFuture<'static, Result<String, String>> {
        let path = format!("/{node}/{volume}");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        Box::pin(async move { Ok(path) })
    }

    fn remove(&self, node: &str, volume: &str) -> BoxFuture<'static, Result<(), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&format!("/{node}/{volume}"));
        Box::pin(async { Ok(()) })
    }
}

pub(super) struct Cluster {
    pub(super) directories: Arc<Directories>,
    pub(super) registry: Registry,
    connections: Arc<Connections>,
    controllers: Option<Controllers>,
    nodes: Mutex<HashMap<String, AbortOnDropHandle<()>>>,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = StoreConfig { dir: dir.path().to_owned(), ..StoreConfig::default() };
        let store = Store::open(config).await.expect("a fresh store opens");
        let registry = Registry::new(store.clone(), Config { toleration_seconds: 1, ..Config::default() });
        let connections = Arc::new(Connections { seen: Mutex::default(), ticks: watch::channel(0).0 });
        let directories = Arc::new(Directories::default());
        let options = Options {
            root_ca_pem: "ROOT".to_owned(),
            liveness: connections.clone(),
            signer: Arc::new(Signer),
            tokens: Arc::new(Signer),
            metrics: Arc::new(Busy),
            directories: directories.clone(),
            timing: Timing {
                node_grace: Duration::from_millis(600),
                node_first_contact: Duration::from_secs(30),
                dead_pod_removal: Duration::from_millis(300),
                orphan_pod_removal: Duration::from_millis(300),
                ..Timing::default()
            },
            reserved_addresses: Vec::new(),
            figures: Arc::default(),
        };
        let controllers = start(registry.clone(), options, CancellationToken::new());
        let cluster = Self {
            directories,
            registry,
            connections,
            controllers: Some(controllers.expect("all resources are served")),
            nodes: Mutex::default(),
            store,
            _dir: dir,
        };
        cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})).await;
        cluster
    }

    pub(super) async fn stop(mut self) {
        if let Some(controllers) = self.controllers.take() {
            controllers.stop().await;
        }
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.store.close().await;
    }

    fn resource_of(&self, body: &Value) -> ResourceRef {
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        self.registry.find_kind(group, version, &kind).expect("a kind that is served")
    }

    pub(super) async fn create(&self, body: Value) -> Object {
        let resource = self.resource_of(&body);
        let namespace = body["metadata"]["namespace"].as_str().map(str::to_owned);
        self.registry
            .create(&resource, namespace.as_deref(), body, &WriteOptions::system("test"))
            .await
            .expect("the object is valid")
    }

    /// Deletes an object as kubectl does, with what it owns.
    pub(super) async fn delete<K: Kind>(&self, namespace: Option<&str>, name: &str) {
        let client = self.registry.client::<K>();
        let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::system("test") };
        client.delete(namespace, name, &options).await.expect("it exists");
    }

    pub(super) async fn list<K: Kind>(&self, namespace: Option<&str>) -> Vec<K> {
        self.registry.client::<K>().list(namespace, ListOptions::default()).await.expect("a list").1
    }

    pub(super) async fn find<K: Kind>(&self, namespace: Option<&str>, name: &str) -> Option<K> {
        self.registry.client::<K>().find(namespace, name).await.expect("an answer")
    }

    /// Waits until the objects of a kind are as they should be.
    pub(super) async fn until<K: Kind + Debug>(
        &self,
        what: &str,
        namespace: Option<&str>,
        holds: impl Fn(&[K]) -> bool,
    ) -> Vec<K> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let objects = self.list::<K>(namespace).await;
            if holds(&objects) {
                return objects;
            }
            assert!(Instant::now() < deadline, "never: {what}; last: {objects:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Adds a node that runs every pod it is given.
    pub(super) async fn add_node(&self, name: &str) {
        self.connections.set(name, None);
        let allocatable = json!({"cpu": "4", "memory": "8Gi", "pods": "2000"});
        self.create(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {
                "allocatable": allocatable, "capacity": allocatable,
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
            }
        }))
        .await;
        self.revive_node(name).await;
    }

    /// What a node's agent does when it connects.
    async fn report_ready(&self, name: &str) {
        let status = json!({
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "2000"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        });
        let nodes = self.registry.client::<Node>();
        nodes.patch_merge(Some("status"), None, name, json!({ "status": status })).await.expect("the node exists");
    }

    /// The node is gone as by a pulled plug.
    pub(super) fn kill_node(&self, name: &str) {
        self.connections.set(name, Some(Instant::now()));
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The node is back.
    pub(super) async fn revive_node(&self, name: &str) {
        self.connections.set(name, None);
        self.report_ready(name).await;
        let running = AbortOnDropHandle::new(tokio::spawn(run_node(self.registry.clone(), name.to_owned())));
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), running);
    }
}

/// The first of the addresses that the node is given.
async fn block_of(registry: &Registry, node: &str) -> Ipv4Addr {
    let options = WatchOptions { send_initial_events: Some(true), ..WatchOptions::default() };
    let mut events = registry.client::<Node>().watch(None, options).await.expect("nodes can be watched");
    loop {
        let event = events.next().await.expect("the watch goes on");
        let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
        if object.name() != node {
            continue;
        }
        let spec = object.parse::<Node>().expect("a node").spec.unwrap_or_default();
        if let Some((first, _)) = spec.pod_cidr.as_deref().and_then(|block| block.split_once('/')) {
            return first.parse().expect("an address");
        }
    }
}

/// Runs the node's pods: those that are bound to it get an address and are ready, those that are deleted go.
async fn run_node(registry: Registry, node: String) {
    let block = block_of(&registry, &node).await.to_bits();
    let pods = registry.client::<Pod>();
    let mut events = pods
        .watch(None, WatchOptions { send_initial_events: Some(true), ..WatchOptions::default() })
        .await
        .expect("pods can be watched");
    let mut next_address = 1u32;
    while let Some(event) = events.next().await {
        let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
        let Ok(pod) = object.parse::<Pod>() else { continue };
        if crate::pods::node(&pod) != Some(node.as_str()) {
            continue;
        }
        let namespace = object.namespace().map(str::to_owned);
        let name = object.name().to_owned();
        if pod.metadata.deletion_timestamp.is_some() {
            let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::system("node") };
            // It may be gone already: the watch is behind.
            let _ = pods.delete(namespace.as_deref(), &name, &options).await;
        } else if !crate::pods::is_ready(&pod) {
            let address = Ipv4Addr::from(block + next_address).to_string();
            next_address += 1;
            let status = json!({
                "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": Time(Timestamp::now())}
                ]
            });
            let patch = json!({ "status": status });
            // It may be deleted between the event and now.
            let _ = pods.patch_merge(Some("status"), namespace.as_deref(), &name, patch).await;
        }
    }
}
