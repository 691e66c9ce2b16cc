//! What a job's status may not say, and not take back, whoever runs the job: others wait for its end. What was wrong before and
//! is not touched may stay.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::job_policies::{indexes, intervals};
use super::kind::Errors;
use super::optional::{items, non_negative, plain};
use crate::{FieldError, FieldPath};

/// The status that a write of it would leave.
pub(super) fn validate(new: &Job, old: &Job, errors: &mut Errors) {
    let (no_spec, no_status) = (JobSpec::default(), JobStatus::default());
    let spec = new.spec.as_ref().unwrap_or(&no_spec);
    let (new, old) = (new.status.as_ref().unwrap_or(&no_status), old.status.as_ref().unwrap_or(&no_status));
    Change { spec, new, old, path: FieldPath::new("status") }.validate(errors);
}

/// Whether the job holds such a condition.
pub(super) fn holds(status: &JobStatus, kind: &str) -> bool {
    items(&status.conditions).iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

struct Change<'a> {
    spec: &'a JobSpec,
    new: &'a JobStatus,
    old: &'a JobStatus,
    path: FieldPath,
}

impl Change<'_> {
    fn validate(&self, errors: &mut Errors) {
        self.counts(errors);
        if let Some(pods) = &self.new.uncounted_terminated_pods {
            validate_uncounted(pods, &self.path.child("uncountedTerminatedPods"), errors);
        }
        self.ends(errors);
        self.end_times(errors);
        self.finished(errors);
        self.indexes(errors);
        self.pods(errors);
        self.success(errors);
        self.taken_back(errors);
    }

    fn counts(&self, errors: &mut Errors) {
        let new = self.new;
        let counts = [
            ("active", new.active),
            ("succeeded", new.succeeded),
            ("failed", new.failed),
            ("ready", new.ready),
            ("terminating", new.terminating),
        ];
        for (field, count) in counts {
            non_negative(count.unwrap_or(0).into(), || self.path.child(field), errors);
        }
    }

    fn is(&self, kind: &str) -> bool {
        holds(self.new, kind)
    }

    /// Whether the write makes one of these conditions hold, or no more.
    fn turns(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| holds(self.new, kind) != holds(self.old, kind))
    }

    fn wrong(&self, field: &str, value: impl Into<serde_json::Value>, why: &str, errors: &mut Errors) {
        errors.push(FieldError::invalid(&self.path.child(field), value, why));
    }

    fn conditions(&self, why: &str, errors: &mut Errors) {
        errors.push(FieldError::invalid_unshown(&self.path.child("conditions"), why));
    }

    /// A job does not end in two ways.
    fn ends(&self, errors: &mut Errors) {
        let complete = self.is("Complete");
        if complete && self.is("Failed") && self.turns(&["Complete", "Failed"]) {
            self.conditions("cannot set Complete=True and Failed=true conditions", errors);
        }
        if complete && self.is("FailureTarget") && self.turns(&["Complete", "FailureTarget"]) {
            self.conditions("cannot set Complete=True and FailureTarget=true conditions", errors);
        }
    }

    fn end_times(&self, errors: &mut Errors) {
        let Self { new, old, path, .. } = self;
        let complete = self.is("Complete");
        let ends = new.completion_time != old.completion_time;
        let path = path.child("completionTime");
        match &new.completion_time {
            Some(time) if !complete && (ends || self.turns(&["Complete"])) => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.push(FieldError::invalid(&path, shown(time), why));
            }
            None if complete && (ends || self.turns(&["Complete"])) => {
                errors.push(FieldError::required(&path, "completionTime is required for Complete jobs"));
            }
            _ => {}
        }
        if let (Some(end), Some(start)) = (&new.completion_time, &new.start_time)
            && end.0 < start.0
            && (ends || new.start_time != old.start_time)
        {
            errors.push(FieldError::invalid(&path, shown(end), "completionTime cannot be set before startTime"));
        }
        if self.is("Failed") && !self.is("FailureTarget") && self.turns(&["Failed", "FailureTarget"]) {
            self.conditions("cannot set Failed=True condition without the FailureTarget=true condition", errors);
        }
        if complete && !self.is("SuccessCriteriaMet") && self.turns(&["Complete", "SuccessCriteriaMet"]) {
            self.conditions("cannot set Complete=True condition without the SuccessCriteriaMet=true condition", errors);
        }
    }

    /// A job that has ended has begun, and has no more pods.
    fn finished(&self, errors: &mut Errors) {
        let Self { new, old, path, .. } = self;
        if !finished(new) {
            return;
        }
        let turns = !finished(old);
        let active = new.active.unwrap_or(0);
        if active > 0 && (turns || new.active != old.active) {
            self.wrong("active", active, "active>0 is invalid for finished job", errors);
        }
        if new.start_time.is_none() && (turns || old.start_time.is_some()) {
            errors.push(FieldError::required(&path.child("startTime"), "startTime is required for finished job"));
        }
        if let Some(pods) = &new.uncounted_terminated_pods
            && (!items(&pods.failed).is_empty() || !items(&pods.succeeded).is_empty())
            && (turns || new.uncounted_terminated_pods != old.uncounted_terminated_pods)
        {
            let pods = serde_json::to_value(pods).unwrap_or_default();
            let why = "uncountedTerminatedPods needs to be empty for finished job";
            self.wrong("uncountedTerminatedPods", pods, why, errors);
        }
    }

    fn indexes(&self, errors: &mut Errors) {
        let Self { spec, new, old, .. } = self;
        let (done, failed) = (plain(&new.completed_indexes), new.failed_indexes.as_deref());
        let done_differs = done != plain(&old.completed_indexes);
        let failed_differs = new.failed_indexes != old.failed_indexes;
        let parse = |text: &str, field: &str, errors: &mut Errors| {
            let parsed = spec.completions.map(|completions| indexes(text, completions));
            if let Some(Err(why)) = parsed {
                self.wrong(field, text, &format!("error parsing {field}: {why}"), errors);
            }
        };
        if done_differs {
            parse(done, "completedIndexes", errors);
        }
        if let Some(failed) = failed.filter(|_| failed_differs && spec.backoff_limit_per_index.is_some()) {
            parse(failed, "failedIndexes", errors);
        }
        if done_differs && !done.is_empty() && plain(&spec.completion_mode) != "Indexed" {
            let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
            self.wrong("completedIndexes", done, why, errors);
        }
        let Some(failed) = failed else { return };
        if failed_differs && spec.backoff_limit_per_index.is_none() {
            let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            self.wrong("failedIndexes", failed, why, errors);
        }
        if (done_differs || failed_differs)
            && let Some(index) = spec.completions.and_then(|completions| common(done, failed, completions))
        {
            let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
            self.wrong("failedIndexes", failed, &why, errors);
        }
    }

    fn pods(&self, errors: &mut Errors) {
        let Self { new, old, .. } = self;
        let (terminating, ready) = (new.terminating.unwrap_or(0), new.ready.unwrap_or(0));
        if finished(new) && terminating > 0 && (!finished(old) || new.terminating != old.terminating) {
            self.wrong("terminating", terminating, "terminating>0 is invalid for finished job", errors);
        }
        if (new.ready != old.ready || new.active != old.active) && ready > new.active.unwrap_or(0) {
            self.wrong("ready", ready, "cannot set more ready pods than active", errors);
        }
    }

    fn success(&self, errors: &mut Errors) {
        let met = self.is("SuccessCriteriaMet");
        if met && self.is("Failed") {
            self.conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions", errors);
        }
        if met && self.is("FailureTarget") {
            self.conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions", errors);
        }
        if self.spec.success_policy.is_some() && !met && self.is("Complete") {
            let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            self.conditions(why, errors);
        }
    }

    fn taken_back(&self, errors: &mut Errors) {
        let Self { spec, new, old, path } = self;
        for kind in ["Failed", "Complete", "FailureTarget"] {
            if holds(old, kind) && !self.is(kind) {
                self.conditions(&format!("cannot disable the terminal {kind}=True condition"), errors);
            }
        }
        let fewer = |new: Option<i32>, old: Option<i32>| new.unwrap_or(0) < old.unwrap_or(0);
        if fewer(new.failed, old.failed) {
            self.wrong("failed", new.failed.unwrap_or(0), "cannot decrease the failed counter", errors);
        }
        // Of one that may be made smaller, what succeeded beyond its new end is forgotten.
        let elastic = plain(&spec.completion_mode) == "Indexed" && spec.completions == spec.parallelism;
        if fewer(new.succeeded, old.succeeded) && !elastic {
            self.wrong("succeeded", new.succeeded.unwrap_or(0), "cannot decrease the succeeded counter", errors);
        }
        if let (Some(time), Some(before)) = (&new.completion_time, &old.completion_time)
            && time != before
        {
            self.wrong("completionTime", shown(time), "completionTime cannot be mutated", errors);
        }
        if old.start_time.is_some() && new.start_time != old.start_time && spec.suspend != Some(true) {
            let why = "startTime cannot be removed for unsuspended job";
            errors.push(FieldError::required(&path.child("startTime"), why));
        }
        let met = self.is("SuccessCriteriaMet");
        match holds(old, "SuccessCriteriaMet") {
            true if !met => self.conditions("cannot disable the SuccessCriteriaMet=True condition", errors),
            false if met && holds(old, "Complete") => self
                .conditions("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions", errors),
            _ => {}
        }
    }
}

fn finished(status: &JobStatus) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

fn shown(time: &Time) -> serde_json::Value {
    serde_json::to_value(time).unwrap_or_default()
}

/// The first index that both lists have; what cannot be read of them has none.
fn common(done: &str, failed: &str, completions: i32) -> Option<i64> {
    let [mut done, mut failed] = [done, failed].map(|text| intervals(text, completions).flatten().peekable());
    while let (Some(a), Some(b)) = (done.peek(), failed.peek()) {
        if a.start() <= b.end() && b.start() <= a.end() {
            return Some(*a.start().max(b.start()));
        }
        if a.start() <= b.start() {
            done.next();
        } else {
            failed.next();
        }
    }
    None
}

fn validate_uncounted(pods: &UncountedTerminatedPods, path: &FieldPath, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (field, uids) in [("succeeded", &pods.succeeded), ("failed", &pods.failed)] {
        for (index, uid) in items(uids).iter().enumerate() {
            let path = path.child(field).index(index);
            if uid.is_empty() {
                errors.push(FieldError::invalid(&path, "", "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(FieldError::duplicate(&path, uid.as_str()));
            }
        }
    }
}
