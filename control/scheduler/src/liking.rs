//! What a pod would like of where other pods are, and they of it, for the comparison of nodes: preferred affinity, spreads that
//! need not be kept, and that pods of one controller are not all in one place.

use std::collections::{BTreeMap, HashMap};

use crate::candidate::Candidate;
use crate::cluster::{Cluster, NodeState};
use crate::surroundings::Spreading;

const ZONE: &str = "topology.kubernetes.io/zone";

/// How much better or worse nodes are on account of other pods.
pub(crate) struct Liking<'a> {
    /// By label and value.
    pull: BTreeMap<&'a str, HashMap<&'a str, i64>>,
    spreads: Vec<Spreading<'a>>,
    group: Option<Group<'a>>,
}

/// How many pods of the candidate's group there are: pods of one controller, of which nobody said how to spread them.
struct Group<'a> {
    name: &'a str,
    /// What one pod on a node, or in a zone, weighs: the more such places there are, the more.
    on_node: i64,
    in_zone: i64,
    zones: HashMap<&'a str, i64>,
}

impl<'a> Liking<'a> {
    /// For a candidate that may go to those nodes.
    pub(crate) fn of(cluster: &'a Cluster, candidate: &'a Candidate, nodes: &[(&'a str, &'a NodeState)]) -> Self {
        let company = &candidate.company;
        let spreads = company.loose_spreads.iter().map(|spread| Spreading::of(cluster, candidate, spread)).collect();
        let group = if company.loose_spreads.is_empty() { Group::of(cluster, candidate, nodes.len()) } else { None };
        let mut liking = Self { pull: BTreeMap::new(), spreads, group };
        let (face, namespaces) = (&candidate.face, cluster.namespaces());
        for (node, pull) in cluster.pulling() {
            for leaning in pull.iter().filter(|leaning| leaning.term.is_about(face, namespaces)) {
                liking.draw(&leaning.term.key, node, leaning.weight);
            }
        }
        if company.leanings.is_empty() && company.loose_spreads.is_empty() {
            return liking;
        }
        for (node, other) in cluster.faces() {
            for leaning in company.leanings.iter().filter(|leaning| leaning.term.is_about(other, namespaces)) {
                liking.draw(&leaning.term.key, node, leaning.weight);
            }
            for spreading in &mut liking.spreads {
                spreading.count(node, other, &face.namespace);
            }
        }
        liking
    }

    fn draw(&mut self, key: &'a str, node: &'a NodeState, weight: i64) {
        if let Some(value) = node.labels.get(key) {
            *self.pull.entry(key).or_default().entry(value).or_default() += weight;
        }
    }

    /// How much the node is liked, which may be less than nothing.
    pub(crate) fn pull(&self, node: &NodeState) -> i64 {
        let of_key = |(key, values): (&&str, &HashMap<&str, i64>)| {
            node.labels.get(*key).and_then(|value| values.get(value.as_str())).copied().unwrap_or(0)
        };
        self.pull.iter().map(of_key).sum()
    }

    /// How crowded the node and its surroundings are with the pod's like.
    pub(crate) fn crowd(&self, node: &NodeState) -> i64 {
        let spread: i64 =
            self.spreads.iter().map(|spreading| weigh(spreading.there(node), weight(spreading.places()))).sum();
        spread.saturating_add(self.group.as_ref().map_or(0, |group| group.crowd(node)))
    }
}

impl<'a> Group<'a> {
    fn of(cluster: &'a Cluster, candidate: &'a Candidate, nodes: usize) -> Option<Self> {
        let name = candidate.group.as_deref()?;
        let mut zones: HashMap<&str, i64> = HashMap::new();
        for (_, node) in cluster.nodes() {
            if let Some(zone) = node.labels.get(ZONE) {
                *zones.entry(zone).or_default() += weigh(node.groups.get(name).copied().unwrap_or(0), 1);
            }
        }
        Some(Self { name, on_node: weight(nodes), in_zone: weight(zones.len()), zones })
    }

    fn crowd(&self, node: &NodeState) -> i64 {
        let own = node.groups.get(self.name).copied().unwrap_or(0);
        let zone = node.labels.get(ZONE).and_then(|zone| self.zones.get(zone.as_str())).copied().unwrap_or(0);
        weigh(own, self.on_node).saturating_add(zone.saturating_mul(self.in_zone))
    }
}

/// What one pod weighs where there are that many places, in thousandths.
fn weight(places: usize) -> i64 {
    ((places as f64 + 2.0).ln() * 1000.0) as i64
}

fn weigh(pods: usize, weight: i64) -> i64 {
    i64::try_from(pods).unwrap_or(i64::from(u32::MAX)).min(i64::from(u32::MAX)).saturating_mul(weight)
}
