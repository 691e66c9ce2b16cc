//! What all walks over a value and its shape have in common.

use std::fmt;

use serde_json::Value;

use super::element::Element;
use super::shape::{By, List, Object, Parts, Scalar, Shape};

/// What a value is taken for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan<'a> {
    Object(Object<'a>),
    Scalar(Scalar),
    List(List<'a>),
    /// The schema has nothing for it.
    Nothing,
}

impl Plan<'_> {
    /// Whether both are the same part of the schema.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What of a shape a value is. What is `null`, or fits nothing, is taken for the first that there is.
pub(crate) fn plan<'a>(shape: Shape<'a>, value: Option<&Value>) -> Plan<'a> {
    let Parts { scalar, list, object } = shape.parts();
    match (value, scalar, list, object) {
        (Some(Value::Bool(_) | Value::Number(_) | Value::String(_)), Some(scalar), ..) => Plan::Scalar(scalar),
        (Some(Value::Array(_)), _, Some(list), _) => Plan::List(list),
        (_, _, _, Some(object)) => Plan::Object(object),
        (_, Some(scalar), ..) => Plan::Scalar(scalar),
        (_, _, Some(list), _) => Plan::List(list),
        _ => Plan::Nothing,
    }
}

/// The items of a list; none where it is null, missing or no list.
pub(crate) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether an object or list has nothing in it, or is not there.
pub(crate) fn is_bare(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        _ => true,
    }
}

/// The step to an item of a list.
pub(crate) fn element(list: &List<'_>, index: usize, item: &Value) -> Result<Element, String> {
    match list.by {
        // Nobody has that many items.
        By::Whole => Ok(Element::Index(index as i64)),
        By::Value => match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            value => Ok(Element::Value(value.clone())),
        },
        By::Keys(keys) => {
            let fields = match item {
                Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
                Value::Object(fields) => fields,
                _ => return Err("associative list with keys may not have non-map elements".to_owned()),
            };
            let mut found = Vec::new();
            for name in keys.names() {
                if let Some(value) = fields.get(name).cloned().or_else(|| list.key_default(name)) {
                    found.push((name.into(), value));
                }
            }
            if found.is_empty() {
                let names: Vec<String> = keys.names().map(|name| format!("{name:?}")).collect();
                return Err(format!(
                    "associative list with keys has an element that omits all key fields [{}] \
                     (and doesn't have default values for any key fields)",
                    names.join(" ")
                ));
            }
            Ok(Element::key(found))
        }
    }
}

/// What is wrong with a value at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    path: String,
    message: String,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }
}

/// All that is wrong with a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, message: impl Into<String>) {
        self.0.push(Fault::new(message));
    }

    /// Takes in what is wrong below an element.
    pub(crate) fn extend_below(&mut self, element: &Element, below: Self) {
        self.0.extend(
            below.0.into_iter().map(|fault| Fault { path: format!("{element}{}", fault.path), message: fault.message }),
        );
    }

    /// Faults are an error; none are none.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = &*self.0 {
            return one.fmt(f);
        }
        f.write_str("errors:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}
