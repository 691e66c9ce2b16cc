//! What the API's types look like on the wire: a table of facts about messages and their fields, from which JSON and
//! protobuf bodies are checked, strategic merge patches applied and OpenAPI documents written.
//!
//! `schema/facts.txt` is generated from the sources of the crates k8s-pb (field numbers, markers) and k8s-openapi (JSON
//! names, descriptions, the served version's set of fields); `examples/facts` writes it and a test compares it.

mod implied;
mod parse;

use std::sync::LazyLock;

static TABLE: LazyLock<parse::Table> = LazyLock::new(|| parse::table(include_str!("schema/facts.txt")));

/// A message: what protobuf calls a message and JSON an object, unless `shape` says otherwise.
#[derive(Debug)]
pub struct Message {
    /// The name in OpenAPI documents: `io.k8s.api.core.v1.Pod`.
    pub name: &'static str,
    /// How the message is written in JSON.
    pub shape: Shape,
    /// The fields of the JSON object, inlined ones included, in the order of their declaration.
    pub fields: Vec<Field>,
    /// Fields of the protobuf message, ordered by number.
    pub(crate) wire: Vec<(u32, Wire)>,
    /// Positions in `fields`, ordered by JSON name.
    pub(crate) by_name: Vec<u16>,
    /// Whether objects of it carry `kind` and `apiVersion`.
    pub root: bool,
    /// Whether server-side apply replaces such an object as a whole.
    pub atomic: bool,
}

/// What a protobuf field number leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// The field at this position of `Message::fields`.
    Field(u16),
    /// A message whose fields stand among this message's own in JSON.
    Inline(MessageId),
}

/// A message's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId(u16);

impl MessageId {
    /// The message itself.
    pub fn get(self) -> &'static Message {
        &TABLE.messages[usize::from(self.0)]
    }
}

/// How a message is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An object with the message's fields.
    Object,
    /// RFC 3339 text, whole seconds.
    Time,
    /// RFC 3339 text, microseconds.
    MicroTime,
    /// A duration in Go's notation, `1h30m0s`.
    Duration,
    /// A quantity: text, numbers accepted.
    Quantity,
    /// A number or text.
    IntOrString,
    /// Any JSON object, kept as it is (`RawExtension`, `FieldsV1`).
    RawObject,
    /// Any JSON value, kept as it is.
    RawJson,
    /// A list of strings in a message of its own.
    Strings,
    /// A schema or a boolean.
    SchemaOrBool,
    /// A schema or a list of schemas.
    SchemaOrArray,
    /// A schema or a list of strings.
    SchemaOrStrings,
}

/// The type of a field, or of the items of a list or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    String,
    Int32,
    Int64,
    Double,
    Bool,
    /// Base64 text in JSON.
    Bytes,
    Message(MessageId),
}

/// Whether a field holds one value or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Many {
    One,
    List,
    /// A map with string keys.
    Map,
}

/// How server-side apply treats the items of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

/// What a field holds that is always there: Go's structs by value, and lists that it writes when they are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implied {
    /// An empty object.
    Object,
    /// Nothing, as a list.
    Null,
}

/// One field of a message.
#[derive(Clone, Debug)]
pub struct Field {
    /// The JSON name.
    pub name: &'static str,
    /// The protobuf field number in the message that declares it (an inlined message's own number space).
    pub number: u32,
    pub ty: Type,
    pub many: Many,
    /// Whether OpenAPI lists the field as required; such a field is kept when it is empty.
    pub required: bool,
    /// Whether a zero (`0`, `false`, `""`, `[]`) differs from an absent field.
    pub pointer: bool,
    pub list_type: Option<ListType>,
    /// The keys of the items, where `list_type` is `Map`.
    pub list_keys: Vec<&'static str>,
    /// Whether a map or an object is replaced as a whole by server-side apply.
    pub atomic: bool,
    /// `patchStrategy` contains `merge`.
    pub merge: bool,
    /// `patchStrategy` contains `retainKeys`.
    pub retain_keys: bool,
    /// `patchStrategy` is `replace`, for an object.
    pub replace: bool,
    /// `patchMergeKey` of a list of objects.
    pub merge_key: Option<&'static str>,
    /// `+default`, as JSON text.
    pub default: Option<&'static str>,
    /// What the field holds in every object that has none of it written.
    pub implied: Option<Implied>,
}

impl Field {
    /// The message of the field's value or items.
    pub fn message(&self) -> Option<&'static Message> {
        match self.ty {
            Type::Message(id) => Some(id.get()),
            _ => None,
        }
    }
}

impl Message {
    /// The field with that JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|position| &self.fields[position])
    }

    /// Where the field with that JSON name stands in `fields`.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.by_name
            .binary_search_by(|at| self.fields[usize::from(*at)].name.cmp(name))
            .ok()
            .map(|found| usize::from(self.by_name[found]))
    }

    /// The messages whose fields stand among this one's.
    pub(crate) fn inlined(&self) -> impl Iterator<Item = &'static Message> {
        self.wire.iter().filter_map(|(_, wire)| match wire {
            Wire::Inline(id) => Some(id.get()),
            Wire::Field(_) => None,
        })
    }

    /// The name of the type in Go, without its package: `PodSpec`.
    pub fn go_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// The name of the type's package in Go: `v1`, `resource`.
    pub fn go_package(&self) -> &'static str {
        self.name.rsplit('.').nth(1).unwrap_or_default()
    }
}

/// The message with that OpenAPI name.
pub fn message(name: &str) -> Option<&'static Message> {
    TABLE.by_name(name)
}

/// The message of a kind, its group empty for core. Kinds that belong to every group (`DeleteOptions`, `Status`, ...) are
/// found under any.
pub fn message_for(group: &str, version: &str, kind: &str) -> Option<&'static Message> {
    TABLE.kind(group, version, kind).or_else(|| TABLE.shared_kind(kind))
}

/// Whether the kind belongs to every group.
pub(crate) fn is_shared_kind(kind: &str) -> bool {
    TABLE.shared_kind(kind).is_some()
}

/// All kinds of the table with their messages: group, version, kind.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static Message)> {
    TABLE.kinds.iter().map(|((group, version, kind), at)| (*group, *version, *kind, MessageId(*at).get()))
}

/// All messages.
pub fn messages() -> &'static [Message] {
    &TABLE.messages
}
