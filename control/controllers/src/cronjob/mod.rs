//! CronJobs: a Job for each time that a schedule comes due.
//!
//! What was started is read off the jobs themselves: they are the CronJob's, and an annotation says for which time. So a
//! status that was not written any more before a crash is made up for.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job, JobTemplateSpec};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pal_resources::cron::{self, Schedule};
use serde_json::json;

use crate::action::{Action, Announce, Note, Plan, Propagation, ResourceId, Severity, Target, Words, reference};
use crate::job::ended;
use crate::members::Owner;
use crate::object::{annotation, created, is_deleting, name, since, uid};

const COMPONENT: &str = "cronjob-controller";
/// The annotation of a job that says for which time it was made.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// More missed times than that are worth a warning.
const MANY_MISSED: usize = 100;
/// The longest time without a look: clocks are set, too.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Everything that a CronJob's reconcile looks at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub cron_job: &'a CronJob,
    /// The jobs that it controls.
    pub jobs: &'a [Arc<Job>],
    /// Whether a job of that name is in the namespace.
    pub taken: &'a dyn Fn(&str) -> bool,
}

/// Makes the job that is due, removes old ones, and brings the status to what there is.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let owner = Owner::of(view.cron_job, COMPONENT);
    let (spec, status) = (&view.cron_job.spec, view.cron_job.status.clone().unwrap_or_default());
    let look = Look { spec, owner, status, jobs: view.jobs, now };
    let started = look.follow(&mut plan);
    if !is_deleting(&view.cron_job.metadata) {
        look.start(started, view.taken, &mut plan);
    }
    look.clean(&mut plan);
    plan
}

struct Look<'a> {
    spec: &'a CronJobSpec,
    owner: Owner<'a>,
    status: CronJobStatus,
    jobs: &'a [Arc<Job>],
    now: Timestamp,
}

impl Look<'_> {
    /// Writes to the status which jobs run, and when the last began and the last succeeded. Returns when the last began.
    fn follow(&self, plan: &mut Plan) -> Option<Timestamp> {
        let mut active = Vec::new();
        let mut notes = Vec::new();
        let mut last = self.status.last_schedule_time.as_ref().map(|time| time.0);
        let mut succeeded = self.status.last_successful_time.as_ref().map(|time| time.0);
        let known = |job: &Job| {
            let own = uid(&job.metadata);
            self.status.active.iter().flatten().find(|one| one.uid.as_deref() == Some(own))
        };
        for job in self.jobs {
            let scheduled = self.scheduled(job);
            last = last.max(scheduled);
            match (ended(job.status.as_ref()), known(job)) {
                (None, Some(reference)) => active.push(reference.clone()),
                (None, None) if scheduled.is_some() => active.push(reference(&**job)),
                (None, None) => {
                    let name = name(&job.metadata);
                    let message = format!("Saw a job that the controller did not create or forgot: {name}");
                    plan.push(self.tell(Severity::Warning, "UnexpectedJob", message));
                }
                (Some(end), was_active) => {
                    if was_active.is_some() {
                        let name = name(&job.metadata);
                        let message = format!("Saw completed job: {name}, condition: {}", end.condition);
                        notes.push(self.tell(Severity::Normal, "SawCompletedJob", message));
                    }
                    let done = job.status.as_ref().and_then(|status| status.completion_time.as_ref());
                    succeeded = succeeded.max(done.map(|time| time.0));
                }
            }
        }
        for gone in self.status.active.iter().flatten() {
            if !self.jobs.iter().any(|job| gone.uid.as_deref() == Some(uid(&job.metadata))) {
                let name = gone.name.as_deref().unwrap_or_default();
                notes.push(self.tell(Severity::Normal, "MissingJob", format!("Active job went missing: {name}")));
            }
        }
        let wanted = CronJobStatus {
            active: Some(active).filter(|active: &Vec<ObjectReference>| !active.is_empty()),
            last_schedule_time: last.map(Time),
            last_successful_time: succeeded.map(Time),
        };
        if wanted != self.status {
            plan.push(self.owner.report(json!({
                "active": wanted.active,
                "lastScheduleTime": wanted.last_schedule_time,
                "lastSuccessfulTime": wanted.last_successful_time,
            })));
        }
        plan.actions.extend(notes);
        last
    }

    /// For which time the controller made a job; `None` of one that somebody else did.
    fn scheduled(&self, job: &Job) -> Option<Timestamp> {
        let time: Timestamp = annotation(&job.metadata, SCHEDULED)?.parse().ok()?;
        (self.job_name(time) == name(&job.metadata)).then_some(time)
    }

    fn job_name(&self, time: Timestamp) -> String {
        format!("{}-{}", name(self.owner.meta), time.as_second().div_euclid(60))
    }

    /// Makes the job of the last time that was due, if it may still be made.
    fn start(&self, last: Option<Timestamp>, taken: &dyn Fn(&str) -> bool, plan: &mut Plan) {
        let zone = match self.spec.time_zone.as_deref() {
            None => TimeZone::UTC,
            Some(name) => match cron::zone(name) {
                Some(zone) => zone,
                None => {
                    let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
                    return plan.push(self.tell(Severity::Warning, "UnknownTimeZone", message));
                }
            },
        };
        if self.spec.suspend == Some(true) {
            return;
        }
        let schedule = match Schedule::parse(&self.spec.schedule) {
            Ok(schedule) => schedule,
            Err(why) => {
                let message = format!("unparseable schedule: {:?} : {why}", self.spec.schedule);
                return plan.push(self.tell(Severity::Warning, "UnparseableSchedule", message));
            }
        };
        if let Some(next) = schedule.next(self.now, &zone) {
            plan.look_again(since(next, self.now).min(LONGEST_WAIT));
        }
        let deadline = self.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        let earliest = last.unwrap_or_else(|| created(self.owner.meta));
        let begin = deadline.and_then(|span| self.now.checked_sub(span).ok()).map_or(earliest, |at| at.max(earliest));
        let Some(time) = schedule.last(begin, self.now, &zone) else { return };
        let missed =
            std::iter::successors(Some(begin), |after| schedule.next(*after, &zone).filter(|next| *next <= self.now));
        if missed.take(MANY_MISSED + 2).count() > MANY_MISSED + 1 {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            plan.push(self.tell(Severity::Warning, "TooManyMissedTimes", message.to_owned()));
        }
        let name = self.job_name(time);
        if taken(&name) {
            return;
        }
        let active: Vec<&Arc<Job>> = self.jobs.iter().filter(|job| ended(job.status.as_ref()).is_none()).collect();
        match self.spec.concurrency_policy.as_deref() {
            Some("Forbid") if !active.is_empty() => {
                let message =
                    "Not starting job because prior execution is running and concurrency policy is Forbid".to_owned();
                return plan.push(self.tell(Severity::Normal, "JobAlreadyActive", message));
            }
            Some("Replace") => {
                let going = active.into_iter().filter(|job| !is_deleting(&job.metadata));
                plan.actions.extend(going.map(|job| self.delete(job)));
            }
            _ => {}
        }
        plan.push(self.create(&name, time, &zone));
    }

    fn create(&self, name: &str, time: Timestamp, zone: &TimeZone) -> Action {
        let JobTemplateSpec { metadata, spec } = &self.spec.job_template;
        let metadata = metadata.clone().unwrap_or_default();
        let mut annotations = metadata.annotations.unwrap_or_default();
        let local = time.to_zoned(zone.clone());
        let format = if zone == &TimeZone::UTC { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
        annotations.insert(SCHEDULED.to_owned(), local.strftime(format).to_string());
        let words =
            |severity, reason, text: &str, with_detail| Words { severity, reason, text: text.to_owned(), with_detail };
        Action::Create {
            resource: ResourceId::of::<Job>(),
            namespace: self.owner.meta.namespace.clone(),
            body: json!({
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {
                    "name": name,
                    "namespace": self.owner.meta.namespace,
                    "labels": metadata.labels,
                    "annotations": annotations,
                    "ownerReferences": [self.owner.reference()],
                },
                "spec": spec,
            }),
            announce: Some(Announce {
                about: self.owner.about.clone(),
                component: COMPONENT,
                done: Some(words(Severity::Normal, "SuccessfulCreate", &format!("Created job {name}"), false)),
                failed: Some(words(Severity::Warning, "FailedCreate", "Error creating job", true)),
            }),
        }
    }

    /// Deletes the oldest jobs that ended, but for as many as are to be kept of each kind.
    fn clean(&self, plan: &mut Plan) {
        for (condition, keep) in
            [("Complete", self.spec.successful_jobs_history_limit), ("Failed", self.spec.failed_jobs_history_limit)]
        {
            let Some(keep) = keep.and_then(|keep| usize::try_from(keep).ok()) else { continue };
            let of = |job: &&Arc<Job>| ended(job.status.as_ref()).is_some_and(|end| end.condition == condition);
            let mut old: Vec<&Arc<Job>> = self.jobs.iter().filter(of).collect();
            let begin = |job: &Job| Some(job.status.as_ref()?.start_time.as_ref()?.0);
            old.sort_by_key(|job| (begin(job).is_none(), begin(job), name(&job.metadata).to_owned()));
            let surplus = old.len().saturating_sub(keep);
            let going = old.into_iter().take(surplus).filter(|job| !is_deleting(&job.metadata));
            plan.actions.extend(going.map(|job| self.delete(job)));
        }
    }

    fn delete(&self, job: &Job) -> Action {
        let text = format!("Deleted job {}", name(&job.metadata));
        let done = Words { severity: Severity::Normal, reason: "SuccessfulDelete", text, with_detail: false };
        let text = "Deleted job".to_owned();
        let failed = Words { severity: Severity::Warning, reason: "FailedDelete", text, with_detail: true };
        let (about, component) = (self.owner.about.clone(), COMPONENT);
        Action::Delete {
            target: Target::of(job),
            grace_seconds: None,
            propagation: Some(Propagation::Background),
            announce: Some(Announce { about, component, done: Some(done), failed: Some(failed) }),
        }
    }

    fn tell(&self, severity: Severity, reason: &'static str, message: String) -> Action {
        Action::Tell(Note { about: self.owner.about.clone(), component: COMPONENT, severity, reason, message })
    }
}
