//! What is wrong with the smaller parts of versions: columns, subresources, selectable fields, deprecations.

use std::collections::BTreeSet;

use pal_resources::field::FieldErrorKind;
use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use super::validate::text;
use crate::field_path::{self, Notation};

/// How many fields of a version may be selectable.
const MAX_SELECTABLE: usize = 8;

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

pub(super) fn validate_deprecation(version: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let Some(warning) = version["deprecationWarning"].as_str() else { return };
    let mut refuse = |why: &str| errors.push(FieldError::invalid(&path.child("deprecationWarning"), warning, why));
    if version["deprecated"] != true {
        return refuse("can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        refuse("must be <= 256 characters long");
    }
    if warning.is_empty() {
        refuse("must not be an empty string");
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, c)| c.is_control() || (c.is_whitespace() && *c != ' ')) {
        let why = "must only contain printable UTF-8 characters; non-printable character found at index";
        refuse(&format!("{why} {index}"));
    }
}

pub(super) fn validate_column(column: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if text(&column["name"]).is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    let (kind, format) = (text(&column["type"]), text(&column["format"]));
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("type"), &types));
    } else if !COLUMN_TYPES.contains(&kind) {
        errors.push(FieldError::invalid(&path.child("type"), kind, &types));
    }
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.push(FieldError::invalid(&path.child("format"), format, &why));
    }
    let json_path = text(&column["jsonPath"]);
    let at = path.child("JSONPath");
    if json_path.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        simple_path(json_path, &at, errors);
    }
}

/// Whether the path begins as it should; columns that cannot be read are empty.
fn simple_path(given: &str, path: &FieldPath, errors: &mut Vec<FieldError>) -> bool {
    if given.starts_with('.') {
        return true;
    }
    errors.push(FieldError::invalid(path, given, "must be a simple json path starting with ."));
    false
}

pub(super) fn validate_subresources(subresources: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let scale = &subresources["scale"];
    if !scale.is_object() {
        return;
    }
    for (field, below) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let (given, at) = (text(&scale[field]), path.child("scale").child(field));
        if given.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else if simple_path(given, &at, errors) && !given.starts_with(&format!("{below}.")) {
            errors.push(FieldError::invalid(&at, given, &format!("should be a json path under {below}")));
        }
    }
    let (given, at) = (text(&scale["labelSelectorPath"]), path.child("scale").child("labelSelectorPath"));
    if !given.is_empty()
        && simple_path(given, &at, errors)
        && !given.starts_with(".spec.")
        && !given.starts_with(".status.")
    {
        errors.push(FieldError::invalid(&at, given, "should be a json path under either .spec or .status"));
    }
}

pub(super) fn validate_selectable(fields: &Value, schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let fields = fields.as_array().map(Vec::as_slice).unwrap_or_default();
    if fields.is_empty() || !schema.is_object() {
        return;
    }
    let mut known = BTreeSet::new();
    for (index, field) in fields.iter().enumerate() {
        let at = path.index(index).child("jsonPath");
        let given = text(&field["jsonPath"]);
        if given.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        let found = match field_path::resolve(given, schema, Notation::Fields) {
            Ok(found) => found,
            Err(why) => {
                errors.push(FieldError::invalid(&at, given, &format!("is an invalid path: {why}")));
                continue;
            }
        };
        if found.path == "metadata" || found.path.starts_with("metadata.") {
            errors.push(FieldError::invalid(&at, given, "must not point to fields in metadata"));
        }
        if !matches!(text(&found.schema["type"]), "string" | "boolean" | "integer") {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(&at, given, why));
        }
        if !known.insert(found.path) {
            errors.push(FieldError::duplicate(&at, given));
        }
    }
    if known.len() > MAX_SELECTABLE {
        let message = format!("Too many: {}: must have at most {MAX_SELECTABLE} items", known.len());
        errors.push(FieldError { kind: FieldErrorKind::TooMany, path: path.clone(), message });
    }
}
