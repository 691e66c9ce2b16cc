//! What a pod and its containers may use, changed while the pod is there (KEP-1287).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::qos_class;
use crate::amounts::Side;
use crate::kinds::kind::Errors;
use crate::kinds::optional::{items, items_mut, plain};
use crate::{FieldError, FieldPath};

const MUTABLE: &[&str] = &["cpu", "memory"];
const ONLY: &str = "only cpu and memory resources are mutable";

/// Takes what the pod and its containers are given to use; all else stays as it is. Containers that are not the same ones are
/// taken as they are, to be refused.
pub(super) fn take(spec: &mut PodSpec, given: PodSpec) {
    if spec.resources.is_some() || given.resources.is_some() {
        spec.resources = given.resources;
    }
    if !take_each(&mut spec.containers, &given.containers) {
        spec.containers = given.containers;
    }
    if !take_each(items_mut(&mut spec.init_containers), items(&given.init_containers)) {
        spec.init_containers = given.init_containers;
    }
}

fn take_each(containers: &mut [Container], given: &[Container]) -> bool {
    if containers.len() != given.len() || containers.iter().zip(given).any(|(old, new)| old.name != new.name) {
        return false;
    }
    for (container, given) in containers.iter_mut().zip(given) {
        container.resources.clone_from(&given.resources);
        container.resize_policy.clone_from(&given.resize_policy);
    }
    true
}

/// What may not change.
pub(super) fn validate_update(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let path = FieldPath::new("spec");
    if old.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.push(FieldError::forbidden(&FieldPath::new("[]"), "windows pods cannot be resized"));
    }
    let before = qos_class(old);
    if qos_class(new) != before {
        errors.push(FieldError::invalid(&path, before, "Pod QOS Class may not change as a result of resizing"));
    }
    validate_whole(new.resources.as_ref(), old.resources.as_ref(), &path, errors);
    let lists = [
        ("containers", new.containers.as_slice(), old.containers.as_slice()),
        ("initContainers", items(&new.init_containers), items(&old.init_containers)),
    ];
    let mut same = true;
    for (field, new, old) in lists {
        same &= validate_names(new, old, field, errors);
    }
    if !same {
        return;
    }
    for (field, new, old) in lists {
        validate_kept(new, old, &path.child(field), errors);
    }
    if new.containers.iter().zip(&old.containers).any(|(new, old)| without_mutable(new) != without_mutable(old)) {
        errors.push(FieldError::forbidden(&path, ONLY));
    }
    for (index, (new, old)) in items(&new.init_containers).iter().zip(items(&old.init_containers)).enumerate() {
        validate_init(new, old, &path.child("initContainers").index(index), errors);
    }
}

fn validate_names(new: &[Container], old: &[Container], field: &str, errors: &mut Errors) -> bool {
    let path = FieldPath::new("spec").child(field);
    if new.len() != old.len() {
        let why = format!("{field} may not be added or removed on resize");
        errors.push(FieldError::forbidden(&path, &why));
        return false;
    }
    let mut same = true;
    for (index, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new.name != old.name) {
        let why = format!("{field} may not be renamed or reordered on resize");
        errors.push(FieldError::forbidden(&path.index(index).child("name"), &why));
        same = false;
    }
    same
}

/// An amount that was given is not taken back.
fn validate_kept(new: &[Container], old: &[Container], path: &FieldPath, errors: &mut Errors) {
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        let path = path.index(index).child("resources");
        for side in Side::BOTH {
            if is_less(new.resources.as_ref(), old.resources.as_ref(), side) {
                let field = side.field();
                let why = format!("resource {field} cannot be removed");
                errors.push(FieldError::forbidden(&path.child(field), &why));
            }
        }
    }
}

fn validate_init(new: &Container, old: &Container, path: &FieldPath, errors: &mut Errors) {
    if without_mutable(new) != without_mutable(old) {
        let why = "only cpu and memory resources for init or sidecar containers are mutable";
        errors.push(FieldError::forbidden(path, why));
    }
    let restarts = items(&new.resize_policy).iter().any(|policy| policy.restart_policy == "RestartContainer");
    if new != old && plain(&new.restart_policy) != "Always" && restarts {
        let why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
        errors.push(FieldError::forbidden(path, why));
    }
}

/// What the pod as a whole may use.
fn validate_whole(
    new: Option<&ResourceRequirements>,
    old: Option<&ResourceRequirements>,
    path: &FieldPath,
    errors: &mut Errors,
) {
    let at = path.child("resources");
    if old.is_some() && new.is_none() {
        return errors.push(FieldError::forbidden(&at, "pod-level resources cannot be removed"));
    }
    for side in Side::BOTH {
        if is_less(new, old, side) {
            let field = side.field();
            let why = format!("pod-level resource {field} cannot be removed");
            errors.push(FieldError::forbidden(&at.child(field), &why));
        }
    }
    if others(new) != others(old) {
        let why = "only cpu and memory resources are mutable at pod-level";
        errors.push(FieldError::forbidden(path, why));
    }
}

fn is_less(new: Option<&ResourceRequirements>, old: Option<&ResourceRequirements>, side: Side) -> bool {
    let new = side.of(new);
    side.of(old).keys().any(|name| !new.contains_key(name))
}

/// The amounts of what cannot be changed.
fn others(resources: Option<&ResourceRequirements>) -> [BTreeMap<String, Quantity>; 2] {
    Side::BOTH.map(|side| {
        let mut amounts = side.of(resources).clone();
        amounts.retain(|name, _| !MUTABLE.contains(&name.as_str()));
        amounts
    })
}

/// The container with the amounts that cannot be changed, to be compared.
fn without_mutable(container: &Container) -> (Container, [BTreeMap<String, Quantity>; 2]) {
    let fixed = others(container.resources.as_ref());
    let resources =
        container.resources.clone().map(|resources| ResourceRequirements { limits: None, requests: None, ..resources });
    (Container { resources, ..container.clone() }, fixed)
}
