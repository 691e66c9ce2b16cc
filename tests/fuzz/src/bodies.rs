//! Bodies of requests.

use jiff::Timestamp;
use pal_resources::codec::{self, FieldValidation, Media};
use pal_resources::kinds::{self, Env};
use pal_resources::{ResourceRef, Uid, resource, table};
use serde_json::Value;

/// The resource that the first line names, as `apps/v1/deployments`, and what follows that line.
fn chosen(input: &[u8]) -> Option<(ResourceRef, &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let (head, body) = (std::str::from_utf8(&input[..end]).ok()?, &input[end + 1..]);
    let (group_version, plural) = head.rsplit_once('/')?;
    let (group, version) = group_version.rsplit_once('/').unwrap_or(("", group_version));
    Some((resource::find(group, version, plural)?, body))
}

/// A JSON body of some kind.
pub(crate) fn json(input: &[u8]) {
    read(Media::Json, input);
}

/// A YAML body of some kind.
pub(crate) fn yaml(input: &[u8]) {
    read(Media::Yaml, input);
}

/// A protobuf body of some kind.
pub(crate) fn protobuf(input: &[u8]) {
    read(Media::Protobuf, input);
}

/// What was read is canonical: read again from whatever it is written in, it is the same.
fn read(media: Media, input: &[u8]) {
    let Some((resource, body)) = chosen(input) else { return };
    let again = |media: Media, body: &[u8]| {
        let read = codec::decode(media, body, Some(&resource), FieldValidation::Ignore);
        read.unwrap_or_else(|status| panic!("{media:?}: {}", status.message)).value
    };
    let _ = codec::decode(media, body, Some(&resource), FieldValidation::Strict);
    let Ok(read) = codec::decode(media, body, Some(&resource), FieldValidation::Warn) else { return };
    let value = read.value;
    assert_eq!(again(Media::Json, value.to_string().as_bytes()), value, "what was read is not canonical");
    if let Some(bytes) = codec::to_protobuf(&value) {
        // Not all that JSON tells apart has a form of its own in protobuf, but from there on it stays.
        let told = again(Media::Protobuf, &bytes);
        let bytes = codec::to_protobuf(&told).expect("it was written before");
        assert_eq!(again(Media::Protobuf, &bytes), told, "what protobuf tells changes");
    }
    store(&resource, value);
}

/// What may be stored may be written again as it is, and then nothing changes.
fn store(resource: &ResourceRef, value: Value) {
    let env = Env { now: Timestamp::UNIX_EPOCH, uid: Uid("u".to_owned()), toleration_seconds: 300 };
    let Ok(stored) = kinds::create(resource, value, &env) else { return };
    let cells = table::cells(resource, &stored, env.now);
    assert_eq!(cells.len(), table::columns(resource).len(), "a row has a cell for each column");
    let written = kinds::update(resource, None, &stored, stored.clone(), &env);
    if let Ok(written) = written {
        assert_eq!(written, stored, "an update that changes nothing changes something");
    }
}
