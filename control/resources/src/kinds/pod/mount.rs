//! What is wrong with where containers mount volumes, and with the devices that they get.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::container::validate_local_path;
use super::volume::Volumes;
use crate::kinds::kind::Errors;
use crate::kinds::optional::{items, one_of, plain, text};
use crate::{FieldError, FieldPath};

/// A container's mounts and devices.
pub(super) fn validate(container: &Container, volumes: &Volumes<'_>, path: &FieldPath, errors: &mut Errors) {
    validate_mounts(container, volumes, &path.child("volumeMounts"), errors);
    if !items(&container.volume_devices).is_empty() {
        validate_devices(container, volumes, &path.child("volumeDevices"), errors);
    }
}

fn validate_mounts(container: &Container, volumes: &Volumes<'_>, list: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (index, mount) in items(&container.volume_mounts).iter().enumerate() {
        let path = || list.index(index);
        if mount.name.is_empty() {
            errors.push(FieldError::required(&path().child("name"), ""));
        }
        if !volumes.contains_key(mount.name.as_str()) {
            errors.push(FieldError::not_found(&path().child("name"), mount.name.as_str()));
        }
        let at = mount.mount_path.as_str();
        if at.is_empty() {
            errors.push(FieldError::required(&path().child("mountPath"), ""));
        }
        if !taken.insert(at) {
            errors.push(FieldError::invalid(&path().child("mountPath"), at, "must be unique"));
        }
        for device in items(&container.volume_devices) {
            if device.name == mount.name {
                let why = "must not already exist in volumeDevices";
                errors.push(FieldError::invalid(&path().child("name"), mount.name.as_str(), why));
            }
            if device.device_path == at {
                let why = "must not already exist as a path in volumeDevices";
                errors.push(FieldError::invalid(&path().child("mountPath"), at, why));
            }
        }
        validate_sub_paths(mount, list, index, errors);
        validate_manner(mount, container, list, errors);
    }
}

fn validate_sub_paths(mount: &VolumeMount, list: &FieldPath, index: usize, errors: &mut Errors) {
    for (field, sub) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
        if let Some(sub) = text(sub) {
            // kube-apiserver leaves the index out here.
            validate_local_path(sub, || list.child(field), errors);
        }
    }
    if text(&mount.sub_path).is_some() && text(&mount.sub_path_expr).is_some() {
        let why = "subPathExpr and subPath are mutually exclusive";
        let path = list.index(index).child("subPathExpr");
        errors.push(FieldError::invalid(&path, plain(&mount.sub_path_expr), why));
    }
}

/// How a mount is shared with the node, and whether it may be written. The index is left out as for sub-paths.
fn validate_manner(mount: &VolumeMount, container: &Container, list: &FieldPath, errors: &mut Errors) {
    let shared = text(&mount.mount_propagation);
    if let Some(mode) = shared {
        let path = list.child("mountPropagation");
        one_of(mode, &["Bidirectional", "HostToContainer", "None"], || path.clone(), errors);
        let privileged = container.security_context.as_ref().and_then(|context| context.privileged);
        if mode == "Bidirectional" && privileged != Some(true) {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            errors.push(FieldError::forbidden(&path, why));
        }
    }
    let path = || list.child("recursiveReadOnly");
    match text(&mount.recursive_read_only) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.push(FieldError::forbidden(&path(), "may only be specified when readOnly is true"));
            }
            if shared.is_some_and(|mode| mode != "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(&path(), why));
            }
        }
        Some(other) => one_of(other, &["Disabled", "Enabled", "IfPossible"], path, errors),
    }
}

fn validate_devices(container: &Container, volumes: &Volumes<'_>, list: &FieldPath, errors: &mut Errors) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in items(&container.volume_devices).iter().enumerate() {
        let (name_path, at_path) = (list.index(index).child("name"), list.index(index).child("devicePath"));
        let (name, at) = (device.name.as_str(), device.device_path.as_str());
        let mut wrong = |path: &FieldPath, shown: &str, why: &str| errors.push(FieldError::invalid(path, shown, why));
        if !name.is_empty() && !names.insert(name) {
            wrong(&name_path, name, "must be unique");
        }
        if volumes
            .get(name)
            .is_some_and(|volume| volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none())
        {
            let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            wrong(&name_path, name, why);
        }
        if !paths.insert(at) {
            wrong(&at_path, at, "must be unique");
        }
        if at.split('/').any(|part| part == "..") {
            wrong(&at_path, at, "can not contain backsteps ('..')");
        }
        for mount in items(&container.volume_mounts) {
            if mount.name == name {
                wrong(&name_path, name, "must not already exist in volumeMounts");
            }
            if mount.mount_path == at {
                wrong(&at_path, at, "must not already exist as a path in volumeMounts");
            }
        }
        if name.is_empty() {
            errors.push(FieldError::required(&name_path, ""));
        }
        if !volumes.contains_key(name) {
            errors.push(FieldError::not_found(&name_path, name));
        }
        if at.is_empty() {
            errors.push(FieldError::required(&at_path, ""));
        }
    }
}
