//! Defaults obey the schema that they stand in (apiextensions `schema/defaulting/validation.go`).

use pal_resources::{FieldError, FieldPath};
use serde_json::{Value, json};

use crate::cel;
use crate::schema::check::{Findings, check};
use crate::schema::prune::{META_FIELDS, prune_value};
use crate::schema::{Node, Path, meta};

/// What is wrong with the defaults of a schema.
pub(super) fn validate(node: &Node, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(node, true, None, path, &mut errors);
    errors
}

/// What rules say of the defaults of a schema that is right otherwise.
pub(super) fn validate_by_rules(node: &Node, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(default) = &node.default {
        let at = path.child("default");
        errors.extend(cel::validate_value(node, default).into_iter().map(|error| below(&at, error)));
    }
    for (name, inner) in &node.properties {
        errors.extend(validate_by_rules(inner, &path.child("properties").key(name)));
    }
    if let Some(items) = &node.items {
        errors.extend(validate_by_rules(items, &path.child("items")));
    }
    errors
}

/// Puts a value into an object with metadata, at the place where it is the default.
type Around<'a> = &'a dyn Fn(Value) -> Value;

/// `around` is there in metadata of resources and in what they are; `resource` where the schema is that of one.
fn walk(node: &Node, resource: bool, around: Option<Around<'_>>, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if let Some(default) = &node.default {
        judge(node, default, around, &path.child("default"), errors);
    }
    if let Some(items) = &node.items {
        let at = path.child("items");
        match around.filter(|_| !items.embedded) {
            Some(around) => walk(items, false, Some(&|value| around(json!([value]))), &at, errors),
            None => walk(items, items.embedded, None, &at, errors),
        }
    }
    for (name, inner) in &node.properties {
        let at = path.child("properties").key(name);
        match around {
            _ if inner.embedded => walk(inner, true, None, &at, errors),
            Some(around) => walk(inner, false, Some(&|value| around(json!({name: value}))), &at, errors),
            None if resource && META_FIELDS.contains(&name.as_str()) => {
                walk(inner, false, Some(&|value| of_resource(name, value)), &at, errors);
            }
            None => walk(inner, false, None, &at, errors),
        }
    }
}

/// A resource with that field. Of what kind and version it is does not hang on defaults.
fn of_resource(field: &str, value: Value) -> Value {
    let mut object = json!({field: value});
    (object["apiVersion"], object["kind"]) = ("validation/v1".into(), "Validation".into());
    object
}

fn judge(node: &Node, default: &Value, around: Option<Around<'_>>, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let unfit = match around {
        Some(around) => unfit_metadata(&around(default.clone()), default, path).into_iter().collect(),
        None => {
            let mut pruned = default.clone();
            prune_value(&mut pruned, node);
            if pruned != *default {
                errors.push(FieldError::invalid(path, default.clone(), "must not have unknown fields"));
            }
            let mut unfit = Vec::new();
            meta::check_embedded(default, node, false, &mut Path::new(&path.to_string()), &mut unfit);
            unfit
        }
    };
    errors.extend(if unfit.is_empty() { checked(node, default, path) } else { unfit });
}

fn unfit_metadata(resource: &Value, default: &Value, path: &FieldPath) -> Option<FieldError> {
    let faults: Vec<String> = meta::resource_faults(resource).iter().map(ToString::to_string).collect();
    let told = match faults.as_slice() {
        [] => return None,
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Some(FieldError::invalid(path, default.clone(), &format!("must result in valid metadata: {told}")))
}

/// What the schema says of a default.
fn checked(node: &Node, default: &Value, path: &FieldPath) -> Vec<FieldError> {
    let mut found = Findings::of_default();
    check(node, default, None, &mut Path::default(), &mut found);
    found.errors.into_iter().map(|error| below(path, error)).collect()
}

/// Paths of checks of a default begin at it.
fn below(path: &FieldPath, mut error: FieldError) -> FieldError {
    error.path = match error.path.to_string().as_str() {
        "<nil>" => path.clone(),
        inner => path.child(inner),
    };
    error
}
