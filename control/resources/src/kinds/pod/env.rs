//! What is wrong with a container's environment.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector,
};

use super::container::validate_local_path;
use super::volume::Volumes;
use crate::kinds::kind::Errors;
use crate::kinds::names;
use crate::kinds::optional::{faults, items, one_of, plain, text};
use crate::{FieldError, FieldPath};

/// The fields of a pod that a variable can show, beside single labels and annotations.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that pods have besides, which some places show and others do not.
const OTHER_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];

/// In what sizes can be counted.
const SIZES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Variables, and the objects that they are taken from.
pub(super) fn validate(container: &Container, volumes: &Volumes<'_>, path: &FieldPath, errors: &mut Errors) {
    for (index, variable) in items(&container.env).iter().enumerate() {
        let path = || path.child("env").index(index);
        validate_variable(variable, path, errors);
        if let Some(file) = variable.value_from.as_ref().and_then(|source| source.file_key_ref.as_ref()) {
            validate_file(file, volumes, &path().child("valueFrom").child("fileKeyRef"), errors);
        }
    }
    for (index, source) in items(&container.env_from).iter().enumerate() {
        validate_from(source, &path.child("envFrom"), index, errors);
    }
}

fn validate_variable(variable: &EnvVar, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    if variable.name.is_empty() {
        errors.push(FieldError::required(&path().child("name"), ""));
    } else {
        let name = variable.name.as_str();
        faults(names::env_name(name), name, || path().child("name"), errors);
    }
    if let Some(source) = &variable.value_from {
        let path = path().child("valueFrom");
        validate_source(source, &path, errors);
        validate_count(source, text(&variable.value).is_some(), &path, errors);
    }
}

/// A variable has a value or one source of it.
fn validate_count(source: &EnvVarSource, valued: bool, path: &FieldPath, errors: &mut Errors) {
    let given = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ];
    let why = match given.iter().filter(|given| **given).count() {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if valued => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, "", why));
}

fn validate_source(source: &EnvVarSource, path: &FieldPath, errors: &mut Errors) {
    if let Some(field) = &source.field_ref {
        validate_field(field, POD_FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(resource) = &source.resource_field_ref {
        validate_resource(resource, &path.child("resourceFieldRef"), errors);
    }
    let keys = [
        ("configMapKeyRef", source.config_map_key_ref.as_ref().map(|r| (&r.name, &r.key))),
        ("secretKeyRef", source.secret_key_ref.as_ref().map(|r| (&r.name, &r.key))),
    ];
    for (field, reference) in keys {
        let Some((name, key)) = reference else { continue };
        let path = path.child(field);
        faults(names::dns1123_subdomain(name), name, || path.child("name"), errors);
        if key.is_empty() {
            errors.push(FieldError::required(&path.child("key"), ""));
        } else {
            faults(names::config_key(key), key, || path.child("key"), errors);
        }
    }
}

/// A reference to a variable in a file of a volume.
fn validate_file(file: &FileKeySelector, volumes: &Volumes<'_>, path: &FieldPath, errors: &mut Errors) {
    if file.key.is_empty() {
        errors.push(FieldError::required(&path.child("key"), ""));
    } else {
        faults(names::env_name(&file.key), &file.key, || path.child("key"), errors);
    }
    if file.volume_name.is_empty() {
        errors.push(FieldError::required(&path.child("volumeName"), ""));
    } else {
        let name = file.volume_name.as_str();
        match volumes.get(name) {
            None => errors.push(FieldError::not_found(&path.child("volumeName"), name)),
            Some(volume) if volume.empty_dir.is_none() => {
                let why = "referenced volume must be of type emptyDir";
                errors.push(FieldError::invalid(&path.child("volumeName"), name, why));
            }
            Some(_) => {}
        }
    }
    if file.path.is_empty() {
        errors.push(FieldError::required(&path.child("path"), ""));
    } else {
        validate_local_path(&file.path, || path.child("path"), errors);
    }
}

/// A reference to what a container asks for or may use.
pub(super) fn validate_resource(resource: &ResourceFieldSelector, path: &FieldPath, errors: &mut Errors) {
    let known = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let name = resource.resource.as_str();
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("resource"), ""));
        return;
    }
    if !["limits.hugepages-", "requests.hugepages-"].iter().any(|start| name.starts_with(start)) {
        one_of(name, &known, || path.child("resource"), errors);
    }
    let divisor = resource.divisor.as_ref().map_or("0", |divisor| divisor.0.as_str());
    let why = match name.split('.').next_back() {
        _ if divisor == "0" => return,
        Some("cpu") if !["1", "1m"].contains(&divisor) => {
            "only divisor's values 1m and 1 are supported with the cpu resource"
        }
        Some("memory") if !SIZES.contains(&divisor) => {
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory \
             resource"
        }
        Some("ephemeral-storage") if !SIZES.contains(&divisor) => {
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the local \
             ephemeral storage resource"
        }
        _ => return,
    };
    errors.push(FieldError::invalid(&path.child("divisor"), name, why));
}

/// A reference to a field of the pod itself.
pub(super) fn validate_field(reference: &ObjectFieldSelector, known: &[&str], path: &FieldPath, errors: &mut Errors) {
    let field = reference.field_path.as_str();
    let field_path = || path.child("fieldPath");
    if field.is_empty() {
        errors.push(FieldError::required(&field_path(), ""));
        return;
    }
    let version = text(&reference.api_version).unwrap_or("v1");
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        errors.push(FieldError::invalid(&field_path(), field, &why));
        return;
    }
    let subscript = |map: &str| field.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        faults(names::qualified_name(key), key, || path.clone(), errors);
    } else if let Some(key) = subscript("metadata.annotations") {
        faults(names::qualified_name(&key.to_lowercase()), key, || path.clone(), errors);
    } else if !POD_FIELDS.contains(&field) && !OTHER_FIELDS.contains(&field) {
        let why = format!("error converting fieldPath: field label not supported: {field}");
        errors.push(FieldError::invalid(&field_path(), field, &why));
    } else {
        one_of(field, known, field_path, errors);
    }
}

fn validate_from(source: &EnvFromSource, list: &FieldPath, index: usize, errors: &mut Errors) {
    let prefix = plain(&source.prefix);
    let path = || list.index(index);
    if !prefix.is_empty() {
        faults(names::env_name(prefix), prefix, || path().child("prefix"), errors);
    }
    let sources = [
        ("configMapRef", source.config_map_ref.as_ref().map(|r| &r.name)),
        ("secretRef", source.secret_ref.as_ref().map(|r| &r.name)),
    ];
    for (field, name) in sources {
        let Some(name) = name else { continue };
        let path = || path().child(field).child("name");
        if name.is_empty() {
            errors.push(FieldError::required(&path(), ""));
        } else {
            faults(names::dns1123_subdomain(name), name, path, errors);
        }
    }
    let why = match sources.iter().filter(|(_, name)| name.is_some()).count() {
        0 => "must specify one of: `configMapRef` or `secretRef`",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    // kube-apiserver names the list here, not the item.
    errors.push(FieldError::invalid(list, "", why));
}
