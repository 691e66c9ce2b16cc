//! An object, its managers, and the writes that they went through.

use pal_patch::apply::{self, Applied, ApplyError, FieldSet, Managers, Rules, Schema, Shape, Writer};
use serde_json::{Value, json};

/// A write of a story.
pub enum Step {
    /// An apply that must succeed.
    Apply(&'static str, Value),
    /// An apply with force.
    Force(&'static str, Value),
    /// An apply that must be refused, with the paths in conflict.
    Conflict(&'static str, Value, &'static [&'static str]),
    /// A write of the whole object.
    Update(&'static str, Value),
}

/// An object and its managers.
pub struct Story<'a> {
    pub live: Value,
    pub managers: Managers,
    shape: Shape<'a>,
    ignored: FieldSet,
    seconds: u32,
}

impl<'a> Story<'a> {
    pub fn new(shape: Shape<'a>) -> Self {
        let ignored = FieldSet::default();
        Self { live: json!({}), managers: Managers::default(), shape, ignored, seconds: 0 }
    }

    /// A story of writes that leave some fields as they are.
    pub fn ignoring(self, ignored: FieldSet) -> Self {
        Self { ignored, ..self }
    }

    fn rules(&self) -> Rules<'_> {
        Rules { api_version: "v1", shape: self.shape, others: &[], ignored: &self.ignored }
    }

    fn now(&mut self) -> String {
        self.seconds += 1;
        format!("2026-01-01T00:{:02}:{:02}Z", self.seconds / 60, self.seconds % 60)
    }

    pub fn apply(&mut self, manager: &str, config: &Value, force: bool) -> Result<(), ApplyError> {
        let now = self.now();
        let writer = Writer { manager, subresource: "", now: &now };
        let Applied { object, managers } =
            apply::apply(&self.rules(), &self.live, config, &self.managers, &writer, force)?;
        self.live = without_nulls(object);
        self.managers = managers;
        Ok(())
    }

    pub fn update(&mut self, manager: &str, object: Value) {
        let now = self.now();
        let writer = Writer { manager, subresource: "", now: &now };
        self.managers = apply::track(&self.rules(), &self.live, &object, self.managers.clone(), &writer);
        self.live = object;
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Apply(manager, config) => {
                let outcome = self.apply(manager, &config, false).map_err(|error| error.status().message);
                assert_eq!(outcome, Ok(()), "{manager} applies {config}");
            }
            Step::Force(manager, config) => {
                let outcome = self.apply(manager, &config, true).map_err(|error| error.status().message);
                assert_eq!(outcome, Ok(()), "{manager} forces {config}");
            }
            Step::Conflict(manager, config, fields) => match self.apply(manager, &config, false) {
                Err(ApplyError::Conflicts(conflicts)) => {
                    let causes = conflicts.status().details.expect("details").causes;
                    let mut found: Vec<String> = causes.into_iter().map(|cause| cause.field).collect();
                    found.sort();
                    assert_eq!(found, fields, "{manager} applies {config}");
                }
                other => panic!("{manager} applies {config}: no conflict but {other:?}"),
            },
            Step::Update(manager, object) => self.update(manager, object),
        }
    }

    /// What everybody owns: by `manager (Operation)`, FieldsV1.
    pub fn owners(&self) -> Value {
        let mut owners = serde_json::Map::new();
        for entry in self.managers.entries() {
            let fields = serde_json::from_str(&entry.fields.to_json()).expect("JSON");
            owners.insert(format!("{} ({:?})", entry.manager, entry.operation), fields);
        }
        owners.sort_keys();
        owners.into()
    }
}

/// Runs a story on objects of the shape and compares its end.
pub fn check(shape: Shape<'_>, steps: Vec<Step>, object: Value, owners: Value) {
    let mut story = Story::new(shape);
    for step in steps {
        story.step(step);
    }
    assert_eq!(story.live, object);
    assert_eq!(story.owners(), owners);
}

/// As the API server stores objects.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// A kind with every sort of field.
pub fn schema() -> Schema {
    let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    let keyed = |value: Value| {
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
               "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": value}}})
    };
    Schema::of_resource(&json!({"type": "object", "properties": {
        "number": {"type": "integer"},
        "text": {"type": "string"},
        "flag": {"type": "boolean"},
        "struct": {"type": "object", "properties": {"number": {"type": "integer"}, "text": {"type": "string"}}},
        "set": set,
        "items": keyed(json!({"type": "integer"})),
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "mapOfSets": {"type": "object", "additionalProperties": set},
        "mapOfMaps": {"type": "object",
                      "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}}},
        "itemsOfSets": keyed(set.clone()),
        "itemsOfMaps": keyed(json!({"type": "object", "additionalProperties": {"type": "string"}})),
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "list": {"type": "array", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                  "items": {"type": "object", "properties": {
                      "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"},
                      "name": {"type": "string"}}}},
    }}))
}
