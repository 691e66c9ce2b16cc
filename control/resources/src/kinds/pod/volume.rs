//! What is wrong with a pod's volumes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use super::container::validate_local_path;
use super::env;
use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, items, plain};
use crate::{FieldError, FieldPath};

/// The names that mounts can name.
pub(super) type Volumes<'a> = BTreeSet<&'a str>;

const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The kinds of source that a volume gives.
pub(super) fn sources(volume: &Volume) -> Vec<&'static str> {
    macro_rules! given {
        ($($field:ident => $name:literal),* $(,)?) => {
            [$((volume.$field.is_some(), $name)),*]
        };
    }
    let all = given! {
        empty_dir => "emptyDir",
        host_path => "hostPath",
        secret => "secret",
        config_map => "configMap",
        downward_api => "downwardAPI",
        projected => "projected",
        persistent_volume_claim => "persistentVolumeClaim",
        csi => "csi",
        ephemeral => "ephemeral",
        image => "image",
        nfs => "nfs",
        iscsi => "iscsi",
        fc => "fc",
        rbd => "rbd",
        cephfs => "cephfs",
        cinder => "cinder",
        glusterfs => "glusterfs",
        git_repo => "gitRepo",
        flex_volume => "flexVolume",
        flocker => "flocker",
        aws_elastic_block_store => "awsElasticBlockStore",
        gce_persistent_disk => "gcePersistentDisk",
        azure_disk => "azureDisk",
        azure_file => "azureFile",
        photon_persistent_disk => "photonPersistentDisk",
        portworx_volume => "portworxVolume",
        quobyte => "quobyte",
        scale_io => "scaleIO",
        storageos => "storageos",
        vsphere_volume => "vsphereVolume",
    };
    all.into_iter().filter(|(given, _)| *given).map(|(_, name)| name).collect()
}

/// Checks the volumes and tells their names.
pub(super) fn validate<'a>(volumes: &'a [Volume], path: &FieldPath, errors: &mut Errors) -> Volumes<'a> {
    let mut taken = Volumes::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let name = volume.name.as_str();
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            faults(names::dns1123_label(name), name, || path.child("name"), errors);
            if !taken.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
        let given = sources(volume);
        if given.is_empty() {
            errors.push(FieldError::required(&path, "must specify a volume type"));
        }
        for extra in given.iter().skip(1) {
            let why = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(&path.child(extra), why));
        }
        validate_source(volume, &path, errors);
    }
    taken
}

fn validate_source(volume: &Volume, path: &FieldPath, errors: &mut Errors) {
    if let Some(secret) = &volume.secret {
        let path = path.child("secret");
        if plain(&secret.secret_name).is_empty() {
            errors.push(FieldError::required(&path.child("secretName"), ""));
        }
        validate_mode(secret.default_mode, || path.child("defaultMode"), errors);
        validate_items(items(&secret.items), &path, errors);
    }
    if let Some(config) = &volume.config_map {
        let path = path.child("configMap");
        if config.name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        validate_mode(config.default_mode, || path.child("defaultMode"), errors);
        validate_items(items(&config.items), &path, errors);
    }
    if let Some(host) = &volume.host_path
        && host.path.is_empty()
    {
        errors.push(FieldError::required(&path.child("hostPath").child("path"), ""));
    }
    if let Some(claim) = &volume.persistent_volume_claim
        && claim.claim_name.is_empty()
    {
        let path = path.child("persistentVolumeClaim").child("claimName");
        errors.push(FieldError::required(&path, ""));
    }
    if let Some(downward) = &volume.downward_api {
        let path = path.child("downwardAPI");
        validate_mode(downward.default_mode, || path.child("defaultMode"), errors);
        validate_files(items(&downward.items), &path, errors);
    }
    if let Some(projected) = &volume.projected {
        let path = path.child("projected");
        validate_mode(projected.default_mode, || path.child("defaultMode"), errors);
        for (index, part) in items(&projected.sources).iter().enumerate() {
            validate_projection(part, &path.child("sources").index(index), errors);
        }
    }
}

fn validate_projection(part: &VolumeProjection, path: &FieldPath, errors: &mut Errors) {
    if let Some(secret) = &part.secret {
        let path = path.child("secret");
        if secret.name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        validate_items(items(&secret.items), &path, errors);
    }
    if let Some(config) = &part.config_map {
        let path = path.child("configMap");
        if config.name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        validate_items(items(&config.items), &path, errors);
    }
    if let Some(downward) = &part.downward_api {
        validate_files(items(&downward.items), &path.child("downwardAPI"), errors);
    }
    if let Some(token) = &part.service_account_token {
        let path = path.child("serviceAccountToken");
        let seconds = token.expiration_seconds.unwrap_or(3600);
        if seconds < 600 {
            let why = "may not specify a duration less than 10 minutes";
            errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, why));
        }
        if token.path.is_empty() {
            errors.push(FieldError::required(&path.child("path"), ""));
        } else {
            validate_local_path(&token.path, || path.child("path"), errors);
        }
    }
}

fn validate_items(keys: &[KeyToPath], path: &FieldPath, errors: &mut Errors) {
    for (index, item) in keys.iter().enumerate() {
        let path = || path.child("items").index(index);
        if item.key.is_empty() {
            errors.push(FieldError::required(&path().child("key"), ""));
        }
        if item.path.is_empty() {
            errors.push(FieldError::required(&path().child("path"), ""));
        }
        validate_local_path(&item.path, || path().child("path"), errors);
        validate_mode(item.mode, || path().child("mode"), errors);
    }
}

fn validate_files(files: &[DownwardAPIVolumeFile], path: &FieldPath, errors: &mut Errors) {
    for (index, file) in files.iter().enumerate() {
        let path = path.child("items").index(index);
        if file.path.is_empty() {
            errors.push(FieldError::required(&path.child("path"), ""));
        }
        validate_local_path(&file.path, || path.child("path"), errors);
        match (&file.field_ref, &file.resource_field_ref) {
            (Some(field), None) => {
                env::validate_field(&field.field_path, FILE_FIELDS, &path.child("fieldRef"), errors);
            }
            (None, Some(_)) => {}
            (None, None) => {
                let why = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(&path, why));
            }
            (Some(_), Some(_)) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(&path, "resource", why));
            }
        }
        validate_mode(file.mode, || path.child("mode"), errors);
    }
}

fn validate_mode(mode: Option<i32>, path: impl FnOnce() -> FieldPath, errors: &mut Errors) {
    if let Some(mode) = mode
        && !(0..=0o777).contains(&mode)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(&path(), mode, why));
    }
}
