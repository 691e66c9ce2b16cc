//! What holds for `metadata` of every kind (apimachinery `pkg/api/validation`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::kind::Errors;
use super::names;
use crate::{FieldError, FieldPath, Resource, Status};

const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];
const IMMUTABLE: &str = "field is immutable";

/// Leaves out what is empty, as Kubernetes writes no empty lists and maps here.
pub(super) fn normalize(meta: &mut ObjectMeta) {
    meta.labels.take_if(|map| map.is_empty());
    meta.annotations.take_if(|map| map.is_empty());
    meta.finalizers.take_if(|list| list.is_empty());
    meta.owner_references.take_if(|list| list.is_empty());
    meta.managed_fields.take_if(|list| list.is_empty());
    meta.generate_name.take_if(|text| text.is_empty());
    meta.namespace.take_if(|text| text.is_empty());
    meta.self_link = None;
}

/// An update that names another object's uid is a conflict, not a mistake.
pub(super) fn same_object(resource: &Resource, old: &ObjectMeta, new: &ObjectMeta) -> Result<(), Status> {
    match (new.uid.as_deref(), old.uid.as_deref()) {
        (Some(named), Some(stored)) if !named.is_empty() && named != stored => {
            let place = (old.namespace.as_deref().unwrap_or(""), old.name.as_deref().unwrap_or(""));
            Err(Status::other_uid(resource, place, named, stored))
        }
        _ => Ok(()),
    }
}

/// What the server owns stays; what a client leaves out and may not remove comes back.
pub(super) fn keep(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.uid.clone_from(&old.uid);
    new.generation = old.generation;
    // What clients say of it is not listened to.
    new.creation_timestamp.clone_from(&old.creation_timestamp);
    if new.name.is_none() {
        new.name.clone_from(&old.name);
    }
    if new.namespace.is_none() {
        new.namespace.clone_from(&old.namespace);
    }
    if old.deletion_timestamp.is_some() {
        new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    if new.deletion_grace_period_seconds.is_none() {
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
}

/// The name of a controller: a domain, a slash, and a path, of at most `max` bytes.
pub(super) fn validate_domain_path(name: &str, max: usize, path: &FieldPath, errors: &mut Errors) {
    match name.split_once('/') {
        _ if name.is_empty() => errors.push(FieldError::required(path, "")),
        None | Some(("", _) | (_, "")) => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(path, name, why));
        }
        Some((domain, rest)) => {
            for fault in names::dns1123_subdomain(domain) {
                errors.push(FieldError::invalid(path, domain, &fault));
            }
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
            if !rest.bytes().all(fits) {
                let why = names::regex_fault("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]);
                errors.push(FieldError::invalid(path, rest, &why));
            }
        }
    }
    if name.len() > max {
        errors.push(FieldError::too_long(path, max));
    }
}

/// A write of the status may touch labels, annotations and finalizers besides, nothing else.
pub(super) fn keep_for_status(new: &mut ObjectMeta, old: &ObjectMeta) {
    let given = std::mem::take(new);
    *new = ObjectMeta {
        name: given.name,
        namespace: given.namespace,
        labels: given.labels,
        annotations: given.annotations,
        finalizers: given.finalizers,
        managed_fields: given.managed_fields,
        resource_version: given.resource_version,
        ..old.clone()
    };
}

/// What is wrong with the metadata.
pub(super) fn validate(
    resource: &Resource,
    meta: &ObjectMeta,
    name_faults: fn(&str) -> Vec<String>,
    errors: &mut Errors,
) {
    let path = FieldPath::new("metadata");
    if let Some(prefix) = &meta.generate_name {
        for fault in name_faults(&begun(prefix)) {
            errors.push(FieldError::invalid(&path.child("generateName"), prefix.as_str(), &fault));
        }
    }
    match meta.name.as_deref().unwrap_or("") {
        "" => errors.push(FieldError::required(&path.child("name"), "name or generateName is required")),
        name => {
            for fault in name_faults(name) {
                errors.push(FieldError::invalid(&path.child("name"), name, &fault));
            }
        }
    }
    match (resource.namespaced, meta.namespace.as_deref()) {
        (true, None) => errors.push(FieldError::required(&path.child("namespace"), "")),
        (true, Some(namespace)) => {
            for fault in names::dns1123_label(namespace) {
                errors.push(FieldError::invalid(&path.child("namespace"), namespace, &fault));
            }
        }
        (false, Some(_)) => errors.push(FieldError::forbidden(&path.child("namespace"), "not allowed on this type")),
        (false, None) => {}
    }
    if let Some(labels) = &meta.labels {
        validate_labels(labels, &path.child("labels"), errors);
    }
    if let Some(annotations) = &meta.annotations {
        validate_annotations(annotations, &path.child("annotations"), errors);
    }
    if let Some(owners) = &meta.owner_references {
        validate_owners(owners, &path.child("ownerReferences"), errors);
    }
    if let Some(finalizers) = &meta.finalizers {
        validate_finalizers(resource, finalizers, &path.child("finalizers"), errors);
    }
}

/// What is wrong with labels.
pub(super) fn validate_labels(labels: &BTreeMap<String, String>, path: &FieldPath, errors: &mut Errors) {
    for (key, value) in labels {
        if errors.are_many() {
            return;
        }
        for fault in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, key.as_str(), &fault));
        }
        for fault in names::label_value(value) {
            errors.push(FieldError::invalid(path, value.as_str(), &fault));
        }
    }
}

/// What is wrong with annotations: keys as labels', values together not too large.
pub(super) fn validate_annotations(annotations: &BTreeMap<String, String>, path: &FieldPath, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations {
        if errors.are_many() {
            return;
        }
        for fault in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path, key.as_str(), &fault));
        }
        size += key.len() + value.len();
    }
    if size > MAX_ANNOTATIONS_BYTES {
        errors.push(FieldError::too_long(path, MAX_ANNOTATIONS_BYTES));
    }
}

fn validate_owners(owners: &[OwnerReference], path: &FieldPath, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in owners {
        if errors.are_many() {
            return;
        }
        // What has two slashes is no version of a group at all.
        let mut parts = owner.api_version.rsplit('/');
        let version = parts.next().filter(|_| parts.count() < 2).unwrap_or("");
        if version.is_empty() {
            let given = owner.api_version.as_str();
            errors.push(FieldError::invalid(&path.child("apiVersion"), given, "version must not be empty"));
        }
        let mut demand = |field: &str, value: &str, what: &str| {
            if value.is_empty() {
                errors.push(FieldError::invalid(&path.child(field), value, what));
            }
        };
        demand("kind", &owner.kind, "must not be empty");
        demand("name", &owner.name, "must not be empty");
        demand("uid", &owner.uid, "must not be empty");
        if owner.kind == "Event" && owner.api_version == "v1" {
            let shown = serde_json::to_value(owner).unwrap_or_default();
            let why = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(path, shown, why));
        }
        if owner.controller == Some(true) {
            let current = format!("{}/{}", owner.kind, owner.name);
            if let Some(first) = &controller {
                let shown = serde_json::to_value(owners).unwrap_or_default();
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {current}"
                );
                errors.push(FieldError::invalid(path, shown, &why));
            } else {
                controller = Some(current);
            }
        }
    }
}

/// Whether a finalizer's name says who takes it away, or is one of the API's own.
pub(super) fn is_attributed(finalizer: &str) -> bool {
    finalizer.contains('/') || STANDARD_FINALIZERS.contains(&finalizer)
}

/// Groups whose objects may have finalizers of any name, as custom resources may.
const ANY_FINALIZERS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
];

fn validate_finalizers(resource: &Resource, finalizers: &[String], path: &FieldPath, errors: &mut Errors) {
    let any = resource.custom.is_some() || ANY_FINALIZERS.contains(&&*resource.group);
    finalizer_names(finalizers, any, path, errors);
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if !errors.are_many() && has("orphan") && has("foregroundDeletion") {
        let shown = serde_json::to_value(finalizers).unwrap_or_default();
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, shown, why));
    }
}

/// What finalizers may be called: `any` names, or those that say whose they are.
pub(super) fn finalizer_names(finalizers: &[String], any: bool, path: &FieldPath, errors: &mut Errors) {
    for finalizer in finalizers {
        if errors.are_many() {
            return;
        }
        for fault in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid(path, finalizer.as_str(), &fault));
        }
        if !any && !is_attributed(finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, finalizer.as_str(), why));
        }
    }
}

/// A name that begins so: one that ends with a dash goes on.
fn begun(prefix: &str) -> Cow<'_, str> {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => Cow::Owned(format!("{rest}a")),
        _ => Cow::Borrowed(prefix),
    }
}

/// What of the metadata may not have changed.
pub(super) fn validate_update(new: &ObjectMeta, old: &ObjectMeta, errors: &mut Errors) {
    let path = FieldPath::new("metadata");
    let mut same = |field: &str, new: &Option<String>, old: &Option<String>| {
        if new != old {
            let shown = new.as_deref().unwrap_or("");
            errors.push(FieldError::invalid(&path.child(field), shown, IMMUTABLE));
        }
    };
    same("name", &new.name, &old.name);
    same("namespace", &new.namespace, &old.namespace);
    if old.deletion_timestamp.is_none() && new.deletion_timestamp.is_some() {
        let shown = serde_json::to_value(&new.deletion_timestamp).unwrap_or_default();
        errors.push(FieldError::invalid(&path.child("deletionTimestamp"), shown, IMMUTABLE));
    }
    if new.deletion_grace_period_seconds != old.deletion_grace_period_seconds {
        let path = path.child("deletionGracePeriodSeconds");
        errors.push(FieldError::invalid(&path, new.deletion_grace_period_seconds, IMMUTABLE));
    }
    if old.deletion_timestamp.is_some() {
        let known = |f: &&String| !old.finalizers.iter().flatten().any(|o| o == *f);
        let added: Vec<String> = new.finalizers.iter().flatten().filter(known).map(|f| format!("{f:?}")).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden(&path.child("finalizers"), &why));
        }
    }
}
