//! Deployments and ReplicaSets.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Env;
use super::kind::{Errors, Kind, has_meta, has_status};
use super::optional::{faults, fill, items, non_negative, one_of, plain};
use super::pod::{fill_template, validate_template};
use super::status_rules::{validate_collisions, validate_counts, validate_replicas};
use super::{meta, names};
use crate::{FieldError, FieldPath};

impl Kind for Deployment {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        let strategy = spec.strategy.get_or_insert_default();
        fill(&mut strategy.type_, "RollingUpdate");
        if plain(&strategy.type_) == "RollingUpdate" {
            let quarter = || IntOrString::String("25%".to_owned());
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert_with(quarter);
            rolling.max_surge.get_or_insert_with(quarter);
        }
        fill_template(&mut spec.template);
    }

    fn prepare_create(&mut self, _env: &Env) {
        self.status = Some(DeploymentStatus::default());
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.status.clone_from(&old.status);
    }

    fn prepare_subresource(&mut self, _name: &str, old: &Self, _env: &Env) {
        self.spec.clone_from(&old.spec);
        self.metadata.labels.clone_from(&old.metadata.labels);
    }

    fn validate_subresource(&self, _name: &str, errors: &mut Errors) {
        validate_counts(
            &self.status,
            &[
                "observedGeneration",
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
                "collisionCount",
            ],
            &[
                ("updatedReplicas", "replicas", "status.replicas"),
                ("readyReplicas", "replicas", "status.replicas"),
                ("availableReplicas", "replicas", "status.replicas"),
                ("availableReplicas", "readyReplicas", "readyReplicas"),
            ],
            errors,
        );
    }

    fn validate_subresource_update(&self, _name: &str, old: &Self, errors: &mut Errors) {
        let collisions = |set: &Self| set.status.as_ref().and_then(|status| status.collision_count);
        validate_collisions(collisions(self), collisions(old), errors);
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(spec) = &self.spec {
            validate_deployment(spec, &FieldPath::new("spec"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if let (Some(new), Some(old)) = (&self.spec, &old.spec) {
            same_selector(&new.selector, &old.selector, errors);
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec || self.metadata.annotations != old.metadata.annotations
    }
}

fn validate_deployment(spec: &DeploymentSpec, path: &FieldPath, errors: &mut Errors) {
    let replicas = spec.replicas.unwrap_or(0);
    non_negative(i64::from(replicas), || path.child("replicas"), errors);
    validate_selector(&spec.selector, &path.child("selector"), "deployment", errors);
    validate_template("ReplicaSet", &spec.template, &spec.selector, &path.child("template"), errors);
    if let Some(strategy) = &spec.strategy {
        validate_strategy(strategy, &path.child("strategy"), errors);
    }
    let ready = spec.min_ready_seconds.unwrap_or(0);
    non_negative(i64::from(ready), || path.child("minReadySeconds"), errors);
    let history = spec.revision_history_limit.unwrap_or(0);
    non_negative(i64::from(history), || path.child("revisionHistoryLimit"), errors);
    let deadline = spec.progress_deadline_seconds.unwrap_or(0);
    let deadline_path = || path.child("progressDeadlineSeconds");
    non_negative(i64::from(deadline), deadline_path, errors);
    if deadline <= ready {
        let why = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(&deadline_path(), deadline, why));
    }
}

fn validate_strategy(strategy: &DeploymentStrategy, path: &FieldPath, errors: &mut Errors) {
    let rolling_path = path.child("rollingUpdate");
    match plain(&strategy.type_) {
        "Recreate" => {
            if strategy.rolling_update.is_some() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                errors.push(FieldError::forbidden(&rolling_path, why));
            }
        }
        "RollingUpdate" => {
            let rolling = strategy.rolling_update.clone().unwrap_or_default();
            let unavailable_path = rolling_path.child("maxUnavailable");
            let unavailable = validate_share(rolling.max_unavailable.as_ref(), true, &unavailable_path, errors);
            let surge_path = rolling_path.child("maxSurge");
            let surge = validate_share(rolling.max_surge.as_ref(), false, &surge_path, errors);
            if unavailable == Some(0) && surge == Some(0) {
                let shown = serde_json::to_value(&rolling.max_unavailable).unwrap_or_default();
                let why = "may not be 0 when `maxSurge` is 0";
                errors.push(FieldError::invalid(&unavailable_path, shown, why));
            }
        }
        other => one_of(other, &["Recreate", "RollingUpdate"], || path.child("type"), errors),
    }
}

/// A number of pods or a percentage of them; the number of either.
pub(super) fn validate_share(
    share: Option<&IntOrString>,
    part: bool,
    path: &FieldPath,
    errors: &mut Errors,
) -> Option<i64> {
    match share? {
        IntOrString::Int(number) => {
            non_negative(i64::from(*number), || path.clone(), errors);
            Some(i64::from(*number))
        }
        IntOrString::String(text) => {
            let percent = text
                .strip_suffix('%')
                .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
            let Some(percent) = percent else {
                let why = names::regex_fault(
                    "a valid percent string must be a numeric string followed by an ending '%'",
                    "[0-9]+%",
                    &["1%", "93%"],
                );
                errors.push(FieldError::invalid(path, text.as_str(), &why));
                return None;
            };
            let percent: i64 = percent.parse().unwrap_or(i64::MAX);
            if part && percent > 100 {
                let why = "must not be greater than 100%";
                errors.push(FieldError::invalid(path, text.as_str(), why));
            }
            Some(percent)
        }
    }
}

impl Kind for ReplicaSet {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        fill_template(spec.template.get_or_insert_default());
    }

    has_status!(ReplicaSetStatus::default());

    fn validate_subresource(&self, _name: &str, errors: &mut Errors) {
        validate_replicas(&self.status, errors);
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(spec) = &self.spec {
            validate_replica_set(spec, &FieldPath::new("spec"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if let (Some(new), Some(old)) = (&self.spec, &old.spec) {
            same_selector(&new.selector, &old.selector, errors);
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

fn validate_replica_set(spec: &ReplicaSetSpec, path: &FieldPath, errors: &mut Errors) {
    let replicas = spec.replicas.unwrap_or(0);
    non_negative(i64::from(replicas), || path.child("replicas"), errors);
    let ready = spec.min_ready_seconds.unwrap_or(0);
    non_negative(i64::from(ready), || path.child("minReadySeconds"), errors);
    validate_selector(&spec.selector, &path.child("selector"), "deployment", errors);
    match &spec.template {
        Some(template) => {
            validate_template("ReplicaSet", template, &spec.selector, &path.child("template"), errors);
        }
        None => errors.push(FieldError::required(&path.child("template"), "")),
    }
}

pub(super) fn validate_selector(selector: &SelectorObject, path: &FieldPath, of: &str, errors: &mut Errors) {
    let (labels, expressions) = (&selector.match_labels, &selector.match_expressions);
    if labels.is_none() && expressions.is_none() {
        errors.push(FieldError::required(path, ""));
    } else if labels.as_ref().is_none_or(|map| map.is_empty()) && items(expressions).is_empty() {
        let shown = serde_json::to_value(selector).unwrap_or_default();
        let why = format!("empty selector is invalid for {of}");
        errors.push(FieldError::invalid(path, shown, &why));
    }
    validate_selector_parts(selector, path, errors);
}

/// What is wrong with the labels and expressions of a selector, which may be empty.
pub(super) fn validate_selector_parts(selector: &SelectorObject, path: &FieldPath, errors: &mut Errors) {
    if let Some(labels) = &selector.match_labels {
        meta::validate_labels(labels, &path.child("matchLabels"), errors);
    }
    for (index, expression) in items(&selector.match_expressions).iter().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let given = !items(&expression.values).is_empty();
        match expression.operator.as_str() {
            "In" | "NotIn" if !given => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(&path.child("values"), why));
            }
            "Exists" | "DoesNotExist" if given => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(&path.child("values"), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let why = "not a valid selector operator";
                errors.push(FieldError::invalid(&path.child("operator"), other, why));
            }
        }
        let key = expression.key.as_str();
        faults(names::qualified_name(key), key, || path.child("key"), errors);
        for (index, value) in items(&expression.values).iter().enumerate() {
            let path = || path.child("values").index(index);
            faults(names::label_value(value), value, path, errors);
        }
    }
}

pub(super) fn same_selector(new: &SelectorObject, old: &SelectorObject, errors: &mut Errors) {
    if new != old {
        let shown = serde_json::to_value(new).unwrap_or_default();
        let path = FieldPath::new("spec").child("selector");
        errors.push(FieldError::invalid(&path, shown, "field is immutable"));
    }
}
