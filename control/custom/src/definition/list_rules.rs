//! What is wrong with what a schema says of lists and maps for merging.

use std::collections::BTreeSet;

use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use super::validate::text;
use crate::schema::node::texts;

type Errors = Vec<FieldError>;

const LIST: &str = "x-kubernetes-list-type";
const KEYS: &str = "x-kubernetes-list-map-keys";
const MAP: &str = "x-kubernetes-map-type";

pub(super) fn validate(schema: &Value, path: &FieldPath, errors: &mut Errors) {
    let of_type = |name: &str, wanted: &str, errors: &mut Errors| {
        let why = format!("must be {wanted} if {name} is specified");
        match text(&schema["type"]) {
            given if given == wanted => return true,
            "" => errors.push(FieldError::required(&path.child("type"), &why)),
            given => errors.push(FieldError::invalid(&path.child("type"), given, &why)),
        }
        false
    };
    if let Some(map_type) = schema[MAP].as_str() {
        of_type(MAP, "object", errors);
        if !matches!(map_type, "atomic" | "granular") {
            errors.push(FieldError::not_supported(&path.child(MAP), map_type, &["atomic", "granular"]));
        }
    }
    let list_type = schema[LIST].as_str();
    if let Some(list_type) = list_type {
        if of_type(LIST, "array", errors) && list_type == "set" {
            set_items(&schema["items"], &path.child("items"), errors);
        }
        if !matches!(list_type, "atomic" | "set" | "map") {
            errors.push(FieldError::not_supported(&path.child(LIST), list_type, &["atomic", "set", "map"]));
        }
    }
    let keys = texts(&schema[KEYS]);
    if !keys.is_empty() {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        match list_type {
            None => errors.push(FieldError::required(&path.child(LIST), why)),
            Some("map") => {}
            Some(other) => errors.push(FieldError::invalid(&path.child(LIST), other, why)),
        }
    }
    if list_type == Some("map") {
        map_items(schema, &keys, path, errors);
    }
    if let Some(list_type @ ("set" | "map")) = list_type {
        never_null(schema, list_type, &keys, &path.child("items"), errors);
    }
}

/// Items of sets are compared as wholes.
fn set_items(items: &Value, path: &FieldPath, errors: &mut Errors) {
    let name = match text(&items["type"]) {
        "array" if items[LIST].as_str().is_some_and(|list_type| list_type != "atomic") => LIST,
        "object" if items[MAP] != "atomic" => MAP,
        _ => return,
    };
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    errors.push(FieldError::invalid(&path.child(name), items[LIST].clone(), why));
}

fn map_items(schema: &Value, keys: &[String], path: &FieldPath, errors: &mut Errors) {
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&path.child(KEYS), why));
    }
    let items = &schema["items"];
    if !items.is_object() {
        let why = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&path.child("items"), why));
        return;
    }
    let ty = text(&items["type"]);
    if ty != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(&path.child("items").child("type"), ty, why));
        return;
    }
    let (mut seen, mut unknown) = (BTreeSet::new(), false);
    for key in keys {
        match items["properties"].get(key) {
            Some(property) if matches!(text(&property["type"]), "array" | "object") => {
                let at = path.child("items").child("properties").key(key).child("type");
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(&at, ty, why));
            }
            Some(_) => {}
            None => unknown = true,
        }
        seen.insert(key);
    }
    if unknown {
        let why = "entries must all be names of item properties";
        errors.push(FieldError::invalid(&path.child(KEYS), keys.to_vec(), why));
    }
    if seen.len() < keys.len() {
        errors.push(FieldError::invalid(&path.child(KEYS), keys.to_vec(), "must not contain duplicate entries"));
    }
}

/// What items are told apart by is always there.
fn never_null(schema: &Value, list_type: &str, keys: &[String], path: &FieldPath, errors: &mut Errors) {
    let items = &schema["items"];
    if items["nullable"] == true {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.push(FieldError::forbidden(&path.child("nullable"), &why));
    }
    if list_type != "map" {
        return;
    }
    let required: BTreeSet<String> = texts(&items["required"]).into_iter().collect();
    for key in keys {
        let Some(property) = items["properties"].get(key) else { continue };
        let at = path.child("properties").key(key);
        if !required.contains(key) && property.get("default").is_none_or(Value::is_null) {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(&at.child("default"), why));
        }
        if property["nullable"] == true {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(&at.child("nullable"), why));
        }
    }
}
