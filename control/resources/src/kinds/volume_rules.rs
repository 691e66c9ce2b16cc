//! What is wrong with claims, volumes and what drivers are called.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaimSpec, PersistentVolumeSpec, SecretReference, TopologySelectorTerm,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::kind::Errors;
use super::names;
use super::optional::{faults, items, one_of, plain, text};
use super::pod::{HOST_PATH_TYPES, validate_no_backsteps};
use super::workload::validate_selector_parts;
use crate::quantity::Quantity;
use crate::{FieldError, FieldPath};

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub(super) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// How long the parameters of a class are at most, in bytes.
const MAX_PARAMETERS: usize = 256 * 1024;

/// What is wrong with a claim's spec.
pub(super) fn validate_claim_spec(spec: Option<&PersistentVolumeClaimSpec>, path: &FieldPath, errors: &mut Errors) {
    let empty = PersistentVolumeClaimSpec::default();
    let spec = spec.unwrap_or(&empty);
    validate_modes(items(&spec.access_modes), "at least 1 access mode is required", &path.child("accessModes"), errors);
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    match requests.and_then(|requests| requests.get("storage")) {
        None => errors.push(FieldError::required(&path.child("resources").key("storage"), "")),
        Some(size) => validate_size(&size.0, &path.child("resources").key("storage"), errors),
    }
    if let Some(mode) = spec.volume_mode.as_deref() {
        one_of(mode, VOLUME_MODES, || path.child("volumeMode"), errors);
    }
    if let Some(class) = text(&spec.storage_class_name) {
        faults(names::dns1123_subdomain(class), class, || path.child("storageClassName"), errors);
    }
    if let Some(class) = text(&spec.volume_attributes_class_name) {
        faults(names::dns1123_subdomain(class), class, || path.child("volumeAttributesClassName"), errors);
    }
    if let Some(selector) = &spec.selector {
        validate_selector_parts(selector, &path.child("selector"), errors);
    }
    if let Some(source) = &spec.data_source {
        let path = path.child("dataSource");
        for (field, value) in [("name", &source.name), ("kind", &source.kind)] {
            if value.is_empty() {
                errors.push(FieldError::required(&path.child(field), ""));
            }
        }
        if plain(&source.api_group).is_empty() && source.kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(&path, source.kind.as_str(), why));
        }
    }
}

/// `none`: what is said where there is none.
pub(super) fn validate_modes(modes: &[String], none: &str, path: &FieldPath, errors: &mut Errors) {
    if modes.is_empty() {
        errors.push(FieldError::required(path, none));
    }
    for mode in modes {
        one_of(mode, ACCESS_MODES, || path.clone(), errors);
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(path, why));
    }
}

pub(super) fn validate_size(size: &str, path: &FieldPath, errors: &mut Errors) {
    if size.parse::<Quantity>().is_ok_and(|size| size.is_negative() || size.is_zero()) {
        errors.push(FieldError::invalid(path, size, "must be greater than zero"));
    }
}

/// What a class hands on to who makes or changes its volumes.
pub(super) fn validate_pairs<'a>(given: impl Iterator<Item = (&'a str, &'a str)> + Clone, errors: &mut Errors) {
    let path = FieldPath::new("parameters");
    let size: usize = given.clone().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_PARAMETERS {
        errors.push(FieldError::too_long(&path, MAX_PARAMETERS));
    }
    for (_, value) in given.filter(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid(&path, value.len(), "field can not be empty."));
    }
}

/// What a class hands on to who makes its volumes, and where these may be.
pub(super) fn validate_parameters(class: &StorageClass, errors: &mut Errors) {
    let given = class.parameters.iter().flatten();
    validate_pairs(given.map(|(key, value)| (key.as_str(), value.as_str())), errors);
    let terms = items(&class.allowed_topologies);
    // A term that names nothing counts as told twice.
    let mut terms_seen = BTreeSet::from([BTreeMap::new()]);
    for (index, term) in terms.iter().enumerate() {
        let path = FieldPath::new("allowedTopologies").index(index).child("matchLabelExpressions");
        let says = |term: &TopologySelectorTerm| -> BTreeMap<String, BTreeSet<String>> {
            let parts = items(&term.match_label_expressions).iter();
            parts.map(|part| (part.key.clone(), part.values.iter().cloned().collect())).collect()
        };
        let requirements = items(&term.match_label_expressions);
        let mut keys_seen = BTreeSet::new();
        for (index, requirement) in requirements.iter().enumerate() {
            let path = path.index(index);
            if !keys_seen.insert(&requirement.key) {
                errors.push(FieldError::duplicate(&path.child("key"), requirement.key.as_str()));
            }
            if requirement.values.is_empty() {
                errors.push(FieldError::required(&path.child("values"), ""));
            }
            let mut values_seen = BTreeSet::new();
            for (index, value) in requirement.values.iter().enumerate() {
                if !values_seen.insert(value) {
                    errors.push(FieldError::duplicate(&path.child("values").index(index), value.as_str()));
                }
            }
            let key = requirement.key.as_str();
            faults(names::qualified_name(key), key, || path.child("key"), errors);
        }
        if !terms_seen.insert(says(term)) {
            errors.push(FieldError::duplicate(&path, ""));
        }
    }
}

/// The sources that volumes of the cluster have most.
pub(super) fn validate_volume_source(spec: &PersistentVolumeSpec, path: &FieldPath, errors: &mut Errors) {
    if let Some(host) = &spec.host_path {
        let at = path.child("hostPath").child("path");
        if host.path.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        validate_no_backsteps(&host.path, || at.clone(), errors);
        one_of(plain(&host.type_), HOST_PATH_TYPES, || path.child("hostPath").child("type"), errors);
        if host.path == "/" && plain(&spec.persistent_volume_reclaim_policy) == "Recycle" {
            let why = "may not be 'recycle' for a hostPath mount of '/'";
            errors.push(FieldError::forbidden(&path.child("persistentVolumeReclaimPolicy"), why));
        }
    }
    if let Some(local) = &spec.local {
        let at = path.child("local").child("path");
        if local.path.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        validate_no_backsteps(&local.path, || at.clone(), errors);
    }
    if let Some(csi) = &spec.csi {
        let path = path.child("csi");
        validate_csi_name(&csi.driver, &path.child("driver"), errors);
        if csi.volume_handle.is_empty() {
            errors.push(FieldError::required(&path.child("volumeHandle"), ""));
        }
        let secrets = [
            ("controllerPublishSecretRef", &csi.controller_publish_secret_ref),
            ("controllerExpandSecretRef", &csi.controller_expand_secret_ref),
            ("nodePublishSecretRef", &csi.node_publish_secret_ref),
            ("nodeExpandSecretRef", &csi.node_expand_secret_ref),
        ];
        for (field, secret) in secrets {
            if let Some(secret) = secret {
                validate_secret(secret, &path.child(field), errors);
            }
        }
    }
}

/// A secret of some namespace, which a driver reads.
fn validate_secret(secret: &SecretReference, path: &FieldPath, errors: &mut Errors) {
    type Form = fn(&str) -> Vec<String>;
    let parts: [(&str, &Option<String>, Form); 2] =
        [("name", &secret.name, names::dns1123_subdomain), ("namespace", &secret.namespace, names::dns1123_label)];
    for (field, value, form) in parts {
        match text(value) {
            None => errors.push(FieldError::required(&path.child(field), "")),
            Some(value) => faults(form(value), value, || path.child(field), errors),
        }
    }
}

/// The name of a CSI driver.
pub(super) fn validate_csi_name(name: &str, path: &FieldPath, errors: &mut Errors) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if name.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
    faults(names::dns1123_subdomain(&name.to_lowercase()), name, || path.clone(), errors);
}

pub(super) fn validate_driver(name: &str, path: &FieldPath, errors: &mut Errors) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        faults(names::qualified_name(&name.to_lowercase()), name, || path.clone(), errors);
    }
}
