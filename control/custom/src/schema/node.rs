//! A schema, read once.

use std::collections::{BTreeMap, HashSet};

use pal_resources::FieldError;
use regex::Regex;
use serde_json::Value;

use super::format::Format;
use super::{Path, go_regex};
use crate::cel::Rule;

/// Deeper schemas are refused: every walk along a schema is recursive.
pub(crate) const MAX_DEPTH: usize = 64;

/// How large the compiled patterns of a schema may be together, in bytes: a definition can have ten thousands of them.
const MAX_PATTERN_BYTES: usize = 64 << 20;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub(crate) fn read(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    /// By the values of these fields.
    Map(Vec<String>),
}

/// `additionalProperties`.
#[derive(Debug)]
pub(crate) enum Additional {
    /// `true`
    Any,
    /// `false`
    None,
    Schema(Box<Node>),
}

/// What is asked of a value beside its type.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) format: Option<Format>,
    /// The name of the format, which says how large numbers may be.
    pub(crate) number_format: String,
    pub(crate) values: Vec<Value>,
    /// The texts among them, to be found at once.
    pub(crate) texts: HashSet<String>,
    pub(crate) pattern: Option<Regex>,
    /// As it was written.
    pub(crate) pattern_text: String,
    pub(crate) minimum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) required: Vec<String>,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Box<Node>>,
}

/// One schema and those below it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) ty: Option<Type>,
    pub(crate) int_or_string: bool,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) properties: BTreeMap<String, Node>,
    pub(crate) additional: Option<Additional>,
    pub(crate) items: Option<Box<Node>>,
    pub(crate) preserve: bool,
    pub(crate) embedded: bool,
    pub(crate) list: Option<ListType>,
    pub(crate) checks: Checks,
    /// `x-kubernetes-validations` as they were written.
    pub(crate) rules: Vec<Value>,
    /// The same, once they were compiled.
    pub(crate) compiled: Vec<Rule>,
    /// Whether there are rules here or below.
    pub(crate) ruled: bool,
}

impl Node {
    /// Reads a schema. Errors name what cannot be built: patterns, types, depth.
    pub(crate) fn read(schema: &Value, path: &mut Path) -> Result<Self, Vec<FieldError>> {
        let mut reading = Reading { errors: Vec::new(), pattern_bytes: MAX_PATTERN_BYTES };
        let node = read(schema, path, 0, &mut reading);
        if reading.errors.is_empty() { Ok(node) } else { Err(reading.errors) }
    }

    /// The schema of the entries of a map.
    pub(crate) fn entries(&self) -> Option<&Node> {
        match &self.additional {
            Some(Additional::Schema(node)) => Some(node),
            _ => None,
        }
    }

    /// The schema of what stands under a name.
    pub(crate) fn under(&self, name: &str) -> Option<&Node> {
        self.properties.get(name).or_else(|| self.entries())
    }

    /// The keys by which items of the list are told apart.
    pub(crate) fn list_keys(&self) -> Option<&[String]> {
        match &self.list {
            Some(ListType::Map(keys)) => Some(keys),
            _ => None,
        }
    }
}

/// A schema that is being read.
struct Reading {
    errors: Vec<FieldError>,
    /// What its patterns may still take when they are compiled.
    pattern_bytes: usize,
}

fn read(schema: &Value, path: &mut Path, depth: usize, reading: &mut Reading) -> Node {
    if depth > MAX_DEPTH {
        let why = format!("schemas must not be nested deeper than {MAX_DEPTH}");
        reading.errors.push(FieldError::forbidden(&path.field(), &why));
        return Node::default();
    }
    let flag = |name: &str| schema[name] == true;
    let mut properties = BTreeMap::new();
    path.child("properties", |path| {
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let node = path.key(name, |path| read(schema, path, depth + 1, reading));
            properties.insert(name.clone(), node);
        }
    });
    let additional = match &schema["additionalProperties"] {
        Value::Bool(true) => Some(Additional::Any),
        Value::Bool(false) => Some(Additional::None),
        inner @ Value::Object(_) => {
            let node = path.child("additionalProperties", |path| read(inner, path, depth + 1, reading));
            Some(Additional::Schema(Box::new(node)))
        }
        _ => None,
    };
    let items = schema["items"]
        .is_object()
        .then(|| path.child("items", |path| Box::new(read(&schema["items"], path, depth + 1, reading))));
    let list = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(ListType::Set),
        Some("map") => Some(ListType::Map(texts(&schema["x-kubernetes-list-map-keys"]))),
        Some(_) => Some(ListType::Atomic),
        None => None,
    };
    Node {
        ty: schema["type"].as_str().and_then(Type::read),
        int_or_string: flag("x-kubernetes-int-or-string"),
        nullable: flag("nullable"),
        default: schema.get("default").filter(|value| !value.is_null()).cloned(),
        properties,
        additional,
        items,
        preserve: flag("x-kubernetes-preserve-unknown-fields"),
        embedded: flag("x-kubernetes-embedded-resource"),
        list,
        checks: checks(schema, path, depth, reading),
        rules: schema["x-kubernetes-validations"].as_array().cloned().unwrap_or_default(),
        compiled: Vec::new(),
        ruled: false,
    }
}

fn checks(schema: &Value, path: &mut Path, depth: usize, reading: &mut Reading) -> Checks {
    let pattern_text = schema["pattern"].as_str().unwrap_or_default().to_owned();
    let compiled = (!pattern_text.is_empty()).then(|| go_regex::compile_of(&pattern_text, &mut reading.pattern_bytes));
    let pattern = match compiled {
        None => None,
        Some(Ok(regex)) => Some(regex),
        Some(Err(why)) => {
            let why = format!("must be a valid regular expression, but isn't: {why}");
            let field = path.field().child("pattern");
            reading.errors.push(FieldError::invalid(&field, pattern_text.as_str(), &why));
            None
        }
    };
    let mut each = |name: &str| -> Vec<Node> {
        let list = schema[name].as_array().into_iter().flatten().enumerate();
        path.child(name, |path| {
            list.map(|(index, schema)| path.index(index, |path| read(schema, path, depth + 1, reading))).collect()
        })
    };
    let (all_of, any_of, one_of) = (each("allOf"), each("anyOf"), each("oneOf"));
    let not = schema["not"]
        .is_object()
        .then(|| path.child("not", |path| Box::new(read(&schema["not"], path, depth + 1, reading))));
    Checks {
        format: schema["format"].as_str().and_then(Format::read),
        number_format: schema["format"].as_str().unwrap_or_default().to_owned(),
        values: schema["enum"].as_array().cloned().unwrap_or_default(),
        texts: texts(&schema["enum"]).into_iter().collect(),
        pattern,
        pattern_text,
        minimum: schema["minimum"].as_f64(),
        exclusive_minimum: schema["exclusiveMinimum"] == true,
        maximum: schema["maximum"].as_f64(),
        exclusive_maximum: schema["exclusiveMaximum"] == true,
        multiple_of: schema["multipleOf"].as_f64(),
        min_length: schema["minLength"].as_u64(),
        max_length: schema["maxLength"].as_u64(),
        min_items: schema["minItems"].as_u64(),
        max_items: schema["maxItems"].as_u64(),
        min_properties: schema["minProperties"].as_u64(),
        max_properties: schema["maxProperties"].as_u64(),
        required: texts(&schema["required"]),
        all_of,
        any_of,
        one_of,
        not,
    }
}

/// The texts in a list.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
