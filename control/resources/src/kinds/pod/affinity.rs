//! What is wrong with what a pod says of where it may run: affinities and spreading.

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, items, one_of};
use crate::kinds::workload::validate_selector_parts;
use crate::{FieldError, FieldPath};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const NO_OPERATOR: &str = "not a valid selector operator";

/// A pod's affinities to nodes and to other pods.
pub(super) fn validate(affinity: &Affinity, path: &FieldPath, errors: &mut Errors) {
    if let Some(nodes) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(selector) = &nodes.required_during_scheduling_ignored_during_execution {
            validate_node_selector(selector, &path.child(REQUIRED), errors);
        }
        let preferred = items(&nodes.preferred_during_scheduling_ignored_during_execution);
        for (index, term) in preferred.iter().enumerate() {
            let path = path.child(PREFERRED).index(index);
            validate_weight(term.weight, &path, errors);
            validate_term(&term.preference, false, &path.child("preference"), errors);
        }
    }
    let pods = affinity.pod_affinity.as_ref();
    let pods = pods.map(|pods| {
        let required = items(&pods.required_during_scheduling_ignored_during_execution);
        ("podAffinity", required, items(&pods.preferred_during_scheduling_ignored_during_execution))
    });
    let against = affinity.pod_anti_affinity.as_ref();
    let against = against.map(|pods| {
        let required = items(&pods.required_during_scheduling_ignored_during_execution);
        ("podAntiAffinity", required, items(&pods.preferred_during_scheduling_ignored_during_execution))
    });
    for (field, required, preferred) in pods.into_iter().chain(against) {
        validate_pods(required, preferred, &path.child(field), errors);
    }
}

fn validate_pods(
    required: &[PodAffinityTerm],
    preferred: &[WeightedPodAffinityTerm],
    path: &FieldPath,
    errors: &mut Errors,
) {
    for (index, term) in required.iter().enumerate() {
        validate_pod_term(term, &path.child(REQUIRED).index(index), errors);
    }
    for (index, term) in preferred.iter().enumerate() {
        let path = path.child(PREFERRED).index(index);
        validate_weight(term.weight, &path, errors);
        validate_pod_term(&term.pod_affinity_term, &path.child("podAffinityTerm"), errors);
    }
}

fn validate_weight(weight: i32, path: &FieldPath, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}

/// A selector of nodes, of a pod or of a volume.
pub(in crate::kinds) fn validate_node_selector(selector: &NodeSelector, path: &FieldPath, errors: &mut Errors) {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.push(FieldError::required(&path, "must have at least one node selector term"));
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        validate_term(term, true, &path.index(index), errors);
    }
}

/// `exact`: values that no label has are refused.
fn validate_term(term: &NodeSelectorTerm, exact: bool, path: &FieldPath, errors: &mut Errors) {
    for (index, requirement) in items(&term.match_expressions).iter().enumerate() {
        validate_requirement(requirement, exact, &path.child("matchExpressions").index(index), errors);
    }
    for (index, requirement) in items(&term.match_fields).iter().enumerate() {
        validate_field(requirement, &path.child("matchFields").index(index), errors);
    }
}

fn validate_requirement(requirement: &NodeSelectorRequirement, exact: bool, path: &FieldPath, errors: &mut Errors) {
    let values = items(&requirement.values);
    match (requirement.operator.as_str(), values.len()) {
        ("In" | "NotIn", 0) => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(&path.child("values"), why));
        }
        ("Exists" | "DoesNotExist", 1..) => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(&path.child("values"), why));
        }
        ("Gt" | "Lt", 0 | 2..) => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(&path.child("values"), why));
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
        (other, _) => errors.push(FieldError::invalid(&path.child("operator"), other, NO_OPERATOR)),
    }
    let key = requirement.key.as_str();
    faults(names::qualified_name(key), key, || path.child("key"), errors);
    for (index, value) in values.iter().enumerate().filter(|_| exact) {
        faults(names::label_value(value), value, || path.child("values").index(index), errors);
    }
}

/// What is asked of a node's fields, of which its name is the only one.
fn validate_field(requirement: &NodeSelectorRequirement, path: &FieldPath, errors: &mut Errors) {
    let values = items(&requirement.values);
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(&path.child("values"), why));
        }
        "In" | "NotIn" => {}
        other => errors.push(FieldError::invalid(&path.child("operator"), other, NO_OPERATOR)),
    }
    if requirement.key != "metadata.name" {
        let why = "not a valid field selector key";
        errors.push(FieldError::invalid(&path.child("key"), requirement.key.as_str(), why));
        return;
    }
    for (index, value) in values.iter().enumerate() {
        faults(names::dns1123_subdomain(value), value, || path.child("values").index(index), errors);
    }
}

fn validate_pod_term(term: &PodAffinityTerm, path: &FieldPath, errors: &mut Errors) {
    for (field, selector) in [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)]
    {
        if let Some(selector) = selector {
            validate_selector_parts(selector, &path.child(field), errors);
        }
    }
    for name in items(&term.namespaces) {
        faults(names::dns1123_label(name), name, || path.child("namespace"), errors);
    }
    let selector = term.label_selector.as_ref();
    let (keys, unlike) = (items(&term.match_label_keys), items(&term.mismatch_label_keys));
    validate_keys(keys, selector, &path.child("matchLabelKeys"), errors);
    validate_keys(unlike, selector, &path.child("mismatchLabelKeys"), errors);
    for key in keys.iter().filter(|key| unlike.contains(key)) {
        let why = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(FieldError::invalid(&path.child("matchLabelKeys"), key.as_str(), why));
    }
    let key = term.topology_key.as_str();
    if key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    }
    faults(names::qualified_name(key), key, || path.child("topologyKey"), errors);
}

/// Labels of the pod itself, by which others are told to be its like.
fn validate_keys(keys: &[String], selector: Option<&LabelSelector>, path: &FieldPath, errors: &mut Errors) {
    if !keys.is_empty() && selector.is_none() {
        errors.push(FieldError::forbidden(path, "must not be specified when labelSelector is not set"));
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        faults(names::qualified_name(key), key, || path.index(index), errors);
    }
}

/// How pods are spread.
pub(super) fn validate_spreads(spreads: &[TopologySpreadConstraint], path: &FieldPath, errors: &mut Errors) {
    for (index, spread) in spreads.iter().enumerate() {
        let at = path.index(index);
        validate_spread(spread, &at, errors);
        let kind = |spread: &TopologySpreadConstraint| (spread.topology_key.clone(), spread.when_unsatisfiable.clone());
        if spreads[index + 1..].iter().any(|other| kind(other) == kind(spread)) {
            let shown = format!("{{{}, {}}}", spread.topology_key, spread.when_unsatisfiable);
            errors.push(FieldError::duplicate(&at.child("{topologyKey, whenUnsatisfiable}"), shown));
        }
        validate_refinements(spread, &at, errors);
    }
}

fn validate_spread(spread: &TopologySpreadConstraint, path: &FieldPath, errors: &mut Errors) {
    if spread.max_skew <= 0 {
        errors.push(FieldError::invalid(&path.child("maxSkew"), spread.max_skew, "must be greater than zero"));
    }
    if spread.topology_key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    }
    let known = ["DoNotSchedule", "ScheduleAnyway"];
    one_of(&spread.when_unsatisfiable, &known, || path.child("whenUnsatisfiable"), errors);
}

fn validate_refinements(spread: &TopologySpreadConstraint, path: &FieldPath, errors: &mut Errors) {
    if let Some(domains) = spread.min_domains {
        let path = path.child("minDomains");
        if domains <= 0 {
            errors.push(FieldError::invalid(&path, domains, "must be greater than zero"));
        }
        if spread.when_unsatisfiable != "DoNotSchedule" {
            let given = &spread.when_unsatisfiable;
            let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {given}");
            errors.push(FieldError::invalid(&path, domains, &why));
        }
    }
    let policies =
        [("nodeAffinityPolicy", &spread.node_affinity_policy), ("nodeTaintsPolicy", &spread.node_taints_policy)];
    for (field, policy) in policies {
        if let Some(policy) = policy {
            one_of(policy, &["Honor", "Ignore"], || path.child(field), errors);
        }
    }
    let keys = items(&spread.match_label_keys);
    validate_keys(keys, spread.label_selector.as_ref(), &path.child("matchLabelKeys"), errors);
    let Some(selector) = &spread.label_selector else { return };
    for (index, key) in keys.iter().enumerate() {
        let labels = selector.match_labels.as_ref().is_some_and(|labels| labels.contains_key(key));
        if labels || items(&selector.match_expressions).iter().any(|expression| expression.key == *key) {
            let why = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(&path.child("matchLabelKeys").index(index), key.as_str(), why));
        }
    }
    validate_selector_parts(selector, &path.child("labelSelector"), errors);
}
