//! The nodes and what runs on them, kept up to date object by object.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Taint};
use pal_resources::amounts;
use pal_resources::host_port::HostPort;

use crate::amount::Amounts;
use crate::candidate::{Candidate, group};
use crate::company::{Company, Face, Leaning, Namespaces, Term};
use crate::preempt::Rank;
use crate::volumes::{Storage, Used};

/// A node as the scheduler sees it.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    pub(crate) labels: BTreeMap<String, String>,
    /// Those of the spec, and those that the conditions imply before the node controller has written them.
    pub(crate) taints: Vec<Taint>,
    pub(crate) unschedulable: bool,
    pub(crate) allocatable: Amounts,
    pub(crate) requested: Amounts,
    pub(crate) estimated: Amounts,
    /// Ports of the node that pods have.
    pub(crate) host_ports: Vec<HostPort>,
    /// How many pods of each group are here.
    pub(crate) groups: HashMap<String, usize>,
    /// Whether the node object exists; pods may be known before their node is.
    pub(crate) exists: bool,
}

impl NodeState {
    /// What the pods on the node ask for together.
    pub fn requested(&self) -> &Amounts {
        &self.requested
    }
}

/// A pod's share of its node, and what it means for other pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) node: String,
    pub(crate) name: String,
    pub(crate) rank: Rank,
    requested: Amounts,
    estimated: Amounts,
    host_ports: Vec<HostPort>,
    claims: Vec<Used>,
    group: Option<String>,
    pub(crate) face: Face,
    shuns: Vec<Term>,
    pull: Vec<Leaning>,
}

/// Room on a node that is made for a pod.
#[derive(Clone, Debug)]
struct Nomination {
    node: String,
    rank: Rank,
    requested: Amounts,
    host_ports: Vec<HostPort>,
}

/// What a node's change may mean for pods that did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// Nothing.
    None,
    /// They may fit on it.
    Room,
    /// They may fit on it, and those that mind where others are on other nodes too: it may have become part of another
    /// place, or of none.
    Place,
}

/// All nodes, and the pods that take room on them (bound or about to be, and not finished).
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    /// By uid.
    pods: HashMap<String, Placed>,
    /// Uids of the pods that do not bear some others near them.
    shunning: HashSet<String>,
    /// Uids of the pods that would have some others near them, or would not.
    pulling: HashSet<String>,
    namespaces: Namespaces,
    /// Shared with the copies on which is tried who has to go for a pod.
    storage: Arc<Storage>,
    /// By uid of the pod that waits for the room.
    nominated: HashMap<String, Nomination>,
}

impl Cluster {
    /// No nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a node as it now is; what that may mean for pods that did not fit.
    pub fn set_node(&mut self, node: &Node) -> NodeChange {
        let name = node.metadata.name.clone().unwrap_or_default();
        let state = self.nodes.entry(name).or_default();
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let taints = effective_taints(node);
        let unschedulable = spec.and_then(|s| s.unschedulable).unwrap_or(false);
        let allocatable = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()));
        let allocatable = Amounts::from(&allocatable.map(amounts::parse).unwrap_or_default());
        let change = if !state.exists || state.labels != labels || state.taints != taints {
            NodeChange::Place
        } else if state.unschedulable != unschedulable || state.allocatable != allocatable {
            NodeChange::Room
        } else {
            NodeChange::None
        };
        state.labels = labels;
        state.taints = taints;
        state.unschedulable = unschedulable;
        state.allocatable = allocatable;
        state.exists = true;
        change
    }

    /// Forgets a node; its pods are remembered until they go too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(state) = self.nodes.get_mut(name) {
            state.exists = false;
            if state.requested.pods == 0 {
                self.nodes.remove(name);
            }
        }
    }

    /// Takes in a namespace as it now is; pods' terms may choose namespaces by their labels.
    pub fn set_namespace(&mut self, namespace: &Namespace) {
        let meta = &namespace.metadata;
        let name = meta.name.clone().unwrap_or_default();
        self.namespaces.insert(name, meta.labels.clone().unwrap_or_default());
    }

    /// Forgets a namespace.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// The claims and volumes that there are, to be changed.
    pub fn storage_mut(&mut self) -> &mut Storage {
        Arc::make_mut(&mut self.storage)
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Whether a pod on a node uses that claim, but for the one with that uid.
    pub(crate) fn uses_claim(&self, namespace: &str, claim: &str, but: &str) -> bool {
        self.pods.iter().any(|(uid, placed)| {
            uid != but && placed.face.namespace == namespace && placed.claims.iter().any(|used| used.name == claim)
        })
    }

    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Takes in a pod as it now is. True when it left room on a node, or may have.
    pub fn set_pod(&mut self, pod: &Pod) -> bool {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let finished = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
        match node {
            Some(node) if !finished => {
                let face = Face::of(pod);
                let company = Company::of(pod, &face);
                let placed = Placed {
                    node: node.to_owned(),
                    name: pod.metadata.name.clone().unwrap_or_default(),
                    rank: Rank::of(pod),
                    requested: Amounts::requested(pod),
                    estimated: Amounts::estimated(pod),
                    host_ports: HostPort::of_pod(pod),
                    claims: Used::of(pod),
                    group: group(pod),
                    pull: company.pull(),
                    shuns: company.shuns,
                    face,
                };
                let before = self.pods.get(uid).map(|before| before.requested.clone());
                let shrank = before.is_some_and(|before| before != placed.requested);
                self.place(uid, placed);
                shrank
            }
            Some(_) => self.remove_pod(uid),
            // Not bound yet: it may have been assumed, and only a failed binding takes that back.
            None => false,
        }
    }

    /// Counts a pod on a node before its binding is written.
    pub fn assume(&mut self, candidate: &Candidate, node: &str) {
        let uid = candidate.uid();
        let placed = Placed {
            node: node.to_owned(),
            name: candidate.pod.metadata.name.clone().unwrap_or_default(),
            rank: candidate.rank,
            requested: candidate.requested.clone(),
            estimated: candidate.estimated.clone(),
            host_ports: candidate.host_ports.clone(),
            claims: candidate.claims.clone(),
            group: candidate.group.clone(),
            face: candidate.face.clone(),
            shuns: candidate.company.shuns.clone(),
            pull: candidate.company.pull(),
        };
        self.place(uid, placed);
    }

    /// Keeps room on a node for a pod, until it is placed or forgotten.
    pub fn nominate(&mut self, candidate: &Candidate, node: &str) {
        let nomination = Nomination {
            node: node.to_owned(),
            rank: candidate.rank,
            requested: candidate.requested.clone(),
            host_ports: candidate.host_ports.clone(),
        };
        self.nominated.insert(candidate.uid().to_owned(), nomination);
    }

    /// Whether pods are still on their way out of the node on which room is made for the pod.
    pub fn is_being_cleared_for(&self, candidate: &Candidate) -> bool {
        self.nominated.get(candidate.uid()).is_some_and(|nomination| {
            let mut there = self.pods.values().filter(|placed| placed.node == nomination.node);
            there.any(|placed| placed.face.leaving && placed.rank.priority < candidate.rank.priority)
        })
    }

    /// A node as it will be with the pods for which room is made there, but for those that the candidate precedes.
    pub(crate) fn with_nominated(&self, candidate: &Candidate, name: &str, node: &NodeState) -> Option<NodeState> {
        let precede = |(uid, other): &(&String, &Nomination)| {
            other.node == name && other.rank.priority >= candidate.rank.priority && uid.as_str() != candidate.uid()
        };
        let mut full = None;
        for (_, other) in self.nominated.iter().filter(precede) {
            let state = full.get_or_insert_with(|| node.clone());
            state.requested.add(&other.requested);
            state.host_ports.extend(other.host_ports.iter().cloned());
        }
        full
    }

    /// The pods on nodes of lower priority, with their uids.
    pub(crate) fn below(&self, priority: i32) -> impl Iterator<Item = (&str, &Placed)> {
        let below = move |(_, placed): &(&String, &Placed)| placed.rank.priority < priority;
        self.pods.iter().filter(below).map(|(uid, placed)| (uid.as_str(), placed))
    }

    /// Forgets a pod. True when it left room on a node.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        self.nominated.remove(uid);
        let Some(placed) = self.pods.remove(uid) else {
            return false;
        };
        self.shunning.remove(uid);
        self.pulling.remove(uid);
        let Some(state) = self.nodes.get_mut(&placed.node) else {
            return false;
        };
        state.requested.subtract(&placed.requested);
        state.estimated.subtract(&placed.estimated);
        for port in &placed.host_ports {
            if let Some(at) = state.host_ports.iter().position(|taken| taken == port) {
                state.host_ports.swap_remove(at);
            }
        }
        if let Some(group) = &placed.group
            && let Some(count) = state.groups.get_mut(group)
        {
            *count -= 1;
            if *count == 0 {
                state.groups.remove(group);
            }
        }
        if !state.exists && state.requested.pods == 0 {
            self.nodes.remove(&placed.node);
        }
        true
    }

    pub(crate) fn place(&mut self, uid: &str, placed: Placed) {
        self.nominated.remove(uid);
        if let Some(known) = self.pods.get(uid) {
            if *known == placed {
                return;
            }
            self.remove_pod(uid);
        }
        let state = self.nodes.entry(placed.node.clone()).or_default();
        state.requested.add(&placed.requested);
        state.estimated.add(&placed.estimated);
        state.host_ports.extend(placed.host_ports.iter().cloned());
        if let Some(group) = &placed.group {
            *state.groups.entry(group.clone()).or_default() += 1;
        }
        if !placed.shuns.is_empty() {
            self.shunning.insert(uid.to_owned());
        }
        if !placed.pull.is_empty() {
            self.pulling.insert(uid.to_owned());
        }
        self.pods.insert(uid.to_owned(), placed);
    }

    /// The pods on nodes that exist, each with its node.
    pub(crate) fn faces(&self) -> impl Iterator<Item = (&NodeState, &Face)> {
        self.pods.values().filter_map(|placed| Some((self.node(&placed.node)?, &placed.face)))
    }

    /// The nodes of pods that do not bear some others near them, and which.
    pub(crate) fn shunning(&self) -> impl Iterator<Item = (&NodeState, &[Term])> {
        let placed = self.shunning.iter().filter_map(|uid| self.pods.get(uid));
        placed.filter_map(|placed| Some((self.node(&placed.node)?, placed.shuns.as_slice())))
    }

    /// The nodes of pods that would have some others near them, or would not, and which.
    pub(crate) fn pulling(&self) -> impl Iterator<Item = (&NodeState, &[Leaning])> {
        let placed = self.pulling.iter().filter_map(|uid| self.pods.get(uid));
        placed.filter_map(|placed| Some((self.node(&placed.node)?, placed.pull.as_slice())))
    }

    /// The node on which room is kept for a pod.
    pub fn nominated_node(&self, uid: &str) -> Option<&str> {
        self.nominated.get(uid).map(|nomination| nomination.node.as_str())
    }

    /// No room is kept for the pod any more.
    pub fn forget_nomination(&mut self, uid: &str) {
        self.nominated.remove(uid);
    }

    /// No room is kept on the node any more for pods of a lower priority than that: their uids.
    pub fn forget_nominations(&mut self, node: &str, priority: i32) -> Vec<String> {
        let gone = self.nominated.extract_if(|_, other| other.node == node && other.rank.priority < priority);
        gone.map(|(uid, _)| uid).collect()
    }

    /// The nodes that exist, in the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeState)> {
        self.nodes.iter().filter(|(_, state)| state.exists).map(|(name, state)| (name.as_str(), state))
    }

    /// A node that exists.
    pub fn node(&self, name: &str) -> Option<&NodeState> {
        self.nodes.get(name).filter(|state| state.exists)
    }
}

impl From<Vec<Arc<Node>>> for Cluster {
    fn from(nodes: Vec<Arc<Node>>) -> Self {
        let mut cluster = Self::new();
        for node in nodes {
            cluster.set_node(&node);
        }
        cluster
    }
}

/// The node's taints, and what its `Ready` condition implies: a node that has just lost its connection, or has just
/// been created, gets no pods in the moment before the node controller taints it.
fn effective_taints(node: &Node) -> Vec<Taint> {
    let mut taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let ready = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready")
        .map_or("False", |condition| condition.status.as_str());
    let implied = match ready {
        "True" => return taints,
        "False" => "node.kubernetes.io/not-ready",
        _ => "node.kubernetes.io/unreachable",
    };
    if !taints.iter().any(|taint| taint.key == implied && taint.effect == "NoSchedule") {
        taints.insert(
            0,
            Taint { key: implied.to_owned(), effect: "NoSchedule".to_owned(), value: None, time_added: None },
        );
    }
    taints
}
