//! Which nodes a DaemonSet's pods belong to.

use k8s_openapi::api::apps::v1::DaemonSetSpec;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint, Toleration};
use pal_scheduler::{node_matches, tolerates};

use crate::object::name;

/// Whether a pod belongs to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Runs,
    /// None is made there, and one that is there stays.
    Stays,
    Never,
}

impl Fit {
    pub(super) fn of(wanted: &PodSpec, node: &Node) -> Self {
        let name = name(&node.metadata);
        let is_other = wanted.node_name.as_deref().is_some_and(|wanted| !wanted.is_empty() && wanted != name);
        let labels = node.metadata.labels.clone().unwrap_or_default();
        if is_other || !node_matches(wanted, name, &labels) {
            return Self::Never;
        }
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        let tolerations = wanted.tolerations.as_deref().unwrap_or_default();
        let borne = |taint: &&Taint| tolerations.iter().any(|toleration| tolerates(toleration, taint));
        let repels = |effect: &'static str| taints.iter().filter(move |taint| taint.effect == effect);
        match (repels("NoExecute").all(|taint| borne(&taint)), repels("NoSchedule").all(|taint| borne(&taint))) {
            (true, true) => Self::Runs,
            (true, false) => Self::Stays,
            (false, _) => Self::Never,
        }
    }
}

/// What a DaemonSet's pods bear beside what the template says: pods that watch over nodes stay where nothing else would.
const BORNE: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const BORNE_ON_HOST_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The template's pod with its further tolerations.
pub(super) fn wanted(spec: &DaemonSetSpec) -> PodSpec {
    let mut pod = spec.template.spec.clone().unwrap_or_default();
    let host = (pod.host_network == Some(true)).then_some(&BORNE_ON_HOST_NETWORK);
    let tolerations = pod.tolerations.get_or_insert_default();
    for (key, effect) in BORNE.iter().chain(host) {
        let toleration = Toleration {
            key: Some((*key).to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some((*effect).to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    pod
}

/// The node that a pod is on, or, before it is bound, the one that it was made for.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    crate::pods::node(pod).or_else(|| {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
        let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        let mut names = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
        names.find_map(|field| match field.values.as_deref() {
            Some([only]) => Some(only.as_str()),
            _ => None,
        })
    })
}
