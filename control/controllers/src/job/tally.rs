//! Which pods have ended, and which of them have been counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::indexes::{self, Indexes};
use super::policy::{Verdict, has_failed, verdict};
use super::{TRACKING, finalizers_patch};
use crate::action::Action;
use crate::object::{created, uid};
use crate::pods::{condition, is_active, phase};

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
    /// Of a job that counts failures of each index: the indexes that failed for good.
    failed_indexes: Option<Indexes>,
    /// The last failed pod of each index that is to be tried again. It is kept until the next is there, which takes over
    /// how often its index has failed.
    awaiting: BTreeMap<u32, &'a Arc<Pod>>,
    /// Why a rule says that the job has failed.
    refused: Option<String>,
}

impl<'a> Tally<'a> {
    pub(super) fn of(spec: &JobSpec, status: &JobStatus, pods: &[&'a Arc<Pod>]) -> Self {
        let completions = u32::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let read = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), completions);
        let waiting = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let mut tally = Self {
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            uncounted_succeeded: BTreeSet::new(),
            uncounted_failed: BTreeSet::new(),
            counted: Vec::new(),
            left: 0,
            indexes: indexed.then(|| read(&status.completed_indexes)),
            failed_indexes: spec.backoff_limit_per_index.filter(|_| indexed).map(|_| read(&status.failed_indexes)),
            awaiting: BTreeMap::new(),
            refused: None,
        };
        let tracked: Vec<&'a Arc<Pod>> = pods.iter().copied().filter(|pod| is_tracked(pod)).collect();
        let uids: BTreeSet<&str> = tracked.iter().map(|pod| uid(&pod.metadata)).collect();
        for (list, uncounted, counted) in [
            (waiting.succeeded, &mut tally.uncounted_succeeded, &mut tally.succeeded),
            (waiting.failed, &mut tally.uncounted_failed, &mut tally.failed),
        ] {
            for uid in list.into_iter().flatten() {
                if uids.contains(uid.as_str()) {
                    uncounted.insert(uid);
                } else {
                    *counted += 1;
                }
            }
        }
        let failed = || pods.iter().filter(|pod| has_failed(spec, pod));
        tally.refused = failed().find_map(|pod| match verdict(spec, pod) {
            Verdict::FailJob(why) => Some(why),
            _ => None,
        });
        tally.judge_indexes(spec, completions, &tracked, pods);
        tracked.into_iter().for_each(|pod| tally.add(spec, pod));
        if let Some(indexes) = &tally.indexes {
            tally.succeeded = crate::members::count(indexes.len());
        }
        tally
    }

    /// Which indexes have succeeded or failed by now, and whose last pods are to be kept.
    fn judge_indexes(&mut self, spec: &JobSpec, completions: u32, tracked: &[&'a Arc<Pod>], pods: &[&Arc<Pod>]) {
        let index = |pod: &Pod| indexes::of(pod).filter(|index| *index < completions);
        if let Some(succeeded) = &mut self.indexes {
            let ended = tracked.iter().filter(|pod| phase(pod) == "Succeeded");
            ended.filter_map(|pod| index(pod)).for_each(|index| succeeded.insert(index));
        }
        let (Some(failed), Some(succeeded), Some(limit)) =
            (&mut self.failed_indexes, &self.indexes, spec.backoff_limit_per_index)
        else {
            return;
        };
        let ended: Vec<(u32, &'a Arc<Pod>)> =
            tracked.iter().filter(|pod| has_failed(spec, pod)).filter_map(|pod| Some((index(pod)?, *pod))).collect();
        for (index, pod) in &ended {
            let for_good = match verdict(spec, pod) {
                Verdict::FailIndex => true,
                Verdict::Ignore => false,
                Verdict::Count | Verdict::FailJob(_) => indexes::failures(pod).counted >= limit,
            };
            if for_good {
                failed.insert(*index);
            }
        }
        let active: BTreeSet<u32> = pods.iter().filter(|pod| is_active(pod)).filter_map(|pod| index(pod)).collect();
        let open = |index: &u32| !active.contains(index) && !succeeded.contains(*index) && !failed.contains(*index);
        for (index, pod) in ended.into_iter().filter(|(index, _)| open(index)) {
            if self.uncounted_failed.contains(uid(&pod.metadata)) {
                continue;
            }
            let all = |pod: &Pod| (indexes::failures(pod).all(), end(pod));
            let kept = self.awaiting.entry(index).or_insert(pod);
            if all(kept) <= all(pod) {
                *kept = pod;
            }
        }
    }

    fn add(&mut self, spec: &JobSpec, pod: &'a Arc<Pod>) {
        let own = uid(&pod.metadata);
        if self.uncounted_succeeded.contains(own) || self.uncounted_failed.contains(own) {
            self.counted.push(pod);
            return;
        }
        let succeeded = phase(pod) == "Succeeded";
        if !succeeded && !has_failed(spec, pod) || self.awaiting.values().any(|kept| Arc::ptr_eq(kept, pod)) {
            return;
        }
        if succeeded && self.indexes.is_some() || !succeeded && verdict(spec, pod) == Verdict::Ignore {
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

    /// Counts what was kept, too: no index is tried again.
    pub(super) fn close(&mut self, spec: &JobSpec) {
        std::mem::take(&mut self.awaiting).into_values().for_each(|pod| self.add(spec, pod));
    }

    /// Pods that succeeded, counted or not; of numbered ones, numbers.
    pub(super) fn succeeded(&self) -> i32 {
        self.succeeded.saturating_add(crate::members::count(self.uncounted_succeeded.len()))
    }

    /// Pods that failed, counted or not.
    pub(super) fn failed(&self, spec: &JobSpec) -> i32 {
        let kept = self.awaiting.values().filter(|pod| verdict(spec, pod) != Verdict::Ignore).count();
        self.failed.saturating_add(crate::members::count(self.uncounted_failed.len() + kept))
    }

    pub(super) fn indexes(&self) -> Option<&Indexes> {
        self.indexes.as_ref()
    }

    pub(super) fn failed_indexes(&self) -> Option<&Indexes> {
        self.failed_indexes.as_ref()
    }

    /// The pod whose place the next one of that index takes.
    pub(super) fn before(&self, index: u32) -> Option<&'a Arc<Pod>> {
        self.awaiting.get(&index).copied()
    }

    /// Why a rule says that the job has failed, if one does.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
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
            "failedIndexes": self.failed_indexes.as_ref().map(ToString::to_string),
            "uncountedTerminatedPods": {
                "succeeded": list(&self.uncounted_succeeded),
                "failed": list(&self.uncounted_failed),
            },
        })
    }
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

/// When a pod ended: with its last container, when it ceased to be ready, when its deletion began, or with its beginning
/// when nothing says.
pub(super) fn end(pod: &Pod) -> Timestamp {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let ends = statuses
        .into_iter()
        .flatten()
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0));
    let unready = || {
        let ready = condition(pod, "Ready").filter(|ready| ready.status == "False")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
    };
    let deleted = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    };
    ends.max().or_else(unready).or_else(deleted).unwrap_or_else(|| created(&pod.metadata))
}
