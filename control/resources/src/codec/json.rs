//! JSON bodies, and what is wrong with those that are none in the words of Go's `encoding/json`.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::problem::Context;
use super::raw::{KeySeed, RawSeed};
use super::walk::ObjectVisitor;
use crate::schema::Message;

/// The part of a body that says what it is.
#[derive(Default)]
pub(super) struct Head {
    pub(super) kind: Option<String>,
    pub(super) api_version: Option<String>,
}

/// Reads the head alone; of duplicates the last counts.
pub(super) fn head(body: &[u8]) -> Result<Head, String> {
    let fields: HeadFields = serde_json::from_slice(body).map_err(|error| words(&error, body))?;
    Ok(Head { kind: text("kind", fields.kind)?, api_version: text("apiVersion", fields.api_version)? })
}

fn text(name: &str, value: Value) -> Result<Option<String>, String> {
    let got = match value {
        Value::Null => return Ok(None),
        Value::String(text) => return Ok(Some(text)),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    Err(format!("json: cannot unmarshal {got} into Go struct field .{name} of type string"))
}

#[derive(Default)]
struct HeadFields {
    kind: Value,
    api_version: Value,
}

impl<'de> Deserialize<'de> for HeadFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadVisitor)
    }
}

struct HeadVisitor;

impl<'de> Visitor<'de> for HeadVisitor {
    type Value = HeadFields;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<HeadFields, A::Error> {
        let mut fields = HeadFields::default();
        while let Some(key) = entries.next_key_seed(KeySeed)? {
            match &*key {
                "kind" => fields.kind = entries.next_value()?,
                "apiVersion" => fields.api_version = entries.next_value()?,
                _ => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(fields)
    }
}

/// Reads an object of the message.
pub(super) fn object(body: &[u8], message: &'static Message, cx: &mut Context) -> Result<Map<String, Value>, String> {
    check_depth(body)?;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = ObjectVisitor { cx: &mut *cx, message, root: true };
    let result = seed.deserialize(&mut deserializer).and_then(|map| deserializer.end().map(|()| map));
    result.map_err(|error| cx.failure.take().unwrap_or_else(|| words(&error, body)))
}

/// How deep Go's decoder goes, also into what it passes over.
const MAX_NESTING: usize = 10_000;

/// Refuses what is nested deeper than Go reads. What is read here may be far less deep, but fields that are passed over are
/// not looked at otherwise.
fn check_depth(body: &[u8]) -> Result<(), String> {
    if body.len() <= MAX_NESTING {
        return Ok(());
    }
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err("exceeded max depth".to_owned());
        }
    }
    Ok(())
}

/// Reads any value.
pub(super) fn raw(body: &[u8], cx: &mut Context) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = RawSeed { cx: &mut *cx };
    let result = seed.deserialize(&mut deserializer).and_then(|map| deserializer.end().map(|()| map));
    result.map_err(|error| cx.failure.take().unwrap_or_else(|| words(&error, body)))
}

/// Whether it is JSON, of any shape.
pub(super) fn check(body: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(body).map(drop).map_err(|error| words(&error, body))
}

/// The type of the struct that Go decodes the head into.
const HEAD_TYPE: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

fn words(error: &serde_json::Error, body: &[u8]) -> String {
    match error.classify() {
        Category::Eof => "unexpected end of JSON input".to_owned(),
        Category::Data => {
            let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
            let (got, ty) = match first {
                Some(b'{') => return format!("json: {error}"),
                Some(b'[') => ("array", HEAD_TYPE),
                Some(b'"') => ("string", HEAD_TYPE),
                Some(b't' | b'f') => ("bool", HEAD_TYPE),
                Some(b'n') => ("null", HEAD_TYPE),
                _ => ("number", HEAD_TYPE),
            };
            format!("json: cannot unmarshal {got} into Go value of type {ty}")
        }
        Category::Syntax | Category::Io => syntax_words(error, body),
    }
}

/// `invalid character 'x' looking for beginning of value`
fn syntax_words(error: &serde_json::Error, body: &[u8]) -> String {
    // serde_json tells its errors apart in their text only.
    let text = error.to_string();
    let place = [
        ("expected `:`", "after object key"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("expected value", "looking for beginning of value"),
        ("expected ident", "in literal"),
        ("key must be a string", "looking for beginning of object key string"),
        ("trailing comma", "looking for beginning of value"),
        ("trailing characters", "after top-level value"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
        ("recursion limit", ""),
    ]
    .into_iter()
    .find(|(start, _)| text.starts_with(start));
    match (place, character(error, body)) {
        (Some((_, "")), _) => "exceeded max depth".to_owned(),
        (Some((_, place)), Some(byte)) => format!("invalid character {} {place}", quote(byte)),
        _ => format!("json: {text}"),
    }
}

/// The byte that the error points at.
fn character(error: &serde_json::Error, body: &[u8]) -> Option<u8> {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => body.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(line - 2)?.0 + 1,
    };
    body.get(line_start + error.column().saturating_sub(1)).copied()
}

/// As Go quotes a character.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        0x80..=0xa0 | 0xad => format!("'\\u00{byte:02x}'"),
        0x20..=0x7e | 0xa1..=0xac | 0xae.. => format!("'{}'", char::from(byte)),
        byte => format!("'\\x{byte:02x}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_is_told_in_gos_words() {
        let check = |body: &str, expected: &str| {
            let error = raw(body.as_bytes(), &mut Context::default()).unwrap_err();
            assert_eq!(error, expected, "{body:?}");
        };
        check("", "unexpected end of JSON input");
        check("{\"a\":", "unexpected end of JSON input");
        check("{\"a\" 1}", "invalid character '1' after object key");
        check("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair");
        check("[1 2]", "invalid character '2' after array element");
        check("{\"a\":\0}", "invalid character '\\x00' looking for beginning of value");
        check("{\n\"a\":\n x}", "invalid character 'x' looking for beginning of value");
        check("{\"a\":\u{8}}", "invalid character '\\b' looking for beginning of value");
        check("{1:2}", "invalid character '1' looking for beginning of object key string");
        check("{} x", "invalid character 'x' after top-level value");
        check(&"[".repeat(200), "exceeded max depth");
    }

    #[test]
    fn what_is_passed_over_is_no_deeper_than_go_reads() {
        let check = |body: String, expected: Result<(), &str>| {
            assert_eq!(check_depth(body.as_bytes()), expected.map_err(str::to_owned), "{}", &body[..20]);
        };
        check("[".repeat(MAX_NESTING), Ok(()));
        check("{\"a\":".repeat(MAX_NESTING + 1), Err("exceeded max depth"));
        check("[]{}".repeat(MAX_NESTING), Ok(()));
        check(format!("\"\\\"{}\"", "[".repeat(MAX_NESTING + 1)), Ok(()));
    }
}
