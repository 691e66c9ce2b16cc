//! What is wrong with a pod's spec.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, Toleration, TopologySpreadConstraint};

use super::{container, volume};
use crate::kinds::kind::Errors;
use crate::kinds::optional::{faults, items, one_of, plain, text};
use crate::kinds::{meta, names};
use crate::{FieldError, FieldPath};

/// The rules that pods and templates share.
pub(super) fn validate(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let volumes = volume::validate(items(&spec.volumes), &path.child("volumes"), errors);
    container::validate_all(spec, &volumes, path, errors);
    let restart = ["Always", "OnFailure", "Never"];
    one_of(plain(&spec.restart_policy), &restart, || path.child("restartPolicy"), errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(plain(&spec.dns_policy), &dns, || path.child("dnsPolicy"), errors);
    if let Some(labels) = &spec.node_selector {
        meta::validate_labels(labels, &path.child("nodeSelector"), errors);
    }
    validate_dns(spec, &path.child("dnsConfig"), errors);
    validate_gates(spec, path, errors);
    for (index, spread) in items(&spec.topology_spread_constraints).iter().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        validate_spread(spread, &path, errors);
    }
    validate_names(spec, path, errors);
    if let Some(deadline) = spec.active_deadline_seconds {
        for fault in names::in_range(deadline, 1, i64::from(i32::MAX)) {
            let path = path.child("activeDeadlineSeconds");
            errors.push(FieldError::invalid(&path, deadline, &fault));
        }
    }
    for (index, toleration) in items(&spec.tolerations).iter().enumerate() {
        validate_toleration(toleration, || path.child("tolerations").index(index), errors);
    }
    if let Some(policy) = text(&spec.preemption_policy) {
        let known = ["PreemptLowerPriority", "Never"];
        one_of(policy, &known, || path.child("preemptionPolicy"), errors);
    }
}

/// The rules that hold for pods alone.
pub(super) fn validate_pod(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    container::validate_for_pod(spec, path, errors);
    if text(&spec.node_name).is_some() && !items(&spec.scheduling_gates).is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(&path.child("nodeName"), why));
    }
}

fn validate_dns(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    if plain(&spec.dns_policy) != "None" {
        return;
    }
    match &spec.dns_config {
        None => {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(path, why));
        }
        Some(config) if items(&config.nameservers).is_empty() => {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(&path.child("nameservers"), why));
        }
        Some(_) => {}
    }
}

fn validate_gates(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    for (index, gate) in items(&spec.readiness_gates).iter().enumerate() {
        let condition = gate.condition_type.as_str();
        let path = || path.child("readinessGates").index(index).child("conditionType");
        faults(names::qualified_name(condition), condition, path, errors);
    }
    let mut taken = BTreeSet::new();
    for (index, gate) in items(&spec.scheduling_gates).iter().enumerate() {
        let path = || path.child("schedulingGates").index(index);
        faults(names::qualified_name(&gate.name), &gate.name, path, errors);
        if !taken.insert(&gate.name) {
            errors.push(FieldError::duplicate(&path(), gate.name.as_str()));
        }
    }
}

fn validate_names(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    type Form = fn(&str) -> Vec<String>;
    let named: [(&str, &Option<String>, Form); 6] = [
        ("serviceAccountName", &spec.service_account_name, names::dns1123_subdomain),
        ("nodeName", &spec.node_name, names::dns1123_subdomain),
        ("hostname", &spec.hostname, names::dns1123_label),
        ("subdomain", &spec.subdomain, names::dns1123_label),
        ("schedulerName", &spec.scheduler_name, names::qualified_name),
        ("priorityClassName", &spec.priority_class_name, names::dns1123_subdomain),
    ];
    for (field, value, form) in named {
        if let Some(value) = text(value) {
            faults(form(value), value, || path.child(field), errors);
        }
    }
}

fn validate_toleration(toleration: &Toleration, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    let (key, operator) = (plain(&toleration.key), plain(&toleration.operator));
    let effect = plain(&toleration.effect);
    if !key.is_empty() {
        faults(names::qualified_name(key), key, || path().child("key"), errors);
    } else if operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(&path().child("operator"), operator, why));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(&path().child("effect"), effect, why));
    }
    match operator {
        "" | "Equal" => {
            let value = plain(&toleration.value);
            let found = names::label_value(value);
            if !found.is_empty() {
                let path = path().child("operator");
                errors.push(FieldError::invalid(&path, value, &found.join(";")));
            }
        }
        "Exists" => {
            if let Some(value) = text(&toleration.value) {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&path().child("operator"), value, why));
            }
        }
        _ => one_of(operator, &["Equal", "Exists"], || path().child("operator"), errors),
    }
    if !effect.is_empty() {
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        one_of(effect, &known, || path().child("effect"), errors);
    }
}

fn validate_spread(spread: &TopologySpreadConstraint, path: &FieldPath, errors: &mut Errors) {
    if spread.max_skew <= 0 {
        let why = "must be greater than zero";
        errors.push(FieldError::invalid(&path.child("maxSkew"), spread.max_skew, why));
    }
    if spread.topology_key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    } else {
        let key = spread.topology_key.as_str();
        faults(names::qualified_name(key), key, || path.child("topologyKey"), errors);
    }
    let known = ["DoNotSchedule", "ScheduleAnyway"];
    one_of(&spread.when_unsatisfiable, &known, || path.child("whenUnsatisfiable"), errors);
}
