//! Values as JSON.

use base64::Engine as _;
use serde_json::{Map, Number, Value};

use super::value::{Key, V};

/// The value as JSON. Objects that were made must be called by the path at which they stand below `root`, if there is one.
pub(super) fn json(value: &V<'_>, root: Option<&str>) -> Result<Value, String> {
    Ok(match value {
        V::Null => Value::Null,
        V::Bool(yes) => (*yes).into(),
        V::Int(number) => (*number).into(),
        V::Uint(number) => (*number).into(),
        V::Double(number) => Number::from_f64(*number).map(Value::Number).ok_or("a number is not finite")?,
        V::Text(text) => Value::String(text.to_string()),
        V::Bytes(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        V::List(items) => Value::Array(items.iter().map(|item| json(item, root)).collect::<Result<_, _>>()?),
        V::JsonList(items, _) => Value::Array(items.to_vec()),
        V::JsonMap(fields, ..) => Value::Object((*fields).clone()),
        V::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| Ok((name(key), json(value, root)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, String>>()?)
        }
        V::Built(own, fields) => {
            if let Some(path) = root.filter(|path| path != own) {
                return Err(format!(
                    "type mismatch: unexpected type name {own:?}, expected {path:?}, which matches field name path \
                     from root Object type"
                ));
            }
            let fields = fields.iter().map(|(key, value)| {
                let name = name(key);
                let path = root.map(|path| format!("{path}.{name}"));
                let value = json(value, path.as_deref())?;
                Ok((name, value))
            });
            Value::Object(fields.collect::<Result<Map<_, _>, String>>()?)
        }
        V::Time(time) => time.to_string().into(),
        V::Duration(nanoseconds) => format!("{}s", *nanoseconds as f64 / 1e9).into(),
        V::Quantity(quantity) => quantity.to_string().into(),
        V::Optional(Some(inner)) => json(inner, root)?,
        other => return Err(format!("unsupported type: {}", other.type_name())),
    })
}

fn name(key: &Key) -> String {
    match key {
        Key::Bool(yes) => yes.to_string(),
        Key::Number(number) => number.to_string(),
        Key::Text(text) => text.to_string(),
    }
}
