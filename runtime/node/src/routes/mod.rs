//! What the network has to know of Services, endpoints and nodes, followed from the API.

mod facts;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, ObjectReference};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use pal_network::{Network, PortConflict};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::facts::{Key, Known, NodeFacts, ServiceFacts, key, service_facts, service_routes, slice_facts, told};
use crate::events::Occurrence;
use crate::node_events;
use crate::pods::Shared;
use crate::register;
use crate::watch::observe;

/// Changes that come within this time of each other are told the network once.
const COLLECT: Duration = Duration::from_millis(20);
/// How soon a NodePort that was taken is tried again.
const PORT_RETRY: Duration = Duration::from_secs(5);
/// How often what is known is kept on disk, if it changed.
const KEEP_EVERY: Duration = Duration::from_secs(2);

/// Follows what the network needs.
pub(crate) struct Routes {
    node: String,
    network: Network,
    shared: Arc<Shared>,
    known: Mutex<Known>,
    changed: Notify,
    /// Counts the changes.
    version: AtomicU64,
    file: PathBuf,
    /// Whether new pods are kept away from the node, as far as was told.
    cordoned: AtomicBool,
}

impl Routes {
    /// With what was known when the agent was there last.
    pub(crate) fn new(node: String, network: Network, shared: Arc<Shared>, file: PathBuf) -> Arc<Self> {
        let known = Known::load(&file);
        shared.services.set(told(&known));
        let changed = Notify::new();
        changed.notify_one();
        let (known, version) = (Mutex::new(known), AtomicU64::new(0));
        Arc::new(Self { node, network, shared, file, known, changed, version, cordoned: AtomicBool::new(false) })
    }

    /// Follows the API and feeds the network until `cancel`.
    pub(crate) async fn run(self: Arc<Self>, client: kube::Client, cancel: CancellationToken) {
        let services = self.follow(client.clone(), cancel.clone(), |k| &mut k.services, service_facts);
        let slices = self.follow(client.clone(), cancel.clone(), |k| &mut k.slices, slice_facts);
        let nodes = self.follow(client, cancel.clone(), |k| &mut k.nodes, |node| self.node_facts(node));
        tokio::join!(services, slices, nodes, self.feed(cancel.clone()), self.keep(cancel));
    }

    async fn follow<K, F: PartialEq>(
        &self,
        client: kube::Client,
        cancel: CancellationToken,
        map: impl Fn(&mut Known) -> &mut BTreeMap<Key, F>,
        facts: impl Fn(&K) -> Option<F>,
    ) where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        // What a list that is under way has shown. Until it is complete, what was known goes on to be true.
        let mut listed = HashSet::new();
        observe(Api::<K>::all(client), watcher::Config::default(), cancel, |event| {
            let facts = match &event {
                Event::InitApply(object) | Event::Apply(object) => facts(object),
                _ => None,
            };
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let own = (String::new(), self.node.clone());
            let was_there = known.nodes.contains_key(&own);
            if change(map(&mut known), &mut listed, event, facts) {
                self.changed.notify_one();
            }
            if was_there && !known.nodes.contains_key(&own) {
                self.shared.unregistered.notify_one();
            }
        })
        .await;
    }

    fn node_facts(&self, node: &Node) -> Option<NodeFacts> {
        let facts = facts::node_facts(node)?;
        if node.metadata.name.as_deref() == Some(&self.node) {
            if !facts.blocks.is_empty() {
                self.shared.set_blocks(&facts.blocks);
            }
            let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
            if self.cordoned.swap(cordoned, Ordering::Relaxed) != cordoned {
                self.shared.recorder.record(node_events::cordoned(&self.node, cordoned, jiff::Timestamp::now()));
            }
            if facts::is_given_up(node) {
                self.shared.unregistered.notify_one();
            }
            if !register::unoffered(node).is_empty() {
                self.shared.unoffered.notify_one();
            }
        }
        Some(facts)
    }

    /// Keeps on disk what is known, some time after it changed.
    async fn keep(&self, cancel: CancellationToken) {
        let mut kept = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(KEEP_EVERY) => {}
                () = cancel.cancelled() => return,
            }
            let version = self.version.load(Ordering::Relaxed);
            if kept == Some(version) {
                continue;
            }
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let file = self.file.clone();
            match tokio::task::spawn_blocking(move || known.save(&file)).await {
                Ok(Ok(())) => kept = Some(version),
                Ok(Err(error)) => tracing::warn!(%error, "routes not kept on disk"),
                Err(error) => tracing::warn!(%error, "routes not kept on disk"),
            }
        }
    }

    async fn feed(&self, cancel: CancellationToken) {
        let mut conflicts = HashSet::new();
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(PORT_RETRY), if !conflicts.is_empty() => {}
                () = cancel.cancelled() => return,
            }
            self.version.fetch_add(1, Ordering::Relaxed);
            conflicts = self.tell(&conflicts);
            tokio::select! {
                () = tokio::time::sleep(COLLECT) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Tells the network all. Returns the NodePorts that could not be opened; those in `noted` were told of before.
    fn tell(&self, noted: &HashSet<u16>) -> HashSet<u16> {
        let (routes, peers, addresses, blocks) = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let nodes = || known.nodes.iter().map(|((_, name), facts)| (name, facts));
            let peers = nodes().filter(|(name, _)| **name != self.node);
            let peers: HashMap<_, _> = peers.filter_map(|(name, f)| Some((name.clone(), f.peer?))).collect();
            let blocks =
                nodes().flat_map(|(name, f)| f.blocks.iter().flat_map(|b| b.thirds()).map(|b| (b, name.clone())));
            self.shared.services.set(told(&known));
            let addresses = nodes().flat_map(|(_, facts)| facts.addresses.iter().copied()).collect();
            (service_routes(&known, &self.node), peers, addresses, blocks.collect())
        };
        self.network.set_nodes(peers, blocks);
        self.network.set_node_addresses(addresses);
        let conflicts = self.network.set_services(&routes);
        for conflict in conflicts.iter().filter(|c| !noted.contains(&c.address.port())) {
            tracing::warn!(%conflict, "node port");
            self.note(conflict);
        }
        conflicts.iter().map(|c| c.address.port()).collect()
    }

    /// Tells who looks at the Service that its port is taken on this node.
    fn note(&self, conflict: &PortConflict) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let port = Some(conflict.address.port());
        let has_port =
            |(_, facts): &(&Key, &ServiceFacts)| facts.ports.iter().any(|(_, _, node_port)| *node_port == port);
        let Some(((namespace, name), facts)) = known.services.iter().find(has_port) else { return };
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(facts.uid.clone()),
            ..ObjectReference::default()
        };
        self.shared.recorder.record(Occurrence {
            about: Arc::new(about),
            field_path: None,
            warning: true,
            reason: "NodePortUnavailable",
            message: format!("node {}: {conflict}", self.node),
            at: jiff::Timestamp::now(),
        });
    }
}

/// Takes an event in. True if that changed anything.
fn change<K, F: PartialEq>(
    map: &mut BTreeMap<Key, F>,
    listed: &mut HashSet<Key>,
    event: Event<K>,
    facts: Option<F>,
) -> bool
where
    K: kube::Resource<DynamicType = ()>,
{
    let object = match event {
        Event::Init => {
            listed.clear();
            return false;
        }
        Event::InitDone => {
            let before = map.len();
            map.retain(|key, _| listed.contains(key));
            return map.len() != before;
        }
        Event::Delete(object) => return map.remove(&key(&object)).is_some(),
        Event::InitApply(object) => {
            listed.insert(key(&object));
            object
        }
        Event::Apply(object) => object,
    };
    let key = key(&object);
    match facts {
        Some(facts) if map.get(&key) == Some(&facts) => false,
        Some(facts) => {
            map.insert(key, facts);
            true
        }
        None => map.remove(&key).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    #[test]
    fn a_complete_list_ends_what_is_not_in_it() {
        let service = |name: &str| -> Service {
            serde_json::from_value(serde_json::json!({"metadata": {"namespace": "ns", "name": name}})).unwrap()
        };
        let (mut map, mut listed) =
            (BTreeMap::from([(key(&service("old")), 1), (key(&service("same")), 2)]), HashSet::new());
        assert!(!change(&mut map, &mut listed, Event::<Service>::Init, None));
        assert!(!change(&mut map, &mut listed, Event::InitApply(service("same")), Some(2)));
        assert!(change(&mut map, &mut listed, Event::InitApply(service("new")), Some(3)));
        assert_eq!(map.len(), 3, "until the list is complete nothing is lost");
        assert!(change(&mut map, &mut listed, Event::<Service>::InitDone, None));
        assert_eq!(map.keys().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["new", "same"]);
        assert!(change(&mut map, &mut listed, Event::Delete(service("new")), None));
        assert!(!change(&mut map, &mut listed, Event::Delete(service("new")), None));
    }
}
