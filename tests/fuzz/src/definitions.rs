//! Definitions of custom resources, their rules, and objects of them.

use pal_custom::Definition;
use pal_resources::codec::{self, FieldValidation, Media};
use serde_json::{Value, json};

use crate::parts;

pub(crate) fn raw(bytes: &[u8]) -> Option<Value> {
    codec::decode_raw(Media::Json, bytes, FieldValidation::Ignore).ok().map(|(value, _)| value)
}

/// A definition with that schema of `spec`, and what it makes of objects.
fn tried(schema: &Value, object: Value) {
    let schema = json!({"type": "object", "properties": {"spec": schema}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let names = json!({"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"});
    let mut crd = json!({"metadata": {"name": "as.a.io"},
        "spec": {"group": "a.io", "scope": "Namespaced", "names": names, "versions": [version]}});
    pal_custom::default_definition(&mut crd);
    let accepted = pal_custom::validate_definition(&crd, None).is_empty();
    let compiled = Definition::compile(&crd);
    assert!(compiled.is_ok() || !accepted, "a definition that was accepted does not compile: {compiled:?}");
    let Some(version) = compiled.as_ref().ok().filter(|_| accepted).and_then(|it| it.version("v1")) else { return };
    let mut object = json!({"apiVersion": "a.io/v1", "kind": "A", "metadata": {"name": "a"}, "spec": object});
    version.prune(&mut object);
    version.default(&mut object);
    let (mut pruned, mut defaulted) = (object.clone(), object.clone());
    version.prune(&mut pruned);
    version.default(&mut defaulted);
    assert_eq!((&pruned, &defaulted), (&object, &object), "pruned or defaulted twice");
    version.validate(&object, None);
    version.validate(&object, Some(&object));
}

/// Two JSON values: the schema of `spec`, and a `spec`.
pub(crate) fn definitions(input: &[u8]) {
    let [schema, object] = parts(input);
    let (Some(schema), Some(object)) = (raw(schema), raw(object)) else { return };
    tried(&schema, object);
}

/// A rule, and a `spec` that it judges.
pub(crate) fn cel(input: &[u8]) {
    let [rule, object] = parts(input);
    let Ok(rule) = std::str::from_utf8(rule) else { return };
    let object = raw(object).unwrap_or_else(|| json!({"l": [3, 1, 2], "s": "text", "m": {"k": "v"}, "n": 7, "d": 1.5}));
    let properties = json!({
        "l": {"type": "array", "items": {"type": "integer"}},
        "s": {"type": "string"},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
        "n": {"type": "integer"}, "d": {"type": "number"}, "b": {"type": "boolean"},
        "x": {"x-kubernetes-int-or-string": true},
        "t": {"type": "string", "format": "date-time"},
    });
    let schema = json!({"type": "object", "properties": properties, "x-kubernetes-validations": [{"rule": rule}]});
    tried(&schema, object);
}
