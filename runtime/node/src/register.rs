//! The node's own objects: its Node, with what it offers, and its Lease.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference, Time};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::NodeConfig;
use crate::join::root_cause;
use crate::node_events;
use crate::pods::{Capacity, Shared};
use crate::retry::Retry;
use crate::servers::Servers;
use crate::tunnels::Up;

/// Where other nodes connect, on the Node object.
pub(crate) const PEER_ADDRESS: &str = "palinurus.dev/peer-address";
/// How often the Lease is renewed.
const LEASE_EVERY: Duration = Duration::from_secs(10);
/// The same where a server may not see this node by its tunnel: should that one lead, the Lease is what tells it that the
/// node lives.
const LEASE_OFTEN: Duration = Duration::from_secs(2);
/// How soon a renewal that failed is tried again then.
const LEASE_AGAIN: Duration = Duration::from_millis(500);
/// How often the Node's status is written when nothing changes.
const STATUS_EVERY: Duration = Duration::from_secs(300);
/// How long it takes to register anew, so that a server that gives the node up again and again is not answered in a rush.
const ANEW_AFTER: Duration = Duration::from_secs(1);
/// How long the server may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Keeps the node's objects up to date.
pub(crate) struct Registration {
    shared: Arc<Shared>,
    node: Node,
    /// It was told that the agent has begun.
    told: bool,
}

impl Registration {
    pub(crate) fn new(shared: &Arc<Shared>, config: &NodeConfig, peer: SocketAddr) -> Self {
        let node = node_object(config, peer, shared.capacity, Timestamp::now());
        Self { shared: shared.clone(), node, told: false }
    }

    /// Registers whenever a tunnel comes up or the Node is deleted or given up under a running agent (as when the machine
    /// was asleep and its tunnels were not), and from time to time.
    pub(crate) async fn run(mut self, mut up: watch::Receiver<Up>, cancel: CancellationToken) {
        let mut retry = Retry::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let times = up.borrow_and_update().times;
            let pause = match tokio::time::timeout(LIMIT, self.register()).await {
                Ok(Ok(())) => {
                    retry.reset();
                    STATUS_EVERY
                }
                Ok(Err(error)) => {
                    let why = match &error {
                        kube::Error::Api(status) => status.message.clone(),
                        other => root_cause(other),
                    };
                    tracing::debug!(why, "node not registered");
                    retry.pause()
                }
                Err(_) => retry.pause(),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(_) = up.wait_for(|up| up.times > times) => {}
                () = self.unregistered() => tracing::info!("the Node was deleted or given up; registering anew"),
                () = self.shared.unoffered.notified() => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Waits until the Node is to be registered anew.
    async fn unregistered(&self) {
        self.shared.unregistered.notified().await;
        tokio::time::sleep(ANEW_AFTER).await;
    }

    async fn register(&mut self) -> Result<(), kube::Error> {
        let api: Api<Node> = Api::all(self.shared.client.clone());
        let name = self.node.metadata.name.as_deref().unwrap_or_default();
        let known = api.get_opt(name).await?;
        if known.is_none() {
            match api.create(&PostParams::default(), &self.node).await {
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
                other => drop(other?),
            }
        }
        if let Some(meta) = introduction(&self.node, known.as_ref(), self.told) {
            api.patch(name, &PatchParams::default(), &Patch::Strategic(meta)).await?;
        }
        let mut status = self.node.status.clone().unwrap_or_default();
        status.conditions = Some(conditions(known.as_ref(), Timestamp::now()));
        let mut patch = json!({"status": status});
        for (resource, amount) in known.iter().flat_map(unoffered) {
            let allocatable = &mut patch["status"]["allocatable"];
            if allocatable.get(&resource).is_none() {
                allocatable[resource] = json!(amount);
            }
        }
        api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        let now = Timestamp::now();
        let begun = (!std::mem::replace(&mut self.told, true)).then(|| node_events::started(name, now));
        let told = begun.into_iter().chain(node_events::registered(name, known.as_ref(), now));
        told.for_each(|occurrence| self.shared.recorder.record(occurrence));
        Ok(())
    }
}

/// Who the servers are and which of them see this node.
pub(crate) struct Links {
    pub(crate) servers: Servers,
    pub(crate) up: watch::Receiver<Up>,
}

impl Links {
    /// Waits until the Lease is due again, which is soon when it was not `renewed` and is needed.
    async fn due(&mut self, renewed: bool) {
        let often = self.up.borrow_and_update().is_partial(&self.servers.list());
        let every = match (often, renewed) {
            (false, _) => LEASE_EVERY,
            (true, true) => LEASE_OFTEN,
            (true, false) => LEASE_AGAIN,
        };
        let servers = &self.servers;
        tokio::select! {
            () = tokio::time::sleep(every.mul_f64(rand::random_range(0.95..1.0))) => {}
            // A tunnel was lost: that the node lives is told at once.
            Ok(_) = self.up.wait_for(|up| up.is_partial(&servers.list())), if !often => {}
        }
    }
}

/// Renews the Lease for ever.
pub(crate) async fn renew_lease(client: kube::Client, name: String, mut links: Links, cancel: CancellationToken) {
    loop {
        let written = tokio::time::timeout(LIMIT, write_lease(&client, &name)).await;
        match &written {
            Ok(Ok(())) => {}
            // The Node is not registered yet, or anew.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                tokio::select! {
                    () = tokio::time::sleep(LEASE_AGAIN) => continue,
                    () = cancel.cancelled() => return,
                }
            }
            Ok(Err(error)) => tracing::debug!(error = root_cause(error), "lease not renewed"),
            Err(_) => tracing::debug!("lease not renewed in time"),
        }
        tokio::select! {
            () = links.due(matches!(written, Ok(Ok(())))) => {}
            () = cancel.cancelled() => return,
        }
    }
}

async fn write_lease(client: &kube::Client, name: &str) -> Result<(), kube::Error> {
    let api: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let spec = LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(40),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(json!({"spec": spec}));
    match api.patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let nodes: Api<Node> = Api::all(client.clone());
            // The Lease goes with its Node, and waits for it.
            let uid = nodes.get_metadata(name).await?.metadata.uid;
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                owner_references: uid.map(|uid| vec![owner(name, uid)]),
                ..ObjectMeta::default()
            };
            api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// The node as the owner of its Lease.
fn owner(name: &str, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    }
}

/// What the node offers: as told, or as the machine has it.
pub(crate) fn capacity(config: &NodeConfig) -> Capacity {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    Capacity {
        cpu_millis: config.resources.cpu_millis.unwrap_or(cores * 1000),
        memory_bytes: config.resources.memory_bytes.or_else(machine_memory).unwrap_or(1 << 30),
    }
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// How large the file system is on which pods' files are, in bytes.
fn disk(dir: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(dir).ok()?;
    room.f_blocks.checked_mul(room.f_frsize)
}

fn node_object(config: &NodeConfig, peer: SocketAddr, capacity: Capacity, now: Timestamp) -> Node {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    // The names with "beta" are deprecated, and charts choose nodes by them nevertheless.
    let standard = [
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("kubernetes.io/hostname", &config.name),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ];
    let mut labels: BTreeMap<String, String> = standard.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    labels.extend(config.labels.iter().cloned());
    let mut resources: BTreeMap<String, Quantity> = BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpu_text(capacity.cpu_millis))),
        ("memory".to_owned(), Quantity(format!("{}Ki", capacity.memory_bytes / 1024))),
        ("pods".to_owned(), Quantity(config.resources.pods.unwrap_or(4000).to_string())),
    ]);
    if let Some(bytes) = disk(&config.data_dir) {
        resources.insert("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", bytes / 1024)));
    }
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let status = NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.name.clone()),
        ]),
        capacity: Some(resources.clone()),
        allocatable: Some(resources),
        conditions: Some(conditions(None, now)),
        node_info: Some(system_info(config, arch)),
        ..NodeStatus::default()
    };
    Node {
        metadata: ObjectMeta {
            name: Some(config.name.clone()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(PEER_ADDRESS.to_owned(), peer.to_string())])),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(status),
    }
}

/// Resources of which the node does not offer what it is said to have: others say of it that it has extended resources.
/// Nothing where it offers what it has no more.
pub(crate) fn unoffered(node: &Node) -> BTreeMap<String, Option<Quantity>> {
    let Some(status) = &node.status else { return BTreeMap::new() };
    let none = BTreeMap::new();
    let (capacity, offered) = (status.capacity.as_ref().unwrap_or(&none), status.allocatable.as_ref().unwrap_or(&none));
    let less = capacity.iter().filter(|(resource, amount)| offered.get(*resource) != Some(*amount));
    let gone = offered.keys().filter(|resource| !capacity.contains_key(*resource));
    let less = less.map(|(resource, amount)| (resource.clone(), Some(amount.clone())));
    less.chain(gone.map(|resource| (resource.clone(), None))).collect()
}

fn cpu_text(millis: u64) -> String {
    if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") }
}

fn system_info(config: &NodeConfig, arch: &str) -> NodeSystemInfo {
    let line = |path: &str| fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default();
    NodeSystemInfo {
        architecture: arch.to_owned(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: "wasmtime://48".to_owned(),
        kernel_version: line("/proc/sys/kernel/osrelease"),
        kube_proxy_version: config.version.clone(),
        kubelet_version: config.version.clone(),
        machine_id: line("/etc/machine-id"),
        operating_system: "linux".to_owned(),
        os_image: "Palinurus (WASI 0.2, 0.3)".to_owned(),
        // Readable by root alone; what stands for it elsewhere is what it is for kubelets.
        system_uuid: Some(line("/sys/class/dmi/id/product_uuid"))
            .filter(|uuid| !uuid.is_empty())
            .unwrap_or_else(|| line("/etc/machine-id")),
        ..NodeSystemInfo::default()
    }
}

/// What the agent writes of the node's labels and annotations. The labels are the agent's when it begins; what people
/// make of them while it runs is theirs.
fn introduction(node: &Node, known: Option<&Node>, begun: bool) -> Option<Value> {
    let (labels, annotations) = (&node.metadata.labels, &node.metadata.annotations);
    if !begun || known.is_none() {
        return Some(json!({"metadata": {"labels": labels, "annotations": annotations}}));
    }
    let kept = |(key, value)| known?.metadata.annotations.as_ref()?.get(key).filter(|kept| *kept == value);
    let all_kept = annotations.iter().flatten().all(|annotation| kept(annotation).is_some());
    (!all_kept).then(|| json!({"metadata": {"annotations": annotations}}))
}

/// The node's conditions, with since when they are as they are.
fn conditions(known: Option<&Node>, now: Timestamp) -> Vec<NodeCondition> {
    let known = known.and_then(|node| node.status.as_ref()?.conditions.as_deref()).unwrap_or_default();
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let same = known.iter().find(|known| known.type_ == kind && known.status == status);
        let since = same.and_then(|same| same.last_transition_time.clone()).unwrap_or(Time(now));
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(since),
        }
    };
    vec![
        condition("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_agents_when_it_begins_and_peoples_while_it_runs() {
        let node = |zone: &str, peer: &str| -> Node {
            let annotations = json!({PEER_ADDRESS: peer, "another": "x"});
            serde_json::from_value(json!({"metadata": {"labels": {"zone": zone}, "annotations": annotations}})).unwrap()
        };
        let own: Node = serde_json::from_value(
            json!({"metadata": {"labels": {"zone": "a"}, "annotations": {PEER_ADDRESS: "here"}}}),
        )
        .unwrap();
        let all = json!({"metadata": {"labels": {"zone": "a"}, "annotations": {PEER_ADDRESS: "here"}}});
        let address = json!({"metadata": {"annotations": {PEER_ADDRESS: "here"}}});
        let check = |known: Option<Node>, begun: bool, expected: Option<&Value>| {
            assert_eq!(introduction(&own, known.as_ref(), begun).as_ref(), expected, "{known:?} {begun}");
        };
        check(None, false, Some(&all));
        check(Some(node("b", "here")), false, Some(&all));
        check(None, true, Some(&all));
        check(Some(node("b", "here")), true, None);
        check(Some(node("b", "there")), true, Some(&address));
    }

    #[test]
    fn a_condition_is_as_old_as_its_last_change() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let known = |ready: &str| -> Node {
            let ready = json!({"type": "Ready", "status": ready, "lastTransitionTime": Time(at(5))});
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [ready]}})).unwrap()
        };
        let check = |known: Option<Node>, expected: i64| {
            let all = conditions(known.as_ref(), at(9));
            let ready = all.iter().find(|condition| condition.type_ == "Ready").unwrap();
            assert_eq!(ready.last_transition_time, Some(Time(at(expected))), "{known:?}");
        };
        check(None, 9);
        check(Some(known("True")), 5);
        check(Some(known("Unknown")), 9);
    }

    #[test]
    fn a_node_offers_what_others_say_that_it_has() {
        let check = |capacity: Value, allocatable: Value, expected: Value| {
            let node = json!({"metadata": {}, "status": {"capacity": capacity, "allocatable": allocatable}});
            let node: Node = serde_json::from_value(node).unwrap();
            assert_eq!(json!(unoffered(&node)), expected);
        };
        check(json!({"cpu": "2"}), json!({"cpu": "2"}), json!({}));
        check(json!({"cpu": "2", "example.com/x": "5"}), json!({"cpu": "2"}), json!({"example.com/x": "5"}));
        check(json!({"example.com/x": "5"}), json!({"example.com/x": "4"}), json!({"example.com/x": "5"}));
        check(json!({"cpu": "2"}), json!({"cpu": "2", "example.com/x": "5"}), json!({"example.com/x": null}));
    }
}
