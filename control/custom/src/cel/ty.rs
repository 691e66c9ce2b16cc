//! The types of expressions, as far as they are known before an object is seen.

use std::rc::Rc;

use pal_resources::kinds::names::CEL_KEYWORDS;
use pal_resources::schema::Message;

use super::described::{self, Record};
use crate::schema::Node;
use crate::schema::node::Type;

/// A type. What is `Any` is known when a value is there.
#[derive(Clone, Debug)]
pub(super) enum Ty<'n> {
    Any,
    /// What an empty list or map holds, or nothing an optional: becomes what it is put together with.
    Open,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Time,
    Duration,
    Type,
    List(Rc<Ty<'n>>),
    Map(Rc<Ty<'n>>, Rc<Ty<'n>>),
    Object(&'n Node, Meta),
    /// What is built in.
    Message(&'static Message),
    Record(&'static Record),
    Optional(Rc<Ty<'n>>),
    /// An object that an expression makes, by the name that it gives.
    Built(Rc<str>),
    /// A type of a library: `net.IP`, `kubernetes.Quantity`, ...
    Opaque(&'static str),
}

/// What an object has beside what its schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    Plain,
    /// `apiVersion`, `kind` and `metadata`.
    Resource,
    /// It is that metadata: a name and a generateName.
    Metadata,
    /// The same as a resource, with all of its metadata.
    Published,
}

impl Meta {
    /// What holds for a schema that stands below another.
    pub(crate) fn of(node: &Node) -> Self {
        if node.embedded { Self::Resource } else { Self::Plain }
    }
}

impl<'n> Ty<'n> {
    /// The type of the values of a schema; `None` where the schema does not tell, and rules see nothing.
    pub(super) fn of(node: &'n Node, meta: Meta) -> Option<Self> {
        if node.int_or_string {
            return Some(Self::Any);
        }
        Some(match node.ty? {
            Type::Boolean => Self::Bool,
            Type::Integer => Self::Int,
            Type::Number => Self::Double,
            Type::String => match node.checks.format.as_ref().map(|format| format.name()) {
                Some("byte") => Self::Bytes,
                Some("duration") => Self::Duration,
                Some("date" | "date-time") => Self::Time,
                _ => Self::Text,
            },
            Type::Array => Self::List(Rc::new(Self::of(node.items.as_ref()?, Meta::of(node.items.as_ref()?))?)),
            Type::Object => match node.entries() {
                Some(inner) => Self::Map(Rc::new(Self::Text), Rc::new(Self::of(inner, Meta::of(inner))?)),
                None => Self::Object(node, meta),
            },
        })
    }

    /// The type of an object's field; `None` where there is none.
    pub(super) fn field(node: &'n Node, meta: Meta, name: &str) -> Option<Self> {
        match (meta, name) {
            (Meta::Resource | Meta::Published, "apiVersion" | "kind") | (Meta::Metadata, "name" | "generateName") => {
                return Some(Self::Text);
            }
            (Meta::Resource, "metadata") => return Some(Self::Object(node, Meta::Metadata)),
            (Meta::Published, "metadata") => return described::metadata(),
            (Meta::Metadata, _) => return None,
            _ => {}
        }
        let inner = node.properties.get(name)?;
        Self::of(inner, Meta::of(inner))
    }

    /// As messages name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Any | Self::Open => "dyn".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int => "int".to_owned(),
            Self::Uint => "uint".to_owned(),
            Self::Double => "double".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Time => "timestamp".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Type => "type".to_owned(),
            Self::List(item) => format!("list({})", item.name()),
            Self::Map(key, value) => format!("map({}, {})", key.name(), value.name()),
            Self::Object(..) | Self::Message(_) => "object".to_owned(),
            Self::Record(record) => record.name.to_owned(),
            Self::Optional(inner) => format!("optional_type({})", inner.name()),
            Self::Built(name) => name.to_string(),
            Self::Opaque(name) => (*name).to_owned(),
        }
    }

    /// Whether a value of the one type may be one of the other.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any | Self::Open, _) | (_, Self::Any | Self::Open) | (Self::Null, Self::Null) => true,
            (Self::Null, ty) | (ty, Self::Null) => ty.may_be_null(),
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.may_be(b),
            (Self::Map(a, x), Self::Map(b, y)) => a.may_be(b) && x.may_be(y),
            (Self::Object(a, m), Self::Object(b, n)) => std::ptr::eq(*a, *b) && m == n,
            (Self::Message(a), Self::Message(b)) => std::ptr::eq(*a, *b),
            (Self::Record(a), Self::Record(b)) => std::ptr::eq(*a, *b),
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }

    /// Whether null may stand in its place: not in that of a plain value, list or map.
    fn may_be_null(&self) -> bool {
        self.is_object()
            || matches!(self, Self::Time | Self::Duration | Self::Optional(_) | Self::Built(_) | Self::Opaque(_))
    }

    fn is_keyed(&self) -> bool {
        matches!(self, Self::Map(..)) || self.is_object()
    }

    /// Whether it has fields of its own.
    pub(super) fn is_object(&self) -> bool {
        matches!(self, Self::Object(..) | Self::Message(_) | Self::Record(_))
    }

    /// What both have in common.
    pub(super) fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Open | Self::Null, ty) | (ty, Self::Open | Self::Null) => ty,
            (Self::List(a), Self::List(b)) => Self::List(joined(&a, &b)),
            (Self::Optional(a), Self::Optional(b)) => Self::Optional(joined(&a, &b)),
            (Self::Map(a, x), Self::Map(b, y)) => Self::Map(joined(&a, &b), joined(&x, &y)),
            (Self::Object(a, m), Self::Object(b, n)) if std::ptr::eq(a, b) && m == n => Self::Object(a, m),
            (Self::Message(a), Self::Message(b)) if std::ptr::eq(a, b) => Self::Message(a),
            (Self::Record(a), Self::Record(b)) if std::ptr::eq(a, b) => Self::Record(a),
            (a, b) if a.is_keyed() && b.is_keyed() => Self::Any,
            (a, b) if a.may_be(&b) && !matches!(a, Self::Any) && !matches!(b, Self::Any) => a,
            _ => Self::Any,
        }
    }

    /// The type when nothing more is put together with it.
    pub(super) fn settled(&self) -> Self {
        match self {
            Self::Open => Self::Any,
            Self::List(item) => Self::List(Rc::new(item.settled())),
            Self::Map(key, value) => Self::Map(Rc::new(key.settled()), Rc::new(value.settled())),
            Self::Optional(inner) => Self::Optional(Rc::new(inner.settled())),
            other => other.clone(),
        }
    }

    /// The type of what is taken out of a list, map or optional that holds such.
    pub(super) fn taken(&self) -> Self {
        if matches!(self, Self::Open) { Self::Any } else { self.clone() }
    }
}

fn joined<'n>(a: &Ty<'n>, b: &Ty<'n>) -> Rc<Ty<'n>> {
    Rc::new(a.clone().join(b.clone()))
}

/// The name of the property that an expression writes like that: `__dash__` for `-`, `__namespace__` for a keyword.
pub(super) fn unescape(name: &str) -> String {
    if !name.contains("__") {
        return name.to_owned();
    }
    let inner = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(keyword) = inner.filter(|inner| CEL_KEYWORDS.contains(inner)) {
        return keyword.to_owned();
    }
    let mut out = String::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let known = [("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")];
        match known.iter().find(|(escape, _)| rest.starts_with(escape)) {
            Some((escape, letter)) => {
                out.push_str(letter);
                rest = &rest[escape.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}
