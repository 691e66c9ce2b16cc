//! What is wrong with a pod's containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec};

use super::resources::Whose;
use super::volume::Volumes;
use super::{env, mount, probe, resources, restart, security};
use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, items, one_of, plain, text};
use crate::{FieldError, FieldPath};

/// All containers of a pod, with the names that they may not share.
pub(super) fn validate_all(spec: &PodSpec, volumes: &Volumes<'_>, path: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    let grace = spec.termination_grace_period_seconds;
    let list = path.child("containers");
    if spec.containers.is_empty() {
        errors.push(FieldError::required(&list, ""));
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = list.index(index);
        validate_name(container, &path, &mut taken, errors);
        validate(container, volumes, spec, &path, errors);
        validate_probes(container, true, grace, &path, errors);
        restart::validate(container, &path, errors);
    }
    validate_host_ports(&spec.containers, &list, errors);
    let list = path.child("initContainers");
    for (index, container) in items(&spec.init_containers).iter().enumerate() {
        let path = list.index(index);
        validate_name(container, &path, &mut taken, errors);
        validate(container, volumes, spec, &path, errors);
        // They run one after the other, so each by itself; kube-apiserver always calls it the first.
        validate_host_ports(std::slice::from_ref(container), &list, errors);
        let sidecar = text(&container.restart_policy) == Some("Always");
        restart::validate(container, &path, errors);
        validate_probes(container, sidecar, grace, &path, errors);
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
    for (index, volume) in items(&spec.volumes).iter().enumerate() {
        if volume.image.as_ref().is_some_and(|image| text(&image.reference).is_none()) {
            let path = path.child("volumes").index(index).child("image").child("reference");
            errors.push(FieldError::required(&path, ""));
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

/// No two ports of these containers are the same one of the node.
fn validate_host_ports(containers: &[Container], list: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        for (at, port) in items(&container.ports).iter().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let shown = format!("{}/{}/{number}", plain(&port.protocol), plain(&port.host_ip));
            if taken.contains(&shown) {
                let path = list.index(index).child("ports").index(at).child("hostPort");
                errors.push(FieldError::duplicate(&path, shown));
            } else {
                taken.insert(shown);
            }
        }
    }
}

fn validate(container: &Container, volumes: &Volumes<'_>, spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    if plain(&container.image).is_empty() {
        errors.push(FieldError::required(&path.child("image"), ""));
    }
    let policy = plain(&container.termination_message_policy);
    let known = ["File", "FallbackToLogsOnError"];
    one_of(policy, &known, || path.child("terminationMessagePolicy"), errors);
    validate_ports(items(&container.ports), path, errors);
    env::validate(container, volumes, path, errors);
    mount::validate(container, volumes, path, errors);
    let known = ["Always", "IfNotPresent", "Never"];
    let policy = plain(&container.image_pull_policy);
    one_of(policy, &known, || path.child("imagePullPolicy"), errors);
    if let Some(resources) = &container.resources {
        let claims = Whose::Container(items(&spec.resource_claims));
        resources::validate(resources, &claims, &path.child("resources"), errors);
    }
    validate_resize(container, plain(&spec.restart_policy), path, errors);
    security::validate_container(container, spec, path, errors);
}

/// What happens to a container when its resources change.
fn validate_resize(container: &Container, restart: &str, path: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (index, policy) in items(&container.resize_policy).iter().enumerate() {
        let path = path.child("resizePolicy");
        if !taken.insert(&policy.resource_name) {
            errors.push(FieldError::duplicate(&path.index(index), policy.resource_name.as_str()));
        }
        let known: [(&str, &[&str]); 2] = [
            (&policy.resource_name, &["cpu", "memory"]),
            (&policy.restart_policy, &["NotRequired", "RestartContainer"]),
        ];
        for (value, known) in known {
            if value.is_empty() {
                errors.push(FieldError::required(&path, ""));
            } else {
                one_of(value, known, || path.clone(), errors);
            }
        }
        if restart == "Never" && policy.restart_policy != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(&path, policy.restart_policy.as_str(), why));
        }
    }
}

fn validate_probes(container: &Container, allowed: bool, grace: Option<i64>, path: &FieldPath, errors: &mut Errors) {
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
            probe::validate_lifecycle(lifecycle, grace, &path.child("lifecycle"), errors);
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

/// A path that stays below where it is used.
pub(super) fn validate_local_path(text: &str, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.push(FieldError::invalid(&path(), text, "must be a relative path"));
    }
    validate_no_backsteps(text, path, errors);
}

/// A path that does not lead out of where it begins.
pub(in crate::kinds) fn validate_no_backsteps(text: &str, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    if text.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(&path(), text, "must not contain '..'"));
    }
}
