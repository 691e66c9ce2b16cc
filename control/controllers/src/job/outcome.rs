//! How a job ends, and what its conditions say of that.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::tally::Tally;
use crate::action::{Action, Note, Plan, Severity};
use crate::members::Owner;
use crate::object::remaining;

/// What a job that needs no more pods came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Complete,
    Failed { reason: &'static str, message: &'static str },
}

impl Outcome {
    /// The outcome, if it is certain. Of a deadline it says when to look again.
    pub(super) fn of(
        spec: &JobSpec,
        started: Option<Timestamp>,
        tally: &Tally<'_>,
        active: &[&Arc<Pod>],
        now: Timestamp,
        plan: &mut Plan,
    ) -> Option<Self> {
        let limit = spec.backoff_limit.unwrap_or(6);
        let restarts_on_failure =
            spec.template.spec.as_ref().is_some_and(|pod| pod.restart_policy.as_deref() == Some("OnFailure"));
        let too_many_restarts = || {
            let restarts: i32 = active.iter().map(|pod| restarts(pod)).sum();
            if limit == 0 { restarts > 0 } else { restarts >= limit }
        };
        if tally.failed() > limit || restarts_on_failure && too_many_restarts() {
            let message = "Job has reached the specified backoff limit";
            return Some(Self::Failed { reason: "BackoffLimitExceeded", message });
        }
        if let (Some(started), Some(Ok(seconds))) = (started, spec.active_deadline_seconds.map(u64::try_from)) {
            match remaining(started, Duration::from_secs(seconds), now) {
                Some(wait) => plan.look_again(wait),
                None => {
                    let message = "Job was active longer than specified deadline";
                    return Some(Self::Failed { reason: "DeadlineExceeded", message });
                }
            }
        }
        let complete = match spec.completions {
            None => tally.succeeded() > 0 && active.is_empty(),
            Some(completions) => tally.succeeded() >= completions,
        };
        complete.then_some(Self::Complete)
    }

    /// The conditions for an outcome that is certain and for one that is final, and their words.
    fn conditions(self) -> [&'static str; 2] {
        match self {
            Self::Complete => ["SuccessCriteriaMet", "Complete"],
            Self::Failed { .. } => ["FailureTarget", "Failed"],
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Complete => ("CompletionsReached", "Reached expected number of succeeded pods"),
            Self::Failed { reason, message } => (reason, message),
        }
    }
}

/// How often a pod's containers were started again.
fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let lists = [
        status.and_then(|status| status.init_container_statuses.as_ref()),
        status.and_then(|status| status.container_statuses.as_ref()),
    ];
    lists.into_iter().flatten().flatten().map(|container| container.restart_count).sum()
}

/// When the job ended, if it has.
pub(super) fn ended(status: &JobStatus) -> Option<Timestamp> {
    let ends = |condition: &&JobCondition| matches!(condition.type_.as_str(), "Complete" | "Failed");
    let end = status.conditions.iter().flatten().filter(ends).find(|condition| condition.status == "True")?;
    Some(end.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// The conditions: whether the job is suspended, what it comes to, and when `over` what it came to.
pub(super) fn conditions(
    status: &JobStatus,
    suspended: bool,
    outcome: Option<&Outcome>,
    over: bool,
    now: Timestamp,
) -> Vec<JobCondition> {
    let mut conditions = status.conditions.clone().unwrap_or_default();
    let was_suspended = conditions.iter().any(|known| known.type_ == "Suspended" && known.status == "True");
    if outcome.is_none() && suspended {
        set(&mut conditions, "Suspended", true, ("JobSuspended", "Job suspended"), now);
    } else if was_suspended && !suspended {
        set(&mut conditions, "Suspended", false, ("JobResumed", "Job resumed"), now);
    }
    if let Some(outcome) = outcome {
        let [certain, last] = outcome.conditions();
        set(&mut conditions, certain, true, outcome.words(), now);
        if over {
            set(&mut conditions, last, true, outcome.words(), now);
        }
    }
    conditions
}

fn set(conditions: &mut Vec<JobCondition>, kind: &str, holds: bool, (reason, message): (&str, &str), now: Timestamp) {
    let status = if holds { "True" } else { "False" };
    if conditions.iter().any(|known| known.type_ == kind && known.status == status) {
        return;
    }
    conditions.retain(|known| known.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

/// What is told of a job that ends, is suspended or goes on.
pub(super) fn notes(
    status: &JobStatus,
    owner: &Owner<'_>,
    suspended: bool,
    over: Option<&Outcome>,
) -> impl Iterator<Item = Action> {
    let was = |kind: &str| {
        let known = status.conditions.iter().flatten().find(|known| known.type_ == kind);
        known.is_some_and(|known| known.status == "True")
    };
    let change = match (was("Suspended"), suspended) {
        (false, true) => Some((Severity::Normal, "Suspended", "Job suspended")),
        (true, false) => Some((Severity::Normal, "Resumed", "Job resumed")),
        _ => None,
    };
    let end = over.map(|outcome| match *outcome {
        Outcome::Complete => (Severity::Normal, "Completed", "Job completed"),
        Outcome::Failed { reason, message } => (Severity::Warning, reason, message),
    });
    let (about, component) = (owner.about.clone(), owner.component);
    [change, end].into_iter().flatten().map(move |(severity, reason, message)| {
        Action::Tell(Note { about: about.clone(), component, severity, reason, message: message.to_owned() })
    })
}
