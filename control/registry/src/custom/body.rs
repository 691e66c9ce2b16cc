//! Request bodies and patched objects of custom resources, read by their definition.

use pal_resources::codec::{self, Decoded, FieldValidation, Media, ShownPatch, Unfit};
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
        settle(decoded.value, decoded.warnings, resource, mode).map_err(|words| Unfit::new(resource, words))?;
    check_kind(&settled.value, resource, settled.value["metadata"]["name"].as_str().unwrap_or_default())?;
    Ok(settled)
}

/// A custom resource says that it is of the definition's kind and version, and no patch makes something else of it.
pub(crate) fn check_kind(object: &Value, resource: &Resource, name: &str) -> Result<(), Status> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let wrong = |field: &str, expected: &str| {
        let given = text(field);
        let why = format!("must be {expected}");
        (!given.is_empty() && given != expected).then(|| FieldError::invalid(&FieldPath::new(field), given, &why))
    };
    let errors: Vec<FieldError> =
        [wrong("kind", &resource.kind), wrong("apiVersion", &resource.api_version())].into_iter().flatten().collect();
    if errors.is_empty() || kind_of(resource).is_none() {
        return Ok(());
    }
    let group = text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    let named = Resource { kind: text("kind").to_owned().into(), group: group.to_owned().into(), ..resource.clone() };
    Err(Status::invalid(&named, name, &errors))
}

/// [`codec::conform`] for an object of any resource.
pub(crate) fn conform(value: Value, resource: &Resource, mode: FieldValidation) -> Result<Decoded, Unfit> {
    if kind_of(resource).is_none() {
        return codec::conform(value, (&resource.group, &resource.version, &resource.kind), mode);
    }
    settle(value, Vec::new(), resource, mode).map_err(|words| Unfit::new(resource, words))
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
    let given = object.remove("metadata").filter(|metadata| !metadata.is_null());
    let metadata = codec::conform_metadata(given.unwrap_or_else(|| Value::Object(Map::new())))?;
    object.insert("metadata".to_owned(), metadata.value);
    if let Some(kind) = kind_of(resource) {
        let unknown = kind.settle(&mut value);
        found.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    }
    found.extend(metadata.warnings);
    Ok(Decoded { value, warnings: codec::settled(found, mode)? })
}
