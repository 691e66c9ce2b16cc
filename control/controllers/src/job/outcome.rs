//! How a job ends, and what its conditions say of that.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::policy;
use super::tally::Tally;
use crate::action::{Action, Note, Plan, Severity};
use crate::members::Owner;
use crate::object::remaining;

/// What a job that needs no more pods came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) failed: bool,
    reason: String,
    message: String,
}

/// How a job ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The condition that says so: `Complete` or `Failed`.
    pub condition: &'static str,
    pub at: Timestamp,
}

impl Outcome {
    fn complete(reason: &str, message: &str) -> Self {
        Self { failed: false, reason: reason.to_owned(), message: message.to_owned() }
    }

    fn failed(reason: &str, message: &str) -> Self {
        Self { failed: true, reason: reason.to_owned(), message: message.to_owned() }
    }

    /// What was found certain before: that stays.
    pub(super) fn known(status: &JobStatus) -> Option<Self> {
        let find = |kind: &str| {
            let mut conditions = status.conditions.iter().flatten();
            conditions.find(|known| known.type_ == kind && known.status == "True")
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let outcome = |failed: bool| {
            move |known: &JobCondition| Self { failed, reason: text(&known.reason), message: text(&known.message) }
        };
        find("SuccessCriteriaMet").map(outcome(false)).or_else(|| find("FailureTarget").map(outcome(true)))
    }

    /// The outcome, if it is certain. Of a deadline it says when to look again.
    pub(super) fn of(
        spec: &JobSpec,
        started: Option<Timestamp>,
        tally: &Tally<'_>,
        active: &[&Arc<Pod>],
        now: Timestamp,
        plan: &mut Plan,
    ) -> Option<Self> {
        if let Some(why) = tally.refused() {
            return Some(Self::failed("PodFailurePolicy", why));
        }
        let limit = spec.backoff_limit.unwrap_or(6);
        let restarts_on_failure =
            spec.template.spec.as_ref().is_some_and(|pod| pod.restart_policy.as_deref() == Some("OnFailure"));
        let too_many_restarts = || {
            let restarts: i32 = active.iter().map(|pod| restarts(pod)).sum();
            if limit == 0 { restarts > 0 } else { restarts >= limit }
        };
        if tally.failed(spec) > limit || restarts_on_failure && too_many_restarts() {
            return Some(Self::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
        }
        if let (Some(started), Some(Ok(seconds))) = (started, spec.active_deadline_seconds.map(u64::try_from)) {
            match remaining(started, Duration::from_secs(seconds), now) {
                Some(wait) => plan.look_again(wait),
                None => {
                    return Some(Self::failed("DeadlineExceeded", "Job was active longer than specified deadline"));
                }
            }
        }
        Self::of_indexes(spec, tally).or_else(|| Self::of_completions(spec, tally, active))
    }

    /// What follows from the indexes that failed, and from those that succeeded.
    fn of_indexes(spec: &JobSpec, tally: &Tally<'_>) -> Option<Self> {
        let succeeded = tally.indexes()?;
        if let Some(failed) = tally.failed_indexes() {
            let beyond = |limit: i32| usize::try_from(limit).is_ok_and(|limit| failed.len() > limit);
            if spec.max_failed_indexes.is_some_and(beyond) {
                let message = "Job has exceeded the specified maximal number of failed indexes";
                return Some(Self::failed("MaxFailedIndexesExceeded", message));
            }
            let all = usize::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
            if failed.len() > 0 && failed.len() + succeeded.len() >= all {
                return Some(Self::failed("FailedIndexes", "Job has failed indexes"));
            }
        }
        policy::success(spec, succeeded).map(|message| Self::complete("SuccessPolicy", &message))
    }

    fn of_completions(spec: &JobSpec, tally: &Tally<'_>, active: &[&Arc<Pod>]) -> Option<Self> {
        let complete = match spec.completions {
            None => tally.succeeded() > 0 && active.is_empty(),
            Some(completions) => tally.succeeded() >= completions,
        };
        complete.then(|| Self::complete("CompletionsReached", "Reached expected number of succeeded pods"))
    }

    /// The conditions for an outcome that is certain and for one that is final, and their words.
    fn conditions(&self) -> [&'static str; 2] {
        if self.failed { ["FailureTarget", "Failed"] } else { ["SuccessCriteriaMet", "Complete"] }
    }

    fn words(&self) -> (&str, &str) {
        (&self.reason, &self.message)
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

/// How and when a job ended, if it has.
pub fn ended(status: Option<&JobStatus>) -> Option<End> {
    let conditions = status?.conditions.iter().flatten().filter(|condition| condition.status == "True");
    let end = |known: &JobCondition| {
        let condition = ["Complete", "Failed"].into_iter().find(|kind| *kind == known.type_)?;
        let at = known.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        Some(End { condition, at })
    };
    conditions.into_iter().find_map(end)
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
    let normal = |reason, message: &str| (Severity::Normal, reason, message.to_owned());
    let change = match (was("Suspended"), suspended) {
        (false, true) => Some(normal("Suspended", "Job suspended")),
        (true, false) => Some(normal("Resumed", "Job resumed")),
        _ => None,
    };
    let end = over.map(|outcome| match outcome.failed {
        false => normal("Completed", "Job completed"),
        true => (Severity::Warning, event(&outcome.reason), outcome.message.clone()),
    });
    let (about, component) = (owner.about.clone(), owner.component);
    [change, end].into_iter().flatten().map(move |(severity, reason, message)| {
        Action::Tell(Note { about: about.clone(), component, severity, reason, message })
    })
}

/// The reason of a failure as Events have it: one of those that this controller gives.
fn event(reason: &str) -> &'static str {
    const ALL: [&str; 5] =
        ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "MaxFailedIndexesExceeded", "FailedIndexes"];
    ALL.into_iter().find(|known| *known == reason).unwrap_or("Failed")
}
