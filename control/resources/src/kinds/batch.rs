//! Jobs and CronJobs.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as SelectorObject, ObjectMeta};

use super::Env;
use super::kind::{Errors, Kind, has_meta, has_status};
use super::meta::validate_domain_path;
use super::optional::{fill, items, items_mut, non_negative, one_of, plain};
use super::pod::{fill_template, validate_template_of};
use super::workload::validate_selector_parts;
use super::{job_policies, job_status, names};
use crate::cron::{self, Schedule};
use crate::selector::LabelSelector;
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
    }

    fn prepare_create(&mut self, env: &Env) {
        self.status = Some(JobStatus::default());
        let name = self.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &mut self.spec else { return };
        if spec.manual_selector == Some(true) {
            label(self);
            return;
        }
        let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
        // What a client put there in their place is refused later.
        for key in [UID, OLD_UID] {
            labels.entry(key.to_owned()).or_insert_with(|| env.uid.0.clone());
        }
        for key in [NAME, OLD_NAME] {
            labels.entry(key.to_owned()).or_insert_with(|| name.clone());
        }
        let selector = spec.selector.get_or_insert_default();
        let wanted = selector.match_labels.get_or_insert_default();
        wanted.entry(UID.to_owned()).or_insert_with(|| env.uid.0.clone());
        label(self);
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.status.clone_from(&old.status);
        label(self);
    }

    fn prepare_subresource(&mut self, _name: &str, old: &Self, _env: &Env) {
        self.spec.clone_from(&old.spec);
        label(self);
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = FieldPath::new("spec");
        match &spec.selector {
            None => errors.push(FieldError::required(&path.child("selector"), "")),
            Some(selector) => {
                validate_selector_parts(selector, &path.child("selector"), errors);
                // One that is given and empty selects everything.
                let mut given = selector.clone();
                given.match_labels.get_or_insert_default();
                validate_template_of(&spec.template, &given, &path.child("template"), errors);
                validate_restart(spec, &path, errors);
                validate_generated(&self.metadata, spec, selector, errors);
            }
        }
        validate_job(spec, &path, errors);
        validate_hostname(plain(&self.metadata.name), spec, errors);
    }

    fn validate_subresource_update(&self, _name: &str, old: &Self, errors: &mut Errors) {
        job_status::validate(self, old, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        // Where and with what its pods run may change while it rests, and has no pods that run.
        let rests = old.status.as_ref().is_none_or(|status| {
            status.active.unwrap_or(0) == 0 && (status.start_time.is_none() || job_status::holds(status, "Suspended"))
        });
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        let path = FieldPath::new("spec");
        let indexed = plain(&new.completion_mode) == "Indexed";
        if indexed && new.completions.is_some() && ![old.completions, new.parallelism].contains(&new.completions) {
            let why = "can only be modified in tandem with spec.parallelism";
            errors.push(FieldError::invalid(&path.child("completions"), new.completions, why));
        }
        let mut frozen = |field: &str, same: bool, shown: serde_json::Value| {
            if !same {
                errors.push(FieldError::invalid(&path.child(field), shown, "field is immutable"));
            }
        };
        frozen("completions", indexed || new.completions == old.completions, new.completions.into());
        frozen("selector", new.selector == old.selector, shown(&new.selector));
        let same_template = same_template(&new.template, &old.template, rests && old.suspend == Some(true));
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

/// A job without labels has those of its pods, with those that it was given for them.
fn label(job: &mut Job) {
    let labels = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()?.labels.clone());
    if job.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) && labels.is_some() {
        job.metadata.labels = labels;
    }
}

/// What a job's own selector and labels are, unless the client makes its own.
fn validate_generated(metadata: &ObjectMeta, spec: &JobSpec, selector: &SelectorObject, errors: &mut Errors) {
    if spec.manual_selector == Some(true) {
        return;
    }
    let (uid, name) = (plain(&metadata.uid), plain(&metadata.name));
    let expected = [(UID, uid), (NAME, name), (OLD_UID, uid), (OLD_NAME, name)];
    let labels = spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    let path = FieldPath::new("spec").child("template").child("metadata").child("labels");
    for (key, wanted) in expected {
        let why = format!("must be '{wanted}'");
        match labels.and_then(|labels| labels.get(key)) {
            Some(given) if given == wanted => {}
            Some(_) => errors.push(FieldError::invalid(&path.key(key), shown(&labels), &why)),
            None => errors.push(FieldError::required(&path.key(key), &why)),
        }
    }
    let expected = expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    if LabelSelector::from_object(selector).is_ok_and(|selects| !selects.matches(&expected)) {
        let path = FieldPath::new("spec").child("selector");
        errors.push(FieldError::invalid(&path, shown(selector), "`selector` not auto-generated"));
    }
}

/// The pods of an indexed job are called after it, and their hosts after them.
fn validate_hostname(name: &str, spec: &JobSpec, errors: &mut Errors) {
    let Some(completions) = spec.completions.filter(|number| *number > 0) else { return };
    let host = format!("{name}-{}", completions - 1);
    if plain(&spec.completion_mode) == "Indexed" && !names::dns1123_label(&host).is_empty() {
        let why = format!("will not able to create pod with invalid DNS label: {host}");
        errors.push(FieldError::invalid(&FieldPath::new("metadata").child("name"), name, &why));
    }
}

/// A value as a refusal shows it.
fn shown(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Whether two templates are the same, but for where the pods run and what they are given when the job `rests`.
fn same_template(new: &PodTemplateSpec, old: &PodTemplateSpec, rests: bool) -> bool {
    let mut allowed = new.clone();
    if rests {
        allowed.metadata = old.metadata.clone();
        if let (Some(new), Some(old)) = (&mut allowed.spec, &old.spec) {
            new.node_selector.clone_from(&old.node_selector);
            if let Some(affinity) = &mut new.affinity {
                affinity.node_affinity = None;
            }
            let mut elsewhere = old.affinity.clone();
            if let Some(affinity) = &mut elsewhere {
                affinity.node_affinity = None;
            }
            if new.affinity.take().unwrap_or_default() == elsewhere.unwrap_or_default() {
                new.affinity.clone_from(&old.affinity);
            }
            new.tolerations.clone_from(&old.tolerations);
            new.scheduling_gates.clone_from(&old.scheduling_gates);
            same_resources(&mut new.containers, &old.containers);
            same_resources(items_mut(&mut new.init_containers), items(&old.init_containers));
        }
    }
    allowed == *old
}

fn same_resources(containers: &mut [Container], old: &[Container]) {
    for (container, old) in containers.iter_mut().zip(old) {
        container.resources.clone_from(&old.resources);
    }
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
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for condition in rules.flat_map(|rule| items_mut(&mut rule.on_pod_conditions)) {
        fill(&mut condition.status, "True");
    }
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
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        let why = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(&path.child("backoffLimitPerIndex"), why));
    }
    if let Some(manager) = &spec.managed_by {
        validate_domain_path(manager, 63, &path.child("managedBy"), errors);
    }
    one_of(plain(&spec.completion_mode), &["NonIndexed", "Indexed"], || path.child("completionMode"), errors);
    validate_indexes(spec, path, errors);
    let replacement = plain(&spec.pod_replacement_policy);
    let replacements: &[&str] =
        if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    one_of(replacement, replacements, || path.child("podReplacementPolicy"), errors);
    job_policies::validate(spec, path, errors);
}

/// How many indexes a job has at most where there is a limit, and what of those with still more.
const INDEXES: i32 = 100_000;
const OF_MANY: i32 = 10_000;

fn validate_indexes(spec: &JobSpec, path: &FieldPath, errors: &mut Errors) {
    let (per_index, failed) = (spec.backoff_limit_per_index, spec.max_failed_indexes);
    let mut wrong =
        |field: &str, value: i32, why: &str| errors.push(FieldError::invalid(&path.child(field), value, why));
    if plain(&spec.completion_mode) != "Indexed" {
        for (field, given) in [("backoffLimitPerIndex", per_index), ("maxFailedIndexes", failed)] {
            if let Some(value) = given {
                wrong(field, value, "requires indexed completion mode");
            }
        }
        return;
    }
    let completions = spec.completions.unwrap_or(i32::MAX);
    if let Some(parallelism) = spec.parallelism.filter(|number| *number > INDEXES) {
        let why = format!("must be less than or equal to {INDEXES} when completion mode is Indexed");
        wrong("parallelism", parallelism, &why);
    }
    if let Some(failed) = failed {
        if failed > completions {
            wrong("maxFailedIndexes", failed, "must be less than or equal to completions");
        }
        if failed > INDEXES {
            wrong("maxFailedIndexes", failed, &format!("must be less than or equal to {INDEXES}"));
        }
    }
    let many = spec.completions.is_some_and(|number| number > INDEXES) && per_index.is_some();
    for (field, value) in [("parallelism", spec.parallelism), ("maxFailedIndexes", failed)] {
        if let Some(value) = value.filter(|value| many && *value > OF_MANY) {
            let why = format!(
                "must be less than or equal to {OF_MANY} when completions are above {INDEXES} and used with backoff limit \
                 per index"
            );
            wrong(field, value, &why);
        }
    }
    if many && failed.is_none() {
        let why = format!("must be specified when completions is above {INDEXES}");
        errors.push(FieldError::required(&path.child("maxFailedIndexes"), &why));
    }
    if spec.completions.is_none() {
        errors.push(FieldError::required(&path.child("completions"), "when completion mode is Indexed"));
    }
}

/// A job's pods end, so they are not started again for ever; with a policy on failures they are not started again at all.
fn validate_restart(spec: &JobSpec, path: &FieldPath, errors: &mut Errors) {
    let policy = spec.template.spec.as_ref().map_or("", |pod| plain(&pod.restart_policy));
    let path = || path.child("template").child("spec").child("restartPolicy");
    match policy {
        "" | "Always" => errors.push(FieldError::required(&path(), "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(&path(), policy, why));
        }
        _ => one_of(policy, &["OnFailure", "Never"], path, errors),
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
    if job.selector.is_some() {
        errors.push(FieldError::invalid(
            &path.child("selector"),
            shown(&job.selector),
            "`selector` will be auto-generated",
        ));
    }
    if job.manual_selector == Some(true) {
        errors.push(FieldError::not_supported(&path.child("manualSelector"), true, &["nil", "false"]));
    }
    let labels = job.template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
    let any = SelectorObject { match_labels: Some(labels.unwrap_or_default()), ..SelectorObject::default() };
    validate_template_of(&job.template, &any, &path.child("template"), errors);
    validate_restart(job, &path, errors);
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
