//! Values into Kubernetes' protobuf, by the schema's facts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::protobuf::MAGIC;
use super::scalar;
use crate::schema::{self, Field, Many, Message, Shape, Type, Wire};

const PARTIAL: &str = "PartialObjectMetadata";
const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// An object of a kind that the schema has, or a list of such, in its envelope. `None`: the schema does not have it.
pub fn to_protobuf(object: &Value) -> Option<Vec<u8>> {
    let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let kind = object.get("kind")?.as_str()?;
    // Some of what tells of the API has no version of its own.
    let named = if api_version.is_empty() { "v1" } else { api_version };
    let (group, version) = named.split_once('/').unwrap_or(("", named));
    let raw = match schema::message_for(group, version, kind) {
        Some(message) => object_bytes(object.as_object()?, message),
        None if kind == PARTIAL => partial_bytes(object)?,
        None => {
            let item = kind.strip_suffix("List")?;
            match schema::message_for(group, version, item) {
                Some(message) => list_bytes(object, |item| Some(object_bytes(item.as_object()?, message)))?,
                None if item == PARTIAL => list_bytes(object, partial_bytes)?,
                None => return None,
            }
        }
    };
    let mut meta = Vec::new();
    put_bytes(&mut meta, 1, api_version.as_bytes());
    put_bytes(&mut meta, 2, kind.as_bytes());
    let mut body = MAGIC.to_vec();
    put_bytes(&mut body, 1, &meta);
    put_bytes(&mut body, 2, &raw);
    put_bytes(&mut body, 3, b"");
    put_bytes(&mut body, 4, b"");
    Some(body)
}

/// An event of a watch as a protobuf stream has it: four bytes of length, then a `WatchEvent` with the object in its own
/// envelope. `None`: the schema does not have the object.
pub fn to_protobuf_event(kind: &str, object: &Value) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    put_bytes(&mut raw, 1, &to_protobuf(object)?);
    let mut event = vec![0; 4];
    put_bytes(&mut event, 1, kind.as_bytes());
    put_bytes(&mut event, 2, &raw);
    let length = u32::try_from(event.len() - 4).ok()?;
    event[..4].copy_from_slice(&length.to_be_bytes());
    Some(event)
}

/// An object of which nothing but its metadata is shown; the table of facts does not have it, for nobody writes such.
fn partial_bytes(object: &Value) -> Option<Vec<u8>> {
    let message = schema::message(METADATA)?;
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, 1, &object_bytes(object["metadata"].as_object()?, message));
    Some(bytes)
}

/// Every list has its `ListMeta` in field 1 and its items in field 2.
fn list_bytes(list: &Value, item: impl Fn(&Value) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let text = |name: &str| list["metadata"][name].as_str().unwrap_or_default().as_bytes();
    let mut metadata = Vec::new();
    put_bytes(&mut metadata, 1, b"");
    put_bytes(&mut metadata, 2, text("resourceVersion"));
    put_bytes(&mut metadata, 3, text("continue"));
    if let Some(remaining) = list["metadata"]["remainingItemCount"].as_u64() {
        put_varint_field(&mut metadata, 4, remaining);
    }
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, 1, &metadata);
    for object in list["items"].as_array()? {
        put_bytes(&mut bytes, 2, &item(object)?);
    }
    Some(bytes)
}

fn object_bytes(object: &Map<String, Value>, message: &'static Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, wire) in &message.wire {
        match wire {
            Wire::Inline(id) => {
                let inner = object_bytes(object, id.get());
                put_bytes(&mut bytes, *number, &inner);
            }
            Wire::Field(at) => {
                let field = &message.fields[usize::from(*at)];
                if let Some(value) = object.get(field.name).filter(|value| !value.is_null()) {
                    put_field(&mut bytes, field, value);
                }
            }
        }
    }
    bytes
}

fn put_field(bytes: &mut Vec<u8>, field: &'static Field, value: &Value) {
    match (field.many, value) {
        (Many::List, Value::Array(list)) => {
            for item in list {
                put_one(bytes, field.number, field.ty, item);
            }
        }
        (Many::Map, Value::Object(map)) => {
            for (key, item) in map {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                put_one(&mut entry, 2, field.ty, item);
                put_bytes(bytes, field.number, &entry);
            }
        }
        _ => put_one(bytes, field.number, field.ty, value),
    }
}

fn put_one(bytes: &mut Vec<u8>, number: u32, ty: Type, value: &Value) {
    match ty {
        Type::String => put_bytes(bytes, number, value.as_str().unwrap_or_default().as_bytes()),
        Type::Bytes => {
            let text = value.as_str().unwrap_or_default();
            put_bytes(bytes, number, &STANDARD.decode(text).unwrap_or_default());
        }
        // Negative numbers take ten bytes, as protobuf has it.
        Type::Int32 | Type::Int64 => put_varint_field(bytes, number, value.as_i64().unwrap_or(0) as u64),
        Type::Bool => put_varint_field(bytes, number, u64::from(value.as_bool().unwrap_or(false))),
        Type::Double => {
            put_varint(bytes, u64::from(number) << 3 | 1);
            bytes.extend_from_slice(&value.as_f64().unwrap_or(0.0).to_le_bytes());
        }
        Type::Message(id) => put_bytes(bytes, number, &message_bytes(id.get(), value)),
    }
}

fn message_bytes(message: &'static Message, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    match message.shape {
        Shape::Object => {
            if let Value::Object(object) = value {
                bytes = object_bytes(object, message);
            }
        }
        Shape::Time | Shape::MicroTime => {
            if let Some(time) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
                put_varint_field(&mut bytes, 1, time.as_second() as u64);
                put_varint_field(&mut bytes, 2, time.subsec_nanosecond() as u64);
            }
        }
        Shape::Duration => {
            let nanos = value.as_str().and_then(|text| scalar::duration(text).ok()).unwrap_or(0);
            put_varint_field(&mut bytes, 1, nanos as u64);
        }
        Shape::Quantity => put_bytes(&mut bytes, 1, value.as_str().unwrap_or("0").as_bytes()),
        Shape::IntOrString => {
            put_varint_field(&mut bytes, 1, u64::from(value.is_string()));
            put_varint_field(&mut bytes, 2, value.as_i64().unwrap_or(0) as u64);
            put_bytes(&mut bytes, 3, value.as_str().unwrap_or_default().as_bytes());
        }
        Shape::RawObject | Shape::RawJson => put_bytes(&mut bytes, 1, value.to_string().as_bytes()),
        Shape::Strings => {
            for item in value.as_array().into_iter().flatten() {
                put_bytes(&mut bytes, 1, item.as_str().unwrap_or_default().as_bytes());
            }
        }
        Shape::SchemaOrBool | Shape::SchemaOrArray | Shape::SchemaOrStrings => {
            put_either(&mut bytes, message, value);
        }
    }
    bytes
}

/// A schema, or what stands in its place.
fn put_either(bytes: &mut Vec<u8>, message: &'static Message, value: &Value) {
    let schema = message.fields.iter().find(|field| field.many == Many::One && field.message().is_some());
    let other = message.fields.iter().find(|field| field.many == Many::List || field.ty == Type::Bool);
    match (value, schema, other) {
        (Value::Object(_), Some(schema), other) => {
            if let Some(allows) = other.filter(|field| field.ty == Type::Bool) {
                put_one(bytes, allows.number, allows.ty, &Value::Bool(true));
            }
            put_one(bytes, schema.number, schema.ty, value);
        }
        (value, _, Some(other)) => put_field(bytes, other, value),
        _ => {}
    }
}

fn put_varint_field(bytes: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(bytes, u64::from(number) << 3);
    put_varint(bytes, value);
}

fn put_bytes(bytes: &mut Vec<u8>, number: u32, content: &[u8]) {
    put_varint(bytes, u64::from(number) << 3 | 2);
    put_varint(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
