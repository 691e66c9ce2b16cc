//! What is wrong with the schema of a version (apiextensions `ValidateCustomResourceDefinitionOpenAPISchema`).

use pal_resources::{FieldError, FieldPath};
use serde_json::{Map, Value};

use super::validate::text;
use super::{default_rules, list_rules, rule_rules, structural};
use crate::schema::format::Format;
use crate::schema::node::MAX_DEPTH;
use crate::schema::{Node, Path};

type Errors = Vec<FieldError>;

/// Walks along a schema are recursive.
const MAX_JSON_DEPTH: usize = 2 * MAX_DEPTH;

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// What a schema may say at its root where there is a status subresource: Go's names, as the message lists them.
const AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

const NOT_AT_ROOT: &[&str] = &[
    "$ref",
    "$schema",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "definitions",
    "dependencies",
    "enum",
    "id",
    "maxProperties",
    "minProperties",
    "not",
    "nullable",
    "oneOf",
    "patternProperties",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];

/// Judges a whole schema, and compiles one with which nothing is wrong.
pub(super) fn validate(schema: &Value, has_status: bool, path: &FieldPath, errors: &mut Errors) -> Option<Node> {
    let before = errors.len();
    if deeper_than(schema, MAX_JSON_DEPTH) {
        let why = format!("schemas must not be nested deeper than {MAX_JSON_DEPTH} levels of JSON");
        errors.push(FieldError::forbidden(path, &why));
        return None;
    }
    if has_status {
        at_root(schema, path, errors);
    }
    if schema["nullable"] == true {
        errors.push(FieldError::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
    let mut faults = structural::validate(schema, path);
    let node = match Node::read(schema, &mut Path::new(&path.to_string())) {
        Ok(node) => Some(node),
        Err(unreadable) => {
            faults.extend(unreadable);
            None
        }
    };
    let mut node = node.filter(|_| faults.is_empty());
    errors.extend(faults);
    if let Some(read) = &node {
        let unfit = default_rules::validate(read, path);
        if !unfit.is_empty() {
            node = None;
        }
        errors.extend(unfit);
    }
    walk(schema, At { path: path.clone(), root: true, ..At::default() }, errors);
    let mut names_its_language = false;
    each(schema, &mut |schema| names_its_language |= !text(&schema["$schema"]).is_empty());
    if names_its_language && errors.len() == before {
        errors.push(FieldError::invalid(path, "", "OpenAPIV3Schema 'schema' is not supported"));
    }
    let mut node = node.filter(|_| errors.len() == before)?;
    rule_rules::compile(&mut node, schema, path, errors);
    if errors.len() == before {
        errors.extend(default_rules::validate_by_rules(&node, path));
    }
    (errors.len() == before).then_some(node)
}

/// Looks at a schema, then at all below it.
fn each(schema: &Value, look: &mut dyn FnMut(&Value)) {
    look(schema);
    let of_maps = ["properties", "patternProperties", "definitions", "dependencies"].into_iter();
    let of_maps = of_maps.filter_map(|name| schema[name].as_object()).flat_map(Map::values);
    let of_lists = ["allOf", "anyOf", "oneOf"].into_iter();
    let of_lists = of_lists.filter_map(|name| schema[name].as_array()).flatten();
    let single = ["items", "additionalProperties", "not"].into_iter().map(|name| &schema[name]);
    for inner in of_maps.chain(of_lists).chain(single.filter(|inner| inner.is_object())) {
        each(inner, look);
    }
}

/// The formats that a definition's schemas name and that nobody checks, in their order.
pub fn unknown_formats(crd: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
        each(&version["schema"]["openAPIV3Schema"], &mut |schema| {
            let format = text(&schema["format"]);
            let known = match text(&schema["type"]) {
                _ if format.is_empty() => true,
                "" | "string" => Format::read(format).is_some(),
                "integer" => matches!(format, "int32" | "int64"),
                "number" => matches!(format, "float" | "double"),
                _ => false,
            };
            if !known {
                found.push(format.to_owned());
            }
        });
    }
    found
}

/// Whether values stand deeper in one another; looks without recursion.
fn deeper_than(value: &Value, limit: usize) -> bool {
    let mut pending = vec![(value, 0)];
    while let Some((value, depth)) = pending.pop() {
        if depth > limit {
            return true;
        }
        match value {
            Value::Object(map) => pending.extend(map.values().map(|inner| (inner, depth + 1))),
            Value::Array(list) => pending.extend(list.iter().map(|inner| (inner, depth + 1))),
            _ => {}
        }
    }
    false
}

fn at_root(schema: &Value, path: &FieldPath, errors: &mut Errors) {
    let ty = text(&schema["type"]);
    if !ty.is_empty() && ty != "object" {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(FieldError::invalid(&path.child("type"), ty, why));
    }
    let set = |name: &str| schema.get(name).is_some_and(|value| !value.is_null() && *value != false);
    if NOT_AT_ROOT.iter().any(|name| set(name)) {
        let why =
            format!("only {AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled");
        errors.push(FieldError::invalid(path, schema.clone(), &why));
    }
}

/// Where the walk is.
#[derive(Clone, Default)]
struct At {
    path: FieldPath,
    root: bool,
    in_meta: bool,
    no_defaults: Option<String>,
}

impl At {
    fn below(&self, path: FieldPath) -> Self {
        Self { path, root: false, ..self.clone() }
    }
}

fn walk(schema: &Value, at: At, errors: &mut Errors) {
    let path = &at.path;
    one(schema, &at, errors);
    if schema["uniqueItems"] == true {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(&path.child("uniqueItems"), why));
    }
    let properties = schema["properties"].as_object();
    let additional = &schema["additionalProperties"];
    let with_properties = properties.is_some_and(|map| !map.is_empty());
    if with_properties && (additional.is_object() || *additional == false) {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(&path.child("additionalProperties"), why));
    }
    if additional.is_object() {
        let mut below = at.below(path.child("additionalProperties"));
        if at.in_meta {
            below.no_defaults = Some("inside additionalProperties applying to object metadata".to_owned());
        }
        walk(additional, below, errors);
    }
    for (name, inner) in properties.into_iter().flatten() {
        let mut below = at.below(path.child("properties").key(name));
        let resource = at.root || schema["x-kubernetes-embedded-resource"] == true;
        if resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
            below.in_meta = true;
            if at.root {
                below.no_defaults = Some(format!("in top-level {name}"));
            }
        }
        walk(inner, below, errors);
    }
    for junctor in ["allOf", "oneOf", "anyOf"] {
        for (index, inner) in schema[junctor].as_array().into_iter().flatten().enumerate() {
            walk(inner, at.below(path.child(junctor).index(index)), errors);
        }
    }
    for name in ["not", "items"] {
        if schema[name].is_object() {
            walk(&schema[name], at.below(path.child(name)), errors);
        }
    }
    if schema.get("x-kubernetes-preserve-unknown-fields").is_some_and(|value| *value == false) {
        let field = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(&field, false, "must be true or undefined"));
    }
    list_rules::validate(schema, path, errors);
    rule_rules::form(schema, path, errors);
}

/// What may not be said at all.
fn one(schema: &Value, at: &At, errors: &mut Errors) {
    let path = &at.path;
    let ty = text(&schema["type"]);
    if !ty.is_empty() && !TYPES.contains(&ty) {
        errors.push(FieldError::not_supported(&path.child("type"), ty, TYPES));
    }
    if let (Some(reason), true) = (&at.no_defaults, schema.get("default").is_some_and(|value| !value.is_null())) {
        errors.push(FieldError::forbidden(&path.child("default"), &format!("must not be set {reason}")));
    }
    let mut forbid = |wrong: bool, name: &str, why: &str| {
        if wrong {
            errors.push(FieldError::forbidden(&path.child(name), why));
        }
    };
    let set = |name: &str| schema.get(name).is_some_and(|value| !value.is_null());
    let filled = |name: &str| schema[name].as_object().is_some_and(|map: &Map<_, _>| !map.is_empty());
    forbid(!text(&schema["id"]).is_empty(), "id", "id is not supported");
    forbid(set("additionalItems"), "additionalItems", "additionalItems is not supported");
    forbid(filled("patternProperties"), "patternProperties", "patternProperties is not supported");
    forbid(filled("definitions"), "definitions", "definitions is not supported");
    forbid(set("dependencies"), "dependencies", "dependencies is not supported");
    forbid(set("$ref"), "$ref", "$ref is not supported");
    forbid(ty == "null", "type", "type cannot be set to null, use nullable as an alternative");
    forbid(schema["items"].is_array(), "items", "items must be a schema object and not an array");
    let embedded = at.in_meta && schema["x-kubernetes-embedded-resource"] == true;
    forbid(embedded, "x-kubernetes-embedded-resource", "must not be used inside of resource meta");
}
