//! Containers that come to a pod later, to look into it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EphemeralContainer, PodSpec};

use super::defaults::default_pull_policy;
use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, fill, items, one_of, plain, text};
use crate::{FieldError, FieldPath};

const NOT_ALLOWED: &str = "cannot be set for an Ephemeral Container";

/// What they default to.
pub(super) fn fill_container(container: &mut EphemeralContainer) {
    let policy = default_pull_policy(container.image.as_deref().unwrap_or(""));
    fill(&mut container.image_pull_policy, policy);
    fill(&mut container.termination_message_path, "/dev/termination-log");
    fill(&mut container.termination_message_policy, "File");
    for variable in container.env.iter_mut().flatten() {
        let source = variable.value_from.as_mut().and_then(|source| source.field_ref.as_mut());
        if let Some(field) = source {
            fill(&mut field.api_version, "v1");
        }
    }
    container.resources.get_or_insert_default();
}

/// What is wrong with them, and what of them may not have changed.
pub(super) fn validate_update(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let path = FieldPath::new("spec").child("ephemeralContainers");
    validate(new, &path, errors);
    for before in items(&old.ephemeral_containers) {
        let why = match items(&new.ephemeral_containers).iter().find(|now| now.name == before.name) {
            None => "removed",
            Some(now) if now != before => "changed",
            Some(_) => continue,
        };
        // With the line's end, as kube-apiserver has it.
        let why = format!("existing ephemeral containers {:?} may not be {why}\n", before.name);
        errors.push(FieldError::forbidden(&path, &why));
    }
}

fn validate(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let others = spec.containers.iter().chain(items(&spec.init_containers));
    let mut taken: BTreeSet<&str> = others.map(|container| container.name.as_str()).collect();
    let targets = taken.clone();
    for (index, container) in items(&spec.ephemeral_containers).iter().enumerate() {
        let path = path.index(index);
        let name = container.name.as_str();
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            faults(names::dns1123_label(name), name, || path.child("name"), errors);
            if !taken.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        if plain(&container.image).is_empty() {
            errors.push(FieldError::required(&path.child("image"), ""));
        }
        let known = ["Always", "IfNotPresent", "Never"];
        one_of(plain(&container.image_pull_policy), &known, || path.child("imagePullPolicy"), errors);
        let known = ["File", "FallbackToLogsOnError"];
        one_of(plain(&container.termination_message_policy), &known, || path.child("terminationMessagePolicy"), errors);
        if let Some(target) = text(&container.target_container_name).filter(|target| !targets.contains(target)) {
            errors.push(FieldError::not_found(&path.child("targetContainerName"), target));
        }
        validate_absent(container, &path, errors);
    }
}

/// What belongs to a pod's own containers alone.
fn validate_absent(container: &EphemeralContainer, path: &FieldPath, errors: &mut Errors) {
    let resources = container.resources.as_ref();
    let limited = resources.is_some_and(|resources| {
        resources.limits.as_ref().is_some_and(|limits| !limits.is_empty())
            || resources.requests.as_ref().is_some_and(|requests| !requests.is_empty())
    });
    let given = [
        ("ports", !items(&container.ports).is_empty()),
        ("resources", limited),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        errors.push(FieldError::forbidden(&path.child(field), NOT_ALLOWED));
    }
    for (index, mount) in items(&container.volume_mounts).iter().enumerate() {
        let path = || path.child("volumeMounts").index(index);
        for (field, sub) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if text(sub).is_some() {
                errors.push(FieldError::forbidden(&path().child(field), NOT_ALLOWED));
            }
        }
    }
}
