//! The table's text into messages.

use std::collections::{BTreeMap, HashMap};

use super::{Field, ListType, Many, Message, MessageId, Shape, Type, Wire, implied};

/// The parsed table.
pub(super) struct Table {
    pub(super) messages: Vec<Message>,
    /// By group, version and kind.
    pub(super) kinds: BTreeMap<(&'static str, &'static str, &'static str), u16>,
    /// By kind: group, version and message. Each body's kind is looked up, some more than once.
    by_kind: HashMap<&'static str, Vec<(&'static str, &'static str, u16)>>,
}

/// Kinds that every group and version has.
const SHARED: &[(&str, &str)] = &[
    ("CreateOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.CreateOptions"),
    ("DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
    ("GetOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.GetOptions"),
    ("ListOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.ListOptions"),
    ("PatchOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.PatchOptions"),
    ("Status", "io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
    ("UpdateOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.UpdateOptions"),
];

impl Table {
    pub(super) fn by_name(&'static self, name: &str) -> Option<&'static Message> {
        // The table is ordered by name.
        self.messages.binary_search_by(|m| m.name.cmp(name)).ok().map(|at| &self.messages[at])
    }

    pub(super) fn kind(&'static self, group: &str, version: &str, kind: &str) -> Option<&'static Message> {
        let (_, _, at) = self.by_kind.get(kind)?.iter().find(|of| (of.0, of.1) == (group, version))?;
        Some(&self.messages[usize::from(*at)])
    }

    pub(super) fn shared_kind(&'static self, kind: &str) -> Option<&'static Message> {
        let (_, name) = SHARED.iter().find(|(shared, _)| *shared == kind)?;
        self.by_name(name)
    }
}

/// Reads the text. It is part of this program and a test reads all of it, so lines that make no sense are passed over.
pub(super) fn table(text: &'static str) -> Table {
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    let names: HashMap<&str, u16> =
        lines().filter_map(|line| line.strip_prefix("m ")?.split(' ').next()).zip(0u16..).collect();
    let mut table =
        Table { messages: Vec::with_capacity(names.len()), kinds: BTreeMap::new(), by_kind: HashMap::new() };
    for line in lines() {
        if let Some(head) = line.strip_prefix("m ") {
            start_message(&mut table, head);
        } else if let Some(message) = table.messages.last_mut() {
            add_field(message, line, &names);
        }
    }
    flatten(&mut table.messages);
    implied::note(&mut table.messages);
    for message in &mut table.messages {
        // No message has 65,536 fields.
        message.by_name = (0..message.fields.len()).map(|at| at as u16).collect();
        message.by_name.sort_by_key(|at| message.fields[usize::from(*at)].name);
        message.wire.sort_by_key(|(number, _)| *number);
    }
    table
}

fn start_message(table: &mut Table, head: &'static str) {
    let (head, atomic) = head.strip_suffix(" atomic").map_or((head, false), |head| (head, true));
    let (name, kind) = head.split_once(' ').map_or((head, None), |(name, kind)| (name, Some(kind)));
    // There are some 600 messages.
    let at = table.messages.len() as u16;
    if let Some(kind) = kind {
        let mut parts = kind.rsplitn(3, '/');
        if let (Some(kind), Some(version), Some(group)) = (parts.next(), parts.next(), parts.next()) {
            table.kinds.insert((group, version, kind), at);
            table.by_kind.entry(kind).or_default().push((group, version, at));
        }
    }
    let shared = SHARED.iter().any(|(_, shared)| *shared == name);
    table.messages.push(Message {
        name,
        shape: shape(name),
        fields: Vec::new(),
        wire: Vec::new(),
        by_name: Vec::new(),
        root: kind.is_some() || shared,
        atomic,
    });
}

fn add_field(message: &mut Message, line: &'static str, names: &HashMap<&str, u16>) {
    let mut words = line.splitn(4, ' ');
    let (Some(number), Some(name), Some(ty)) = (words.next(), words.next(), words.next()) else { return };
    let Ok(number) = number.parse() else { return };
    let (many, ty) = match ty.strip_prefix("[]") {
        Some(item) => (Many::List, item),
        None => ty.strip_prefix("{}").map_or((Many::One, ty), |item| (Many::Map, item)),
    };
    let ty = match ty {
        "string" => Type::String,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "double" => Type::Double,
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        name => match names.get(name) {
            Some(id) => Type::Message(MessageId(*id)),
            None => return,
        },
    };
    if name == "=" {
        if let Type::Message(id) = ty {
            message.wire.push((number, Wire::Inline(id)));
        }
        return;
    }
    let mut field = Field {
        name,
        number,
        ty,
        many,
        required: false,
        pointer: false,
        list_type: None,
        list_keys: Vec::new(),
        atomic: false,
        merge: false,
        retain_keys: false,
        replace: false,
        merge_key: None,
        default: None,
        implied: None,
    };
    add_flags(&mut field, words.next().unwrap_or_default());
    message.wire.push((number, Wire::Field(message.fields.len() as u16)));
    message.fields.push(field);
}

fn add_flags(field: &mut Field, flags: &'static str) {
    for flag in flags.split(' ') {
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("required", _) => field.required = true,
            ("pointer", _) => field.pointer = true,
            ("atomic", _) => field.atomic = true,
            ("list", "map") => field.list_type = Some(ListType::Map),
            ("list", "set") => field.list_type = Some(ListType::Set),
            ("list", _) => field.list_type = Some(ListType::Atomic),
            ("keys", keys) => field.list_keys = keys.split(',').collect(),
            ("patch", strategy) => {
                field.merge = strategy.split(',').any(|s| s == "merge");
                field.replace = strategy == "replace";
                field.retain_keys = strategy.split(',').any(|s| s == "retainKeys");
            }
            ("key", key) => field.merge_key = Some(key),
            ("default", default) => field.default = Some(default),
            _ => {}
        }
    }
}

/// Gives messages the fields of those inlined in them. Inlined messages can have inlined ones themselves.
fn flatten(messages: &mut [Message]) {
    for at in 0..messages.len() {
        let mut pending: Vec<MessageId> = inlined(&messages[at]);
        while let Some(MessageId(inner)) = pending.pop() {
            let inner = &messages[usize::from(inner)];
            pending.extend(inlined(inner));
            let own: Vec<(u16, Field)> = inner
                .wire
                .iter()
                .filter_map(|(_, wire)| match wire {
                    Wire::Field(at) => Some((*at, inner.fields[usize::from(*at)].clone())),
                    Wire::Inline(_) => None,
                })
                .collect();
            messages[at].fields.extend(own.into_iter().map(|(_, field)| field));
        }
    }
}

fn inlined(message: &Message) -> Vec<MessageId> {
    let inline = message.wire.iter().filter_map(|(_, wire)| match wire {
        Wire::Inline(id) => Some(*id),
        Wire::Field(_) => None,
    });
    inline.collect()
}

fn shape(name: &str) -> Shape {
    let Some((package, short)) = name.rsplit_once('.') else { return Shape::Object };
    match (package.trim_start_matches("io.k8s."), short) {
        ("apimachinery.pkg.apis.meta.v1", "Time") => Shape::Time,
        ("apimachinery.pkg.apis.meta.v1", "MicroTime") => Shape::MicroTime,
        ("apimachinery.pkg.apis.meta.v1", "Duration") => Shape::Duration,
        ("apimachinery.pkg.apis.meta.v1", "FieldsV1") => Shape::RawObject,
        ("apimachinery.pkg.apis.meta.v1", "Verbs") | (_, "ExtraValue") => Shape::Strings,
        ("apimachinery.pkg.api.resource", "Quantity") => Shape::Quantity,
        ("apimachinery.pkg.util.intstr", "IntOrString") => Shape::IntOrString,
        ("apimachinery.pkg.runtime", "RawExtension") => Shape::RawObject,
        (_, "JSON") => Shape::RawJson,
        (_, "JSONSchemaPropsOrBool") => Shape::SchemaOrBool,
        (_, "JSONSchemaPropsOrArray") => Shape::SchemaOrArray,
        (_, "JSONSchemaPropsOrStringArray") => Shape::SchemaOrStrings,
        _ => Shape::Object,
    }
}
