//! Patches, and who owns what.

use pal_patch::apply::{FieldSet, Managers, Rules, Shape, Writer};
use pal_resources::codec::{self, FieldValidation, Media, ShownPatch};
use pal_resources::schema;
use serde_json::{Value, json};

use crate::parts;

const POD: (&str, &str, &str) = ("", "v1", "Pod");
/// Patches may double a value, but only so often.
const MOST_BYTES: usize = 16 * 1024 * 1024;

fn raw(bytes: &[u8]) -> Option<Value> {
    codec::decode_raw(Media::Json, bytes, FieldValidation::Ignore).ok().map(|(value, _)| value)
}

fn pair(input: &[u8]) -> Option<(Value, Value)> {
    let [target, patch] = parts(input);
    Some((raw(target)?, raw(patch)?))
}

/// Two JSON values: an object and a JSON patch.
pub(crate) fn json_patch(input: &[u8]) {
    let Some((target, patch)) = pair(input) else { return };
    if let Ok(patched) = pal_patch::json_patch(&target, &patch) {
        assert!(patched.to_string().len() <= MOST_BYTES, "a short patch makes a huge object");
    }
}

/// Two JSON values: an object and a merge patch, which changes nothing the second time.
pub(crate) fn merge_patch(input: &[u8]) {
    let Some((target, patch)) = pair(input) else { return };
    let Ok(once) = pal_patch::merge_patch(&target, &patch) else { return };
    assert_eq!(pal_patch::merge_patch(&once, &patch).as_ref(), Ok(&once), "merged twice");
}

/// Two JSON values: a pod and a strategic merge patch.
pub(crate) fn strategic_patch(input: &[u8]) {
    let Some((target, patch)) = pair(input) else { return };
    let Some(message) = schema::message_for(POD.0, POD.1, POD.2) else { return };
    if let Ok(patched) = pal_patch::strategic_merge(&target, &patch, message) {
        let shown = pal_patch::go_text(&patch);
        let shown = ShownPatch::Strategic(&shown);
        let _ = codec::conform_patched(patched, shown, Vec::new(), POD, FieldValidation::Strict);
    }
}

/// Three JSON values: a pod, its `managedFields`, and a configuration. What was applied can be applied again without a
/// conflict, and then changes nothing.
pub(crate) fn apply(input: &[u8]) {
    let [live, managers, config] = parts(input);
    let Ok(live) = codec::decode_as(Media::Json, live, Some(POD), FieldValidation::Ignore) else { return };
    let (Some(config), Some(shape)) = (raw(config), Shape::of_kind(POD.0, POD.1, POD.2)) else { return };
    let managers = raw(managers).and_then(|value| Managers::from_value(&value).ok()).unwrap_or_default();
    let rules = Rules { api_version: "v1", shape, others: &[], ignored: &FieldSet::default() };
    let writer = Writer { manager: "fuzz", subresource: "", now: "2026-01-01T00:00:00Z" };
    for force in [false, true] {
        let applied = pal_patch::apply::apply(&rules, &live.value, &config, &managers, &writer, force);
        let Ok(applied) = applied else { continue };
        let read = Managers::from_json(&applied.managers.to_json()).expect("what is written can be read");
        assert!(read.owns_same(&applied.managers), "owners change by being written");
        let again = pal_patch::apply::apply(&rules, &applied.object, &config, &applied.managers, &writer, false);
        let again = again.expect("what was applied can be applied again");
        assert_eq!(again.object, applied.object, "applied again it changes");
    }
}

/// A JSON value: `FieldsV1`, in an entry of `managedFields`.
pub(crate) fn field_sets(input: &[u8]) {
    let Some(fields) = raw(input) else { return };
    let entry = json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": fields});
    let Ok(managers) = Managers::from_value(&json!([entry])) else { return };
    let read = Managers::from_json(&managers.to_json()).expect("what is written can be read");
    assert_eq!(read, managers);
    for entry in managers.entries() {
        let set = &entry.fields;
        assert_eq!(set.paths().len(), set.len());
        assert_eq!(&set.union(set), set);
        assert_eq!(&set.intersection(set), set);
        assert!(set.difference(set).is_empty());
        assert!(set.leaves().difference(set).is_empty());
    }
}
