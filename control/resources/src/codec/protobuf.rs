//! Kubernetes' protobuf envelope and messages into JSON values, by the schema's facts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::problem::MAX_DEPTH;
use super::scalar;
use crate::duration;
use crate::schema::{Field, Many, Message, Shape, Type, Wire};

/// The four bytes before every message.
pub(super) const MAGIC: &[u8] = b"k8s\0";

/// `runtime.Unknown`: what the object is, and its own message.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) raw: &'a [u8],
}

/// Opens the envelope.
pub(super) fn envelope(body: &[u8]) -> Result<Envelope<'_>, String> {
    let Some(message) = body.strip_prefix(MAGIC) else {
        return Err("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]".to_owned());
    };
    let mut envelope = Envelope::default();
    let mut reader = Reader { rest: message };
    while let Some((number, part)) = reader.field()? {
        match (number, part) {
            (1, Part::Bytes(bytes)) => {
                let mut meta = Reader { rest: bytes };
                while let Some((number, part)) = meta.field()? {
                    match (number, part) {
                        (1, Part::Bytes(bytes)) => envelope.api_version = text(bytes)?,
                        (2, Part::Bytes(bytes)) => envelope.kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Part::Bytes(bytes)) => envelope.raw = bytes,
            (3 | 4, Part::Bytes(bytes)) if !bytes.is_empty() => {
                let value = text(bytes)?;
                if number == 3 || value != "application/vnd.kubernetes.protobuf" {
                    return Err(format!("the content encoding or type {value:?} is not supported"));
                }
            }
            _ => {}
        }
    }
    Ok(envelope)
}

/// Reads a message whose JSON form is an object. Zeros are in it: the walk knows which to leave out.
pub(super) fn object(bytes: &[u8], message: &'static Message) -> Result<Map<String, Value>, String> {
    let mut object = Map::new();
    read_into(&mut object, bytes, message, 0)?;
    Ok(object)
}

fn read_into(
    object: &mut Map<String, Value>,
    bytes: &[u8],
    message: &'static Message,
    depth: usize,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("proto: exceeded max depth".to_owned());
    }
    let mut reader = Reader { rest: bytes };
    while let Some((number, part)) = reader.field()? {
        let Ok(at) = message.wire.binary_search_by_key(&number, |(number, _)| *number) else { continue };
        match (message.wire[at].1, part) {
            (Wire::Field(at), part) => add(object, &message.fields[usize::from(at)], part, depth)?,
            (Wire::Inline(id), Part::Bytes(bytes)) => read_into(object, bytes, id.get(), depth + 1)?,
            (Wire::Inline(_), _) => return Err(wrong_type(message.go_name())),
        }
    }
    Ok(())
}

fn wrong_type(name: &str) -> String {
    format!("proto: wrong wireType for field {name}")
}

fn add(object: &mut Map<String, Value>, field: &'static Field, part: Part<'_>, depth: usize) -> Result<(), String> {
    match field.many {
        Many::One => {
            // A message that comes in several parts is one message.
            let previous = match field.message().map(|m| m.shape) {
                Some(Shape::Object) => object.remove(field.name),
                _ => None,
            };
            let value = one(field, part, previous, depth)?;
            object.insert(field.name.to_owned(), value);
        }
        Many::List => {
            let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                match (part, field.ty) {
                    (Part::Bytes(bytes), Type::Int32 | Type::Int64 | Type::Bool) => {
                        let mut packed = Reader { rest: bytes };
                        while !packed.rest.is_empty() {
                            let part = Part::Varint(packed.varint()?);
                            list.push(one(field, part, None, depth)?);
                        }
                    }
                    (part, _) => list.push(one(field, part, None, depth)?),
                }
            }
        }
        Many::Map => {
            let Part::Bytes(bytes) = part else { return Err(wrong_type(field.name)) };
            let (key, value) = entry(field, bytes, depth)?;
            let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = map {
                map.insert(key, value);
            }
        }
    }
    Ok(())
}

fn entry(field: &'static Field, bytes: &[u8], depth: usize) -> Result<(String, Value), String> {
    let mut reader = Reader { rest: bytes };
    let (mut key, mut value) = (String::new(), None);
    while let Some((number, part)) = reader.field()? {
        match (number, part) {
            (1, Part::Bytes(bytes)) => key = text(bytes)?,
            (2, part) => value = Some(one(field, part, None, depth)?),
            _ => {}
        }
    }
    let empty = || match field.ty {
        Type::String | Type::Bytes => Ok(Value::String(String::new())),
        Type::Message(_) => one(field, Part::Bytes(&[]), None, depth),
        _ => one(field, Part::Varint(0), None, depth),
    };
    Ok((key, value.map_or_else(empty, Ok)?))
}

/// One value of the field's type. Go's casts of integers truncate, and so do these.
fn one(field: &'static Field, part: Part<'_>, previous: Option<Value>, depth: usize) -> Result<Value, String> {
    match (field.ty, part) {
        (Type::String, Part::Bytes(bytes)) => text(bytes).map(Value::String),
        (Type::Bytes, Part::Bytes(bytes)) => Ok(Value::String(STANDARD.encode(bytes))),
        (Type::Int32, Part::Varint(value)) => Ok(Value::from(value as i32)),
        (Type::Int64, Part::Varint(value)) => Ok(Value::from(value as i64)),
        (Type::Bool, Part::Varint(value)) => Ok(Value::Bool(value != 0)),
        (Type::Double, Part::Fixed64(bits)) => Ok(Value::from(f64::from_bits(bits))),
        (Type::Message(id), Part::Bytes(bytes)) => message(id.get(), bytes, previous, depth + 1),
        _ => Err(wrong_type(field.name)),
    }
}

fn message(message: &'static Message, bytes: &[u8], previous: Option<Value>, depth: usize) -> Result<Value, String> {
    let mut object = match previous {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    };
    read_into(&mut object, bytes, message, depth)?;
    let number = |name: &str| object.get(name).and_then(Value::as_i64).unwrap_or(0);
    let value = match message.shape {
        Shape::Object => Value::Object(object),
        // An empty message is Go's zero time, which JSON tells as null.
        Shape::Time | Shape::MicroTime if bytes.is_empty() => Value::Null,
        Shape::Time | Shape::MicroTime => {
            let nanos = i32::try_from(number("nanos")).unwrap_or(0);
            let time = Timestamp::new(number("seconds"), nanos).map_err(|e| format!("proto: {e}"))?;
            Value::String(match message.shape {
                Shape::Time => scalar::format_time(time),
                _ => scalar::format_micro_time(time),
            })
        }
        Shape::Duration => Value::String(duration::show(number("duration"))),
        Shape::Quantity => match object.remove("string") {
            Some(Value::String(text)) if !text.is_empty() => Value::String(text),
            _ => Value::String("0".to_owned()),
        },
        Shape::IntOrString if number("type") == 1 => {
            object.remove("strVal").unwrap_or_else(|| Value::String(String::new()))
        }
        Shape::IntOrString => Value::from(number("intVal")),
        Shape::RawObject | Shape::RawJson => return embedded(bytes),
        Shape::Strings => object.remove("items").unwrap_or_else(|| Value::Array(Vec::new())),
        Shape::SchemaOrBool | Shape::SchemaOrArray | Shape::SchemaOrStrings => either(object),
    };
    Ok(value)
}

/// A message that holds a schema, or what stands in its place.
fn either(mut object: Map<String, Value>) -> Value {
    let mut take = |name: &str| object.remove(name).filter(|value| !value.is_null());
    take("schema")
        .or_else(|| take("jSONSchemas"))
        .or_else(|| take("property"))
        .or_else(|| take("allows"))
        .unwrap_or(Value::Null)
}

/// JSON inside of protobuf: the message's first field.
fn embedded(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { rest: bytes };
    let mut value = Value::Null;
    while let Some((number, part)) = reader.field()? {
        if let (1, Part::Bytes(json)) = (number, part)
            && !json.is_empty()
        {
            value = serde_json::from_slice(json).map_err(|e| format!("json: {e}"))?;
        }
    }
    Ok(value)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "proto: invalid UTF-8 in a string field".to_owned())
}

/// A field's content as the wire has it.
#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// Reads fields off a message.
struct Reader<'a> {
    rest: &'a [u8],
}

const CUT_OFF: &str = "unexpected EOF";

impl<'a> Reader<'a> {
    fn field(&mut self) -> Result<Option<(u32, Part<'a>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0 && *number < 1 << 29);
        let number = number.ok_or_else(|| format!("proto: illegal tag {} (wire type {})", tag >> 3, tag & 7))?;
        let part = match tag & 7 {
            0 => Part::Varint(self.varint()?),
            1 => {
                let bytes: [u8; 8] = self.take(8)?.try_into().map_err(|_| CUT_OFF.to_owned())?;
                Part::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT_OFF.to_owned())?;
                Part::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Part::Fixed32
            }
            other => return Err(format!("proto: illegal wireType {other}")),
        };
        Ok(Some((number, part)))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for (at, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { CUT_OFF.to_owned() } else { "proto: integer overflow".to_owned() })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| CUT_OFF.to_owned())?;
        self.rest = rest;
        Ok(taken)
    }
}
