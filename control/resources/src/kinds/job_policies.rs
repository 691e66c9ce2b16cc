//! What is wrong with when a job is taken to have failed or succeeded before all its pods have ended.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicyRule,
};

use super::kind::Errors;
use super::names;
use super::optional::{faults, items, one_of, plain};
use crate::{FieldError, FieldPath};

const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;
/// How long the list of a rule's indexes is at most, in bytes.
const MAX_INDEXES: usize = 64 * 1024;

/// A job's policies on failures and on successes.
pub(super) fn validate(spec: &JobSpec, path: &FieldPath, errors: &mut Errors) {
    if let Some(policy) = &spec.pod_failure_policy {
        let path = path.child("podFailurePolicy").child("rules");
        at_most(policy.rules.len(), MAX_RULES, &path, errors);
        for (index, rule) in policy.rules.iter().enumerate() {
            validate_failure(rule, spec, &path.index(index), errors);
        }
    }
    let Some(policy) = &spec.success_policy else { return };
    let path = path.child("successPolicy");
    if plain(&spec.completion_mode) != "Indexed" {
        let shown = serde_json::to_value(policy).unwrap_or_default();
        errors.push(FieldError::invalid(&path, shown, "requires indexed completion mode"));
        return;
    }
    let path = path.child("rules");
    if policy.rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(&path, why));
    }
    at_most(policy.rules.len(), MAX_RULES, &path, errors);
    for (index, rule) in policy.rules.iter().enumerate() {
        validate_success(rule, spec.completions.unwrap_or(0), &path.index(index), errors);
    }
}

fn at_most(count: usize, max: usize, path: &FieldPath, errors: &mut Errors) {
    if count > max {
        errors.push(FieldError::too_many(path, count, max));
    }
}

fn validate_failure(rule: &PodFailurePolicyRule, spec: &JobSpec, path: &FieldPath, errors: &mut Errors) {
    let action = rule.action.as_str();
    let known = ["Count", "FailIndex", "FailJob", "Ignore"];
    if action.is_empty() {
        let why = "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]";
        errors.push(FieldError::required(&path.child("action"), why));
    } else if action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
        let why = "requires the backoffLimitPerIndex to be set";
        errors.push(FieldError::invalid(&path.child("action"), action, why));
    } else {
        one_of(action, &known, || path.child("action"), errors);
    }
    let conditions = items(&rule.on_pod_conditions);
    if let Some(codes) = &rule.on_exit_codes {
        validate_codes(codes, spec, &path.child("onExitCodes"), errors);
    }
    let why = match (&rule.on_exit_codes, conditions.is_empty()) {
        (None, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        (Some(_), false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        _ => "",
    };
    if !why.is_empty() {
        errors.push(FieldError::invalid_unshown(path, why));
    }
    at_most(conditions.len(), MAX_RULES, &path.child("onPodConditions"), errors);
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.child("onPodConditions").index(index);
        let kind = condition.type_.as_str();
        faults(names::qualified_name(kind), kind, || path.child("type"), errors);
        let status = plain(&condition.status);
        if !status.is_empty() {
            one_of(status, &["False", "True", "Unknown"], || path.child("status"), errors);
        }
    }
}

fn validate_codes(
    codes: &PodFailurePolicyOnExitCodesRequirement,
    spec: &JobSpec,
    path: &FieldPath,
    errors: &mut Errors,
) {
    if codes.operator.is_empty() {
        errors.push(FieldError::required(&path.child("operator"), "valid values: [\"In\" \"NotIn\"]"));
    } else {
        one_of(&codes.operator, &["In", "NotIn"], || path.child("operator"), errors);
    }
    let pod = spec.template.spec.as_ref();
    let containers = pod.into_iter().flat_map(|pod| pod.containers.iter().chain(items(&pod.init_containers)));
    if let Some(name) = &codes.container_name
        && !containers.map(|container| &container.name).any(|known| known == name)
    {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(&path.child("containerName"), name.as_str(), why));
    }
    let path = path.child("values");
    let values = codes.values.as_slice();
    if values.is_empty() {
        errors.push(FieldError::invalid(&path, values.to_vec(), "at least one value is required"));
    }
    at_most(values.len(), MAX_CODES, &path, errors);
    let mut taken = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        if *value == 0 && codes.operator == "In" {
            errors.push(FieldError::invalid(&path.index(index), *value, "must not be 0 for the In operator"));
        }
        if !taken.insert(*value) {
            errors.push(FieldError::duplicate(&path.index(index), *value));
        }
    }
    if !values.is_sorted() {
        errors.push(FieldError::invalid(&path, values.to_vec(), "must be ordered"));
    }
}

fn validate_success(rule: &SuccessPolicyRule, completions: i32, path: &FieldPath, errors: &mut Errors) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(path, why));
    }
    let mut listed = 0;
    if let Some(text) = &rule.succeeded_indexes {
        let path = path.child("succeededIndexes");
        if text.len() > MAX_INDEXES {
            errors.push(FieldError::too_long(&path, MAX_INDEXES));
        }
        match indexes(text, completions) {
            Ok(count) => listed = count,
            Err(why) => {
                let why = format!("error parsing succeededIndexes: {why}");
                errors.push(FieldError::invalid(&path, text.as_str(), &why));
            }
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let path = path.child("succeededCount");
    if count <= 0 {
        errors.push(FieldError::invalid(&path, count, "must be greater than or equal to 0"));
    }
    if count > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(FieldError::invalid(&path, count, &why));
    }
    if rule.succeeded_indexes.is_some() && i64::from(count) > listed {
        let why = format!(
            "must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(FieldError::invalid(&path, count, &why));
    }
}

/// How many indexes a text like `1,3-5` lists of as many as the job has; the error says what is wrong with it.
pub(super) fn indexes(text: &str, completions: i32) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for interval in intervals(text, completions) {
        let interval = interval?;
        let first = *interval.start();
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += interval.end() - first + 1;
        last = Some(*interval.end());
    }
    Ok(total)
}

/// The intervals of such a text, each with what is wrong with it for itself.
pub(super) fn intervals(
    text: &str,
    completions: i32,
) -> impl Iterator<Item = Result<RangeInclusive<i64>, String>> + use<'_> {
    text.split(',').filter(|_| !text.is_empty()).map(move |part| interval(part, completions.into()))
}

fn interval(part: &str, completions: i64) -> Result<RangeInclusive<i64>, String> {
    let number = |text: &str| {
        let number: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if number >= completions {
            return Err(format!("too large index: {text:?}"));
        }
        Ok(number)
    };
    let Some((first, end)) = part.split_once('-') else {
        let index = number(part)?;
        return Ok(index..=index);
    };
    if end.contains('-') {
        return Err(format!(
            "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated \
             by '-'"
        ));
    }
    let (first, end) = (number(first)?, number(end)?);
    if first >= end {
        return Err(format!("non-increasing order, previous: {first}, current: {end}"));
    }
    Ok(first..=end)
}
