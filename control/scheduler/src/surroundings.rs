//! For one pod, which places (nodes that share a label) the pods that are there open or close to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::affinity::{node_matches, tolerates};
use crate::candidate::Candidate;
use crate::cluster::{Cluster, NodeState};
use crate::company::{Face, Spread, Term};
use crate::filter::Refusal;

/// A label and its value.
type Domain<'a> = (&'a str, &'a str);

/// What the pods that are there mean for a candidate.
#[derive(Debug, Default)]
pub(crate) struct Surroundings<'a> {
    /// For each label, the values where a wanted pod is.
    wanted: Vec<(&'a str, BTreeSet<&'a str>)>,
    /// The pod wants its own like, and is the first of them.
    is_first: bool,
    /// Where pods are that the candidate does not bear near it.
    shunned: BTreeSet<Domain<'a>>,
    /// Where pods are that do not bear the candidate near them.
    closed: BTreeSet<Domain<'a>>,
    spreads: Vec<Spreading<'a>>,
}

/// One constraint with what it counts.
#[derive(Debug)]
pub(crate) struct Spreading<'a> {
    spread: &'a Spread,
    /// How many of the pods are in each place that counts.
    counts: BTreeMap<&'a str, usize>,
    /// How many are in the place that has the fewest.
    least: Option<usize>,
    /// One, when the candidate is counted itself.
    own: usize,
}

impl<'a> Surroundings<'a> {
    pub(crate) fn of(cluster: &'a Cluster, candidate: &'a Candidate) -> Self {
        let company = &candidate.company;
        let mut around = Self {
            wanted: company.wants.iter().map(|term| (term.key.as_str(), BTreeSet::new())).collect(),
            spreads: company.spreads.iter().map(|spread| Spreading::of(cluster, candidate, spread)).collect(),
            ..Self::default()
        };
        let (face, namespaces) = (&candidate.face, cluster.namespaces());
        let domain = |term: &'a Term, node: &'a NodeState| {
            node.labels.get(&term.key).map(|value| (term.key.as_str(), value.as_str()))
        };
        for (node, shuns) in cluster.shunning() {
            let against = shuns.iter().filter(|term| term.is_about(face, namespaces));
            around.closed.extend(against.filter_map(|term| domain(term, node)));
        }
        if company.is_empty() {
            return around;
        }
        let wants_all = |other: &_| company.wants.iter().all(|term| term.is_about(other, namespaces));
        for (node, other) in cluster.faces() {
            let against = company.shuns.iter().filter(|term| term.is_about(other, namespaces));
            around.shunned.extend(against.filter_map(|term| domain(term, node)));
            if !company.wants.is_empty() && wants_all(other) {
                for (key, values) in &mut around.wanted {
                    values.extend(node.labels.get(*key).map(String::as_str));
                }
            }
            for spreading in &mut around.spreads {
                spreading.count(node, other, &face.namespace);
            }
        }
        around.is_first = around.wanted.iter().all(|(_, values)| values.is_empty()) && wants_all(face);
        for spreading in &mut around.spreads {
            spreading.settle();
        }
        around
    }

    /// Why the node can not take the candidate, if it can not.
    pub(crate) fn refusal(&self, node: &NodeState) -> Option<Refusal> {
        if let Some(refusal) = self.spreads.iter().find_map(|spreading| spreading.refusal(node)) {
            return Some(refusal);
        }
        let near = |(key, values): &(&str, BTreeSet<&str>)| {
            node.labels.get(*key).is_some_and(|value| self.is_first || values.contains(value.as_str()))
        };
        if !self.wanted.iter().all(near) {
            return Some(Refusal::PodAffinity);
        }
        let is_in = |domains: &BTreeSet<Domain<'_>>| {
            domains.iter().any(|(key, value)| node.labels.get(*key).is_some_and(|own| own == value))
        };
        if is_in(&self.shunned) {
            return Some(Refusal::PodAntiAffinity);
        }
        is_in(&self.closed).then_some(Refusal::OthersAntiAffinity)
    }
}

impl<'a> Spreading<'a> {
    /// The places that count, still empty: those of nodes that have the labels of all constraints.
    pub(crate) fn of(cluster: &'a Cluster, candidate: &Candidate, spread: &'a Spread) -> Self {
        let mut counts = BTreeMap::new();
        for (name, node) in cluster.nodes() {
            let complete = candidate.company.spreads.iter().all(|other| node.labels.contains_key(&other.key));
            if complete
                && includes(spread, candidate, name, node)
                && let Some(value) = node.labels.get(&spread.key)
            {
                counts.insert(value.as_str(), 0);
            }
        }
        let own = usize::from(spread.counts(&candidate.face, &candidate.face.namespace));
        Self { spread, counts, least: None, own }
    }

    /// Takes in one pod.
    pub(crate) fn count(&mut self, node: &NodeState, other: &Face, namespace: &str) {
        let Some(value) = node.labels.get(&self.spread.key) else { return };
        if let Some(count) = self.counts.get_mut(value.as_str())
            && self.spread.counts(other, namespace)
        {
            *count += 1;
        }
    }

    /// How many of the pods are in the node's place.
    pub(crate) fn there(&self, node: &NodeState) -> usize {
        let value = node.labels.get(&self.spread.key);
        value.and_then(|value| self.counts.get(value.as_str())).copied().unwrap_or(0)
    }

    /// How many places there are.
    pub(crate) fn places(&self) -> usize {
        self.counts.len()
    }

    fn settle(&mut self) {
        let enough = self.counts.len() >= self.spread.least_domains;
        self.least = self.counts.values().min().map(|least| if enough { *least } else { 0 });
    }

    fn refusal(&self, node: &NodeState) -> Option<Refusal> {
        if !node.labels.contains_key(&self.spread.key) {
            return Some(Refusal::NoTopologyLabel);
        }
        let least = self.least?;
        (self.there(node) + self.own > least + self.spread.most_skew).then_some(Refusal::TopologySpread)
    }
}

/// Whether the places of a node count for a constraint.
fn includes(spread: &Spread, candidate: &Candidate, name: &str, node: &NodeState) -> bool {
    let Some(spec) = &candidate.pod.spec else { return true };
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let repels =
        |taint: &&k8s_openapi::api::core::v1::Taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute";
    let borne = || {
        let mut taints = node.taints.iter().filter(repels);
        taints.all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)))
    };
    (!spread.honors_affinity || node_matches(spec, name, &node.labels)) && (!spread.honors_taints || borne())
}
