//! Request bodies and patched objects of custom resources, read by their definition.

use pal_resources::codec::{self, Decoded, FieldValidation, Media, ShownPatch};
use pal_resources::{FieldError, FieldPath, Resource, Status};
use serde_json::{Map, Value};

use super::kind_of;

/// [`codec::decode`] for an object of any resource.
pub fn decode(media: Media, body: &[u8], resource: &Resource, mode: FieldValidation) -> Result<Decoded, Status> {
    if kind_of(resource).is_none() {
        return codec::decode(media, body, Some(resource), mode);
    }
    let kind = (&*resource.group, &*resource.version, &*resource.kind);
    let decoded = codec::decode_leniently(media, body, Some(kind), mode)?;
    let settled =
        settle(decoded.value, decoded.warnings, resource, mode).map_err(|words| codec::unfit(resource, &words))?;
    check_kind(&settled.value, resource)?;
    Ok(settled)
}

/// The body says that it is of the definition's kind.
fn check_kind(object: &Value, resource: &Resource) -> Result<(), Status> {
    let given = object["kind"].as_str().unwrap_or_default();
    if given == resource.kind {
        return Ok(());
    }
    let why = format!("must be {}", resource.kind);
    let error = FieldError::invalid(&FieldPath::new("kind"), given, &why);
    let named = Resource { kind: given.to_owned().into(), ..resource.clone() };
    Err(Status::invalid(&named, object["metadata"]["name"].as_str().unwrap_or_default(), &[error]))
}

/// [`codec::conform`] for an object of any resource.
pub(crate) fn conform(value: Value, resource: &Resource, mode: FieldValidation) -> Result<Decoded, Status> {
    if kind_of(resource).is_none() {
        return codec::conform(value, (&resource.group, &resource.version, &resource.kind), mode);
    }
    settle(value, Vec::new(), resource, mode).map_err(|words| codec::unfit(resource, &words))
}

/// [`codec::conform_patched`] for an object of any resource.
pub(crate) fn conform_patched(
    value: Value,
    shown: ShownPatch<'_>,
    found: Vec<String>,
    resource: &Resource,
    mode: FieldValidation,
) -> Result<Decoded, Status> {
    if kind_of(resource).is_none() {
        return codec::conform_patched(value, shown, found, (&resource.group, &resource.version, &resource.kind), mode);
    }
    settle(value, found, resource, mode).map_err(|words| codec::unfit_patch(shown, &words))
}

/// The object by its definition: what is unknown is left out and told, defaults are filled in. `found` is what was told of
/// the body so far.
fn settle(
    mut value: Value,
    mut found: Vec<String>,
    resource: &Resource,
    mode: FieldValidation,
) -> Result<Decoded, String> {
    let Some(object) = value.as_object_mut() else {
        return Err("json: cannot unmarshal a value that is no object".to_owned());
    };
    // A patch that removes what the object is does not change what it is.
    for (name, text) in [("kind", resource.kind.to_string()), ("apiVersion", resource.api_version())] {
        if object.get(name).is_none_or(Value::is_null) {
            object.insert(name.to_owned(), text.into());
        }
    }
    let given = object.shift_remove("metadata").filter(|metadata| !metadata.is_null());
    let metadata = codec::conform_metadata(given.unwrap_or_else(|| Value::Object(Map::new())))?;
    object.insert("metadata".to_owned(), metadata.value);
    if let Some(kind) = kind_of(resource) {
        let unknown = kind.settle(&mut value);
        found.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    }
    found.extend(metadata.warnings);
    Ok(Decoded { value, warnings: codec::settled(found, mode)? })
}
