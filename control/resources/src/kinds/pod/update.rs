//! What of a pod may not change.

use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};

use super::gated;
use crate::kinds::kind::Errors;
use crate::kinds::optional::{items, items_mut};
use crate::{FieldError, FieldPath};

const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Images, the deadline and more tolerations may come; all else was settled when the pod was made.
pub(super) fn validate(new: &Pod, old: &Pod, errors: &mut Errors) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    if new == old {
        return;
    }
    let path = FieldPath::new("spec");
    let lists = [
        ("containers", new.containers.len() == old.containers.len()),
        ("initContainers", items(&new.init_containers).len() == items(&old.init_containers).len()),
    ];
    for (field, same) in lists {
        if !same {
            let why = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(&path.child(field), why));
            return;
        }
    }
    validate_deadline(new, old, &path, errors);
    validate_tolerations(items(&new.tolerations), items(&old.tolerations), &path, errors);
    validate_gates(new, old, &path, errors);
    let mut settled = new.clone();
    gated::settle(&mut settled, old, &path, errors);
    if !same_but_for_mutable(settled, old) {
        errors.push(FieldError::forbidden(&path, MUTABLE));
    }
}

fn validate_deadline(new: &PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let path = path.child("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => {
            let why = "must be less than or equal to previous value";
            errors.push(FieldError::invalid(&path, new, why));
        }
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(&path, serde_json::Value::Null, why));
        }
        _ => {}
    }
}

fn validate_tolerations(new: &[Toleration], old: &[Toleration], path: &FieldPath, errors: &mut Errors) {
    let same = |a: &Toleration, b: &Toleration| {
        (&a.key, &a.operator, &a.value, &a.effect) == (&b.key, &b.operator, &b.value, &b.effect)
    };
    if !old.iter().all(|old| new.iter().any(|new| same(new, old))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(&path.child("tolerations"), why));
    }
}

fn same_but_for_mutable(mut new: PodSpec, old: &PodSpec) -> bool {
    new.active_deadline_seconds = old.active_deadline_seconds;
    new.tolerations.clone_from(&old.tolerations);
    let before = old.termination_grace_period_seconds;
    if before.is_some_and(|seconds| seconds < 0) && new.termination_grace_period_seconds == Some(1) {
        new.termination_grace_period_seconds = before;
    }
    new.scheduling_gates.clone_from(&old.scheduling_gates);
    let new_images = new.containers.iter_mut().chain(items_mut(&mut new.init_containers));
    let old_images = old.containers.iter().chain(items(&old.init_containers));
    for (new, old) in new_images.zip(old_images) {
        new.image.clone_from(&old.image);
    }
    new == *old
}

/// Gates may go, none may come.
fn validate_gates(new: &PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let known = items(&old.scheduling_gates);
    for (index, gate) in items(&new.scheduling_gates).iter().enumerate() {
        if !known.contains(gate) {
            let path = path.child("schedulingGates").index(index).child("name");
            let why = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.push(FieldError::forbidden(&path, &why));
        }
    }
}
