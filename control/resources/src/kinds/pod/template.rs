//! What is wrong with the pod template of a workload.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;

use super::spec;
use crate::kinds::kind::Errors;
use crate::kinds::meta;
use crate::kinds::optional::{items, one_of, plain};
use crate::kinds::workload::validate_selector_parts;
use crate::selector::LabelSelector;
use crate::{FieldError, FieldPath};

/// The template of pods that are replaced when they end, and that `selector` must find again.
pub(in crate::kinds) fn validate_template(
    kind: &str,
    template: &PodTemplateSpec,
    selector: &SelectorObject,
    path: &FieldPath,
    errors: &mut Errors,
) {
    validate_template_of(template, selector, path, errors);
    if let Some(pod) = &template.spec {
        one_of(plain(&pod.restart_policy), &["Always"], || path.child("spec").child("restartPolicy"), errors);
    }
    if template.spec.as_ref().is_some_and(|pod| pod.active_deadline_seconds.is_some()) {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(&path.child("spec").child("activeDeadlineSeconds"), &why));
    }
}

/// What is said of a template at `path` whose pods, with these labels, the selector would not find.
pub(in crate::kinds) fn not_selected(labels: Option<&BTreeMap<String, String>>, path: &FieldPath) -> FieldError {
    let shown = serde_json::to_value(labels).unwrap_or_default();
    let why = "`selector` does not match template `labels`";
    FieldError::invalid(&path.child("metadata").child("labels"), shown, why)
}

/// The template of pods with any restart policy.
pub(in crate::kinds) fn validate_template_of(
    template: &PodTemplateSpec,
    selector: &SelectorObject,
    path: &FieldPath,
    errors: &mut Errors,
) {
    let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    // A selector that is left out selects nothing, an empty one everything.
    let left_out = selector.match_labels.is_none() && selector.match_expressions.is_none();
    let none = BTreeMap::new();
    let mut unreadable = Errors::default();
    validate_selector_parts(selector, path, &mut unreadable);
    let misses = |selects: LabelSelector| !selects.matches(labels.unwrap_or(&none));
    if left_out || unreadable.is_empty() && LabelSelector::from_object(selector).is_ok_and(misses) {
        errors.push(not_selected(labels, path));
    }
    if let Some(labels) = labels {
        meta::validate_labels(labels, &path.child("labels"), errors);
    }
    if let Some(annotations) = template.metadata.as_ref().and_then(|m| m.annotations.as_ref()) {
        meta::validate_annotations(annotations, &path.child("annotations"), errors);
    }
    let path = path.child("spec");
    let Some(pod) = &template.spec else {
        errors.push(FieldError::required(&path, ""));
        return;
    };
    spec::validate(pod, &path, errors);
    if !items(&pod.ephemeral_containers).is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(&path.child("ephemeralContainers"), why));
    }
}
