//! Where a body is wrong, in the words of Go's JSON decoder as Kubernetes uses it.

use std::fmt::Write;

use crate::schema::{Field, Many, Message, Type};

/// Problems that strict decoding reports are listed up to this many.
const LISTED: usize = 100;

/// A step from the root of the body to where the walk is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Field(&'static str),
    /// A key of a map, or a field of an object without schema.
    Key(String),
    Index(usize),
}

/// The walk's state: where it is, and what it has found.
#[derive(Default)]
pub(super) struct Context {
    path: Vec<Step>,
    /// Unknown and duplicate fields, in the order of the body.
    pub(super) strict: Vec<String>,
    /// Why the body cannot be decoded at all.
    pub(super) failure: Option<String>,
    /// Whether unknown and duplicate fields are looked for.
    watchful: bool,
    /// How many objects lists have so far.
    listed: usize,
    /// Whether what is read is a merged map, which Kubernetes does not decode as text: it says otherwise what does not fit.
    merged: bool,
}

/// Deeper bodies are refused: no kind nests that deep, and the walk is recursive.
pub(super) const MAX_DEPTH: usize = 100;

/// How many objects the lists of a body may have together. Each of a few bytes becomes one of some hundred; no body with as
/// many could be stored, for they are longer then.
const MAX_LISTED: usize = 50_000;

impl Context {
    /// `watchful`: look for unknown and duplicate fields.
    pub(super) fn new(watchful: bool) -> Self {
        Self { watchful, ..Self::default() }
    }

    /// The same for what a strategic patch was merged into.
    pub(super) fn of_merged(watchful: bool) -> Self {
        Self { merged: true, ..Self::new(watchful) }
    }

    /// Goes a step down. The caller leaves again; on failure the walk ends, and then it does not matter.
    pub(super) fn enter<E: serde::de::Error>(&mut self, step: Step) -> Result<(), E> {
        if self.path.len() >= MAX_DEPTH {
            return Err(self.fail("exceeded max depth"));
        }
        self.path.push(step);
        Ok(())
    }

    /// Takes an object into a list.
    pub(super) fn list<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.listed += 1;
        if self.listed > MAX_LISTED {
            return Err(self.fail(format!("lists have too many objects: limit is {MAX_LISTED}")));
        }
        Ok(())
    }

    /// How many steps down the walk is.
    pub(super) fn depth(&self) -> usize {
        self.path.len()
    }

    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// Ends the walk with these words.
    pub(super) fn fail<E: serde::de::Error>(&mut self, words: impl Into<String>) -> E {
        self.failure.get_or_insert_with(|| words.into());
        E::custom("")
    }

    pub(super) fn unknown(&mut self, name: &str) {
        self.note("unknown", name);
    }

    pub(super) fn duplicate(&mut self, name: &str) {
        self.note("duplicate", name);
    }

    fn note(&mut self, what: &str, name: &str) {
        if !self.watchful || self.strict.len() >= LISTED {
            return;
        }
        let mut path = self.path();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        let problem = format!("{what} field {path:?}");
        if !self.strict.contains(&problem) {
            self.strict.push(problem);
        }
    }

    /// `spec.containers[0]`
    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) => push_name(&mut path, name),
                Step::Key(name) => push_name(&mut path, name),
                // Writing to a String cannot fail.
                Step::Index(index) => drop(write!(path, "[{index}]")),
            }
        }
        path
    }

    /// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`
    pub(super) fn mismatch<E: serde::de::Error>(&mut self, got: &str, target: &Target) -> E {
        if self.merged {
            return self.fail(target.not_restored(got));
        }
        let ty = target.go_type();
        let words = match target.owner {
            Some(owner) => {
                let fields: Vec<&str> = self
                    .path
                    .iter()
                    .filter_map(|step| match step {
                        Step::Field(name) => Some(*name),
                        _ => None,
                    })
                    .collect();
                let path = fields.join(".");
                format!("json: cannot unmarshal {got} into Go struct field {}.{path} of type {ty}", owner.go_name())
            }
            None => format!("json: cannot unmarshal {got} into Go value of type {ty}"),
        };
        self.fail(words)
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// What a value is decoded into.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The message that has the field; none at the root.
    pub(super) owner: Option<&'static Message>,
    pub(super) ty: Type,
    pub(super) many: Many,
}

impl Target {
    pub(super) fn field(owner: &'static Message, field: &'static Field) -> Self {
        Self { owner: Some(owner), ty: field.ty, many: field.many }
    }

    /// An item of the list or map.
    pub(super) fn item(self) -> Self {
        Self { many: Many::One, ..self }
    }

    /// Why a value of a map is not what is wanted here, in the words of Kubernetes' converter. `got` is as JSON calls it.
    fn not_restored(self, got: &str) -> String {
        let kind = match got {
            "object" => "map",
            "array" => "slice",
            got => match got.strip_prefix("number") {
                Some(digits) if digits.contains(['.', 'e']) => "float64",
                Some(_) => "int64",
                None => got,
            },
        };
        let ty = self.go_type();
        match (self.many, self.ty) {
            (Many::Map, _) => format!("cannot restore map from {kind}"),
            (Many::List, _) | (_, Type::Bytes) => format!("cannot restore slice from {kind}"),
            (_, Type::Message(_)) => format!("cannot restore struct from: {kind}"),
            // Go would take a number for a character, and cut off what is behind the point.
            (_, Type::String) if kind == "int64" => format!("cannot convert {kind} to {ty}"),
            (_, Type::Int32 | Type::Int64) if kind.ends_with("64") => format!("cannot convert {kind} to {ty}"),
            _ => format!("unrecognized type: {ty}"),
        }
    }

    fn go_type(self) -> String {
        let base = match self.ty {
            Type::String => "string".to_owned(),
            Type::Int32 => "int32".to_owned(),
            Type::Int64 => "int64".to_owned(),
            Type::Double => "float64".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Bytes => "[]uint8".to_owned(),
            Type::Message(id) => format!("{}.{}", id.get().go_package(), id.get().go_name()),
        };
        match self.many {
            Many::One => base,
            Many::List => format!("[]{base}"),
            Many::Map => format!("map[string]{base}"),
        }
    }
}
