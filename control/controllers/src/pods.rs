//! What controllers ask of a pod.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
pub use pal_registry::pod::{condition, disrupted, is_ready, with_condition};

use crate::object::{is_deleting, remaining};

/// `status.phase`, empty when it was never written.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The node that the pod is bound to.
pub fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether it has run to its end.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it counts as a replica: neither finished nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_deleting(&pod.metadata)
}

/// Since when it has been ready, if it is.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether it has been ready for long enough, or when it will have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    Available,
    /// Ready, and available after that long if it stays so.
    After(Duration),
    NotReady,
}

/// Judges a pod by its controller's `minReadySeconds`.
pub fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::NotReady;
    }
    let Ok(seconds @ 1..) = u64::try_from(min_ready_seconds) else { return Availability::Available };
    let span = Duration::from_secs(seconds);
    let Some(since) = ready_since(pod) else { return Availability::After(span) };
    remaining(since, span, now).map_or(Availability::Available, Availability::After)
}
