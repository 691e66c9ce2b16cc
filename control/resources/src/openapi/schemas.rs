//! `components.schemas`: the types that a group and version's kinds are made of.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{Schemas, custom_name, reference, roots};
use crate::resource::Resource;
use crate::schema::{self, Field, ListType, Many, Message, Shape, Type};

/// What the types and fields are for, generated as the facts are.
pub(super) const DESCRIPTIONS: &str = include_str!("../schema/descriptions.txt");

/// The values of texts that may have but few.
pub(super) const VALUES: &str = include_str!("../schema/enums.txt");

/// The same by the names of types and fields.
static ENUMS: LazyLock<HashMap<(&str, &str), Vec<&str>>> = LazyLock::new(|| {
    let read = |line: &'static str| {
        let mut words = line.split(' ');
        let (ty, field) = words.next()?.rsplit_once('.')?;
        let message = schema::message(&format!("io.k8s.api.{ty}"))?;
        let values = words.map(|word| if word == "\"\"" { "" } else { word });
        Some(((message.name, field), values.collect()))
    };
    VALUES.lines().filter_map(read).collect()
});

/// Types that every document has: what is sent to delete, and what failures are.
const SHARED: [&str; 2] =
    ["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.Status"];

/// What custom resources have of built-in types: the metadata of objects and of lists.
const METADATA: [&str; 2] =
    ["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// All types that the resources' bodies need, and `more`.
pub(super) fn schemas(resources: &[&Resource], more: Option<&str>, custom: Schemas<'_>) -> Map<String, Value> {
    let shared = SHARED.iter().copied().filter(|_| !resources.is_empty()).chain(more);
    let mut pending: Vec<&'static Message> = shared.filter_map(schema::message).collect();
    let own: Vec<(&Resource, &Value)> = resources.iter().filter_map(|r| Some((*r, custom(r)?))).collect();
    if !own.is_empty() {
        pending.extend(METADATA.iter().filter_map(|name| schema::message(name)));
    }
    for resource in resources {
        let list = format!("{}List", resource.kind);
        let own =
            [(&*resource.group, &*resource.version, &*resource.kind), (&*resource.group, &*resource.version, &*list)];
        let subs = resource.subresources.iter().map(|sub| (&*sub.group, &*sub.version, &*sub.kind));
        pending.extend(own.into_iter().chain(subs).filter_map(|(g, v, k)| schema::message_for(g, v, k)));
    }
    let mut reached = BTreeMap::new();
    while let Some(message) = pending.pop() {
        if reached.insert(message.name, message).is_none() {
            pending.extend(message.fields.iter().filter_map(Field::message));
        }
    }
    let texts = Texts::read();
    let kinds: HashMap<&str, (&str, &str, &str)> =
        schema::kinds().map(|(group, version, kind, message)| (message.name, (group, version, kind))).collect();
    let mut schemas: Map<String, Value> = reached
        .into_values()
        .map(|message| {
            let mut schema = schema_of(message, &texts);
            if let Some((group, version, kind)) = kinds.get(message.name) {
                let gvk = json!([{"group": group, "kind": kind, "version": version}]);
                schema.insert("x-kubernetes-group-version-kind".to_owned(), gvk);
            }
            (message.name.to_owned(), Value::Object(schema))
        })
        .collect();
    if let Some((name, schema)) = more.and_then(|name| Some((name, roots::schema(name)?))) {
        schemas.insert(name.to_owned(), schema);
    }
    for (resource, schema) in own {
        let (group, version, kind) = (&resource.group, &resource.version, &resource.kind);
        schemas.insert(custom_name(group, version, kind), schema.clone());
        schemas.insert(custom_name(group, version, &format!("{kind}List")), list_of(resource));
    }
    schemas
}

/// The schema of lists of a custom resource.
fn list_of(resource: &Resource) -> Value {
    let (group, version, kind) = (&resource.group, &resource.version, &resource.kind);
    json!({
        "description": format!("{kind}List is a list of {kind}"),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": API_VERSION, "type": "string"},
            "items": {
                "description": format!("List of {}.", resource.plural),
                "type": "array",
                "items": reference(&custom_name(group, version, kind)),
            },
            "kind": {"description": KIND, "type": "string"},
            "metadata": {
                "description": "Standard list metadata.",
                "allOf": [reference(METADATA[1])],
            },
        },
        "x-kubernetes-group-version-kind": [{"group": group, "kind": format!("{kind}List"), "version": version}],
    })
}

/// Descriptions by message, then by field.
struct Texts(HashMap<&'static str, (&'static str, HashMap<&'static str, &'static str>)>);

impl Texts {
    fn read() -> Self {
        let mut texts: HashMap<_, (_, HashMap<_, _>)> = HashMap::new();
        let mut current = "";
        for (name, text) in DESCRIPTIONS.lines().filter_map(|line| line.split_once('\t')) {
            match name.strip_prefix('.') {
                Some(field) => drop(texts.entry(current).or_insert(("", HashMap::new())).1.insert(field, text)),
                None => {
                    current = name;
                    texts.insert(name, (text, HashMap::new()));
                }
            }
        }
        Self(texts)
    }

    fn message(&self, message: &Message) -> &'static str {
        self.0.get(message.name).map_or("", |(text, _)| text)
    }

    /// A field that is inlined is described where it is declared.
    fn field(&self, message: &Message, name: &str) -> Option<&'static str> {
        let own = self.0.get(message.name).and_then(|(_, fields)| fields.get(name).copied());
        own.or_else(|| message.inlined().find_map(|inner| self.field(inner, name)))
    }
}

fn schema_of(message: &'static Message, texts: &Texts) -> Map<String, Value> {
    let mut schema = Map::new();
    let description = texts.message(message);
    if !description.is_empty() {
        schema.insert("description".to_owned(), description.into());
    }
    let form = match message.shape {
        Shape::Object => {
            add_properties(&mut schema, message, texts);
            return schema;
        }
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::Duration => json!({"type": "string"}),
        Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::IntOrString => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Shape::RawObject => json!({"type": "object"}),
        Shape::Strings => json!({"type": "array", "items": {"type": "string", "default": ""}}),
        Shape::RawJson | Shape::SchemaOrBool | Shape::SchemaOrArray | Shape::SchemaOrStrings => json!({}),
    };
    if let Value::Object(form) = form {
        schema.extend(form);
    }
    schema
}

fn add_properties(schema: &mut Map<String, Value>, message: &'static Message, texts: &Texts) {
    let mut properties = BTreeMap::new();
    if message.root {
        for (name, text) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            properties.insert(name, json!({"description": text, "type": "string"}));
        }
    }
    for field in &message.fields {
        let values = ENUMS.get(&(message.name, field.name));
        properties.insert(field.name, property(field, texts.field(message, field.name), values.map(Vec::as_slice)));
    }
    schema.insert("type".to_owned(), "object".into());
    let required: Vec<&str> = message.fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    let properties: Map<String, Value> = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    schema.insert("properties".to_owned(), properties.into());
    if message.atomic {
        schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
}

fn property(field: &'static Field, description: Option<&str>, values: Option<&[&str]>) -> Value {
    let mut property = Map::new();
    if let Some(description) = description {
        property.insert("description".to_owned(), description.into());
    }
    let mut one = one(field);
    if let Some(values) = values {
        one.insert("enum".to_owned(), json!(values));
    }
    match field.many {
        Many::One => property.extend(one),
        Many::List => {
            property.insert("type".to_owned(), "array".into());
            property.insert("items".to_owned(), one.into());
        }
        Many::Map => {
            property.insert("type".to_owned(), "object".into());
            property.insert("additionalProperties".to_owned(), one.into());
        }
    }
    if let Some(default) = field.default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        property.insert("default".to_owned(), default);
    }
    let list_type = field.list_type.map(|list_type| match list_type {
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map => "map",
    });
    if !field.list_keys.is_empty() {
        property.insert("x-kubernetes-list-map-keys".to_owned(), json!(field.list_keys));
    }
    if let Some(list_type) = list_type {
        property.insert("x-kubernetes-list-type".to_owned(), list_type.into());
    }
    if field.atomic {
        property.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    if let Some(key) = field.merge_key {
        property.insert("x-kubernetes-patch-merge-key".to_owned(), key.into());
    }
    let strategy = match (field.merge, field.retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => return property.into(),
    };
    property.insert("x-kubernetes-patch-strategy".to_owned(), strategy.into());
    property.into()
}

/// The schema of one value of the field's type.
fn one(field: &'static Field) -> Map<String, Value> {
    let schema = match field.ty {
        Type::String => json!({"type": "string"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        // A bare reference has no room for a description.
        Type::Message(id) => json!({"allOf": [reference(id.get().name)]}),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}
