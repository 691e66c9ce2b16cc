//! What is wrong with rules (`x-kubernetes-validations`): their form, and whether they compile.

use pal_resources::{FieldError, FieldPath};
use serde_json::{Map, Value};

use super::validate::text;
use crate::cel::{Meta, Rule};
use crate::field_path::{self, Notation};
use crate::schema::Node;
use crate::schema::node::Additional;

/// The rules of a schema.
pub(super) const RULES: &str = "x-kubernetes-validations";
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
            let why = "must be non-empty if specified";
            errors.push(FieldError::invalid(&at.child("message"), message, why));
        } else if broken(message) {
            let why = "must not contain line breaks";
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
                refuse("must be non-empty if specified");
            }
            if field.contains(['\n', '\r']) {
                refuse("must not contain line breaks");
            }
            if field_path::resolve(field, schema, Notation::FieldsAndKeys).is_err() {
                refuse("must be a valid path");
            }
        }
    }
}

/// A rule as messages show it: under the names of the fields of Go's struct, all of them.
fn in_go(rule: &Value) -> Value {
    const TEXTS: &[(&str, &str)] =
        &[("Rule", "rule"), ("Message", "message"), ("MessageExpression", "messageExpression")];
    let mut shown: Map<String, Value> =
        TEXTS.iter().map(|(go, name)| ((*go).to_owned(), text(&rule[*name]).into())).collect();
    shown.insert("Reason".to_owned(), rule["reason"].clone());
    shown.insert("FieldPath".to_owned(), text(&rule["fieldPath"]).into());
    shown.insert("OptionalOldSelf".to_owned(), rule["optionalOldSelf"].clone());
    shown.into()
}

/// Compiles the rules of a schema and puts them into it. Tells what is wrong with those that do not compile.
pub(crate) fn compile(node: &mut Node, schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    walk(node, schema, Meta::Resource, path, None, &mut Told { errors, stored: false });
}

/// The same for a schema that is stored: what was accepted once is served on.
pub(crate) fn compile_stored(node: &mut Node, schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    walk(node, schema, Meta::Resource, path, None, &mut Told { errors, stored: true });
}

/// What is told of rules, and whether they are stored already.
struct Told<'e> {
    errors: &'e mut Vec<FieldError>,
    stored: bool,
}

/// `apart` is the list or map above whose items have no counterpart in what stood before.
fn walk(node: &mut Node, schema: &Value, meta: Meta, path: &FieldPath, apart: Option<&FieldPath>, told: &mut Told<'_>) {
    let mut compiled = Vec::with_capacity(node.rules.len());
    for (index, rule) in node.rules.iter().enumerate() {
        let at = path.child(RULES).index(index);
        let read = if told.stored { Rule::compile_stored } else { Rule::compile };
        match read(rule, node, schema, meta) {
            Ok(done) => {
                if let Some(apart) = apart.filter(|_| done.uses_old) {
                    let why =
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}");
                    told.errors.push(FieldError::invalid(&at.child("rule"), text(&rule["rule"]), &why));
                }
                compiled.push(done);
            }
            Err(faults) => told.errors.extend(faults.into_iter().map(|fault| {
                let shown = if fault.field == "optionalOldSelf" { rule[fault.field].clone() } else { in_go(rule) };
                FieldError::invalid(&at.child(fault.field), shown, &fault.detail)
            })),
        }
    }
    node.compiled = compiled;
    let mut ruled = !node.rules.is_empty();
    for (name, inner) in &mut node.properties {
        let at = path.child("properties").key(name);
        walk(inner, &schema["properties"][name], Meta::of(inner), &at, apart, told);
        ruled |= inner.ruled;
    }
    if let Some(Additional::Schema(inner)) = &mut node.additional {
        walk(inner, &schema["additionalProperties"], Meta::of(inner), &path.child("additionalProperties"), apart, told);
        ruled |= inner.ruled;
    }
    let by_keys = node.list_keys().is_some();
    if let Some(inner) = &mut node.items {
        let apart = if by_keys { apart } else { apart.or(Some(path)) };
        walk(inner, &schema["items"], Meta::of(inner), &path.child("items"), apart, told);
        ruled |= inner.ruled;
    }
    node.ruled = ruled;
}
