//! What the scheduler looks at on a pod, taken from it once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::amount::Amounts;
use crate::company::{Company, Face};
use crate::preempt::Rank;
use crate::volumes::Used;
use pal_resources::host_port::HostPort;

/// A pod to be placed.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(crate) pod: Arc<Pod>,
    pub(crate) requested: Amounts,
    pub(crate) estimated: Amounts,
    pub(crate) host_ports: Vec<HostPort>,
    pub(crate) claims: Vec<Used>,
    pub(crate) rank: Rank,
    /// No other pod has to go for this one.
    pub(crate) is_meek: bool,
    /// Pods of one group are spread over the nodes.
    pub(crate) group: Option<String>,
    pub(crate) face: Face,
    pub(crate) company: Company,
}

impl Candidate {
    /// Takes what matters from a pod.
    pub fn of(pod: Arc<Pod>) -> Self {
        let face = Face::of(&pod);
        Self {
            requested: Amounts::requested(&pod),
            estimated: Amounts::estimated(&pod),
            host_ports: HostPort::of_pod(&pod),
            claims: Used::of(&pod),
            rank: Rank::of(&pod),
            is_meek: pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never"),
            group: group(&pod),
            company: Company::of(&pod, &face),
            face,
            pod,
        }
    }

    /// Whether it matters to the pod where other pods are.
    pub fn minds_others(&self) -> bool {
        !self.company.is_empty()
    }

    /// The names of the claims that the pod uses.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(|used| used.name.as_str())
    }

    /// Whether no other pod has to go for this one (`preemptionPolicy: Never`).
    pub fn is_meek(&self) -> bool {
        self.is_meek
    }

    /// How important the pod is.
    pub fn priority(&self) -> i32 {
        self.rank.priority
    }

    pub(crate) fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The pod itself.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }
}

/// Pods of one controller belong together; without one, pods with the same labels, as a Service would choose them.
pub(crate) fn group(pod: &Pod) -> Option<String> {
    let owner = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.clone());
    owner.or_else(|| {
        let labels = pod.metadata.labels.as_ref().filter(|labels| !labels.is_empty())?;
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Some(format!("{namespace}/{}", pairs.join(",")))
    })
}
