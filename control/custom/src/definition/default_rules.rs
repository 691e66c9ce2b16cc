//! Defaults obey the schema that they stand in (apiextensions `schema/defaulting/validation.go`).

use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use crate::cel;
use crate::schema::check::{Findings, check};
use crate::schema::prune::{META_FIELDS, prune_value};
use crate::schema::{Node, Path, meta};

/// What is wrong with the defaults of a schema.
pub(super) fn validate(node: &Node, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(node, true, false, path, &mut errors);
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

fn walk(node: &Node, resource: bool, in_meta: bool, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if let Some(default) = &node.default {
        judge(node, default, in_meta, &path.child("default"), errors);
    }
    if let Some(items) = &node.items {
        walk(items, items.embedded, in_meta, &path.child("items"), errors);
    }
    for (name, inner) in &node.properties {
        let in_meta = !inner.embedded && (in_meta || (resource && META_FIELDS.contains(&name.as_str())));
        let at = path.child("properties").key(name);
        walk(inner, inner.embedded, in_meta, &at, errors);
    }
}

fn judge(node: &Node, default: &Value, in_meta: bool, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if !in_meta {
        let mut pruned = default.clone();
        prune_value(&mut pruned, node);
        if pruned != *default {
            errors.push(FieldError::invalid(path, default.clone(), "must not have unknown fields"));
        }
        let before = errors.len();
        meta::check_embedded(default, node, false, &mut Path::new(&path.to_string()), errors);
        if errors.len() > before {
            return;
        }
    }
    let mut found = Findings::default();
    check(node, default, None, &mut Path::default(), &mut found);
    errors.extend(found.errors.into_iter().map(|error| below(path, error)));
}

/// Paths of checks of a default begin at it.
fn below(path: &FieldPath, mut error: FieldError) -> FieldError {
    error.path = match error.path.to_string().as_str() {
        "<nil>" => path.clone(),
        inner => path.child(inner),
    };
    error
}
