//! One step of a path into an object, as structured-merge-diff orders and writes it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

/// One step of a path: a field, or an item of a list.
#[derive(Clone, Debug)]
pub enum Element {
    /// `f:NAME`: a field of an object or an entry of a map.
    Field(Box<str>),
    /// `k:{...}`: the item with those keys, which are ordered by name.
    Key(Box<[(Box<str>, Value)]>),
    /// `v:VALUE`: the item of a set.
    Value(Value),
    /// `i:NUMBER`: the item at that place.
    Index(i64),
}

/// A key of FieldsV1 that names no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadElement(String);

impl Element {
    /// A field's step.
    pub fn field(name: impl Into<Box<str>>) -> Self {
        Self::Field(name.into())
    }

    /// The step to the item with those keys.
    pub fn key(mut keys: Vec<(Box<str>, Value)>) -> Self {
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(keys.into())
    }

    /// The key in FieldsV1, as text that is not yet quoted.
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let object: Map<String, Value> =
                    keys.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
                format!("k:{}", Value::Object(object))
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// Reads a key of FieldsV1.
    pub(crate) fn decode(text: &str) -> Result<Self, BadElement> {
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(BadElement(format!("missing colon: {text}")));
        };
        let bad = |error: serde_json::Error| BadElement(format!("parsing {text:?}: {error}"));
        match kind {
            "f" => Ok(Self::field(rest)),
            "v" => serde_json::from_str(rest).map(Self::Value).map_err(bad),
            "i" => rest.parse().map(Self::Index).map_err(|error| BadElement(format!("parsing {text:?}: {error}"))),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).map_err(bad)?;
                Ok(Self::key(keys.into_iter().map(|(name, value)| (name.into(), value)).collect()))
            }
            _ => Err(BadElement(format!("unknown path element type in {text:?}"))),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let pairs = a.iter().zip(b).map(|((an, av), (bn, bv))| an.cmp(bn).then_with(|| order(av, bv)));
                pairs.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
            }
            (Self::Value(a), Self::Value(b)) => order(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Element {}

/// As paths are told to people: `.spec`, `[name="web"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                f.write_str("[")?;
                for (at, (name, value)) in keys.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={}", told(value))?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={}]", told(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A value as Go's library for it prints one.
fn told(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => format!("{text:?}").into(),
        Value::Array(items) => {
            let items: Vec<Cow<'_, str>> = items.iter().map(told).collect();
            format!("[{}]", items.join(",")).into()
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", told(value))).collect();
            format!("{{{}}}", fields.join(";")).into()
        }
        other => other.to_string().into(),
    }
}

/// A path, as it is told to people.
pub(crate) struct Told<'a>(pub &'a [Element]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}

/// The order of values: numbers, texts, truth values, lists, objects, nothing.
fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(f64::NAN).total_cmp(&b.as_f64().unwrap_or(f64::NAN)),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let pairs = a.iter().zip(b).map(|(a, b)| order(a, b));
            pairs.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let sorted = |map: &Map<String, Value>| {
                let mut fields: Vec<(String, Value)> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                fields
            };
            let (a, b) = (sorted(a), sorted(b));
            let pairs = a.iter().zip(&b).map(|((an, av), (bn, bv))| an.cmp(bn).then_with(|| order(av, bv)));
            pairs.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Whether two values are the same; `1` and `1.0` are.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => order(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_are_written_and_read_as_kubernetes_does() {
        fn check(element: Element, text: &str, told: &str) {
            assert_eq!(element.encode(), text);
            assert_eq!(Element::decode(text).as_ref(), Ok(&element), "{text}");
            assert_eq!(element.to_string(), told, "{text}");
        }
        check(Element::field("spec"), "f:spec", ".spec");
        check(Element::field("a:b"), "f:a:b", ".a:b");
        check(Element::Value(json!("x")), "v:\"x\"", "[=\"x\"]");
        check(Element::Value(json!(true)), "v:true", "[=true]");
        check(Element::Index(3), "i:3", "[3]");
        let key = vec![("protocol".into(), json!("TCP")), ("containerPort".into(), json!(80))];
        check(
            Element::key(key),
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}",
            "[containerPort=80,protocol=\"TCP\"]",
        );
        for bad in ["", "f", "x:a", "i:a", "k:[]", "v:", "v:{"] {
            assert!(Element::decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn elements_have_one_order() {
        let key = |name: &str, value: Value| Element::key(vec![(name.into(), value)]);
        let ordered = [
            Element::field("a"),
            Element::field("b"),
            key("a", json!(2)),
            key("a", json!(10)),
            key("a", json!("x")),
            key("b", json!(1)),
            Element::Value(json!(1)),
            Element::Value(json!("a")),
            Element::Value(json!(false)),
            Element::Index(0),
            Element::Index(5),
        ];
        for (at, a) in ordered.iter().enumerate() {
            for (bt, b) in ordered.iter().enumerate() {
                assert_eq!(a.cmp(b), at.cmp(&bt), "{a} {b}");
            }
        }
        assert_eq!(key("a", json!(1)), key("a", json!(1.0)));
    }
}
