//! Whether a schema is structural (apiextensions `schema/validation.go`): what an object is made of is said once, outside
//! of `allOf`, `anyOf`, `oneOf` and `not`.

use pal_resources::{FieldError, FieldPath};
use serde_json::{Map, Value, json};

use super::validate::text;

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

type Errors = Vec<FieldError>;

/// What keeps a schema from being structural, sorted by text.
pub(super) fn validate(schema: &Value, path: &FieldPath) -> Errors {
    let mut errors = Vec::new();
    invariants(schema, Level::Root, path, &mut errors);
    complete(schema, path, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors.dedup();
    errors
}

fn fields<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema[name].as_object().into_iter().flatten()
}

fn listed<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    schema[name].as_array().into_iter().flatten().enumerate()
}

fn invariants(schema: &Value, level: Level, path: &FieldPath, errors: &mut Errors) {
    let (ty, flag) = (text(&schema["type"]), |name: &str| schema[name] == true);
    if schema["items"].is_object() {
        invariants(&schema["items"], Level::Item, &path.child("items"), errors);
    } else if ty == "array" && schema["items"].is_null() {
        errors.push(FieldError::required(&path.child("items"), "must be specified"));
    }
    for (name, inner) in fields(schema, "properties") {
        invariants(inner, Level::Field, &path.child("properties").key(name), errors);
    }
    let additional = &schema["additionalProperties"];
    if !additional.is_null() {
        let at = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &at, errors);
        }
    }
    extensions(schema, path, errors);
    values(schema, Skip::of(schema), path, errors);
    if flag("x-kubernetes-embedded-resource") && ty != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match ty {
            "" => FieldError::required(&path.child("type"), why),
            ty => FieldError::invalid(&path.child("type"), ty, why),
        });
    } else if ty.is_empty() && !flag("x-kubernetes-int-or-string") && !flag("x-kubernetes-preserve-unknown-fields") {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(&path.child("type"), why));
    }
    if flag("x-kubernetes-embedded-resource") && !additional.is_null() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(&path.child("additionalProperties"), why));
    }
    if level == Level::Root && !ty.is_empty() && ty != "object" {
        errors.push(FieldError::invalid(&path.child("type"), ty, "must be object at the root"));
    }
    meta_fields(schema, level, path, errors);
    let bare = schema["properties"].as_object().is_none_or(Map::is_empty);
    if flag("x-kubernetes-embedded-resource") && !flag("x-kubernetes-preserve-unknown-fields") && bare {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(&path.child("properties"), why));
    }
}

fn extensions(schema: &Value, path: &FieldPath, errors: &mut Errors) {
    if schema["x-kubernetes-int-or-string"] != true {
        return;
    }
    for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if schema[name] == true {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(&path.child(name), true, why));
        }
    }
}

/// Only names of objects may be restricted.
fn meta_fields(schema: &Value, level: Level, path: &FieldPath, errors: &mut Errors) {
    let resource = level == Level::Root || schema["x-kubernetes-embedded-resource"] == true;
    let property = |name: &str| schema["properties"].get(name);
    let at = |name: &str| path.child("properties").key(name);
    for name in ["kind", "apiVersion"] {
        if let Some(inner) = property(name).filter(|inner| resource && inner["type"] != "string") {
            errors.push(FieldError::invalid(&at(name).child("type"), text(&inner["type"]), "must be string"));
        }
    }
    let Some(metadata) = property("metadata") else { return };
    if resource && metadata["type"] != "object" {
        errors.push(FieldError::invalid(&at("metadata").child("type"), text(&metadata["type"]), "must be object"));
    }
    let known = |name: &str| matches!(name, "name" | "generateName");
    let plain = metadata.as_object().into_iter().flatten().all(|(field, value)| match field.as_str() {
        // A default is told of where defaults are.
        "type" | "default" => true,
        "properties" => value.as_object().is_none_or(|map| map.keys().all(|name| known(name))),
        "description" | "title" => false,
        _ => value.is_null() || *value == false,
    });
    if level == Level::Root && !plain {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(&at("metadata"), why));
    }
}

/// Where an `anyOf` may name types: `integer` and `string` of an int-or-string.
#[derive(Clone, Copy, Default)]
struct Skip {
    any_of: bool,
    first_all_of: bool,
}

impl Skip {
    fn of(schema: &Value) -> Self {
        let both = json!([{"type": "integer"}, {"type": "string"}]);
        Self { any_of: schema["anyOf"] == both, first_all_of: schema["allOf"][0]["anyOf"] == both }
    }
}

fn values(schema: &Value, skip: Skip, path: &FieldPath, errors: &mut Errors) {
    if !skip.any_of {
        for (index, inner) in listed(schema, "anyOf") {
            nested(inner, Skip::default(), &path.child("anyOf").index(index), errors);
        }
    }
    for (index, inner) in listed(schema, "allOf") {
        let skip = Skip { any_of: skip.first_all_of && index == 0, first_all_of: false };
        nested(inner, skip, &path.child("allOf").index(index), errors);
    }
    for (index, inner) in listed(schema, "oneOf") {
        nested(inner, Skip::default(), &path.child("oneOf").index(index), errors);
    }
    if schema["not"].is_object() {
        nested(&schema["not"], Skip::default(), &path.child("not"), errors);
    }
}

/// What alternatives may not say, and how its absence is called.
const NOT_NESTED: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

fn nested(schema: &Value, skip: Skip, path: &FieldPath, errors: &mut Errors) {
    values(schema, skip, path, errors);
    if schema["items"].is_object() {
        nested(&schema["items"], Skip::default(), &path.child("items"), errors);
    }
    for (name, inner) in fields(schema, "properties") {
        nested(inner, Skip::default(), &path.child("properties").key(name), errors);
    }
    for (name, why) in NOT_NESTED {
        let given = &schema[*name];
        let empty = given.is_null()
            || *given == false && *name != "additionalProperties"
            || given.as_str().is_some_and(str::is_empty)
            || given.as_array().is_some_and(|list| list.is_empty() && *name != "default");
        if !empty {
            errors.push(FieldError::forbidden(&path.child(name), why));
        }
    }
    if schema["properties"].get("metadata").is_some() {
        let at = path.child("properties").key("metadata");
        errors.push(FieldError::forbidden(&at, "must not be specified in a nested context"));
    }
}

/// What alternatives at the root speak of must stand outside of them too; Kubernetes does not look at those further below.
fn complete(schema: &Value, path: &FieldPath, errors: &mut Errors) {
    for junctor in ["anyOf", "allOf", "oneOf"] {
        for (index, inner) in listed(schema, junctor) {
            covers(schema, inner, path, &path.child(junctor).index(index), errors);
        }
    }
    if schema["not"].is_object() {
        covers(schema, &schema["not"], path, &path.child("not"), errors);
    }
}

/// `at` is where the schema itself stands, `nested_at` where the alternative does.
fn covers(skeleton: &Value, inner: &Value, at: &FieldPath, nested_at: &FieldPath, errors: &mut Errors) {
    let missing =
        |at: &FieldPath, there: &FieldPath| FieldError::required(at, &format!("because it is defined in {there}"));
    if inner["items"].is_object() {
        if skeleton["items"].is_object() {
            covers(&skeleton["items"], &inner["items"], &at.child("items"), &nested_at.child("items"), errors);
        } else {
            errors.push(missing(&at.child("items"), &nested_at.child("items")));
        }
    }
    for (name, property) in fields(inner, "properties") {
        let (own, there) = (at.child("properties").key(name), nested_at.child("properties").key(name));
        match skeleton["properties"].get(name) {
            Some(skeleton) => covers(skeleton, property, &own, &there, errors),
            None => errors.push(missing(&own, &there)),
        }
    }
    for junctor in ["anyOf", "allOf", "oneOf"] {
        for (index, alternative) in listed(inner, junctor) {
            covers(skeleton, alternative, at, &nested_at.child(junctor).index(index), errors);
        }
    }
    if inner["not"].is_object() {
        covers(skeleton, &inner["not"], at, &nested_at.child("not"), errors);
    }
}
