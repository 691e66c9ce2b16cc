//! Which pods a pod wants near it, which it bears no longer near it, and over what it is to be spread.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as Selector, LabelSelectorRequirement};
use pal_resources::selector::LabelSelector;

/// Labels by namespace.
pub(crate) type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// What others' selectors look at on a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) leaving: bool,
}

impl Face {
    pub(crate) fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            leaving: meta.deletion_timestamp.is_some(),
        }
    }
}

/// One required term of a pod's affinity or anti-affinity to pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The label that nodes of one place share.
    pub(crate) key: String,
    pods: Option<LabelSelector>,
    namespaces: Vec<String>,
    namespace_labels: Option<LabelSelector>,
}

impl Term {
    fn of(term: &PodAffinityTerm, face: &Face) -> Self {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(face.namespace.clone());
        }
        let own = |key: &String| face.labels.get(key).map(|value| (key.clone(), value.clone()));
        let same = term.match_label_keys.iter().flatten().filter_map(own);
        let other = term.mismatch_label_keys.iter().flatten().filter_map(own);
        let more = same.map(|label| (label, "In")).chain(other.map(|label| (label, "NotIn")));
        Self {
            key: term.topology_key.clone(),
            pods: selector(term.label_selector.as_ref(), more),
            namespaces,
            namespace_labels: selector(term.namespace_selector.as_ref(), std::iter::empty()),
        }
    }

    /// Whether the term is about that pod.
    pub(crate) fn is_about(&self, other: &Face, namespaces: &Namespaces) -> bool {
        let nothing = BTreeMap::new();
        let labels = || namespaces.get(&other.namespace).unwrap_or(&nothing);
        let near = self.namespaces.contains(&other.namespace)
            || self.namespace_labels.as_ref().is_some_and(|selector| selector.matches(labels()));
        near && self.pods.as_ref().is_some_and(|selector| selector.matches(&other.labels))
    }
}

/// One constraint that keeps a pod from places that have more of its like than others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) key: String,
    pub(crate) most_skew: usize,
    pub(crate) least_domains: usize,
    /// Whether nodes that the pod's node affinity excludes do not count.
    pub(crate) honors_affinity: bool,
    /// Whether nodes whose taints the pod does not bear do not count.
    pub(crate) honors_taints: bool,
    pub(crate) pods: Option<LabelSelector>,
}

impl Spread {
    fn of(constraint: &TopologySpreadConstraint, face: &Face) -> Self {
        let own = |key: &String| face.labels.get(key).map(|value| ((key.clone(), value.clone()), "In"));
        let more = constraint.match_label_keys.iter().flatten().filter_map(own);
        let natural = |number: i32| usize::try_from(number).unwrap_or(0);
        Self {
            key: constraint.topology_key.clone(),
            most_skew: natural(constraint.max_skew),
            least_domains: constraint.min_domains.map_or(1, natural),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
            pods: selector(constraint.label_selector.as_ref(), more),
        }
    }

    /// Whether that pod is one of those that are spread. Those that leave are not.
    pub(crate) fn counts(&self, other: &Face, namespace: &str) -> bool {
        !other.leaving
            && other.namespace == namespace
            && self.pods.as_ref().is_some_and(|selector| selector.matches(&other.labels))
    }
}

/// Everything that a pod requires of where other pods are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Company {
    pub(crate) wants: Vec<Term>,
    pub(crate) shuns: Vec<Term>,
    pub(crate) spreads: Vec<Spread>,
}

impl Company {
    pub(crate) fn of(pod: &Pod, face: &Face) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let affinity = spec.affinity.as_ref();
        let wants = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let wants = wants.and_then(|wants| wants.required_during_scheduling_ignored_during_execution.as_ref());
        let shuns = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let shuns = shuns.and_then(|shuns| shuns.required_during_scheduling_ignored_during_execution.as_ref());
        let spreads = spec.topology_spread_constraints.iter().flatten();
        Self {
            wants: wants.into_iter().flatten().map(|term| Term::of(term, face)).collect(),
            shuns: shuns.into_iter().flatten().map(|term| Term::of(term, face)).collect(),
            spreads: spreads
                .filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
                .map(|constraint| Spread::of(constraint, face))
                .collect(),
        }
    }

    /// Whether the pod does not care.
    pub(crate) fn is_empty(&self) -> bool {
        self.wants.is_empty() && self.shuns.is_empty() && self.spreads.is_empty()
    }
}

/// The object's selector with more requirements; none, which selects nothing, when there is none or it is unsound.
fn selector<'a>(
    selector: Option<&Selector>,
    more: impl Iterator<Item = ((String, String), &'a str)>,
) -> Option<LabelSelector> {
    let mut selector = selector?.clone();
    selector.match_expressions.get_or_insert_default().extend(more.map(|((key, value), operator)| {
        LabelSelectorRequirement { key, operator: operator.to_owned(), values: Some(vec![value]) }
    }));
    LabelSelector::from_object(&selector).ok()
}
