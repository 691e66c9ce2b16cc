//! The table's columns (`additionalPrinterColumns`) and their cells.

use jiff::Timestamp;
use pal_resources::table::human_duration;
use serde_json::Value;

use crate::jsonpath::JsonPath;
use crate::schema::lists::canonical;

const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const AGE_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// One column (`TableColumnDefinition`).
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    pub format: String,
    pub description: String,
    /// Above zero it is shown under `-o wide` only.
    pub priority: i32,
    path: Option<JsonPath>,
}

impl Column {
    /// The columns of a version: its name's, then its own, or the age where it has none.
    pub(crate) fn read(columns: &Value) -> Vec<Self> {
        let mut all = vec![Self::plain("Name", "string", "name", NAME_TEXT, ".metadata.name")];
        for column in columns.as_array().into_iter().flatten() {
            let text = |field: &str| column[field].as_str().unwrap_or_default();
            let path = text("jsonPath");
            let description = match text("description") {
                "" => format!("Custom resource definition column (in JSONPath format): {path}"),
                given => given.to_owned(),
            };
            let mut column = Self {
                priority: column["priority"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
                ..Self::plain(text("name"), text("type"), text("format"), &description, path)
            };
            // A path that is none shows nothing.
            column.path = JsonPath::parse(path);
            all.push(column);
        }
        if all.len() == 1 {
            all.push(Self::plain("Age", "date", "", AGE_TEXT, ".metadata.creationTimestamp"));
        }
        all
    }

    fn plain(name: &str, kind: &str, format: &str, description: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            format: format.to_owned(),
            description: description.to_owned(),
            priority: 0,
            path: JsonPath::parse(path),
        }
    }

    /// What the object has in this column; null where it has nothing that fits.
    pub(crate) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = self.path.as_ref().and_then(|path| path.first(object)) else { return Value::Null };
        match (self.kind.as_str(), value) {
            (_, Value::Null) => Value::Null,
            ("string", Value::String(text)) => text.as_str().into(),
            ("string", Value::Number(number)) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(number) => crate::number::show(number).into(),
                None => number.to_string().into(),
            },
            ("string", other) => canonical(other).into(),
            ("integer", Value::Number(number)) => match number.as_i64() {
                Some(number) => number.into(),
                // As a conversion in Go: what follows the point is cut off.
                None => number.as_f64().map_or(Value::Null, |number| (number as i64).into()),
            },
            ("number", Value::Number(number)) => number.clone().into(),
            ("boolean", Value::Bool(yes)) => (*yes).into(),
            ("date", Value::String(text)) => age(text, now).into(),
            _ => Value::Null,
        }
    }
}

fn age(text: &str, now: Timestamp) -> String {
    if text.is_empty() {
        return "<unknown>".to_owned();
    }
    match text.parse::<Timestamp>() {
        // Spans between times that can be written fit by far.
        Ok(time) => human_duration(now.duration_since(time).as_secs_f64().trunc() as i64),
        Err(_) => "<invalid>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_as_kubernetes_fills_them() {
        let object = json!({
            "metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"text": "a", "number": 2.5, "yes": true, "map": {"b": 1, "a": [2]}, "when": "soon", "none": null},
        });
        let now = "2026-01-01T00:05:30Z".parse().expect("a time");
        let check = |kind: &str, path: &str, expected: Value| {
            let columns = Column::read(&json!([{"name": "C", "type": kind, "jsonPath": path}]));
            assert_eq!(columns.len(), 2);
            assert_eq!(columns[1].cell(&object, now), expected, "{kind} {path}");
        };
        check("string", ".spec.text", json!("a"));
        check("string", ".spec.number", json!("2.5"));
        check("string", ".spec.map", json!("{\"a\":[2],\"b\":1}"));
        check("string", ".spec.yes", json!("true"));
        check("string", ".spec.none", json!(null));
        check("integer", ".spec.number", json!(2));
        check("integer", ".spec.text", json!(null));
        check("number", ".spec.number", json!(2.5));
        check("boolean", ".spec.yes", json!(true));
        check("date", ".metadata.creationTimestamp", json!("5m30s"));
        check("date", ".spec.when", json!("<invalid>"));
        check("date", ".spec.missing", json!(null));
        let plain = Column::read(&Value::Null);
        let cells: Vec<Value> = plain.iter().map(|column| column.cell(&object, now)).collect();
        assert_eq!(cells, [json!("x"), json!("5m30s")]);
    }
}
