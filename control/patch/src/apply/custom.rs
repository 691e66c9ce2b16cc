//! The shapes of custom resources, from the structural schemas of their definitions.

use std::collections::BTreeMap;

use pal_resources::schema::{self, Message};
use serde_json::Value;

use super::shape::{By, Keys, List, Object, Parts, Scalar, Shape};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A part of a custom resource's schema, as far as ownership goes.
#[derive(Clone, Debug)]
pub struct Schema {
    form: Form,
    default: Option<Value>,
}

#[derive(Clone, Debug)]
enum Form {
    Scalar(Scalar),
    /// Anything, fields of objects owned one by one.
    Deduced,
    /// Anything, owned as a whole.
    Untyped,
    Message(&'static Message),
    List {
        by: ListBy,
        item: Box<Schema>,
    },
    Object {
        atomic: bool,
        fields: BTreeMap<String, Schema>,
        rest: Option<Box<Schema>>,
    },
}

#[derive(Clone, Debug)]
enum ListBy {
    Whole,
    Value,
    Keys(Vec<String>),
}

impl Schema {
    /// The schema of a custom resource's objects from `openAPIV3Schema` of its version. `kind`, `apiVersion` and
    /// `metadata` are those of every object, whatever is written of them.
    pub fn of_resource(openapi: &Value) -> Self {
        let mut schema = Self::read(openapi, false);
        if !matches!(schema.form, Form::Object { .. }) {
            schema.form =
                Form::Object { atomic: false, fields: BTreeMap::new(), rest: Some(Box::new(Self::deduced())) };
        }
        if let Form::Object { fields, .. } = &mut schema.form {
            add_object_fields(fields);
        }
        schema
    }

    fn plain(form: Form) -> Self {
        Self { form, default: None }
    }

    fn deduced() -> Self {
        Self::plain(Form::Deduced)
    }

    fn read(openapi: &Value, preserves: bool) -> Self {
        let preserves = preserves || openapi["x-kubernetes-preserve-unknown-fields"] == true;
        let form = match openapi["type"].as_str() {
            _ if openapi["x-kubernetes-int-or-string"] == true => Form::Scalar(Scalar::Any),
            Some("object") => Self::object(openapi, preserves),
            Some("array") => {
                Form::List { by: list_by(openapi), item: Box::new(Self::read(&openapi["items"], preserves)) }
            }
            Some("string") => Form::Scalar(Scalar::String),
            Some("boolean") => Form::Scalar(Scalar::Bool),
            Some("integer" | "number") => Form::Scalar(Scalar::Number),
            _ if preserves => Form::Deduced,
            _ => Form::Untyped,
        };
        Self { form, default: openapi.get("default").filter(|default| !default.is_null()).cloned() }
    }

    fn object(openapi: &Value, preserves: bool) -> Form {
        let properties = openapi["properties"].as_object();
        let mut fields: BTreeMap<String, Self> = properties
            .into_iter()
            .flatten()
            .map(|(name, property)| (name.clone(), Self::read(property, preserves)))
            .collect();
        let rest = match &openapi["additionalProperties"] {
            Value::Object(additional) => Some(Self::read(&Value::Object(additional.clone()), preserves)),
            Value::Bool(true) => Some(Self::deduced()),
            Value::Bool(false) => None,
            // An object that says nothing of its fields may have any.
            _ => (preserves || fields.is_empty()).then(Self::deduced),
        };
        if openapi["x-kubernetes-embedded-resource"] == true {
            add_object_fields(&mut fields);
        }
        Form::Object { atomic: openapi["x-kubernetes-map-type"] == "atomic", fields, rest: rest.map(Box::new) }
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        match &self.form {
            Form::Scalar(scalar) => Shape::Scalar(*scalar).parts(),
            Form::Deduced => Shape::Deduced.parts(),
            Form::Untyped => Shape::Untyped.parts(),
            Form::Message(message) => Shape::Message(message).parts(),
            Form::List { by, item } => {
                let by = match by {
                    ListBy::Whole => By::Whole,
                    ListBy::Value => By::Value,
                    ListBy::Keys(keys) => By::Keys(Keys::Custom(keys)),
                };
                Parts { list: Some(List { by, item: Shape::Custom(item) }), ..Parts::default() }
            }
            Form::Object { atomic, .. } => Parts { object: Some(Object::custom(self, *atomic)), ..Parts::default() },
        }
    }

    pub(super) fn field(&self, name: &str) -> Shape<'_> {
        let Form::Object { fields, rest, .. } = &self.form else { return Shape::Undeclared };
        fields.get(name).or(rest.as_deref()).map_or(Shape::Undeclared, Shape::Custom)
    }

    pub(super) fn declares(&self, name: &str) -> bool {
        matches!(&self.form, Form::Object { fields, .. } if fields.contains_key(name))
    }

    /// The default of one of the object's fields.
    pub(super) fn default_of(&self, name: &str) -> Option<Value> {
        let Form::Object { fields, .. } = &self.form else { return None };
        fields.get(name)?.default.clone()
    }
}

/// The fields that every object has.
fn add_object_fields(fields: &mut BTreeMap<String, Schema>) {
    for name in ["kind", "apiVersion"] {
        fields.insert(name.to_owned(), Schema::plain(Form::Scalar(Scalar::String)));
    }
    if let Some(message) = schema::message(OBJECT_META) {
        fields.insert("metadata".to_owned(), Schema::plain(Form::Message(message)));
    }
}

fn list_by(openapi: &Value) -> ListBy {
    match openapi["x-kubernetes-list-type"].as_str() {
        Some("set") => ListBy::Value,
        Some("map") => {
            let keys = openapi["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            ListBy::Keys(keys.filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => ListBy::Whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_definition_says_what_is_owned_item_by_item() {
        let schema = Schema::of_resource(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "list": {"type": "array", "items": {"type": "string"}},
                "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                        "items": {"type": "object", "properties": {"a": {"type": "string"},
                                                                   "b": {"type": "integer", "default": 7}}}},
                "whole": {"type": "object", "x-kubernetes-map-type": "atomic"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "port": {"x-kubernetes-int-or-string": true},
            }},
        }}));
        let spec = schema.field("spec");
        let parts = |name: &str| spec.parts().object.expect("an object").field(name).parts();
        assert!(matches!(parts("set").list, Some(List { by: By::Value, .. })));
        assert!(matches!(parts("list").list, Some(List { by: By::Whole, .. })));
        let map = parts("map").list.expect("a list");
        assert!(matches!(map.by, By::Keys(keys) if keys.names().eq(["a", "b"])));
        assert_eq!(map.key_default("b"), Some(json!(7)));
        assert!(parts("whole").object.is_some_and(|object| object.atomic));
        assert!(matches!(parts("free").object.expect("an object").field("x"), Shape::Custom(_)));
        assert_eq!(parts("port").scalar, Some(Scalar::Any));
        assert!(matches!(spec.parts().object.expect("an object").field("no"), Shape::Undeclared));
        assert!(schema.declares("metadata") && schema.declares("kind"));
    }
}
