//! Several versions of a custom resource.

use pal_patch::apply::{self, FieldSet, Managers, Rules, Schema, Shape, Writer};
use serde_json::{Value, json};

fn schema(list_type: &str) -> Schema {
    Schema::of_resource(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "list": {"type": "array", "x-kubernetes-list-type": list_type, "items": {"type": "string"}},
    }}}}))
}

#[test]
fn versions_own_in_their_own_words() {
    let (old, new) = (schema("atomic"), schema("set"));
    let (old, new) = (Shape::Custom(&old), Shape::Custom(&new));
    let nothing = FieldSet::default();
    let (one, two) = (("g/v1", old), ("g/v2", new));
    let in_v1 = Rules { api_version: one.0, shape: one.1, others: &[two], ignored: &nothing };
    let in_v2 = Rules { api_version: two.0, shape: two.1, others: &[one], ignored: &nothing };
    let config = |items: &[&str]| json!({"spec": {"list": items}});
    let apply = |rules: &Rules<'_>, live: &Value, items: &[&str], managers: &Managers, manager: &str| {
        let writer = Writer { manager, subresource: "", now: "2026-01-01T00:00:00Z" };
        apply::apply(rules, live, &config(items), managers, &writer, false).map_err(|error| error.status().message)
    };
    let first = apply(&in_v1, &json!({}), &["a"], &Managers::default(), "one").expect("applies");
    assert_eq!(first.managers.entries()[0].fields.to_json(), r#"{"f:spec":{"f:list":{}}}"#);
    let refused = apply(&in_v2, &first.object, &["b"], &first.managers, "two");
    assert_eq!(refused, Err("Apply failed with 1 conflict: conflict with \"one\": .spec.list".to_owned()));
    let moved = apply(&in_v2, &first.object, &["a", "b"], &first.managers, "one").expect("it is its own");
    assert_eq!(moved.object, config(&["a", "b"]));
    let entry = &moved.managers.entries()[0];
    assert_eq!((&*entry.api_version, moved.managers.entries().len()), ("g/v2", 1));
    let shared = apply(&in_v2, &moved.object, &["c"], &moved.managers, "two").expect("items are apart");
    assert_eq!(shared.object, config(&["a", "b", "c"]));
}
