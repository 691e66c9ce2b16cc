//! The values of expressions. What stands in an object is not copied.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;

use base64::Engine;
use jiff::Timestamp;
use pal_resources::quantity::Quantity;
use serde_json::{Map, Value};

use super::authorizer::Asking;
use super::json::json;
use super::meter::{Fail, Meter};
use super::ty::Meta;
use crate::schema::Node;
use crate::schema::lists::canonical;
use crate::schema::node::{ListType, Type};

/// A text of the object or the expression, or one that was made.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

/// A key of a map that was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    /// Both kinds of whole numbers: equal ones are one key.
    Number(i128),
    Text(Box<str>),
}

/// A version as semver.org has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Semver {
    pub(super) numbers: [u64; 3],
    pub(super) before: Vec<String>,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum V<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Rc<[u8]>),
    List(Rc<Vec<V<'a>>>),
    Map(Rc<BTreeMap<Key, V<'a>>>),
    /// An object that was made, with the name of its type.
    Built(&'a str, Rc<BTreeMap<Key, V<'a>>>),
    JsonList(&'a [Value], &'a Node),
    JsonMap(&'a Map<String, Value>, &'a Node, Meta),
    Time(Timestamp),
    /// In nanoseconds.
    Duration(i64),
    Optional(Option<Rc<V<'a>>>),
    Type(&'static str),
    Url(Rc<url::Url>),
    Ip(IpAddr),
    Cidr(IpAddr, u8),
    Quantity(Quantity),
    Semver(Rc<Semver>),
    Format(&'static str),
    /// `authorizer`, and what it is narrowed down to.
    Asking(Rc<Asking<'a>>),
}

impl<'a> V<'a> {
    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    /// The text that it is.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(items: Vec<V<'a>>) -> Self {
        Self::List(Rc::new(items))
    }

    pub(super) fn some(value: V<'a>) -> Self {
        Self::Optional(Some(Rc::new(value)))
    }

    /// A value of an object, as its schema says to read it.
    pub(super) fn of(value: &'a Value, node: &'a Node, meta: Meta) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) if node.ty != Some(Type::Number) => Self::Int(whole),
                (_, Some(float)) if node.ty == Some(Type::Integer) && float.fract() == 0.0 => Self::Int(float as i64),
                (_, float) => Self::Double(float.unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::of_text(text, node),
            Value::Array(list) => Self::JsonList(list, node),
            Value::Object(map) => Self::JsonMap(map, node, meta),
        }
    }

    fn of_text(text: &'a str, node: &Node) -> Self {
        let made = match node.checks.format.as_ref().map(|format| format.name()) {
            Some("byte") => {
                base64::engine::general_purpose::STANDARD.decode(text).ok().map(|bytes| Self::Bytes(bytes.into()))
            }
            Some("duration") => crate::duration::parse(text).map(Self::Duration),
            Some("date") => format!("{text}T00:00:00Z").parse().ok().map(Self::Time),
            Some("date-time") => text.parse().ok().map(Self::Time),
            _ => None,
        };
        made.unwrap_or(Self::Text(Text::Borrowed(text)))
    }

    /// The name of the type, as messages and `type()` have it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) | Self::JsonList(..) => "list",
            Self::Map(_) | Self::JsonMap(..) => "map",
            Self::Built(..) => "object",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Url(_) => super::signatures::URL,
            Self::Ip(_) => super::signatures::IP,
            Self::Cidr(..) => super::signatures::CIDR,
            Self::Quantity(_) => super::signatures::QUANTITY,
            Self::Semver(_) => super::signatures::SEMVER,
            Self::Format(_) => super::signatures::FORMAT,
            Self::Asking(asking) => asking.type_name(),
        }
    }

    /// How many items or entries there are; `None` for what has none.
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Self::List(list) => Some(list.len()),
            Self::JsonList(list, _) => Some(list.len()),
            Self::Map(map) => Some(map.len()),
            Self::JsonMap(map, _, Meta::Plain) => Some(map.len()),
            Self::JsonMap(..) => Some(self.list_keys().len()),
            _ => None,
        }
    }

    /// The item at a place of a list.
    pub(super) fn at(&self, index: usize) -> Option<V<'a>> {
        match self {
            Self::List(list) => list.get(index).cloned(),
            Self::JsonList(list, node) => {
                let item = node.items.as_deref()?;
                list.get(index).map(|value| V::of(value, item, Meta::of(item)))
            }
            _ => None,
        }
    }

    /// The items of a list.
    pub(super) fn items(&self, meter: &mut Meter) -> Result<Vec<V<'a>>, Fail> {
        let count = self.count().unwrap_or(0);
        meter.charge(count)?;
        Ok((0..count).filter_map(|index| self.at(index)).collect())
    }

    /// What stands under a name in a map or an object.
    pub(super) fn field(&self, name: &str) -> Option<V<'a>> {
        match self {
            Self::JsonMap(map, node, meta) => match (meta, name) {
                (Meta::Resource, "metadata") => match map.get(name)? {
                    Value::Object(map) => Some(V::JsonMap(map, node, Meta::Metadata)),
                    _ => None,
                },
                (Meta::Resource, "apiVersion" | "kind") | (Meta::Metadata, "name" | "generateName") => {
                    map.get(name)?.as_str().map(|text| V::Text(Text::Borrowed(text)))
                }
                (Meta::Metadata, _) => None,
                _ => {
                    let inner = node.under(name)?;
                    map.get(name).map(|value| V::of(value, inner, Meta::of(inner)))
                }
            },
            Self::Map(map) | Self::Built(_, map) => map.get(&Key::Text(name.into())).cloned(),
            _ => None,
        }
    }

    /// The keys of a map, in order.
    pub(super) fn keys(&self, meter: &mut Meter) -> Result<Vec<V<'a>>, Fail> {
        meter.charge(match self {
            Self::JsonMap(map, ..) => map.len(),
            other => other.count().unwrap_or(0),
        })?;
        Ok(self.list_keys())
    }

    fn list_keys(&self) -> Vec<V<'a>> {
        match self {
            Self::Map(map) | Self::Built(_, map) => map.keys().map(Key::value).collect(),
            Self::JsonMap(map, node, meta) => {
                let seen = |name: &&String| match meta {
                    Meta::Plain => node.under(name).is_some(),
                    Meta::Resource | Meta::Published => {
                        node.under(name).is_some() || crate::schema::prune::META_FIELDS.contains(&name.as_str())
                    }
                    Meta::Metadata => matches!(name.as_str(), "name" | "generateName"),
                };
                map.keys().filter(seen).map(|name| V::Text(Text::Borrowed(name))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What stands under a key.
    pub(super) fn get(&self, key: &V<'_>) -> Option<V<'a>> {
        match (self, key) {
            (_, V::Text(name)) => self.field(name),
            (Self::Map(map), key) => map.get(&Key::of(key)?).cloned(),
            _ => None,
        }
    }
}

impl Key {
    /// The key that a value makes, if it can be one.
    pub(super) fn of(value: &V<'_>) -> Option<Self> {
        Some(match value {
            V::Bool(yes) => Self::Bool(*yes),
            V::Int(number) => Self::Number((*number).into()),
            V::Uint(number) => Self::Number((*number).into()),
            V::Double(number) if number.fract() == 0.0 && number.abs() < 1e18 => Self::Number(*number as i128),
            V::Text(text) => Self::Text((**text).into()),
            _ => return None,
        })
    }

    fn value<'a>(&self) -> V<'a> {
        match self {
            Self::Bool(yes) => V::Bool(*yes),
            Self::Number(number) => match i64::try_from(*number) {
                Ok(number) => V::Int(number),
                // Only such keys are made of numbers that are too large.
                Err(_) => V::Uint(u64::try_from(*number).unwrap_or(u64::MAX)),
            },
            Self::Text(text) => V::text(&**text),
        }
    }
}

/// The order of two numbers of whatever kinds.
fn number_order(a: &V<'_>, b: &V<'_>) -> Option<Option<Ordering>> {
    let whole = |value: &V<'_>| match value {
        V::Int(number) => Some(i128::from(*number)),
        V::Uint(number) => Some(i128::from(*number)),
        _ => None,
    };
    let float = |value: &V<'_>| match value {
        V::Double(number) => Some(*number),
        other => whole(other).map(|number| number as f64),
    };
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(Some(a.cmp(&b))),
        _ => Some(float(a)?.partial_cmp(&float(b)?)),
    }
}

/// The order of two values; `None` where there is none.
pub(super) fn order(a: &V<'_>, b: &V<'_>, meter: &mut Meter) -> Result<Option<Ordering>, Fail> {
    if let Some(order) = number_order(a, b) {
        return Ok(order);
    }
    Ok(match (a, b) {
        (V::Bool(a), V::Bool(b)) => Some(a.cmp(b)),
        (V::Text(a), V::Text(b)) => {
            meter.charge_text(a.len().min(b.len()))?;
            Some((**a).cmp(&**b))
        }
        (V::Bytes(a), V::Bytes(b)) => {
            meter.charge_text(a.len().min(b.len()))?;
            Some(a.cmp(b))
        }
        (V::Time(a), V::Time(b)) => Some(a.cmp(b)),
        (V::Duration(a), V::Duration(b)) => Some(a.cmp(b)),
        _ => None,
    })
}

/// Whether two values are equal.
pub(super) fn equal(a: &V<'_>, b: &V<'_>, meter: &mut Meter) -> Result<bool, Fail> {
    meter.charge(1)?;
    if let Some(order) = number_order(a, b) {
        return Ok(order == Some(Ordering::Equal));
    }
    match (a, b) {
        (V::Null, V::Null) => Ok(true),
        // What stands first tells how they are compared.
        (V::JsonList(x, node), V::List(_) | V::JsonList(..)) => match (&node.list, plain(b)) {
            (Some(ListType::Set), Some(y)) => Ok(same_items(x, &y, meter, canonical)? || equal_lists(a, b, meter)?),
            (Some(ListType::Map(keys)), Some(y)) => {
                // Items by their keys, then whole: the order of items does not matter.
                let text = |item: &Value| {
                    keys.iter().map(|key| item.get(key).map_or(String::new(), canonical)).collect::<String>()
                        + &canonical(item)
                };
                Ok(same_items(x, &y, meter, text)? || equal_lists(a, b, meter)?)
            }
            _ => equal_lists(a, b, meter),
        },
        (V::List(_), V::List(_) | V::JsonList(..)) => equal_lists(a, b, meter),
        (V::Built(a, _), V::Built(b, _)) if a != b => Ok(false),
        (V::Map(_) | V::JsonMap(..), V::Map(_) | V::JsonMap(..)) | (V::Built(..), V::Built(..)) => {
            let keys = a.keys(meter)?;
            if keys.len() != b.keys(meter)?.len() {
                return Ok(false);
            }
            for key in keys {
                let (Some(x), Some(y)) = (a.get(&key), b.get(&key)) else { return Ok(false) };
                if !equal(&x, &y, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (V::Optional(a), V::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b, meter),
            (a, b) => Ok(a.is_none() && b.is_none()),
        },
        (V::Type(a), V::Type(b)) | (V::Format(a), V::Format(b)) => Ok(a == b),
        (V::Url(a), V::Url(b)) => Ok(a == b),
        (V::Ip(a), V::Ip(b)) => Ok(a == b),
        (V::Cidr(a, n), V::Cidr(b, m)) => Ok(a == b && n == m),
        (V::Quantity(a), V::Quantity(b)) => Ok(a == b),
        (V::Semver(a), V::Semver(b)) => Ok(a == b),
        (a, b) => Ok(order(a, b, meter)? == Some(Ordering::Equal)),
    }
}

/// The items of a list as they stand in objects; `None` where there is one that does not.
fn plain<'v>(list: &'v V<'_>) -> Option<Cow<'v, [Value]>> {
    match list {
        V::JsonList(items, _) => Some(Cow::Borrowed(items)),
        V::List(items) => items.iter().map(|item| json(item, None).ok()).collect::<Option<Vec<_>>>().map(Cow::Owned),
        _ => None,
    }
}

fn equal_lists(a: &V<'_>, b: &V<'_>, meter: &mut Meter) -> Result<bool, Fail> {
    if a.count() != b.count() {
        return Ok(false);
    }
    for index in 0..a.count().unwrap_or(0) {
        let (Some(x), Some(y)) = (a.at(index), b.at(index)) else { return Ok(false) };
        if !equal(&x, &y, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_items(a: &[Value], b: &[Value], meter: &mut Meter, text: impl Fn(&Value) -> String) -> Result<bool, Fail> {
    if a.len() != b.len() {
        return Ok(false);
    }
    let mut sides = [Vec::new(), Vec::new()];
    for (side, list) in sides.iter_mut().zip([a, b]) {
        for item in list {
            let text = text(item);
            meter.charge_text(text.len())?;
            side.push(text);
        }
        side.sort_unstable();
    }
    Ok(sides[0] == sides[1])
}
