//! Which nodes can take a pod, and why the others can not, in Kubernetes' words.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Taint;

use crate::affinity::{node_matches, tolerates};
use crate::candidate::Candidate;
use crate::cluster::NodeState;

/// Why a node does not take a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The node is cordoned.
    Unschedulable,
    /// The pod names another node.
    NodeName,
    /// The pod does not bear a taint. Which is not said: it may be nobody else's business.
    Taint,
    /// The node's labels are not those that the pod asks for.
    Affinity,
    /// A pod is there that has a port of the node which the pod asks for.
    HostPorts,
    /// There is not enough of this resource left.
    Insufficient(String),
    /// There would not be enough of this resource if the node were empty.
    NeverSufficient(String),
    /// The node has as many pods as it takes.
    TooManyPods,
    /// A volume that the pod's claims have cannot be reached from the node.
    VolumeElsewhere,
    /// There is no volume there for a claim, and none can be made.
    NoVolume,
    /// A volume that the pod's claims have is gone.
    VolumeGone,
    /// Another pod has a claim that one pod at a time may use.
    ClaimInUse,
    /// The node lacks a label over whose values the pod is to be spread.
    NoTopologyLabel,
    /// There are too many of the pod's like already.
    TopologySpread,
    /// No pod is there that the pod wants near it.
    PodAffinity,
    /// A pod is there that the pod does not bear near it.
    PodAntiAffinity,
    /// A pod is there that does not bear the pod near it.
    OthersAntiAffinity,
}

impl Refusal {
    /// Whether it would help if pods left the node, which is what preemption could make them.
    pub fn is_about_room(&self) -> bool {
        matches!(
            self,
            Self::HostPorts
                | Self::Insufficient(_)
                | Self::TooManyPods
                | Self::ClaimInUse
                | Self::TopologySpread
                | Self::PodAntiAffinity
                | Self::OthersAntiAffinity
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::NodeName => f.write_str("node(s) didn't match the requested node name"),
            Self::Taint => f.write_str("node(s) had untolerated taint(s)"),
            Self::Affinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::HostPorts => f.write_str("node(s) didn't have free ports for the requested pod ports"),
            Self::Insufficient(resource) | Self::NeverSufficient(resource) => write!(f, "Insufficient {resource}"),
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::VolumeElsewhere => f.write_str("node(s) didn't match PersistentVolume's node affinity"),
            Self::NoVolume => f.write_str("node(s) didn't find available persistent volumes to bind"),
            Self::VolumeGone => {
                f.write_str("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
            }
            Self::ClaimInUse => f.write_str(
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
            ),
            Self::NoTopologyLabel => {
                f.write_str("node(s) didn't match pod topology spread constraints (missing required label)")
            }
            Self::TopologySpread => f.write_str("node(s) didn't match pod topology spread constraints"),
            Self::PodAffinity => f.write_str("node(s) didn't match pod affinity rules"),
            Self::PodAntiAffinity => f.write_str("node(s) didn't match pod anti-affinity rules"),
            Self::OthersAntiAffinity => f.write_str("node(s) didn't satisfy existing pods anti-affinity rules"),
        }
    }
}

/// Nothing when the node can take the pod. As in Kubernetes the first kind of reason ends the search, and a lack of
/// room names all that lacks.
pub(crate) fn refusals(candidate: &Candidate, name: &str, node: &NodeState) -> Vec<Refusal> {
    let Some(spec) = &candidate.pod.spec else {
        return Vec::new();
    };
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let borne = |taint: &Taint| tolerations.iter().any(|toleration| tolerates(toleration, taint));
    if node.unschedulable && !borne(&cordon()) {
        return vec![Refusal::Unschedulable];
    }
    if spec.node_name.as_deref().is_some_and(|wanted| !wanted.is_empty() && wanted != name) {
        return vec![Refusal::NodeName];
    }
    let repels = |taint: &&Taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute";
    if node.taints.iter().filter(repels).any(|taint| !borne(taint)) {
        return vec![Refusal::Taint];
    }
    if !node_matches(spec, name, &node.labels) {
        return vec![Refusal::Affinity];
    }
    if candidate.host_ports.iter().any(|port| node.host_ports.iter().any(|taken| taken.conflicts_with(port))) {
        return vec![Refusal::HostPorts];
    }
    lacks(candidate, node)
}

fn lacks(candidate: &Candidate, node: &NodeState) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let (want, used, have) = (&candidate.requested, &node.requested, &node.allocatable);
    // A node that does not say how many pods it takes, takes any number.
    if have.pods > 0 && used.pods.saturating_add(1) > have.pods {
        refusals.push(Refusal::TooManyPods);
    }
    let mut weigh = |name: &str, want: i64, used: i64, have: i64| {
        if want > 0 && want > have {
            refusals.push(Refusal::NeverSufficient(name.to_owned()));
        } else if want > 0 && used.saturating_add(want) > have {
            refusals.push(Refusal::Insufficient(name.to_owned()));
        }
    };
    weigh("cpu", want.milli_cpu, used.milli_cpu, have.milli_cpu);
    weigh("memory", want.memory, used.memory, have.memory);
    for (name, amount) in &want.others {
        let of = |amounts: &BTreeMap<String, i64>| amounts.get(name).copied().unwrap_or(0);
        weigh(name, *amount, of(&used.others), of(&have.others));
    }
    refusals
}

/// The taint that a cordoned node has or will have.
fn cordon() -> Taint {
    Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        value: None,
        time_added: None,
    }
}
