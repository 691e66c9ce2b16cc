//! What values are made of, as far as owning parts of them is concerned: which objects and lists are owned item by item,
//! and by what their items are known.

use std::sync::LazyLock;

use pal_resources::schema::{self, Field, ListType, Many, Message, Type};
use serde_json::Value;

use super::custom::Schema;
use super::element::Element;

/// The shape of a value. Built-in kinds have theirs from the schema's facts, custom resources from their definition.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'a> {
    /// An object of a built-in kind, or a part of one.
    Message(&'static Message),
    /// The whole value of a field: one value, a list or a map.
    Field(&'static Field),
    /// One of the values of a field that is a list or a map.
    Item(&'static Field),
    /// A part of a custom resource.
    Custom(&'a Schema),
    /// Anything that is neither a list nor an object.
    Scalar(Scalar),
    /// Anything; lists and objects are owned as a whole.
    Untyped,
    /// Anything; objects are owned field by field, lists as a whole.
    Deduced,
    /// A field that the schema does not have.
    Undeclared,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Number,
    String,
    Bool,
    Any,
}

/// What a value of a shape may be. More than one is possible where the schema does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) scalar: Option<Scalar>,
    pub(crate) list: Option<List<'a>>,
    pub(crate) object: Option<Object<'a>>,
}

/// How a list is owned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'a> {
    pub(crate) by: By<'a>,
    pub(crate) item: Shape<'a>,
}

/// By what the items of a list are known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By<'a> {
    /// By nothing: the list is owned as a whole.
    Whole,
    /// By their values.
    Value,
    /// By fields of theirs.
    Keys(Keys<'a>),
}

/// The names of key fields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys<'a> {
    One(&'static str),
    Many(&'static [&'static str]),
    Custom(&'a [String]),
}

/// How an object is owned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a> {
    /// It is owned as a whole.
    pub(crate) atomic: bool,
    fields: Fields<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Fields<'a> {
    Message(&'static Message),
    Custom(&'a Schema),
    /// All fields are of one shape, and none is declared.
    Rest(Rest),
}

/// The shape of entries of maps.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Item(&'static Field),
    Untyped,
    Deduced,
}

impl Rest {
    fn shape<'a>(self) -> Shape<'a> {
        match self {
            Self::Item(field) => Shape::Item(field),
            Self::Untyped => Shape::Untyped,
            Self::Deduced => Shape::Deduced,
        }
    }
}

impl<'a> Shape<'a> {
    /// The shape of a built-in kind's objects.
    pub fn of_kind(group: &str, version: &str, kind: &str) -> Option<Shape<'static>> {
        schema::message_for(group, version, kind).map(Shape::Message)
    }

    pub(crate) fn parts(self) -> Parts<'a> {
        let whole = List { by: By::Whole, item: Shape::Untyped };
        match self {
            Self::Message(message) => of_message(message, false),
            Self::Field(field) => of_field(field),
            Self::Item(field) => of_item(field),
            Self::Custom(schema) => schema.parts(),
            Self::Scalar(scalar) => Parts { scalar: Some(scalar), ..Parts::default() },
            Self::Untyped => Parts {
                scalar: Some(Scalar::Any),
                list: Some(whole),
                object: Some(Object { atomic: true, fields: Fields::Rest(Rest::Untyped) }),
            },
            Self::Deduced => Parts {
                scalar: Some(Scalar::Any),
                list: Some(whole),
                object: Some(Object { atomic: false, fields: Fields::Rest(Rest::Deduced) }),
            },
            Self::Undeclared => Parts::default(),
        }
    }

    /// Whether values of the shape are owned as a whole, whatever they are.
    pub(crate) fn is_atomic(self) -> bool {
        let parts = self.parts();
        parts.object.is_none_or(|object| object.atomic)
            && parts.list.is_none_or(|list| list.is_whole())
            && (parts.object.is_some() || parts.list.is_some())
    }

    /// Whether the schema names that field of the object.
    pub(crate) fn declares(self, name: &str) -> bool {
        self.parts().object.is_some_and(|object| object.declares(name))
    }

    /// The shape of what an element of a path leads to.
    pub(crate) fn below(self, element: &Element) -> Shape<'a> {
        let parts = self.parts();
        match element {
            Element::Field(name) => parts.object.map_or(Shape::Undeclared, |object| object.field(name)),
            _ => parts.list.map_or(Shape::Undeclared, |list| list.item),
        }
    }
}

impl<'a> Object<'a> {
    pub(crate) fn custom(schema: &'a Schema, atomic: bool) -> Self {
        Self { atomic, fields: Fields::Custom(schema) }
    }

    /// A field of the object.
    pub(crate) fn child(&self, name: &str) -> Child<'a> {
        match self.fields {
            Fields::Message(message) => match message.field(name) {
                Some(field) => Child { shape: Shape::Field(field), declared: true, implied: implied(field) },
                None if message.root && matches!(name, "kind" | "apiVersion") => {
                    Child { shape: Shape::Scalar(Scalar::String), declared: true, implied: None }
                }
                None => Child { shape: Shape::Undeclared, declared: false, implied: None },
            },
            Fields::Custom(schema) => {
                Child { shape: schema.field(name), declared: schema.declares(name), implied: None }
            }
            Fields::Rest(rest) => Child { shape: rest.shape(), declared: false, implied: None },
        }
    }

    /// The shape of a field; `Undeclared` where there is no such field.
    pub(crate) fn field(&self, name: &str) -> Shape<'a> {
        self.child(name).shape
    }

    /// Whether the schema names the field.
    pub(crate) fn declares(&self, name: &str) -> bool {
        self.child(name).declared
    }

    /// The names of all fields that are there even where they are not written.
    pub(crate) fn all_implied(&self) -> impl Iterator<Item = &'static str> {
        let fields = match self.fields {
            Fields::Message(message) => &*message.fields,
            _ => &[],
        };
        fields.iter().filter(|field| field.implied.is_some()).map(|field| field.name)
    }
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child<'a> {
    /// `Undeclared` where there is no such field.
    pub(crate) shape: Shape<'a>,
    /// The schema names it.
    pub(crate) declared: bool,
    /// What it holds where it is not written: such a field is in every object, and nobody adds it.
    pub(crate) implied: Option<&'static Value>,
}

fn implied(field: &Field) -> Option<&'static Value> {
    static OBJECT: LazyLock<Value> = LazyLock::new(|| Value::Object(serde_json::Map::new()));
    static NULL: Value = Value::Null;
    field.implied.map(|implied| match implied {
        schema::Implied::Object => &*OBJECT,
        schema::Implied::Null => &NULL,
    })
}

impl<'a> Keys<'a> {
    pub(crate) fn names(self) -> impl Iterator<Item = &'a str> {
        let (one, many, custom): (Option<&'a str>, &'a [&'static str], &'a [String]) = match self {
            Self::One(name) => (Some(name), &[], &[]),
            Self::Many(names) => (None, names, &[]),
            Self::Custom(names) => (None, &[], names),
        };
        one.into_iter().chain(many.iter().copied()).chain(custom.iter().map(String::as_str))
    }
}

impl<'a> List<'a> {
    /// Whether the list is owned as a whole.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.by, By::Whole)
    }

    /// The value that a key has in items that leave it out.
    pub(crate) fn key_default(&self, name: &str) -> Option<Value> {
        match self.item {
            Shape::Item(field) => {
                let key = field.message()?.field(name)?;
                match key.default {
                    Some(text) => serde_json::from_str(text).ok(),
                    // A field that Go always writes is empty where it is left out.
                    None if key.required => zero(key.ty),
                    None => None,
                }
            }
            Shape::Custom(schema) => schema.default_of(name),
            _ => None,
        }
    }
}

fn zero(ty: Type) -> Option<Value> {
    match ty {
        Type::String => Some("".into()),
        Type::Int32 | Type::Int64 => Some(0.into()),
        _ => None,
    }
}

fn of_message(message: &'static Message, atomic: bool) -> Parts<'static> {
    use schema::Shape as Form;
    let scalar = |scalar| Parts { scalar: Some(scalar), ..Parts::default() };
    match message.shape {
        Form::Object => Parts {
            object: Some(Object { atomic: atomic || message.atomic, fields: Fields::Message(message) }),
            ..Parts::default()
        },
        Form::Time | Form::MicroTime | Form::Quantity | Form::IntOrString => scalar(Scalar::Any),
        Form::Duration => scalar(Scalar::String),
        Form::RawObject => {
            Parts { object: Some(Object { atomic, fields: Fields::Rest(Rest::Deduced) }), ..Parts::default() }
        }
        Form::Strings => {
            Parts { list: Some(List { by: By::Whole, item: Shape::Scalar(Scalar::String) }), ..Parts::default() }
        }
        Form::RawJson | Form::SchemaOrBool | Form::SchemaOrArray | Form::SchemaOrStrings => Shape::Untyped.parts(),
    }
}

fn of_field(field: &'static Field) -> Parts<'static> {
    match field.many {
        Many::One => match field.ty {
            Type::Message(id) => of_message(id.get(), field.atomic),
            _ => of_item(field),
        },
        Many::Map => Parts {
            object: Some(Object { atomic: field.atomic, fields: Fields::Rest(Rest::Item(field)) }),
            ..Parts::default()
        },
        Many::List => Parts { list: Some(List { by: by(field), item: Shape::Item(field) }), ..Parts::default() },
    }
}

/// By what a list's items are known: by the list's type, else by what strategic merge patches go by.
fn by(field: &'static Field) -> By<'static> {
    match field.list_type {
        Some(ListType::Atomic) => By::Whole,
        Some(ListType::Set) => By::Value,
        Some(ListType::Map) => By::Keys(Keys::Many(&field.list_keys)),
        None if field.merge && !field.retain_keys => match field.merge_key {
            Some(key) => By::Keys(Keys::One(key)),
            None => By::Value,
        },
        None => By::Whole,
    }
}

fn of_item(field: &'static Field) -> Parts<'static> {
    let scalar = match field.ty {
        Type::Message(id) => return of_message(id.get(), false),
        Type::String | Type::Bytes => Scalar::String,
        Type::Int32 | Type::Int64 | Type::Double => Scalar::Number,
        Type::Bool => Scalar::Bool,
    };
    Parts { scalar: Some(scalar), ..Parts::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_owned_as_their_type_says() {
        fn check(path: &[&str], expected: &str) {
            let mut shape = Shape::of_kind("", "v1", "Pod").expect("a kind");
            for name in path {
                let parts = shape.parts();
                shape = match (parts.object, parts.list) {
                    (Some(object), _) => object.field(name),
                    (None, Some(list)) => {
                        assert_eq!(*name, "[]");
                        list.item
                    }
                    _ => panic!("{path:?}"),
                };
            }
            let parts = shape.parts();
            let found = match (parts.scalar, parts.list.map(|list| list.by), parts.object) {
                (Some(scalar), None, None) => format!("{scalar:?}"),
                (None, Some(By::Whole), None) => "list".to_owned(),
                (None, Some(By::Value), None) => "set".to_owned(),
                (None, Some(By::Keys(keys)), None) => keys.names().collect::<Vec<_>>().join(","),
                (None, None, Some(object)) => if object.atomic { "whole" } else { "object" }.to_owned(),
                _ => "other".to_owned(),
            };
            assert_eq!(found, expected, "{path:?}");
        }
        check(&["metadata", "labels"], "object");
        check(&["metadata", "labels", "a"], "String");
        check(&["metadata", "finalizers"], "set");
        check(&["metadata", "ownerReferences"], "uid");
        check(&["metadata", "ownerReferences", "[]"], "whole");
        check(&["spec", "containers"], "name");
        check(&["spec", "containers", "[]", "ports"], "containerPort,protocol");
        check(&["spec", "containers", "[]", "command"], "list");
        check(&["spec", "containers", "[]", "env", "[]", "valueFrom", "secretKeyRef"], "whole");
        check(&["spec", "nodeSelector"], "whole");
        check(&["spec", "tolerations"], "list");
        check(&["spec", "volumes"], "name");
        check(&["spec", "containers", "[]", "resources", "limits", "cpu"], "Any");
        check(&["kind"], "String");
        check(&["status", "conditions"], "type");
    }

    #[test]
    fn keys_have_their_defaults() {
        let pod = Shape::of_kind("", "v1", "Pod").expect("a kind");
        let ports = ["spec", "containers", "", "ports"].iter().fold(pod, |shape, name| {
            let parts = shape.parts();
            parts.object.map_or_else(|| parts.list.expect("a list").item, |object| object.field(name))
        });
        let list = ports.parts().list.expect("a list");
        assert_eq!(list.key_default("protocol"), Some("TCP".into()));
        assert_eq!(list.key_default("containerPort"), Some(0.into()));
        assert_eq!(list.key_default("hostPort"), None);
    }
}
