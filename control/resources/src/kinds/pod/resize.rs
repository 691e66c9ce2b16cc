//! What a container may use, changed while its pod is there (KEP-1287).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::qos_class;
use crate::kinds::kind::Errors;
use crate::kinds::optional::{items, items_mut};
use crate::{FieldError, FieldPath};

const MUTABLE: &[&str] = &["cpu", "memory"];

/// Takes what the containers of these names are given to use; all else stays as it is.
pub(super) fn take(spec: &mut PodSpec, given: &PodSpec) {
    take_each(&mut spec.containers, &given.containers);
    take_each(items_mut(&mut spec.init_containers), items(&given.init_containers));
}

fn take_each(containers: &mut [Container], given: &[Container]) {
    for container in containers {
        if let Some(given) = given.iter().find(|given| given.name == container.name) {
            container.resources.clone_from(&given.resources);
        }
    }
}

/// What may not change.
pub(super) fn validate_update(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let path = FieldPath::new("spec");
    let before = qos_class(old);
    if qos_class(new) != before {
        errors.push(FieldError::invalid(&path, before, "Pod QOS Class may not change as a result of resizing"));
    }
    validate_each(&new.containers, &old.containers, &path.child("containers"), errors);
    let (new, old) = (items(&new.init_containers), items(&old.init_containers));
    validate_each(new, old, &path.child("initContainers"), errors);
}

fn validate_each(new: &[Container], old: &[Container], path: &FieldPath, errors: &mut Errors) {
    let mut others = false;
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        let path = path.index(index).child("resources");
        let limits = (amounts(new, Amounts::Limits), amounts(old, Amounts::Limits));
        let requests = (amounts(new, Amounts::Requests), amounts(old, Amounts::Requests));
        for (field, (new, old)) in [("limits", limits), ("requests", requests)] {
            if MUTABLE.iter().any(|name| old.contains_key(*name) && !new.contains_key(*name)) {
                let why = format!("resource {field} cannot be removed");
                errors.push(FieldError::forbidden(&path.child(field), &why));
            }
            let rest = |amounts: &BTreeMap<String, Quantity>| {
                let mut rest = amounts.clone();
                rest.retain(|name, _| !MUTABLE.contains(&name.as_str()));
                rest
            };
            others |= rest(&new) != rest(&old);
        }
    }
    if others {
        errors.push(FieldError::forbidden(&FieldPath::new("spec"), "only cpu and memory resources are mutable"));
    }
}

enum Amounts {
    Limits,
    Requests,
}

fn amounts(container: &Container, which: Amounts) -> BTreeMap<String, Quantity> {
    let Some(resources) = &container.resources else { return BTreeMap::new() };
    let amounts = match which {
        Amounts::Limits => &resources.limits,
        Amounts::Requests => &resources.requests,
    };
    amounts.clone().unwrap_or_default()
}
