//! Schemas as OpenAPI v2 has them: without alternatives and defaults, and with references beside which descriptions may stand.

use serde_json::{Map, Value};

use super::{Definitions, Message};
use crate::openapi::schemas;
use crate::resource::Resource;

/// `definitions`: every type of every kind, in the order of their names.
pub(super) fn definitions(resources: &[&Resource], custom: Definitions<'_>) -> Map<String, Value> {
    let found = schemas::schemas(resources, None, &|_| None);
    let mut found: Map<String, Value> = found.into_iter().map(|(name, schema)| (name, convert(&schema))).collect();
    for (name, schema) in resources.iter().flat_map(|resource| custom(resource)) {
        found.insert(name, schema.clone());
    }
    found.sort_keys();
    found
}

/// A schema of OpenAPI v3 in the words of v2.
pub(super) fn convert(schema: &Value) -> Value {
    let Some(schema) = schema.as_object() else { return schema.clone() };
    let mut converted = Map::new();
    for (key, value) in schema {
        match key.as_str() {
            "default" | "nullable" => {}
            // What may be a text or a number is a text.
            "oneOf" => drop(converted.insert("type".to_owned(), "string".into())),
            "allOf" => match value.as_array().map(Vec::as_slice) {
                Some([only]) => converted.extend(convert(only).as_object().cloned().unwrap_or_default()),
                _ => drop(converted.insert(key.clone(), each(value))),
            },
            "$ref" => {
                let name = value.as_str().unwrap_or_default().trim_start_matches("#/components/schemas/");
                converted.insert(key.clone(), format!("#/definitions/{name}").into());
            }
            "items" | "additionalProperties" => drop(converted.insert(key.clone(), convert(value))),
            // Beneath are names of fields, not words of schemas.
            "properties" => {
                let fields = value.as_object().into_iter().flatten();
                let fields: Map<String, Value> = fields.map(|(name, field)| (name.clone(), convert(field))).collect();
                converted.insert(key.clone(), fields.into());
            }
            _ => drop(converted.insert(key.clone(), value.clone())),
        }
    }
    converted.into()
}

fn each(list: &Value) -> Value {
    list.as_array().into_iter().flatten().map(convert).collect()
}

/// `Properties` and `Definitions`, which are written alike: `NamedSchema{name, value}`.
pub(super) fn properties(schemas: &Map<String, Value>) -> Message {
    schemas.iter().fold(Message::default(), |all, (name, schema)| {
        all.message(1, Message::default().text(1, name).message(2, message(schema)))
    })
}

/// `Schema`, of which clients read what things are called, what they are made of and how lists merge.
fn message(schema: &Value) -> Message {
    let text = |key: &str| schema[key].as_str().unwrap_or_default();
    let mut message = Message::default().text(1, text("$ref")).text(2, text("format")).text(4, text("description"));
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        message = message.text(19, required);
    }
    match &schema["additionalProperties"] {
        // AdditionalPropertiesItem{schema} or {boolean}
        Value::Bool(allowed) => message = message.message(21, Message::default().number(2, u64::from(*allowed))),
        Value::Object(_) => {
            let inner = self::message(&schema["additionalProperties"]);
            message = message.message(21, Message::default().message(1, inner));
        }
        _ => {}
    }
    if !text("type").is_empty() {
        message = message.message(22, Message::default().text(1, text("type")));
    }
    if schema["items"].is_object() {
        message = message.message(23, Message::default().message(1, self::message(&schema["items"])));
    }
    if let Some(fields) = schema["properties"].as_object() {
        message = message.message(25, properties(fields));
    }
    for (name, value) in schema.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
        message = message.message(31, Message::named_any(name, value));
    }
    message
}
