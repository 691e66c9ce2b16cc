//! Objects whose kind is no type of this crate: their metadata is decided on here, the rest by who knows their schema.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::errors::Errors;
use super::{Env, meta, names};
use crate::{FieldError, Resource, Status};

/// What is wrong with an object, its metadata aside; with the stored one beside it where it is updated.
pub type Judge<'a> = &'a dyn Fn(&Value, Option<&Value>) -> Vec<FieldError>;

/// What of an object an update writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// All but its status, which stays as it is stored.
    AllButStatus,
    /// Its status alone.
    Status,
}

/// A new object, as it is stored. `generateName` is resolved before, and `metadata.namespace` is filled in.
pub fn create(resource: &Resource, mut object: Value, env: &Env, judge: Judge<'_>) -> Result<Value, Status> {
    let mut metadata = metadata(resource, &object)?;
    meta::normalize(&mut metadata);
    metadata.uid = Some(env.uid.0.clone());
    metadata.creation_timestamp = Some(Time(env.now));
    metadata.deletion_timestamp = None;
    metadata.deletion_grace_period_seconds = None;
    metadata.resource_version = None;
    metadata.generation = Some(1);
    let mut errors = Errors::default();
    meta::validate(resource, &metadata, names::dns1123_subdomain, &mut errors);
    put_metadata(&mut object, &metadata)?;
    errors.extend(judge(&object, None));
    finish(resource, &metadata, object, errors)
}

/// An updated object, as it is stored: the generation goes up when anything but metadata (and a status that is written
/// apart) changed. A write of the status changes nothing else, metadata included.
pub fn update(resource: &Resource, part: Part, old: &Value, new: Value, judge: Judge<'_>) -> Result<Value, Status> {
    let old_metadata = metadata(resource, old)?;
    let new_metadata = metadata(resource, &new)?;
    meta::same_object(resource, &old_metadata, &new_metadata)?;
    let (mut object, mut metadata) = match part {
        Part::Status => (with_field(old, "status", new.get("status")), old_metadata.clone()),
        Part::AllButStatus => (with_field(&new, "status", old.get("status")), new_metadata),
        Part::Whole => (new, new_metadata),
    };
    meta::normalize(&mut metadata);
    meta::keep(&mut metadata, &old_metadata);
    if part != Part::Status && content(&object) != content(old) {
        metadata.generation = Some(old_metadata.generation.unwrap_or(0) + 1);
    }
    let mut errors = Errors::default();
    meta::validate(resource, &metadata, names::dns1123_subdomain, &mut errors);
    meta::validate_update(&metadata, &old_metadata, &mut errors);
    put_metadata(&mut object, &metadata)?;
    errors.extend(judge(&object, Some(old)));
    finish(resource, &metadata, object, errors)
}

fn metadata(resource: &Resource, object: &Value) -> Result<ObjectMeta, Status> {
    let (kind, version) = (&resource.kind, &resource.version);
    match &object["metadata"] {
        Value::Null => Ok(ObjectMeta::default()),
        given => ObjectMeta::deserialize(given).map_err(|error| {
            Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
        }),
    }
}

fn put_metadata(object: &mut Value, metadata: &ObjectMeta) -> Result<(), Status> {
    let metadata = serde_json::to_value(metadata).map_err(Status::internal)?;
    let Some(fields) = object.as_object_mut() else {
        return Err(Status::bad_request("the object provided is unrecognized (must be of type Object)"));
    };
    fields.insert("metadata".to_owned(), metadata);
    Ok(())
}

/// The object with that field, or without it.
fn with_field(object: &Value, name: &str, value: Option<&Value>) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        match value {
            Some(value) => drop(fields.insert(name.to_owned(), value.clone())),
            None => drop(fields.remove(name)),
        }
    }
    object
}

/// What an object says beside what it is and its metadata.
fn content(object: &Value) -> Map<String, Value> {
    let fields = object.as_object().into_iter().flatten();
    let own = fields.filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion" | "metadata"));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn finish(resource: &Resource, metadata: &ObjectMeta, object: Value, errors: Errors) -> Result<Value, Status> {
    if errors.is_empty() {
        return Ok(object);
    }
    Err(Status::invalid(resource, metadata.name.as_deref().unwrap_or_default(), &errors))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{Uid, resource};

    fn env() -> Env {
        Env { now: Timestamp::UNIX_EPOCH, uid: Uid("u".to_owned()), toleration_seconds: 3 }
    }

    fn judged(object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        let path = crate::FieldPath::new("spec");
        if object["spec"] == "bad" { vec![FieldError::required(&path, "")] } else { Vec::new() }
    }

    fn definitions() -> crate::ResourceRef {
        resource::find("apiextensions.k8s.io", "v1", "customresourcedefinitions").expect("a built-in resource")
    }

    #[test]
    fn what_is_wanted_counts_and_metadata_does_not() {
        let resource = definitions();
        let body = json!({"metadata": {"name": "a", "generation": 7, "labels": {}}, "spec": 1});
        let old = create(&resource, body, &env(), &judged).expect("a new object");
        assert_eq!(
            old["metadata"],
            json!({"name": "a", "uid": "u", "generation": 1, "creationTimestamp": "1970-01-01T00:00:00Z"})
        );
        let check = |part: Part, change: Value, expected: Value, generation: i64| {
            let mut new = old.clone();
            for (name, value) in change.as_object().expect("fields") {
                new[name] = value.clone();
            }
            let mut written = update(&resource, part, &old, new, &judged).expect("an update");
            assert_eq!(written["metadata"]["generation"], generation, "{part:?} {change}");
            written.as_object_mut().expect("an object").remove("metadata");
            assert_eq!(written, expected, "{part:?} {change}");
        };
        check(Part::Whole, json!({"spec": 2, "status": 3}), json!({"spec": 2, "status": 3}), 2);
        check(Part::Whole, json!({"metadata": {"name": "a", "labels": {"x": "y"}}}), json!({"spec": 1}), 1);
        check(Part::AllButStatus, json!({"status": 3}), json!({"spec": 1}), 1);
        check(Part::AllButStatus, json!({"spec": 2}), json!({"spec": 2}), 2);
        check(Part::Status, json!({"spec": 2, "status": 3}), json!({"spec": 1, "status": 3}), 1);
    }

    #[test]
    fn what_is_wrong_is_told_of_metadata_first() {
        let resource = definitions();
        let status = create(&resource, json!({"metadata": {"name": "A"}, "spec": "bad"}), &env(), &judged);
        let fields: Vec<String> =
            status.expect_err("refused").details.into_iter().flat_map(|d| d.causes).map(|c| c.field).collect();
        assert_eq!(fields, ["metadata.name", "spec"]);
        let refused = create(&resource, json!({"metadata": {"labels": 3}}), &env(), &judged).expect_err("no labels");
        assert_eq!(refused.code, 400);
    }
}
