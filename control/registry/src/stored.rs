//! A stored object taken apart: the object as a value, and who owns its fields as the text that is stored. Most reads and
//! many writes do not look at the owners, which are as large as many an object.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An object's `metadata.managedFields` as JSON.
pub(crate) type Managed = Option<Box<RawValue>>;

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
            && let Ok(managed) = serde_json::from_str(managed.get())
        {
            metadata.insert(MANAGED_FIELDS.to_owned(), managed);
        }
        value
    }
}

/// The text of managers as it is stored; `None` where there are none.
pub(crate) fn managed(text: String) -> Managed {
    if text.is_empty() { None } else { RawValue::from_string(text).ok() }
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
                *self.managed = Some(map.next_value::<Box<RawValue>>()?).filter(|text| text.get() != "null");
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
        assert_eq!(stored.managed.as_ref().map(|managed| managed.get()), Some(r#"[{"manager":"m" }]"#));
        assert_eq!(stored.whole(), serde_json::from_str::<Value>(text).expect("JSON"));
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
