//! What is wrong with a pod's volumes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use super::container::{validate_local_path, validate_no_backsteps};
use super::{env, source};
use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, items, plain};
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

/// The volumes that mounts can name.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Volume>;

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
        let before = errors.len();
        let given = sources(volume);
        if given.is_empty() {
            errors.push(FieldError::required(&path, "must specify a volume type"));
        }
        for extra in given.iter().skip(1) {
            let why = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(&path.child(extra), why));
        }
        validate_source(volume, &path, errors);
        source::validate(volume, &path, errors);
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            faults(names::dns1123_label(name), name, || path.child("name"), errors);
        }
        if taken.contains_key(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        // What is wrong is not there for mounts.
        if errors.len() == before {
            taken.insert(name, volume);
        }
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
    if let Some(host) = &volume.host_path {
        let path = path.child("hostPath").child("path");
        if host.path.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else {
            validate_no_backsteps(&host.path, || path.clone(), errors);
        }
    }
    if let Some(dir) = &volume.empty_dir
        && dir.size_limit.as_ref().is_some_and(|size| Quantity::try_from(size).is_ok_and(|size| size.is_negative()))
    {
        let path = path.child("emptyDir").child("sizeLimit");
        errors.push(FieldError::forbidden(&path, "SizeLimit field must be a valid resource quantity"));
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
        let mut paths = BTreeSet::new();
        for (index, part) in items(&projected.sources).iter().enumerate() {
            validate_projection(part, &path, index, errors);
            for (file, owner) in projected_paths(part) {
                if !file.is_empty() && !paths.insert(file) {
                    errors.push(FieldError::invalid(&path, owner, "conflicting duplicate paths"));
                }
            }
        }
    }
}

/// The files that a part projects, each with the name that a conflict is told with.
fn projected_paths(part: &VolumeProjection) -> Vec<(&str, &str)> {
    let keys = [
        part.secret.as_ref().map(|secret| (&secret.items, &secret.name)),
        part.config_map.as_ref().map(|config| (&config.items, &config.name)),
    ];
    let keys = keys.into_iter().flatten();
    let keys = keys.flat_map(|(keys, name)| items(keys).iter().map(|key| (key.path.as_str(), name.as_str())));
    let files = part.downward_api.iter().flat_map(|downward| items(&downward.items));
    keys.chain(files.map(|file| (file.path.as_str(), file.path.as_str()))).collect()
}

fn validate_projection(part: &VolumeProjection, whole: &FieldPath, index: usize, errors: &mut Errors) {
    let path = &whole.child("sources").index(index);
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
        if seconds > 1 << 32 {
            let why = "may not specify a duration larger than 2^32 seconds";
            errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, why));
        }
        // kube-apiserver leaves the source out here.
        if token.path.is_empty() {
            errors.push(FieldError::required(&whole.child("path"), ""));
        } else {
            validate_file_path(&token.path, || whole.child("path"), errors);
        }
    }
    let given = [
        part.secret.is_some(),
        part.config_map.is_some(),
        part.downward_api.is_some(),
        part.service_account_token.is_some(),
        part.cluster_trust_bundle.is_some(),
        part.pod_certificate.is_some(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type per source"));
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
        validate_file_path(&item.path, || path().child("path"), errors);
        validate_mode(item.mode, || path().child("mode"), errors);
    }
}

/// Files that show the pod. kube-apiserver leaves out where in the list they are.
fn validate_files(files: &[DownwardAPIVolumeFile], path: &FieldPath, errors: &mut Errors) {
    for file in files {
        if file.path.is_empty() {
            errors.push(FieldError::required(&path.child("path"), ""));
        }
        validate_file_path(&file.path, || path.child("path"), errors);
        match (&file.field_ref, &file.resource_field_ref) {
            (Some(field), None) => {
                env::validate_field(field, FILE_FIELDS, &path.child("fieldRef"), errors);
            }
            (None, Some(resource)) => {
                let path = path.child("resourceFieldRef");
                if resource.container_name.as_deref().unwrap_or("").is_empty() {
                    errors.push(FieldError::required(&path.child("containerName"), ""));
                }
                env::validate_resource(resource, &path, errors);
            }
            (None, None) => {
                let why = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(path, why));
            }
            (Some(_), Some(_)) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", why));
            }
        }
        validate_mode(file.mode, || path.child("mode"), errors);
    }
}

/// A path of a file below a volume, which those that begin with `..` are kept from.
fn validate_file_path(text: &str, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    validate_local_path(text, &path, errors);
    if text.starts_with("..") && text != ".." && !text.starts_with("../") {
        errors.push(FieldError::invalid(&path(), text, "must not start with '..'"));
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
