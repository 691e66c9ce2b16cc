//! What is wrong with a pod's containers.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, ResourceRequirements, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::volume::Volumes;
use super::{env, probe};
use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, items, one_of, plain, text};
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

const STANDARD_RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// All containers of a pod, with the names that they may not share.
pub(super) fn validate_all(spec: &PodSpec, volumes: &Volumes<'_>, path: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    let list = path.child("containers");
    if spec.containers.is_empty() {
        errors.push(FieldError::required(&list, ""));
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = list.index(index);
        validate_name(container, &path, &mut taken, errors);
        validate(container, volumes, &path, errors);
        validate_probes(container, true, &path, errors);
        if text(&container.restart_policy).is_some() {
            let why = "may not be set for non-init containers";
            errors.push(FieldError::forbidden(&path.child("restartPolicy"), why));
        }
    }
    let list = path.child("initContainers");
    for (index, container) in items(&spec.init_containers).iter().enumerate() {
        let path = list.index(index);
        validate_name(container, &path, &mut taken, errors);
        validate(container, volumes, &path, errors);
        let sidecar = text(&container.restart_policy) == Some("Always");
        if let Some(policy) = text(&container.restart_policy) {
            one_of(policy, &["Always"], || path.child("restartPolicy"), errors);
        }
        validate_probes(container, sidecar, &path, errors);
    }
}

/// What holds for the containers of pods and not for those of templates.
pub(super) fn validate_for_pod(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let lists = [("containers", spec.containers.as_slice()), ("initContainers", items(&spec.init_containers))];
    for (field, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let image = plain(&container.image);
            if image.trim() != image {
                let path = path.child(field).index(index).child("image");
                let why = "must not have leading or trailing whitespace";
                errors.push(FieldError::invalid(&path, image, why));
            }
        }
    }
}

fn validate_name<'a>(container: &'a Container, path: &FieldPath, taken: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let name = container.name.as_str();
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
        return;
    }
    faults(names::dns1123_label(name), name, || path.child("name"), errors);
    if !taken.insert(name) {
        errors.push(FieldError::duplicate(&path.child("name"), name));
    }
}

fn validate(container: &Container, volumes: &Volumes<'_>, path: &FieldPath, errors: &mut Errors) {
    if plain(&container.image).is_empty() {
        errors.push(FieldError::required(&path.child("image"), ""));
    }
    let policy = plain(&container.termination_message_policy);
    let known = ["File", "FallbackToLogsOnError"];
    one_of(policy, &known, || path.child("terminationMessagePolicy"), errors);
    validate_ports(items(&container.ports), path, errors);
    env::validate(container, path, errors);
    validate_mounts(items(&container.volume_mounts), volumes, path, errors);
    let known = ["Always", "IfNotPresent", "Never"];
    let policy = plain(&container.image_pull_policy);
    one_of(policy, &known, || path.child("imagePullPolicy"), errors);
    if let Some(resources) = &container.resources {
        validate_resources(resources, &path.child("resources"), errors);
    }
}

fn validate_probes(container: &Container, allowed: bool, path: &FieldPath, errors: &mut Errors) {
    let probes = [
        ("livenessProbe", &container.liveness_probe, true),
        ("readinessProbe", &container.readiness_probe, false),
        ("startupProbe", &container.startup_probe, true),
    ];
    for (field, given, once) in probes {
        match given {
            Some(given) if allowed => probe::validate(given, once, &path.child(field), errors),
            Some(_) => {
                let why = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(&path.child(field), why));
            }
            None => {}
        }
    }
    match &container.lifecycle {
        Some(lifecycle) if allowed => {
            probe::validate_lifecycle(lifecycle, &path.child("lifecycle"), errors);
        }
        Some(_) => {
            let why = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(&path.child("lifecycle"), why));
        }
        None => {}
    }
}

fn validate_ports(ports: &[ContainerPort], path: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = || path.child("ports").index(index);
        if let Some(name) = text(&port.name) {
            faults(names::port_name(name), name, || path().child("name"), errors);
            if !taken.insert(name) {
                errors.push(FieldError::duplicate(&path().child("name"), name));
            }
        }
        if port.container_port == 0 {
            errors.push(FieldError::required(&path().child("containerPort"), ""));
        } else {
            for fault in names::port_number(port.container_port) {
                let path = path().child("containerPort");
                errors.push(FieldError::invalid(&path, port.container_port, &fault));
            }
        }
        let host_port = port.host_port.unwrap_or(0);
        if host_port != 0 {
            for fault in names::port_number(host_port) {
                errors.push(FieldError::invalid(&path().child("hostPort"), host_port, &fault));
            }
        }
        let known = ["SCTP", "TCP", "UDP"];
        one_of(plain(&port.protocol), &known, || path().child("protocol"), errors);
    }
}

fn validate_mounts(mounts: &[VolumeMount], volumes: &Volumes<'_>, path: &FieldPath, errors: &mut Errors) {
    let list = path.child("volumeMounts");
    let mut taken = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let path = || list.index(index);
        if mount.name.is_empty() {
            errors.push(FieldError::required(&path().child("name"), ""));
        }
        if !volumes.contains(mount.name.as_str()) {
            errors.push(FieldError::not_found(&path().child("name"), mount.name.as_str()));
        }
        let at = mount.mount_path.as_str();
        if at.is_empty() {
            errors.push(FieldError::required(&path().child("mountPath"), ""));
        }
        if !taken.insert(at) {
            errors.push(FieldError::invalid(&path().child("mountPath"), at, "must be unique"));
        }
        for (field, sub) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if let Some(sub) = text(sub) {
                // kube-apiserver leaves the index out here.
                let path = || list.child(field);
                validate_local_path(sub, path, errors);
            }
        }
        if text(&mount.sub_path).is_some() && text(&mount.sub_path_expr).is_some() {
            let why = "subPathExpr and subPath are mutually exclusive";
            let shown = plain(&mount.sub_path_expr);
            errors.push(FieldError::invalid(&path().child("subPathExpr"), shown, why));
        }
    }
}

/// A path that stays below where it is used.
pub(super) fn validate_local_path(text: &str, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.push(FieldError::invalid(&path(), text, "must be a relative path"));
    }
    if text.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(&path(), text, "must not contain '..'"));
    }
}

fn validate_resources(resources: &ResourceRequirements, path: &FieldPath, errors: &mut Errors) {
    let empty = BTreeMap::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    validate_amounts(limits, || path.child("limits"), errors);
    validate_amounts(requests, || path.child("requests"), errors);
    for (name, request) in requests {
        let Some(limit) = limits.get(name) else { continue };
        let (Ok(requested), Ok(limited)) = (Quantity::try_from(request), Quantity::try_from(limit)) else {
            continue;
        };
        if requested > limited {
            let why = format!("must be less than or equal to {name} limit of {}", limit.0);
            let shown = request.0.as_str();
            errors.push(FieldError::invalid(&path.child("requests"), shown, &why));
        }
    }
}

fn validate_amounts(amounts: &BTreeMap<String, Text>, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    for (name, amount) in amounts {
        if !STANDARD_RESOURCES.contains(&name.as_str()) && !name.starts_with("hugepages-") {
            faults(names::qualified_name(name), name, || path().key(name), errors);
            if !name.contains('/') {
                let why = "must be a standard resource type or fully qualified";
                errors.push(FieldError::invalid(&path().key(name), name.as_str(), why));
                let why = "must be a standard resource for containers";
                errors.push(FieldError::invalid(&path().key(name), name.as_str(), why));
            }
        }
        let fault = match Quantity::try_from(amount) {
            Ok(quantity) if quantity.is_negative() => "must be greater than or equal to 0".into(),
            Ok(quantity) if name.contains('/') && !quantity.is_whole() => "must be an integer".to_owned(),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        errors.push(FieldError::invalid(&path().key(name), amount.0.as_str(), &fault));
    }
}
