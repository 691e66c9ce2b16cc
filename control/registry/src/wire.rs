//! The stored form of an object: compact JSON that begins with kind, apiVersion and metadata.resourceVersion, so that
//! the store can put the revision of the write into its place and nobody encodes an object twice.

use bytes::Bytes;
use pal_resources::{Reason, Resource, ResourceVersion, Status};
use serde_json::{Map, Value};

use crate::api_access::Access;
use crate::custom;
use crate::stored::{MANAGED_FIELDS, Managed};

const VERSION_FIELD: &[u8] = b"\"resourceVersion\":\"";

/// An object in its stored form, still without its revision.
pub(crate) struct Encoded {
    pub bytes: Bytes,
    /// Where the decimal text of the revision belongs.
    pub revision_at: u32,
}

/// Encodes an object for the store. Its own `resourceVersion` is left out: the write decides it.
pub(crate) fn encode(
    resource: &Resource,
    object: &Value,
    managed: &Managed,
    limit_bytes: usize,
) -> Result<Encoded, Status> {
    encode_with(resource, object, managed, None, limit_bytes)
}

/// [`encode`] with what a new pod gets beside.
pub(crate) fn encode_with(
    resource: &Resource,
    object: &Value,
    managed: &Managed,
    access: Option<&Access>,
    limit_bytes: usize,
) -> Result<Encoded, Status> {
    let mut bytes = Vec::with_capacity(2048);
    head(&mut bytes, &resource.kind, &custom::stored_version(resource));
    bytes.extend_from_slice(VERSION_FIELD);
    let revision_at = u32::try_from(bytes.len()).map_err(Status::internal)?;
    bytes.push(b'"');
    tail(&mut bytes, object, managed, access, true)?;
    if bytes.len() > limit_bytes {
        return Err(too_large(limit_bytes));
    }
    Ok(Encoded { bytes: bytes.into(), revision_at })
}

/// Encodes an object that is not stored, with the version it is to show.
pub(crate) fn present(
    kind: &str,
    api_version: &str,
    object: &Value,
    managed: &Managed,
    version: ResourceVersion,
) -> Result<Bytes, Status> {
    present_with(kind, api_version, object, managed, None, version)
}

/// [`present`] with what a new pod gets beside.
pub(crate) fn present_with(
    kind: &str,
    api_version: &str,
    object: &Value,
    managed: &Managed,
    access: Option<&Access>,
    version: ResourceVersion,
) -> Result<Bytes, Status> {
    let mut bytes = Vec::with_capacity(1024);
    head(&mut bytes, kind, api_version);
    let versioned = version != ResourceVersion(0);
    if versioned {
        bytes.extend_from_slice(VERSION_FIELD);
        bytes.extend_from_slice(version.to_string().as_bytes());
        bytes.push(b'"');
    }
    tail(&mut bytes, object, managed, access, versioned)?;
    Ok(bytes.into())
}

/// The stored form with another version in it: what a watch shows of an object that has left its selection.
pub(crate) fn with_version(json: &Bytes, version: ResourceVersion) -> Bytes {
    let found = json.windows(VERSION_FIELD.len()).position(|window| window == VERSION_FIELD);
    let Some(start) = found.map(|at| at + VERSION_FIELD.len()) else { return json.clone() };
    let Some(length) = json[start..].iter().position(|&byte| byte == b'"') else { return json.clone() };
    let mut bytes = Vec::with_capacity(json.len() + 8);
    bytes.extend_from_slice(&json[..start]);
    bytes.extend_from_slice(version.to_string().as_bytes());
    bytes.extend_from_slice(&json[start + length..]);
    bytes.into()
}

/// `{"kind":...,"apiVersion":...,"metadata":{`
fn head(bytes: &mut Vec<u8>, kind: &str, api_version: &str) {
    // Kinds and versions are identifiers: nothing in them needs escaping.
    bytes.extend_from_slice(b"{\"kind\":\"");
    bytes.extend_from_slice(kind.as_bytes());
    bytes.extend_from_slice(b"\",\"apiVersion\":\"");
    bytes.extend_from_slice(api_version.as_bytes());
    bytes.extend_from_slice(b"\",\"metadata\":{");
}

/// The rest of metadata with the managers last, its brace, and the other fields.
fn tail(
    bytes: &mut Vec<u8>,
    object: &Value,
    managed: &Managed,
    access: Option<&Access>,
    mut follows: bool,
) -> Result<(), Status> {
    let empty = Map::new();
    let metadata = object["metadata"].as_object().unwrap_or(&empty);
    for (name, value) in metadata {
        if name != "resourceVersion" && name != MANAGED_FIELDS {
            field(bytes, name, value, follows)?;
            follows = true;
        }
    }
    if let Some(managed) = managed {
        if follows {
            bytes.push(b',');
        }
        bytes.extend_from_slice(b"\"managedFields\":");
        bytes.extend_from_slice(managed.as_bytes());
    }
    bytes.push(b'}');
    for (name, value) in object.as_object().unwrap_or(&empty) {
        match (name.as_str(), value, access) {
            ("kind" | "apiVersion" | "metadata", ..) => {}
            ("spec", Value::Object(spec), Some(access)) => {
                bytes.extend_from_slice(b",\"spec\":");
                access.write_spec(bytes, spec)?;
            }
            _ => field(bytes, name, value, true)?,
        }
    }
    bytes.push(b'}');
    Ok(())
}

/// A field and its value.
pub(crate) fn field(bytes: &mut Vec<u8>, name: &str, value: &Value, follows: bool) -> Result<(), Status> {
    if follows {
        bytes.push(b',');
    }
    serde_json::to_writer(&mut *bytes, name).map_err(Status::internal)?;
    bytes.push(b':');
    serde_json::to_writer(&mut *bytes, value).map_err(Status::internal)
}

/// The object is larger than what is stored.
pub(crate) fn too_large(limit_bytes: usize) -> Status {
    let message = format!("Request entity too large: limit is {limit_bytes}");
    Status::new(413, Reason::RequestEntityTooLarge, message)
}

#[cfg(test)]
mod tests {
    use pal_resources::resource;
    use serde_json::json;

    use super::*;

    fn pods() -> pal_resources::ResourceRef {
        resource::find("", "v1", "pods").expect("pods are built in")
    }

    #[test]
    fn the_revision_goes_first_into_metadata() {
        let object = json!({"metadata": {"name": "a", "resourceVersion": "7"}, "kind": "Pod", "spec": {"x": "\""}});
        let encoded = encode(&pods(), &object, &None, 1000).expect("encodes");
        let mut text = String::from_utf8(encoded.bytes.to_vec()).expect("text");
        text.insert_str(encoded.revision_at as usize, "42");
        assert_eq!(
            text,
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"42","name":"a"},"spec":{"x":"\""}}"#
        );
        let other = with_version(&text.into(), ResourceVersion(123));
        assert!(
            other.starts_with(br#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"123","name":"a"}"#)
        );
    }

    #[test]
    fn managers_are_the_last_of_metadata() {
        let managed = crate::stored::managed("[{\"manager\":\"a\"}]".to_owned());
        let object = json!({"metadata": {"managedFields": [], "name": "a"}, "spec": {}});
        let bytes = present("Pod", "v1", &object, &managed, ResourceVersion(3)).expect("encodes");
        assert_eq!(
            bytes,
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"3","name":"a","managedFields":[{"manager":"a"}]},"spec":{}}"#
        );
    }

    #[test]
    fn what_is_not_stored_shows_a_version_only_if_it_has_one() {
        fn check(object: Value, version: u64, expected: &str) {
            let bytes = present("Scale", "autoscaling/v1", &object, &None, ResourceVersion(version)).expect("encodes");
            assert_eq!(bytes, expected.as_bytes());
        }
        check(json!({}), 0, r#"{"kind":"Scale","apiVersion":"autoscaling/v1","metadata":{}}"#);
        check(
            json!({"metadata": {"name": "a"}}),
            5,
            r#"{"kind":"Scale","apiVersion":"autoscaling/v1","metadata":{"resourceVersion":"5","name":"a"}}"#,
        );
    }

    #[test]
    fn an_object_beyond_the_limit_is_refused() {
        let object = json!({"data": "x".repeat(100)});
        assert_eq!(encode(&pods(), &object, &None, 100).map(|_| ()).map_err(|status| status.code), Err(413));
    }
}
