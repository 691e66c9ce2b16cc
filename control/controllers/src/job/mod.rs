//! Jobs: pods that run to their end, as many as were asked for, and what became of them.
//!
//! What ended is counted once and for all: pods carry a finalizer until they are counted. First their uids are written to
//! the status, then the finalizers go, and only then the numbers grow; each of these steps may be interrupted.

mod indexes;
mod outcome;
mod policy;
mod tally;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use pal_resources::selector::LabelSelector;
use serde_json::{Value, json};

use crate::action::{Action, Plan, Propagation, Target};
use crate::members::{Owner, count, says_the_same};
use crate::object::{is_deleting, name, remaining};
use crate::pods::{is_active, is_finished, is_ready};

pub use outcome::{End, ended};

use indexes::Failures;
use outcome::Outcome;
use policy::Verdict;
use tally::{Tally, is_tracked, untrack};

const COMPONENT: &str = "job-controller";
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Pods that one look creates or deletes at most.
const BURST: usize = 500;
/// How long a failed pod is waited for before the next, doubled with each, and at most.
const BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(600);

/// Everything that a Job's reconcile looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub job: &'a Job,
    /// The pods of its namespace that it controls, and those that nobody controls.
    pub pods: &'a [Arc<Pod>],
}

/// Brings the pods to what the job asks for, and its status to what became of them.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let job = view.job;
    let Some(spec) = &job.spec else { return plan };
    if spec.managed_by.as_deref().is_some_and(|manager| manager != "kubernetes.io/job-controller") {
        return plan;
    }
    let Some(Ok(selector)) = spec.selector.as_ref().map(LabelSelector::from_object) else { return plan };
    let owner = Owner::of(job, COMPONENT).marking(TRACKING);
    let status = job.status.clone().unwrap_or_default();
    if let Some(end) = ended(Some(&status)) {
        plan.actions.extend(abandoned(view.pods.iter().filter(|pod| is_of(pod, &owner))));
        expire(spec, &owner, end.at, now, &mut plan);
        return plan;
    }
    let pods = owner.claimed(&selector, view.pods, is_active, &mut plan);
    if is_deleting(&job.metadata) {
        plan.actions.extend(abandoned(pods));
        return plan;
    }
    Look { spec, owner, status, pods, now }.step(&mut plan);
    plan
}

/// Lets pods go that are no job's, or whose job is gone, is going or has ended: nobody counts them any more.
pub fn abandoned<'a>(pods: impl IntoIterator<Item = &'a Arc<Pod>>) -> Vec<Action> {
    pods.into_iter().filter(|pod| is_tracked(pod)).map(|pod| untrack(pod)).collect()
}

/// Whether the pod waits to be counted, but belongs to nobody who would.
pub fn is_orphan(pod: &Pod) -> bool {
    crate::object::controller(&pod.metadata).is_none() && is_tracked(pod)
}

/// One look at a job that has not ended.
struct Look<'a> {
    spec: &'a JobSpec,
    owner: Owner<'a>,
    status: JobStatus,
    pods: Vec<&'a Arc<Pod>>,
    now: Timestamp,
}

impl Look<'_> {
    fn step(&self, plan: &mut Plan) {
        let suspended = self.spec.suspend == Some(true);
        let active: Vec<&Arc<Pod>> = self.pods.iter().copied().filter(|pod| is_active(pod)).collect();
        let mut tally = Tally::of(self.spec, &self.status, &self.pods);
        let started = match &self.status.start_time {
            _ if suspended => None,
            Some(time) => Some(time.0),
            None => Some(self.now),
        };
        let outcome =
            Outcome::known(&self.status).or_else(|| Outcome::of(self.spec, started, &tally, &active, self.now, plan));
        if outcome.is_some() {
            tally.close(self.spec);
        }
        let going = self.pods.iter().filter(|pod| is_deleting(&pod.metadata) && !is_finished(pod)).count();
        let over = outcome.as_ref().filter(|_| active.is_empty() && going == 0 && tally.is_settled());
        let conditions = outcome::conditions(&self.status, suspended, outcome.as_ref(), over.is_some(), self.now);
        let failed = outcome.as_ref().is_some_and(|outcome| outcome.failed);
        let (surplus, missing) = match (&outcome, suspended) {
            (Some(_), _) | (None, true) => (active.clone(), 0),
            (None, false) => self.difference(&active, going, &tally),
        };
        let stays = |pod: &&Arc<Pod>| !surplus.iter().any(|other| Arc::ptr_eq(pod, other));
        let staying = active.iter().copied().filter(stays);
        let mut status = tally.status();
        status["active"] = number(staying.clone().count());
        status["ready"] = json!(count(staying.filter(|pod| is_ready(pod)).count()));
        status["terminating"] = json!(count(going + surplus.len()));
        // What ends has begun, though it may rest since.
        let begun = self.status.start_time.as_ref().map_or(self.now, |time| time.0);
        let started = started.or(outcome.is_some().then_some(begun));
        status["startTime"] = json!(started.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time));
        status["conditions"] = json!(conditions);
        if over.is_some() && !failed {
            status["completionTime"] = json!(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
        }
        if !says_the_same(&json!(self.status), &status) {
            plan.push(self.owner.report(status));
        }
        plan.actions.extend(outcome::notes(&self.status, &self.owner, suspended, over));
        plan.actions.extend(tally.counted().map(|pod| untrack(pod)));
        // What the job deletes itself counts neither way, unless the job fails: then all that ran has failed.
        plan.actions.extend(surplus.iter().filter(|pod| !failed && is_tracked(pod)).map(|pod| untrack(pod)));
        plan.actions.extend(surplus.iter().map(|pod| self.owner.delete(pod)));
        self.create(missing, &active, &tally, plan);
    }

    /// Pods that are too many, and how many there are too few, `going` others being on their way out.
    fn difference<'b>(&self, active: &[&'b Arc<Pod>], going: usize, tally: &Tally<'_>) -> (Vec<&'b Arc<Pod>>, usize) {
        let limit = usize::try_from(self.spec.parallelism.unwrap_or(1)).unwrap_or(0);
        let wanted = match self.spec.completions {
            // With nothing said of completions the first success is the beginning of the end.
            None if tally.succeeded() > 0 => active.len().min(limit),
            None => limit,
            Some(completions) => usize::try_from(completions - tally.succeeded()).unwrap_or(0).min(limit),
        };
        let mut order = active.to_vec();
        // The young go first.
        order.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(crate::object::created(&pod.metadata))));
        let (mut surplus, rest) = self.out_of_place(order, tally);
        let staying = rest.len();
        surplus.extend(rest.into_iter().take(staying.saturating_sub(wanted)));
        surplus.truncate(BURST);
        let waited_for = if policy::only_ended(self.spec) { going } else { 0 };
        (surplus, wanted.saturating_sub(staying + waited_for).min(BURST))
    }

    /// Pods without an index that the job asks for, or with one that another has, and the others.
    fn out_of_place<'b>(&self, pods: Vec<&'b Arc<Pod>>, tally: &Tally<'_>) -> (Vec<&'b Arc<Pod>>, Vec<&'b Arc<Pod>>) {
        if tally.indexes().is_none() {
            return (Vec::new(), pods);
        }
        let mut seen = BTreeSet::new();
        let completions = self.completions();
        // Of two with one index the one that would go last stays.
        let (mut stay, mut go): (Vec<_>, Vec<_>) = pods
            .into_iter()
            .rev()
            .partition(|pod| indexes::of(pod).is_some_and(|index| index < completions && seen.insert(index)));
        stay.reverse();
        go.reverse();
        (go, stay)
    }

    fn completions(&self) -> u32 {
        u32::try_from(self.spec.completions.unwrap_or(0)).unwrap_or(0)
    }

    fn create(&self, missing: usize, active: &[&Arc<Pod>], tally: &Tally<'_>, plan: &mut Plan) {
        if missing == 0 {
            return;
        }
        let per_index = tally.failed_indexes();
        if let Some(wait) = self.back_off().filter(|_| per_index.is_none()) {
            plan.look_again(wait);
            return;
        }
        let mut body = self.owner.pod_of(Some(&self.spec.template));
        if let Some(finalizers) = body["metadata"]["finalizers"].as_array_mut() {
            finalizers.push(json!(TRACKING));
        } else {
            body["metadata"]["finalizers"] = json!([TRACKING]);
        }
        let Some(done) = tally.indexes() else {
            plan.actions.extend((0..missing).map(|_| self.owner.create(body.clone())));
            return;
        };
        let waited_for = self.pods.iter().filter(|pod| policy::only_ended(self.spec) && !is_finished(pod));
        let taken: BTreeSet<u32> = active.iter().chain(waited_for).filter_map(|pod| indexes::of(pod)).collect();
        let open = (0..self.completions()).filter(|index| {
            !done.contains(*index) && !taken.contains(index) && !per_index.is_some_and(|failed| failed.contains(*index))
        });
        let name = name(self.owner.meta);
        for index in open.take(missing) {
            let mut body = indexes::pod(&body, name, index);
            if per_index.is_some() {
                let (failures, wait) = self.failures(tally.before(index));
                if let Some(wait) = wait {
                    plan.look_again(wait);
                    continue;
                }
                failures.note(&mut body);
            }
            plan.push(self.owner.create(body));
        }
    }

    /// How often an index has failed by its last pod, and how long that is to be waited for.
    fn failures(&self, last: Option<&Arc<Pod>>) -> (Failures, Option<Duration>) {
        let Some(last) = last else { return (Failures::default(), None) };
        let failures = indexes::failures(last).and(policy::verdict(self.spec, last) == Verdict::Ignore);
        (failures, wait(usize::try_from(failures.all()).unwrap_or(0), tally::end(last), self.now))
    }

    /// How long to wait after the last failure.
    fn back_off(&self) -> Option<Duration> {
        let ends = |phase: &'static str| {
            self.pods.iter().filter(move |pod| crate::pods::phase(pod) == phase).map(|pod| tally::end(pod))
        };
        let last_success = ends("Succeeded").max();
        let failures: Vec<Timestamp> =
            ends("Failed").filter(|end| last_success.is_none_or(|success| *end > success)).collect();
        let last = *failures.iter().max()?;
        wait(failures.len(), last, self.now)
    }
}

/// How long to wait after so many failures, the last of them then.
fn wait(failures: usize, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    remaining(last, BACK_OFF.saturating_mul(1 << doubled).min(LONGEST_BACK_OFF), now)
}

/// Deletes a job that ended long enough ago.
fn expire(spec: &JobSpec, owner: &Owner<'_>, end: Timestamp, now: Timestamp, plan: &mut Plan) {
    let Some(Ok(seconds)) = spec.ttl_seconds_after_finished.map(u64::try_from) else { return };
    match remaining(end, Duration::from_secs(seconds), now) {
        Some(wait) => plan.look_again(wait),
        None if is_deleting(owner.meta) => {}
        None => plan.push(Action::Delete {
            target: owner.target.clone(),
            grace_seconds: None,
            propagation: Some(Propagation::Foreground),
            announce: None,
        }),
    }
}

fn is_of(pod: &Pod, owner: &Owner<'_>) -> bool {
    crate::object::controller(&pod.metadata).is_some_and(|reference| reference.uid == owner.target.uid)
}

/// A number that is left out when it is zero.
fn number(of: usize) -> Value {
    if of == 0 { Value::Null } else { json!(count(of)) }
}

/// The patch of a pod's finalizers, if it is as it was seen.
fn finalizers_patch(pod: &Pod, finalizers: &[&String]) -> Action {
    let mut metadata = crate::object::as_seen(&pod.metadata);
    metadata["finalizers"] = json!(finalizers);
    Action::Patch { target: Target::of(pod), subresource: None, patch: json!({ "metadata": metadata }), announce: None }
}
