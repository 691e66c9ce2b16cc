//! A stored object taken apart: the object as a value, and who owns its fields as the text that is stored. Most reads and
//! many writes do not look at the owners, which are as large as many an object.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An object's `metadata.managedFields` as JSON, read or written by the same code: it is valid.
pub(crate) type Managed = Option<Box<str>>;

/// The field's name.
pub(crate) const MANAGED_FIELDS: &str = "managedFields";

/// A stored object.
pub(crate) struct Stored {
    /// The object without its managers.
    pub value: Value,
    pub managed: Managed,
}

impl Stored {
    /// Reads a stored object.
    pub(crate) fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut managed = None;
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let value = Object { managed: &mut managed }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(Self { value, managed })
    }

    /// An object without managers.
    pub(crate) fn unowned(value: Value) -> Self {
        Self { value, managed: None }
    }

    /// The object with its managers in it.
    pub(crate) fn whole(&self) -> Value {
        let mut value = self.value.clone();
        if let (Some(managed), Some(metadata)) =
            (&self.managed, value.get_mut("metadata").and_then(Value::as_object_mut))
            && let Ok(managed) = serde_json::from_str(managed)
        {
            metadata.insert(MANAGED_FIELDS.to_owned(), managed);
        }
        value
    }
}

/// The text of managers as it is stored; `None` where there are none.
pub(crate) fn managed(text: String) -> Managed {
    (!text.is_empty()).then(|| text.into_boxed_str())
}

/// A stored object's bytes without its managers, which are as large as the rest and of no use to most readers.
pub(crate) fn without_managed(json: &[u8]) -> Cow<'_, [u8]> {
    let Some(range) = managed_range(json) else { return Cow::Borrowed(json) };
    let mut bytes = Vec::with_capacity(json.len() - range.len());
    bytes.extend_from_slice(&json[..range.start]);
    bytes.extend_from_slice(&json[range.end..]);
    Cow::Owned(bytes)
}

/// Where the managers stand in compact JSON, with the comma that they need not have any more.
fn managed_range(json: &[u8]) -> Option<Range<usize>> {
    const METADATA: &[u8] = b"\"metadata\":{";
    const FIELD: &[u8] = b"\"managedFields\":";
    let metadata = json.windows(METADATA.len()).position(|window| window == METADATA)? + METADATA.len();
    let mut start = None;
    let (mut depth, mut at) = (1, metadata);
    while at < json.len() {
        match json[at] {
            b'"' => {
                if depth == 1 && json[at..].starts_with(FIELD) {
                    start = Some(at);
                }
                at = end_of_text(json, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        match start {
            // The list has ended.
            Some(start) if depth == 1 && matches!(json[at - 1], b']') => {
                return Some(match json.get(at) {
                    Some(b',') => start..at + 1,
                    _ if json[start - 1] == b',' => start - 1..at,
                    _ => start..at,
                });
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Behind the text that begins at a quote.
fn end_of_text(json: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < json.len() {
        match json[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// Reads the object itself, whose field `metadata` is taken apart.
struct Object<'a> {
    managed: &'a mut Managed,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = if name == "metadata" {
                map.next_value_seed(Metadata { managed: &mut *self.managed })?
            } else {
                map.next_value()?
            };
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

struct Metadata<'a> {
    managed: &'a mut Managed,
}

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object's metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == MANAGED_FIELDS {
                let text = map.next_value::<Box<RawValue>>()?;
                *self.managed = (text.get() != "null").then(|| text.into());
            } else {
                fields.insert(name, map.next_value()?);
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_managers_are_kept_as_they_are_stored() {
        let text =
            r#"{"kind":"A","metadata":{"name":"a","managedFields":[{"manager":"m" }]},"spec":{"managedFields":[1]}}"#;
        let stored = Stored::read(text.as_bytes()).expect("an object");
        assert_eq!(stored.value, json!({"kind": "A", "metadata": {"name": "a"}, "spec": {"managedFields": [1]}}));
        assert_eq!(stored.managed.as_deref(), Some(r#"[{"manager":"m" }]"#));
        assert_eq!(stored.whole(), serde_json::from_str::<Value>(text).expect("JSON"));
    }

    #[test]
    fn managers_are_cut_out_of_the_text() {
        fn check(text: &str, expected: &str) {
            assert_eq!(String::from_utf8_lossy(&without_managed(text.as_bytes())), expected, "{text}");
        }
        check(r#"{"metadata":{"a":1,"managedFields":[{"b":[1]}]},"c":2}"#, r#"{"metadata":{"a":1},"c":2}"#);
        check(r#"{"metadata":{"managedFields":[{"b":"]}"}],"a":1}}"#, r#"{"metadata":{"a":1}}"#);
        check(r#"{"metadata":{"managedFields":[]}}"#, r#"{"metadata":{}}"#);
        for same in [
            r#"{"metadata":{"a":{"managedFields":[1]}},"spec":{"managedFields":[1]}}"#,
            r#"{"metadata":{"a":"\"managedFields\":[]","b":"\\"}}"#,
            r#"{"metadata":{"a":1}}"#,
            r#"{"metadata":{"managedFields":[1"#,
            r#"{"metadata":{"a"#,
            "{}",
            "",
        ] {
            check(same, same);
        }
    }

    #[test]
    fn objects_need_no_managers() {
        for text in [r#"{"metadata":{}}"#, r#"{"metadata":{"managedFields":null}}"#, "{}"] {
            assert!(Stored::read(text.as_bytes()).expect("an object").managed.is_none(), "{text}");
        }
        for text in ["", "[]", r#"{"metadata":1}"#, r#"{"metadata":{}"#, "{}{}"] {
            assert!(Stored::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
