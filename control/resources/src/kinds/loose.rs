//! Kinds whose decisions are few: read as plain values, with the rules of a table.

use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Env;
use super::kind::{Errors, Kind};
use super::names;

/// What one such kind decides.
pub(super) trait Rules {
    /// Whether `metadata.generation` counts the changes of what is wanted.
    const GENERATION: bool = true;
    /// Whether there is a status, which writes of the object leave alone.
    const STATUS: bool = false;

    /// Whether the status tells which generation was looked at; that is done with the write.
    const OBSERVED: bool = false;

    /// What is wrong with a name.
    fn name_faults(name: &str) -> Vec<String> {
        names::dns1123_subdomain(name)
    }

    /// Fills in what was left out.
    fn fill(_object: &mut Value) {}

    /// The status of a new object.
    fn status(_object: &Value, _env: &Env) -> Value {
        Value::Object(Map::new())
    }

    /// What is wrong with the object.
    fn validate(_name: &str, _object: &Value, _errors: &mut Errors) {}

    /// What of the old object may not have changed.
    fn validate_update(_new: &Value, _old: &Value, _errors: &mut Errors) {}
}

/// An object under those rules.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Loose<R> {
    #[serde(flatten)]
    rest: Value,
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(skip)]
    rules: PhantomData<fn() -> R>,
}

impl<R: Rules> Kind for Loose<R> {
    const GENERATION: bool = R::GENERATION;

    super::kind::has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        R::name_faults(name)
    }

    fn fill(&mut self) {
        R::fill(&mut self.rest);
    }

    fn prepare_create(&mut self, env: &Env) {
        if R::STATUS {
            self.rest["status"] = R::status(&self.rest, env);
        }
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        if R::STATUS {
            set(&mut self.rest, "status", old.rest["status"].clone());
        }
        if R::OBSERVED && self.wants_other(old) {
            self.rest["status"]["observedGeneration"] = (old.metadata.generation.unwrap_or(0) + 1).into();
        }
    }

    fn prepare_subresource(&mut self, name: &str, old: &Self, _env: &Env) {
        let given = self.rest[name].take();
        self.rest.clone_from(&old.rest);
        set(&mut self.rest, name, given);
    }

    fn validate(&self, errors: &mut Errors) {
        R::validate(self.metadata.name.as_deref().unwrap_or_default(), &self.rest, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        R::validate_update(&self.rest, &old.rest, errors);
    }

    fn wants_other(&self, old: &Self) -> bool {
        let wanted = |object: &Value| {
            let mut object = object.clone();
            object["status"].take();
            object
        };
        wanted(&self.rest) != wanted(&old.rest)
    }
}

/// Sets a field; nothing leaves none behind.
fn set(object: &mut Value, field: &str, value: Value) {
    let Some(fields) = object.as_object_mut() else { return };
    if value.is_null() {
        fields.remove(field);
    } else {
        fields.insert(field.to_owned(), value);
    }
}

/// Gives a field of an object its default.
pub(super) fn fill(object: &mut Value, field: &str, default: impl Into<Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    let held = fields.entry(field).or_insert(Value::Null);
    if held.is_null() {
        *held = default.into();
    }
}

/// The items of a list, to be changed.
pub(super) fn items_mut<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    object.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The items of a list, with their places.
pub(super) fn items<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    object[field].as_array().into_iter().flatten().enumerate()
}

/// A text; empty where it is not given.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}
