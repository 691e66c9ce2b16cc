//! The order in which a write runs through a kind's decisions.

use std::any::Any;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Env, meta, names};
use crate::{Resource, Status};

pub(super) use super::errors::Errors;

/// What one kind decides. The defaults are those of a kind without a status and without rules of its own.
pub(super) trait Kind: Serialize + DeserializeOwned {
    /// Whether `metadata.generation` counts the changes of what is wanted.
    const GENERATION: bool = false;

    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;

    /// The object's metadata, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta;

    /// What is wrong with a name.
    fn name_faults(name: &str) -> Vec<String> {
        names::dns1123_subdomain(name)
    }

    /// Fills in what was left out; runs at every write.
    fn fill(&mut self) {}

    /// Resets what a client may not set in a new object, and adds what only a new object gets.
    fn prepare_create(&mut self, _env: &Env) {}

    /// Takes from the old object what an update may not touch.
    fn prepare_update(&mut self, _old: &Self, _env: &Env) {}

    /// Takes from the old object all that a write of a subresource, as `status`, may not touch; metadata is dealt
    /// with by the caller.
    fn prepare_subresource(&mut self, _name: &str, old: &Self, env: &Env) {
        self.prepare_update(old, env);
    }

    /// What of a written subresource is refused.
    fn validate_subresource(&self, _name: &str, _errors: &mut Errors) {}

    /// What of the old object a written subresource may not have changed.
    fn validate_subresource_update(&self, _name: &str, _old: &Self, _errors: &mut Errors) {}

    /// What a new object may not have, and one that is there may.
    fn validate_create(&self, _errors: &mut Errors) {}

    /// What is wrong with the object.
    fn validate(&self, _errors: &mut Errors) {}

    /// What of the old object may not have changed.
    fn validate_update(&self, _old: &Self, _errors: &mut Errors) {}

    /// Whether what is wanted differs, so that the generation goes up.
    fn wants_other(&self, _old: &Self) -> bool {
        false
    }

    /// The new object, where somebody has use for it.
    fn handed_on(self) -> Option<Box<dyn Any + Send + Sync>> {
        None
    }
}

/// A new object, as it is stored.
pub struct Created {
    pub value: Value,
    /// The same as its k8s-openapi type, of a kind that is read again as soon as it is written: a pod.
    pub typed: Option<Box<dyn Any + Send + Sync>>,
}

/// The subresources whose writes are writes of the whole object, and may change what an update may not:
/// by `binding` a pod gets its node, by `scale` a workload its number of replicas.
const WHOLE: &[&str] = &["binding", "scale"];

/// Implements the access to `metadata` that every kind has.
macro_rules! has_meta {
    () => {
        fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            &self.metadata
        }

        fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            &mut self.metadata
        }
    };
}
pub(super) use has_meta;

/// Implements what a kind with a status has by default: a new object's is the given one, a write of the object keeps what is
/// stored, and a write of a subresource keeps the spec.
macro_rules! has_status {
    ($new:expr) => {
        fn prepare_create(&mut self, _env: &crate::kinds::Env) {
            self.status = Some($new);
        }

        super::kind::keeps_status!();
    };
}
pub(super) use has_status;

/// The same for a kind whose new objects need more than a status.
macro_rules! keeps_status {
    () => {
        fn prepare_update(&mut self, old: &Self, _env: &crate::kinds::Env) {
            self.status.clone_from(&old.status);
        }

        fn prepare_subresource(&mut self, _name: &str, old: &Self, _env: &crate::kinds::Env) {
            self.spec.clone_from(&old.spec);
        }
    };
}
pub(super) use keeps_status;

/// A new object, as it is stored.
pub(super) fn create<K: Kind>(resource: &Resource, object: Value, env: &Env) -> Result<Created, Status> {
    let mut object: K = typed(resource, object)?;
    object.fill();
    object.prepare_create(env);
    let metadata = object.meta_mut();
    meta::normalize(metadata);
    metadata.uid = Some(env.uid.0.clone());
    // As its text will have it.
    metadata.creation_timestamp = Timestamp::from_second(env.now.as_second()).ok().map(Time);
    metadata.deletion_timestamp = None;
    metadata.deletion_grace_period_seconds = None;
    metadata.self_link = None;
    metadata.resource_version = None;
    metadata.generation = K::GENERATION.then_some(1);
    let mut errors = Errors::default();
    meta::validate(resource, object.meta(), K::name_faults, &mut errors);
    object.validate(&mut errors);
    object.validate_create(&mut errors);
    let value = finish(resource, &object, errors)?;
    Ok(Created { value, typed: object.handed_on() })
}

/// The object with its defaults.
pub(super) fn fill<K: Kind>(object: Value) -> Value {
    let Ok(mut filled) = K::deserialize(&object) else { return object };
    filled.fill();
    serde_json::to_value(&filled).unwrap_or(object)
}

/// An updated object, as it is stored.
pub(super) fn update<K: Kind>(
    resource: &Resource,
    subresource: Option<&str>,
    old: &Value,
    new: Value,
    env: &Env,
) -> Result<Value, Status> {
    let old = K::deserialize(old).map_err(|error| unreadable(resource, &error))?;
    let mut new: K = typed(resource, new)?;
    meta::same_object(resource, old.meta(), new.meta())?;
    new.fill();
    let part = subresource.filter(|name| !WHOLE.contains(name));
    match part {
        None => new.prepare_update(&old, env),
        Some(name) => {
            new.prepare_subresource(name, &old, env);
            meta::keep_for_status(new.meta_mut(), old.meta());
        }
    }
    meta::normalize(new.meta_mut());
    let mut errors = Errors::default();
    meta::keep(new.meta_mut(), old.meta());
    // A write of the status asks for nothing, whatever it annotates.
    if K::GENERATION && part != Some("status") && new.wants_other(&old) {
        let generation = old.meta().generation.unwrap_or(0);
        new.meta_mut().generation = Some(generation + 1);
    }
    meta::validate(resource, new.meta(), K::name_faults, &mut errors);
    meta::validate_update(new.meta(), old.meta(), &mut errors);
    match part {
        None => new.validate(&mut errors),
        Some(name) => {
            new.validate_subresource(name, &mut errors);
            new.validate_subresource_update(name, &old, &mut errors);
        }
    }
    if subresource.is_none() {
        new.validate_update(&old, &mut errors);
    }
    finish(resource, &new, errors)
}

fn typed<K: Kind>(resource: &Resource, object: Value) -> Result<K, Status> {
    serde_json::from_value(object).map_err(|error| unreadable(resource, &error))
}

fn unreadable(resource: &Resource, error: &serde_json::Error) -> Status {
    let (kind, version) = (&resource.kind, &resource.version);
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
}

fn finish<K: Kind>(resource: &Resource, object: &K, errors: Errors) -> Result<Value, Status> {
    if !errors.is_empty() {
        let name = object.meta().name.as_deref().unwrap_or("");
        return Err(Status::invalid(resource, name, &errors));
    }
    serde_json::to_value(object).map_err(Status::internal)
}
