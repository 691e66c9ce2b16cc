//! Which pods a pod wants near it, which it bears no longer near it, and over what it is to be spread.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, TopologySpreadConstraint, WeightedPodAffinityTerm};
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

    /// Whether that pod is one of those that are spread.
    pub(crate) fn is_of(&self, other: &Face, namespace: &str) -> bool {
        other.namespace == namespace && self.pods.as_ref().is_some_and(|selector| selector.matches(&other.labels))
    }

    /// Whether that pod counts. Those that leave do not.
    pub(crate) fn counts(&self, other: &Face, namespace: &str) -> bool {
        !other.leaving && self.is_of(other, namespace)
    }
}

/// A term that is not required: how much better a place is for the pods that the term is about, or how much worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaning {
    pub(crate) term: Term,
    pub(crate) weight: i64,
}

/// Everything that a pod requires of where other pods are, and what it would like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Company {
    pub(crate) wants: Vec<Term>,
    pub(crate) shuns: Vec<Term>,
    pub(crate) spreads: Vec<Spread>,
    pub(crate) leanings: Vec<Leaning>,
    /// Constraints that need not be kept.
    pub(crate) loose_spreads: Vec<Spread>,
}

impl Company {
    pub(crate) fn of(pod: &Pod, face: &Face) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let affinity = spec.affinity.as_ref();
        let wants = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let shuns = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let likes = wants.and_then(|wants| wants.preferred_during_scheduling_ignored_during_execution.as_ref());
        let dislikes = shuns.and_then(|shuns| shuns.preferred_during_scheduling_ignored_during_execution.as_ref());
        let leaning = |sign: i64| {
            move |preferred: &WeightedPodAffinityTerm| Leaning {
                term: Term::of(&preferred.pod_affinity_term, face),
                weight: sign * i64::from(preferred.weight),
            }
        };
        let likes = likes.into_iter().flatten().map(leaning(1));
        let dislikes = dislikes.into_iter().flatten().map(leaning(-1));
        let wants = wants.and_then(|wants| wants.required_during_scheduling_ignored_during_execution.as_ref());
        let shuns = shuns.and_then(|shuns| shuns.required_during_scheduling_ignored_during_execution.as_ref());
        let (strict, loose): (Vec<_>, Vec<_>) = spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .partition(|constraint| constraint.when_unsatisfiable == "DoNotSchedule");
        let spreads = |constraints: Vec<&TopologySpreadConstraint>| {
            constraints.into_iter().map(|constraint| Spread::of(constraint, face)).collect()
        };
        Self {
            wants: wants.into_iter().flatten().map(|term| Term::of(term, face)).collect(),
            shuns: shuns.into_iter().flatten().map(|term| Term::of(term, face)).collect(),
            spreads: spreads(strict),
            leanings: likes.chain(dislikes).collect(),
            loose_spreads: spreads(loose),
        }
    }

    /// What the pod, where it is, means for others that would come: what it would like near it, and a little what it
    /// wants there.
    pub(crate) fn pull(&self) -> Vec<Leaning> {
        let wants = self.wants.iter().map(|term| Leaning { term: term.clone(), weight: 1 });
        self.leanings.iter().cloned().chain(wants).collect()
    }

    /// Whether the pod requires nothing.
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
