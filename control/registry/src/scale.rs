//! The number of an object's replicas as an object of its own: the `scale` subresource.

use pal_resources::kinds::Env;
use pal_resources::{FieldError, FieldPath, Resource, Status};
use serde_json::Value;

use crate::lifecycle::Outcome;
use crate::object::Object;
use crate::update::settle_version;
use crate::{custom, meta, wire};

/// A new number of replicas, through all that an update of the object goes through.
pub(crate) fn rescale(
    resource: &Resource,
    name: &str,
    old: &Value,
    scale: &Value,
    env: &Env,
    warn: &dyn Fn(String),
) -> Result<Outcome, Status> {
    let mut wanted = scale.clone();
    meta::settle_name(&mut wanted, name)?;
    // A Scale that names no version is meant for whatever there is.
    if !meta::text(&wanted, "resourceVersion").is_empty() {
        settle_version(resource, name, old, &mut wanted)?;
    }
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        given => given.as_i64().and_then(|given| i32::try_from(given).ok()).ok_or_else(|| {
            Status::bad_request("Scale in version \"v1\" cannot be handled as a Scale: spec.replicas is not an int32")
        })?,
    };
    let custom = resource.custom.is_some();
    if custom && replicas == i32::MIN {
        let path = custom::replicas_path(resource).join(".");
        let why = format!("the spec replicas field {:?} cannot be empty", format!(".{path}"));
        return Err(Status::bad_request(why));
    }
    if replicas < 0 && !custom {
        let path = FieldPath::new("spec").child("replicas");
        let error = FieldError::invalid(&path, replicas, "must be greater than or equal to 0");
        let scale_kind = Resource { group: "autoscaling".into(), kind: "Scale".into(), ..resource.clone() };
        return Err(Status::invalid(&scale_kind, name, &[error]));
    }
    let scaled = custom::apply_scale(resource, old, replicas);
    Ok(Outcome::Keep(custom::update(resource, None, old, scaled, env, warn)?))
}

/// The Scale of an object, which carries the object's version.
pub(crate) fn shown_scale(resource: &Resource, object: &Value) -> Result<Value, Status> {
    let mut scale = custom::scale_of(resource, object)?;
    let version = object["metadata"]["resourceVersion"].clone();
    meta::metadata_mut(&mut scale)?.insert("resourceVersion".to_owned(), version);
    Ok(scale)
}

/// The Scale with which a change begins.
pub(crate) fn scale_to_change(resource: &Resource, object: &Value) -> Result<Value, Status> {
    let mut scale = custom::scale_to_change(resource, object)?;
    let version = object["metadata"]["resourceVersion"].clone();
    meta::metadata_mut(&mut scale)?.insert("resourceVersion".to_owned(), version);
    Ok(scale)
}

/// A Scale with its kind, which is not kept.
pub(crate) fn named_scale(mut scale: Value) -> Value {
    scale["apiVersion"] = "autoscaling/v1".into();
    scale["kind"] = "Scale".into();
    scale
}

/// The Scale of an object, as it is answered.
pub(crate) fn scale_object(resource: &Resource, object: &Object) -> Result<Object, Status> {
    let scale = custom::scale_of(resource, &object.value()?)?;
    let version = object.version();
    Ok(Object::made(wire::present("Scale", "autoscaling/v1", &scale, &None, version)?, version))
}
