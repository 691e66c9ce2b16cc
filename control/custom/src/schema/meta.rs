//! The metadata of objects, and of objects in objects: its type is known, whatever a schema says of it.

use std::sync::LazyLock;

use pal_resources::kinds::names;
use pal_resources::schema::{self, Field, Many, Message, Shape, Type};
use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use super::prune::{note, remove};
use super::{Node, Path};

static OBJECT_META: LazyLock<Option<&'static Message>> =
    LazyLock::new(|| schema::message("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));

/// Leaves out what metadata does not have.
pub(super) fn prune(value: &mut Value, path: &mut Path, unknown: &mut Vec<String>) {
    if let Some(message) = *OBJECT_META {
        prune_message(value, message, path, unknown);
    }
}

fn prune_message(value: &mut Value, message: &'static Message, path: &mut Path, unknown: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    if message.shape != Shape::Object {
        return;
    }
    let mut gone = Vec::new();
    for (name, value) in map.iter_mut() {
        path.child(name, |path| match message.field(name) {
            None => {
                note(path, unknown);
                gone.push(name.clone());
            }
            Some(field) => {
                let (Some(message), Many::List | Many::One) = (field.message(), field.many) else { return };
                match value {
                    Value::Array(list) => {
                        for (index, value) in list.iter_mut().enumerate() {
                            path.index(index, |path| prune_message(value, message, path, unknown));
                        }
                    }
                    value => prune_message(value, message, path, unknown),
                }
            }
        });
    }
    remove(map, &gone);
}

/// What is wrong with objects that are embedded: their kind, version and metadata.
pub(crate) fn check_embedded(value: &Value, node: &Node, root: bool, path: &mut Path, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            if node.embedded && !root {
                check_resource(map, path, errors);
            }
            for (name, value) in map {
                let Some(node) = node.under(name) else { continue };
                path.child(name, |path| check_embedded(value, node, false, path, errors));
            }
        }
        Value::Array(list) => {
            let Some(node) = &node.items else { return };
            for (index, value) in list.iter().enumerate() {
                path.index(index, |path| check_embedded(value, node, false, path, errors));
            }
        }
        _ => {}
    }
}

/// What is wrong with the kind, version and metadata of a resource.
pub(crate) fn resource_faults(object: &Value) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if let Some(map) = object.as_object() {
        check_resource(map, &mut Path::default(), &mut faults);
    }
    faults
}

fn check_resource(map: &serde_json::Map<String, Value>, path: &mut Path, errors: &mut Vec<FieldError>) {
    let at = path.field();
    let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let empty = |name: &str| match map.get(name) {
        Some(Value::String(_)) => FieldError::invalid(&at.child(name), "", "must not be empty"),
        _ => FieldError::required(&at.child(name), ""),
    };
    if version.is_empty() {
        errors.push(empty("apiVersion"));
    } else if version.matches('/').count() > 1 {
        let why = format!("unexpected GroupVersion string: {version}");
        errors.push(FieldError::invalid(&at.child("apiVersion"), version, &why));
    }
    if kind.is_empty() {
        errors.push(empty("kind"));
    } else {
        let faults = names::dns1035_label(&kind.to_lowercase());
        if !faults.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
            errors.push(FieldError::invalid(&at.child("kind"), kind, &why));
        }
    }
    let Some(metadata) = map.get("metadata").filter(|metadata| !metadata.is_null()) else { return };
    let at = at.child("metadata");
    let before = errors.len();
    if let Some(message) = *OBJECT_META {
        coerce(metadata, message, &at, errors);
    }
    if errors.len() == before {
        check_metadata(metadata, &at, errors);
    }
}

/// Types that do not fit.
fn coerce(value: &Value, message: &'static Message, at: &FieldPath, errors: &mut Vec<FieldError>) {
    let Some(map) = value.as_object() else {
        errors.push(FieldError::invalid(at, value.clone(), "must be an object"));
        return;
    };
    for (name, value) in map {
        let Some(field) = message.field(name) else { continue };
        let at = at.child(name);
        let fits = match (field.many, value) {
            (_, Value::Null) => true,
            (Many::One, value) => one_fits(field, value),
            (Many::List, Value::Array(list)) => list.iter().all(|value| one_fits(field, value)),
            (Many::Map, Value::Object(map)) => map.values().all(|value| one_fits(field, value)),
            _ => false,
        };
        if !fits {
            errors.push(FieldError::invalid(&at, value.clone(), "must have the type of that field of metadata"));
        }
    }
}

fn one_fits(field: &Field, value: &Value) -> bool {
    match field.ty {
        Type::String | Type::Bytes => value.is_string(),
        Type::Int32 | Type::Int64 => value.is_i64() || value.is_u64(),
        Type::Double => value.is_number(),
        Type::Bool => value.is_boolean(),
        Type::Message(_) => match field.message().map(|message| message.shape) {
            Some(Shape::Time | Shape::MicroTime) => {
                value.is_null() || value.as_str().is_some_and(super::format::is_date_time)
            }
            _ => value.is_object(),
        },
    }
}

fn check_metadata(metadata: &Value, at: &FieldPath, errors: &mut Vec<FieldError>) {
    if let Some(name) = metadata["name"].as_str().filter(|name| !name.is_empty()) {
        for fault in names::path_segment(name) {
            errors.push(FieldError::invalid(&at.child("name"), name, &fault));
        }
    }
    let entries = |name: &str| metadata[name].as_object().into_iter().flatten();
    for (key, value) in entries("labels") {
        for fault in names::qualified_name(key) {
            errors.push(FieldError::invalid(&at.child("labels"), key.as_str(), &fault));
        }
        let value = value.as_str().unwrap_or_default();
        for fault in names::label_value(value) {
            errors.push(FieldError::invalid(&at.child("labels"), value, &fault));
        }
    }
    for (key, _) in entries("annotations") {
        for fault in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(&at.child("annotations"), key.as_str(), &fault));
        }
    }
}
