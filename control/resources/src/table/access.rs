//! What tables take from objects.

use super::duration::Clock;
use serde_json::Value;

use super::duration::since;

/// The text of a field, empty if it is left out.
pub(super) fn text(field: &Value) -> &str {
    field.as_str().unwrap_or("")
}

/// The text of a field, or `<none>`.
pub(super) fn text_or_none(field: &Value) -> &str {
    text_or(field, "<none>")
}

/// The text of a field, or what stands for none.
pub(super) fn text_or<'a>(field: &'a Value, none: &'a str) -> &'a str {
    match text(field) {
        "" => none,
        text => text,
    }
}

/// The number of a field, zero if it is left out.
pub(super) fn number(field: &Value) -> i64 {
    field.as_i64().unwrap_or(0)
}

/// The items of a list, none if it is left out.
pub(super) fn items(field: &Value) -> &[Value] {
    field.as_array().map_or(&[], Vec::as_slice)
}

/// How many keys a map has.
pub(super) fn keys(field: &Value) -> usize {
    field.as_object().map_or(0, serde_json::Map::len)
}

/// The object's name, as a cell.
pub(super) fn name(object: &Value) -> Value {
    Value::from(text(&object["metadata"]["name"]))
}

/// How long ago the object was created, as a cell.
pub(super) fn age(object: &Value, now: Clock) -> Value {
    Value::from(ago(&object["metadata"]["creationTimestamp"], now))
}

/// How long ago a time was, or `<unknown>`.
pub(super) fn ago(field: &Value, now: Clock) -> String {
    since(field, now).unwrap_or_else(|| "<unknown>".to_owned())
}

/// `a=b,c=d`, or `<none>`.
pub(super) fn labels(field: &Value) -> String {
    let Some(map) = field.as_object().filter(|map| !map.is_empty()) else {
        return "<none>".to_owned();
    };
    let mut pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
    pairs.sort();
    pairs.join(",")
}

/// The texts joined, or `<none>`.
pub(super) fn joined(texts: &[&str], separator: &str) -> String {
    if texts.is_empty() { "<none>".to_owned() } else { texts.join(separator) }
}
