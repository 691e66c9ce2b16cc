//! Jobs and CronJobs.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;

use super::Env;
use super::kind::{Errors, Kind, has_meta, has_status, keeps_status};
use super::names;
use super::optional::{fill, items, non_negative, one_of, plain};
use super::pod::{fill_template, validate_template_of};
use crate::cron::{self, Schedule};
use crate::{FieldError, FieldPath};

/// By these labels a job knows its pods; the old one is what clients still look for.
const UID: &str = "batch.kubernetes.io/controller-uid";
const OLD_UID: &str = "controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";
const OLD_NAME: &str = "job-name";

/// A CronJob's name leaves room for what its jobs' names add.
const CRON_NAME: usize = 52;

impl Kind for Job {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        fill_job(self.spec.get_or_insert_default());
        let labels = self.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()?.labels.clone());
        if self.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) && labels.is_some() {
            self.metadata.labels = labels;
        }
    }

    fn prepare_create(&mut self, env: &Env) {
        self.status = Some(JobStatus::default());
        let name = self.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &mut self.spec else { return };
        if spec.manual_selector == Some(true) {
            return;
        }
        let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
        for key in [UID, OLD_UID] {
            labels.insert(key.to_owned(), env.uid.0.clone());
        }
        for key in [NAME, OLD_NAME] {
            labels.insert(key.to_owned(), name.clone());
        }
        let selector = spec.selector.get_or_insert_default();
        let wanted = selector.match_labels.get_or_insert_default();
        wanted.entry(UID.to_owned()).or_insert_with(|| env.uid.0.clone());
    }

    keeps_status!();

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = FieldPath::new("spec");
        match &spec.selector {
            None => errors.push(FieldError::required(&path.child("selector"), "")),
            Some(selector) => {
                validate_template_of(
                    &spec.template,
                    selector,
                    &path.child("template"),
                    &["OnFailure", "Never"],
                    errors,
                );
            }
        }
        validate_job(spec, &path, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        let path = FieldPath::new("spec");
        let mut frozen = |field: &str, same: bool, shown: serde_json::Value| {
            if !same {
                errors.push(FieldError::invalid(&path.child(field), shown, "field is immutable"));
            }
        };
        let indexed = plain(&new.completion_mode) == "Indexed";
        let elastic = indexed && new.completions == new.parallelism && old.completions == old.parallelism;
        frozen("completions", new.completions == old.completions || elastic, new.completions.into());
        frozen("selector", new.selector == old.selector, shown(&new.selector));
        // A suspended job that has not begun may be sent elsewhere.
        let begins = old.suspend == Some(true);
        let same_template = same_template(&new.template, &old.template, begins);
        frozen("template", same_template, shown(&new.template));
        frozen("completionMode", new.completion_mode == old.completion_mode, shown(&new.completion_mode));
        frozen("podFailurePolicy", new.pod_failure_policy == old.pod_failure_policy, shown(&new.pod_failure_policy));
        let limit = new.backoff_limit_per_index == old.backoff_limit_per_index;
        frozen("backoffLimitPerIndex", limit, new.backoff_limit_per_index.into());
        frozen("managedBy", new.managed_by == old.managed_by, shown(&new.managed_by));
        frozen("successPolicy", new.success_policy == old.success_policy, shown(&new.success_policy));
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

/// A value as a refusal shows it.
fn shown(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Whether two templates are the same, but for where the pods may run when the job has not begun.
fn same_template(new: &PodTemplateSpec, old: &PodTemplateSpec, begins: bool) -> bool {
    let mut allowed = new.clone();
    if begins {
        allowed.metadata = old.metadata.clone();
        if let (Some(new), Some(old)) = (&mut allowed.spec, &old.spec) {
            new.node_selector.clone_from(&old.node_selector);
            new.affinity.clone_from(&old.affinity);
            new.tolerations.clone_from(&old.tolerations);
            new.scheduling_gates.clone_from(&old.scheduling_gates);
        }
    }
    allowed == *old
}

/// Fills in a job's spec, by itself or in a CronJob's template.
fn fill_job(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let per_index = spec.backoff_limit_per_index.is_some();
    spec.backoff_limit.get_or_insert(if per_index { i32::MAX } else { 6 });
    fill(&mut spec.completion_mode, "NonIndexed");
    spec.suspend.get_or_insert(false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    fill(&mut spec.pod_replacement_policy, replacement);
    fill_template(&mut spec.template);
}

fn validate_job(spec: &JobSpec, path: &FieldPath, errors: &mut Errors) {
    let numbers = [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ];
    for (field, value) in numbers {
        non_negative(value.unwrap_or(0), || path.child(field), errors);
    }
    one_of(plain(&spec.completion_mode), &["Indexed", "NonIndexed"], || path.child("completionMode"), errors);
    if plain(&spec.completion_mode) == "Indexed" {
        if spec.completions.is_none() {
            let why = "when completion mode is Indexed";
            errors.push(FieldError::required(&path.child("completions"), why));
        }
    } else {
        for (field, given) in
            [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)]
        {
            if let Some(value) = given {
                let why = "requires indexed completion mode";
                errors.push(FieldError::invalid(&path.child(field), value, why));
            }
        }
    }
    let replacements = ["TerminatingOrFailed", "Failed"];
    one_of(plain(&spec.pod_replacement_policy), &replacements, || path.child("podReplacementPolicy"), errors);
    if let Some(policy) = &spec.pod_failure_policy {
        let path = path.child("podFailurePolicy").child("rules");
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        for (index, rule) in policy.rules.iter().enumerate() {
            let path = path.index(index);
            one_of(&rule.action, &actions, || path.child("action"), errors);
            let both = rule.on_exit_codes.is_some() && !items(&rule.on_pod_conditions).is_empty();
            let neither = rule.on_exit_codes.is_none() && items(&rule.on_pod_conditions).is_empty();
            if both || neither {
                let shown = serde_json::to_value(rule).unwrap_or_default();
                let why = if both {
                    "specifying both OnExitCodes and OnPodConditions is not supported"
                } else {
                    "specifying one of OnExitCodes and OnPodConditions is required"
                };
                errors.push(FieldError::invalid(&path, shown, why));
            }
        }
    }
}

impl Kind for CronJob {
    const GENERATION: bool = true;

    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        let mut faults = names::dns1123_subdomain(name);
        if name.len() > CRON_NAME {
            faults.push(format!("must be no more than {CRON_NAME} characters"));
        }
        faults
    }

    fn fill(&mut self) {
        let spec = &mut self.spec;
        fill(&mut spec.concurrency_policy, "Allow");
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        // The job itself is filled in when it is made; only what its pods are is told now.
        fill_template(&mut spec.job_template.spec.get_or_insert_default().template);
    }

    has_status!(CronJobStatus::default());

    fn validate(&self, errors: &mut Errors) {
        validate_cron_job(&self.spec, &FieldPath::new("spec"), errors);
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

fn validate_cron_job(spec: &CronJobSpec, path: &FieldPath, errors: &mut Errors) {
    let schedule = || path.child("schedule");
    if spec.schedule.is_empty() {
        errors.push(FieldError::required(&schedule(), ""));
    } else if spec.schedule.contains("TZ") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(FieldError::invalid(&schedule(), spec.schedule.as_str(), why));
    } else if let Err(why) = Schedule::parse(&spec.schedule) {
        errors.push(FieldError::invalid(&schedule(), spec.schedule.as_str(), &why));
    }
    non_negative(spec.starting_deadline_seconds.unwrap_or(0), || path.child("startingDeadlineSeconds"), errors);
    let policies = ["Allow", "Forbid", "Replace"];
    one_of(plain(&spec.concurrency_policy), &policies, || path.child("concurrencyPolicy"), errors);
    for (field, limit) in [
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ] {
        non_negative(i64::from(limit.unwrap_or(0)), || path.child(field), errors);
    }
    if let Some(zone) = &spec.time_zone {
        validate_zone(zone, &path.child("timeZone"), errors);
    }
    let Some(job) = &spec.job_template.spec else { return };
    let path = path.child("jobTemplate").child("spec");
    if job.manual_selector == Some(true) {
        let why = "supported values: \"nil\", \"false\"";
        errors.push(FieldError::invalid(&path.child("manualSelector"), true, why));
    }
    let labels = job.template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
    let any = SelectorObject { match_labels: Some(labels.unwrap_or_default()), ..SelectorObject::default() };
    validate_template_of(&job.template, &any, &path.child("template"), &["OnFailure", "Never"], errors);
    let mut filled = job.clone();
    fill_job(&mut filled);
    validate_job(&filled, &path, errors);
}

fn validate_zone(zone: &str, path: &FieldPath, errors: &mut Errors) {
    if zone.is_empty() {
        errors.push(FieldError::invalid(path, zone, "timeZone must be nil or non-empty string"));
    } else if zone.eq_ignore_ascii_case("local") {
        errors.push(FieldError::invalid(
            path,
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        ));
    } else if cron::zone(zone).is_none() {
        errors.push(FieldError::invalid(path, zone, &format!("unknown time zone {zone}")));
    }
}
