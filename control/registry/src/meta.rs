//! Reading and writing `metadata` of an object that is a value.

use std::collections::HashSet;

use pal_resources::{Resource, Status};
use serde_json::{Map, Value};

use crate::options::WriteOptions;

/// What somebody is told who names an owner twice.
pub(crate) const DUPLICATE_OWNERS: &str = ".metadata.ownerReferences contains duplicate entries;";
/// The same of what is seen only when policies have changed the object: everything that patches do.
pub(crate) const DUPLICATE_OWNERS_LATE: &str =
    ".metadata.ownerReferences contains duplicate entries after mutating admission happens;";

/// The object's `metadata`, made where there is none. What is no object is refused.
pub(crate) fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    let Value::Object(fields) = object else {
        return Err(Status::bad_request("the object provided is unrecognized (must be of type Object)"));
    };
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().ok_or_else(|| Status::bad_request("metadata: expected an object"))
}

/// A text of the object's `metadata`; empty where it is not given.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// What an object is called in refusals, which may have only the beginning of a name yet.
pub(crate) fn called(object: &Value) -> &str {
    let named = ["name", "generateName"].into_iter().map(|field| text(object, field));
    named.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown")
}

/// The object's finalizers.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Replaces the object's finalizers; none leaves no field behind.
pub(crate) fn set_finalizers(object: &mut Value, finalizers: &[String]) -> Result<(), Status> {
    let metadata = metadata_mut(object)?;
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
    Ok(())
}

/// Leaves each owner once, and warns whoever named one twice.
pub(crate) fn dedup_owners(object: &mut Value, options: &WriteOptions, words: &str) {
    let owners = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("ownerReferences"));
    let Some(owners) = owners.and_then(Value::as_array_mut).filter(|owners| owners.len() > 1) else { return };
    const FIELDS: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let (mut known, mut twice) = (HashSet::new(), Vec::new());
    owners.retain(|owner| {
        let is_first = known.insert(FIELDS.map(|field| owner[field].to_string()));
        if !is_first {
            twice.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        }
        is_first
    });
    if !twice.is_empty() {
        options.warn(format!(
            "{words} API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix \
             your requests; duplicate UID(s) observed: {}",
            twice.join(", ")
        ));
    }
}

/// Takes away what clients send and servers decide, and what is not kept.
pub(crate) fn strip(object: &mut Value) -> Result<(), Status> {
    let metadata = metadata_mut(object)?;
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    Ok(())
}

/// The object lies in the namespace of the request's path.
pub(crate) fn settle_namespace(object: &mut Value, namespace: Option<&str>) -> Result<(), Status> {
    let metadata = metadata_mut(object)?;
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    match namespace {
        None => {
            metadata.remove("namespace");
        }
        Some(namespace) if given == namespace => {}
        Some(namespace) if given.is_empty() => {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        Some(_) => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// The object of an update is the one that the request's path names.
pub(crate) fn settle_place(object: &mut Value, name: &str, namespace: Option<&str>) -> Result<(), Status> {
    settle_namespace(object, namespace)?;
    settle_name(object, name)
}

/// The object does not say its name, which the request's path does.
pub(crate) fn nameless(name: &str) -> Status {
    Status::bad_request(format!(
        "the name of the object ({name} based on URL) was undeterminable: name must be provided"
    ))
}

/// The object has the name of the request's path.
pub(crate) fn settle_name(object: &mut Value, name: &str) -> Result<(), Status> {
    let metadata = metadata_mut(object)?;
    let given = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if given.is_empty() {
        metadata.insert("name".to_owned(), name.into());
    } else if given != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}

/// The object is of the resource's kind.
pub(crate) fn settle_kind(object: &Value, resource: &Resource) -> Result<(), Status> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let expected = resource.api_version();
    if (!kind.is_empty() && kind != resource.kind) || (!api_version.is_empty() && api_version != expected) {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; got {kind} in {api_version}, expected {} in {expected}",
            resource.kind, resource.kind,
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_update_is_of_the_object_on_the_url() {
        fn check(given: Value, expected: Result<(), &str>) {
            let settled = settle_place(&mut given.clone(), "a", Some("x")).map_err(|status| status.message);
            assert_eq!(settled, expected.map_err(str::to_owned), "{given}");
        }
        check(json!({}), Ok(()));
        check(json!({"metadata": {"name": "a", "namespace": "x"}}), Ok(()));
        check(
            json!({"metadata": {"name": "b"}}),
            Err("the name of the object (b) does not match the name on the URL (a)"),
        );
        check(
            json!({"metadata": {"name": "a", "namespace": "y"}}),
            Err("the namespace of the provided object does not match the namespace sent on the request"),
        );
    }

    #[test]
    fn an_object_lies_in_the_namespace_of_its_path() {
        fn check(given: Value, namespace: Option<&str>, expected: Result<Value, u16>) {
            let mut object = given.clone();
            let settled = settle_namespace(&mut object, namespace).map(|()| object).map_err(|status| status.code);
            assert_eq!(settled, expected, "{given} {namespace:?}");
        }
        check(json!({}), Some("a"), Ok(json!({"metadata": {"namespace": "a"}})));
        check(json!({"metadata": null}), Some("a"), Ok(json!({"metadata": {"namespace": "a"}})));
        check(json!({"metadata": {"namespace": "a"}}), Some("a"), Ok(json!({"metadata": {"namespace": "a"}})));
        check(json!({"metadata": {"namespace": "b"}}), Some("a"), Err(400));
        check(json!({"metadata": {"namespace": "b"}}), None, Ok(json!({"metadata": {}})));
        check(json!({"metadata": "x"}), None, Err(400));
        check(json!([]), None, Err(400));
    }
}
