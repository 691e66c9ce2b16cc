//! CustomResourceDefinitions themselves: what a write of one runs through.

use jiff::Timestamp;
use pal_resources::kinds::untyped::{self, Part};
use pal_resources::kinds::{self, Env};
use pal_resources::{Resource, Status};
use serde_json::Value;

use crate::meta;

/// Keeps a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether objects of the resource define others.
pub(crate) fn is_definition(resource: &Resource) -> bool {
    resource.plural == "customresourcedefinitions" && resource.group == "apiextensions.k8s.io"
}

/// A new definition, as it is stored. Its names are accepted later.
pub(super) fn create(resource: &Resource, mut object: Value, env: &Env) -> Result<Value, Status> {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(
            "status".to_owned(),
            serde_json::json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}}),
        );
    }
    pal_custom::default_definition(&mut object);
    pal_custom::store_version(&mut object);
    untyped::create(resource, object, env, &pal_custom::validate_definition)
}

/// An updated definition, as it is stored.
pub(super) fn update(
    resource: &Resource,
    subresource: Option<&str>,
    old: &Value,
    mut new: Value,
    env: &Env,
) -> Result<Value, Status> {
    if subresource == Some("status") {
        let object = kinds::update(resource, subresource, old, new, env)?;
        let errors = pal_custom::validate_definition_status(&object);
        return if errors.is_empty() {
            Ok(object)
        } else {
            Err(Status::invalid(resource, meta::text(&object, "name"), &errors))
        };
    }
    pal_custom::default_definition(&mut new);
    let mut object =
        untyped::update(resource, Part::AllButStatus, old, new, &|new, old| pal_custom::validate_definition(new, old))?;
    pal_custom::store_version(&mut object);
    Ok(object)
}

/// A definition that is asked to go: it stays until its objects are gone, and says so.
pub(crate) fn terminating(object: &mut Value, now: Timestamp) -> Result<(), Status> {
    let mut finalizers: Vec<String> = meta::finalizers(object).into_iter().map(str::to_owned).collect();
    if !finalizers.iter().any(|finalizer| finalizer == CLEANUP) {
        finalizers.push(CLEANUP.to_owned());
        meta::set_finalizers(object, &finalizers)?;
    }
    object["status"] = pal_custom::deletion_status(object, &pal_custom::Deletion::InProgress, now);
    Ok(())
}
