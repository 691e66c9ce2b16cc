//! Which pods have ended, and which of them have been counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::indexes::{self, Indexes};
use super::{TRACKING, finalizers_patch};
use crate::action::Action;
use crate::object::{is_deleting, uid};
use crate::pods::phase;

/// Uids that wait in the status at most.
const UNCOUNTED: usize = 500;

/// What has ended, counted and not yet counted.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    succeeded: i32,
    failed: i32,
    /// Uids in the status whose pods still carry the finalizer.
    uncounted_succeeded: BTreeSet<String>,
    uncounted_failed: BTreeSet<String>,
    /// Pods that need their finalizer no longer, when the status is written.
    counted: Vec<&'a Arc<Pod>>,
    /// Pods that ended and found no place in the status yet.
    left: usize,
    indexes: Option<Indexes>,
}

impl<'a> Tally<'a> {
    pub(super) fn of(spec: &JobSpec, status: &JobStatus, pods: &[&'a Arc<Pod>]) -> Self {
        let completions = u32::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let indexes =
            indexed.then(|| Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions));
        let waiting = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let mut tally = Self {
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            uncounted_succeeded: BTreeSet::new(),
            uncounted_failed: BTreeSet::new(),
            counted: Vec::new(),
            left: 0,
            indexes,
        };
        let tracked: BTreeSet<&str> = pods.iter().filter(|pod| is_tracked(pod)).map(|pod| uid(&pod.metadata)).collect();
        for (list, uncounted, counted) in [
            (waiting.succeeded, &mut tally.uncounted_succeeded, &mut tally.succeeded),
            (waiting.failed, &mut tally.uncounted_failed, &mut tally.failed),
        ] {
            for uid in list.into_iter().flatten() {
                if tracked.contains(uid.as_str()) {
                    uncounted.insert(uid);
                } else {
                    *counted += 1;
                }
            }
        }
        pods.iter().filter(|pod| is_tracked(pod)).for_each(|pod| tally.add(spec, pod));
        if let Some(indexes) = &tally.indexes {
            tally.succeeded = crate::members::count(indexes.len());
        }
        tally
    }

    fn add(&mut self, spec: &JobSpec, pod: &'a Arc<Pod>) {
        let own = uid(&pod.metadata);
        if self.uncounted_succeeded.contains(own) || self.uncounted_failed.contains(own) {
            self.counted.push(pod);
            return;
        }
        let succeeded = phase(pod) == "Succeeded";
        if !succeeded && !has_failed(spec, pod) {
            return;
        }
        if let (true, Some(indexes)) = (succeeded, &mut self.indexes) {
            if let Some(index) = indexes::of(pod) {
                indexes.insert(index);
            }
            self.counted.push(pod);
            return;
        }
        if self.uncounted_succeeded.len() + self.uncounted_failed.len() >= UNCOUNTED {
            self.left += 1;
            return;
        }
        let list = if succeeded { &mut self.uncounted_succeeded } else { &mut self.uncounted_failed };
        list.insert(own.to_owned());
        self.counted.push(pod);
    }

    /// Pods that succeeded, counted or not; of numbered ones, numbers.
    pub(super) fn succeeded(&self) -> i32 {
        self.succeeded.saturating_add(crate::members::count(self.uncounted_succeeded.len()))
    }

    /// Pods that failed, counted or not.
    pub(super) fn failed(&self) -> i32 {
        self.failed.saturating_add(crate::members::count(self.uncounted_failed.len()))
    }

    pub(super) fn indexes(&self) -> Option<&Indexes> {
        self.indexes.as_ref()
    }

    /// Whether all that ended is counted.
    pub(super) fn is_settled(&self) -> bool {
        self.uncounted_succeeded.is_empty() && self.uncounted_failed.is_empty() && self.left == 0
    }

    pub(super) fn counted(&self) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.counted.iter().copied()
    }

    /// The part of the status that says this.
    pub(super) fn status(&self) -> Value {
        let list = |uids: &BTreeSet<String>| if uids.is_empty() { Value::Null } else { json!(uids) };
        let nonzero = |number: i32| if number == 0 { Value::Null } else { json!(number) };
        let completed = self.indexes.as_ref().map(ToString::to_string).filter(|text| !text.is_empty());
        json!({
            "succeeded": nonzero(self.succeeded),
            "failed": nonzero(self.failed),
            "completedIndexes": completed,
            "uncountedTerminatedPods": {
                "succeeded": list(&self.uncounted_succeeded),
                "failed": list(&self.uncounted_failed),
            },
        })
    }
}

/// Whether a pod counts as failed: one that is going does, unless the job replaces only what has ended.
fn has_failed(spec: &JobSpec, pod: &Pod) -> bool {
    let only_ended = spec.pod_replacement_policy.as_deref() == Some("Failed");
    phase(pod) == "Failed" || !only_ended && is_deleting(&pod.metadata)
}

/// Whether the pod is still to be counted.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

/// Takes the finalizer off a pod.
pub(super) fn untrack(pod: &Pod) -> Action {
    let others: Vec<&String> =
        pod.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != TRACKING).collect();
    finalizers_patch(pod, &others)
}

/// When a pod ended: with its last container, or now when nothing says.
pub(super) fn end(pod: &Pod, now: Timestamp) -> Timestamp {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let ends = statuses
        .into_iter()
        .flatten()
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0));
    ends.max().unwrap_or(now)
}
