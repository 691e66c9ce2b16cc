//! What is wrong with the less common sources of volumes, most of which are there for old drivers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{FCVolumeSource, ISCSIVolumeSource, PersistentVolumeClaimTemplate, Volume};

use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, items, one_of, plain, text};
use crate::kinds::{meta, volume_rules};
use crate::{FieldError, FieldPath};

/// Where a directory of the node comes to be, sorted as Kubernetes does.
pub(in crate::kinds) const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// What drivers, claims and images need; the sources that pods have most are dealt with elsewhere.
pub(super) fn validate(volume: &Volume, path: &FieldPath, errors: &mut Errors) {
    if let Some(kind) = volume.host_path.as_ref().and_then(|host| host.type_.as_ref()) {
        one_of(kind, HOST_PATH_TYPES, || path.child("hostPath").child("type"), errors);
    }
    if let Some(csi) = &volume.csi {
        let path = path.child("csi");
        volume_rules::validate_csi_name(&csi.driver, &path.child("driver"), errors);
        if let Some(secret) = &csi.node_publish_secret_ref {
            if secret.name.is_empty() {
                errors.push(FieldError::required(&path.child("nodePublishSecretRef").child("name"), ""));
            } else {
                faults(names::dns1123_subdomain(&secret.name), &secret.name, || path.child("name"), errors);
            }
        }
    }
    if let Some(ephemeral) = &volume.ephemeral {
        let path = path.child("ephemeral").child("volumeClaimTemplate");
        match &ephemeral.volume_claim_template {
            None => errors.push(FieldError::required(&path, "")),
            Some(template) => validate_claim(template, &path, errors),
        }
    }
    if let Some(policy) = volume.image.as_ref().and_then(|image| text(&image.pull_policy)) {
        let known = ["Always", "IfNotPresent", "Never"];
        one_of(policy, &known, || path.child("image").child("pullPolicy"), errors);
    }
    if let Some(nfs) = &volume.nfs
        && !nfs.path.starts_with('/')
    {
        let path = path.child("nfs").child("path");
        if nfs.path.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        errors.push(FieldError::invalid(&path, nfs.path.as_str(), "must be an absolute path"));
    }
    if let Some(iscsi) = &volume.iscsi {
        validate_iscsi(iscsi, &path.child("iscsi"), errors);
    }
    if let Some(fc) = &volume.fc {
        validate_fc(fc, &path.child("fc"), errors);
    }
    validate_disks(volume, path, errors);
    validate_options(volume, path, errors);
    for (source, field) in missing(volume) {
        let path = path.child(source);
        let (path, why) = match field {
            "" => (path, "one of datasetName and datasetUUID is required"),
            field => (path.child(field), ""),
        };
        errors.push(FieldError::required(&path, why));
    }
}

fn validate_claim(template: &PersistentVolumeClaimTemplate, path: &FieldPath, errors: &mut Errors) {
    if let Some(metadata) = &template.metadata {
        let path = path.child("metadata");
        let none = BTreeMap::new();
        meta::validate_annotations(metadata.annotations.as_ref().unwrap_or(&none), &path.child("annotations"), errors);
        meta::validate_labels(metadata.labels.as_ref().unwrap_or(&none), &path.child("labels"), errors);
        for (field, given) in [("name", metadata.name.is_some()), ("namespace", metadata.namespace.is_some())] {
            if given {
                errors.push(FieldError::forbidden(&path.child(field), "cannot be set"));
            }
        }
    }
    volume_rules::validate_claim_spec(Some(&template.spec), &path.child("spec"), errors);
}

fn validate_iscsi(iscsi: &ISCSIVolumeSource, path: &FieldPath, errors: &mut Errors) {
    let form = |name: &str| ["iqn", "eui", "naa"].iter().any(|start| name.starts_with(start));
    let iqn = iscsi.iqn.as_str();
    if !iqn.is_empty() && !form(iqn) {
        let why = "must be valid format starting with iqn, eui, or naa";
        errors.push(FieldError::invalid(&path.child("iqn"), iqn, why));
    }
    for fault in names::in_range(i64::from(iscsi.lun), 0, 255) {
        errors.push(FieldError::invalid(&path.child("lun"), iscsi.lun, &fault));
    }
    let checked = iscsi.chap_auth_discovery == Some(true) || iscsi.chap_auth_session == Some(true);
    if checked && iscsi.secret_ref.is_none() {
        errors.push(FieldError::required(&path.child("secretRef"), ""));
    }
}

fn validate_fc(fc: &FCVolumeSource, path: &FieldPath, errors: &mut Errors) {
    let (targets, ids) = (items(&fc.target_wwns), items(&fc.wwids));
    let at = path.child("targetWWNs");
    if targets.is_empty() && ids.is_empty() {
        errors.push(FieldError::required(&at, "must specify either targetWWNs or wwids, but not both"));
    }
    if !targets.is_empty() && !ids.is_empty() {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(FieldError::invalid(&at, targets.to_vec(), why));
    }
    if targets.is_empty() {
        return;
    }
    let path = path.child("lun");
    match fc.lun {
        None => errors.push(FieldError::required(&path, "lun is required if targetWWNs is specified")),
        Some(lun) => {
            for fault in names::in_range(i64::from(lun), 0, 255) {
                errors.push(FieldError::invalid(&path, lun, &fault));
            }
        }
    }
}

/// Disks of clouds: which part of them, and where they are.
fn validate_disks(volume: &Volume, path: &FieldPath, errors: &mut Errors) {
    let parts = [
        // kube-apiserver names it so here.
        ("persistentDisk", volume.gce_persistent_disk.as_ref().and_then(|disk| disk.partition)),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.as_ref().and_then(|disk| disk.partition)),
    ];
    for (source, part) in parts {
        if let Some(part) = part.filter(|part| !(0..=255).contains(part)) {
            let at = path.child(source).child("partition");
            errors.push(FieldError::invalid(&at, part, &names::in_range(i64::from(part), 1, 255).join("")));
        }
    }
    let Some(disk) = &volume.azure_disk else { return };
    let (managed, given) = (plain(&disk.kind) == "Managed", disk.disk_uri.as_str());
    let (start, form) = match managed {
        true => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        false => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    if !given.starts_with(start) {
        errors.push(FieldError::not_supported(&path.child("azureDisk").child("diskURI"), given, &[form]));
    }
}

/// A driver's options are its own; some names are kept back.
fn validate_options(volume: &Volume, path: &FieldPath, errors: &mut Errors) {
    let options = volume.flex_volume.iter().filter_map(|flex| flex.options.as_ref()).flatten();
    for (key, _) in options {
        let domain = key.split_once('/').map_or(key.as_str(), |(domain, _)| domain);
        let domain = format!(".{}", domain.to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let path = path.child("flexVolume").child("options").key(key);
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&path, key.as_str(), why));
        }
    }
}

/// The fields that the volume's source needs and does not have: the source as its faults name it, and the field.
fn missing(volume: &Volume) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    macro_rules! needed {
        ($($source:ident as $shown:literal: { $($field:literal: $empty:expr),* $(,)? })*) => {
            $(if let Some($source) = &volume.$source {
                $(if $empty { found.push(($shown, $field)); })*
            })*
        };
    }
    needed! {
        git_repo as "gitRepo": { "repository": git_repo.repository.is_empty() }
        // kube-apiserver names it so here.
        gce_persistent_disk as "persistentDisk": { "pdName": gce_persistent_disk.pd_name.is_empty() }
        aws_elastic_block_store as "awsElasticBlockStore": { "volumeID": aws_elastic_block_store.volume_id.is_empty() }
        nfs as "nfs": { "server": nfs.server.is_empty() }
        iscsi as "iscsi": { "targetPortal": iscsi.target_portal.is_empty(), "iqn": iscsi.iqn.is_empty() }
        glusterfs as "glusterfs": { "endpoints": glusterfs.endpoints.is_empty(), "path": glusterfs.path.is_empty() }
        flocker as "flocker": {
            "": plain(&flocker.dataset_name).is_empty() && plain(&flocker.dataset_uuid).is_empty(),
        }
        rbd as "rbd": { "monitors": rbd.monitors.is_empty(), "image": rbd.image.is_empty() }
        cinder as "cinder": { "volumeID": cinder.volume_id.is_empty() }
        cephfs as "cephfs": { "monitors": cephfs.monitors.is_empty() }
        quobyte as "quobyte": { "registry": quobyte.registry.is_empty(), "volume": quobyte.volume.is_empty() }
        flex_volume as "flexVolume": { "driver": flex_volume.driver.is_empty() }
        azure_file as "azureFile": {
            "secretName": azure_file.secret_name.is_empty(), "shareName": azure_file.share_name.is_empty(),
        }
        azure_disk as "azureDisk": {
            "diskName": azure_disk.disk_name.is_empty(), "diskURI": azure_disk.disk_uri.is_empty(),
        }
        vsphere_volume as "vsphereVolume": { "volumePath": vsphere_volume.volume_path.is_empty() }
        photon_persistent_disk as "photonPersistentDisk": { "pdID": photon_persistent_disk.pd_id.is_empty() }
        portworx_volume as "portworxVolume": { "volumeID": portworx_volume.volume_id.is_empty() }
        scale_io as "scaleIO": {
            "gateway": scale_io.gateway.is_empty(), "system": scale_io.system.is_empty(),
            "volumeName": plain(&scale_io.volume_name).is_empty(),
        }
        storageos as "storageos": { "volumeName": plain(&storageos.volume_name).is_empty() }
    }
    found
}
