//! Operation tables over a kind with every sort of field.

use pal_patch::apply::Shape;
use serde_json::{Value, json};

use crate::story::Step::{Apply, Conflict, Force, Update};
use crate::story::{self, Step, schema};

fn check(steps: Vec<Step>, object: Value, owners: Value) {
    story::check(Shape::Custom(&schema()), steps, object, owners);
}

#[test]
fn an_applier_owns_what_it_applies() {
    check(
        vec![Apply("one", json!({"number": 1, "text": "a"}))],
        json!({"number": 1, "text": "a"}),
        json!({"one (Apply)": {"f:number": {}, "f:text": {}}}),
    );
}

#[test]
fn what_is_not_applied_any_more_goes() {
    check(
        vec![Apply("one", json!({"number": 1, "text": "a", "flag": true})), Apply("one", json!({"text": "a"}))],
        json!({"text": "a"}),
        json!({"one (Apply)": {"f:text": {}}}),
    );
}

#[test]
fn an_object_of_which_all_goes_is_an_empty_one() {
    check(
        vec![Apply("one", json!({"whole": {}})), Apply("one", json!({})), Apply("one", json!({}))],
        json!({}),
        json!({}),
    );
}

#[test]
fn what_another_applies_too_stays() {
    check(
        vec![
            Apply("one", json!({"number": 1, "text": "a"})),
            Apply("two", json!({"number": 1, "flag": true})),
            Apply("one", json!({"text": "a"})),
        ],
        json!({"number": 1, "text": "a", "flag": true}),
        json!({"one (Apply)": {"f:text": {}}, "two (Apply)": {"f:number": {}, "f:flag": {}}}),
    );
}

#[test]
fn another_value_is_a_conflict() {
    check(
        vec![
            Apply("one", json!({"number": 1, "text": "a"})),
            Conflict("two", json!({"number": 2, "text": "b"}), &[".number", ".text"]),
            Conflict("two", json!({"number": 2, "text": "a"}), &[".number"]),
        ],
        json!({"number": 1, "text": "a"}),
        json!({"one (Apply)": {"f:number": {}, "f:text": {}}}),
    );
}

#[test]
fn force_takes_over() {
    check(
        vec![
            Apply("one", json!({"number": 1, "text": "a"})),
            Force("two", json!({"number": 2})),
            Conflict("one", json!({"number": 1, "text": "a"}), &[".number"]),
            Apply("one", json!({"text": "b"})),
        ],
        json!({"number": 2, "text": "b"}),
        json!({"one (Apply)": {"f:text": {}}, "two (Apply)": {"f:number": {}}}),
    );
}

#[test]
fn an_update_takes_what_it_changes() {
    check(
        vec![
            Apply("one", json!({"number": 1, "text": "a"})),
            Update("two", json!({"number": 2, "text": "a", "flag": true})),
            Conflict("one", json!({"number": 1, "text": "a"}), &[".number"]),
            Apply("one", json!({"text": "a"})),
        ],
        json!({"number": 2, "text": "a", "flag": true}),
        json!({"one (Apply)": {"f:text": {}}, "two (Update)": {"f:number": {}, "f:flag": {}}}),
    );
}

#[test]
fn an_applier_that_agrees_shares() {
    check(
        vec![
            Update("one", json!({"number": 1, "text": "a"})),
            Apply("two", json!({"number": 1})),
            Conflict("two", json!({"number": 2}), &[".number"]),
        ],
        json!({"number": 1, "text": "a"}),
        json!({"one (Update)": {"f:number": {}, "f:text": {}}, "two (Apply)": {"f:number": {}}}),
    );
}

#[test]
fn what_a_plain_writer_owns_too_goes_with_its_applier() {
    check(
        vec![
            Update("one", json!({"number": 1, "text": "a"})),
            Apply("two", json!({"number": 1})),
            Apply("two", json!({})),
        ],
        json!({"text": "a"}),
        json!({"one (Update)": {"f:text": {}}}),
    );
}

#[test]
fn what_an_update_removes_nobody_owns() {
    check(
        vec![
            Apply("one", json!({"number": 1, "map": {"a": "1", "b": "2"}})),
            Update("two", json!({"map": {"b": "2"}})),
        ],
        json!({"map": {"b": "2"}}),
        json!({"one (Apply)": {"f:map": {"f:b": {}}}}),
    );
}

#[test]
fn the_same_manager_applies_and_updates_apart() {
    check(
        vec![
            Apply("one", json!({"number": 1})),
            Update("one", json!({"number": 2})),
            Conflict("one", json!({"number": 1}), &[".number"]),
            Force("one", json!({"number": 1})),
        ],
        json!({"number": 1}),
        json!({"one (Apply)": {"f:number": {}}}),
    );
}

#[test]
fn items_of_sets_are_owned_one_by_one() {
    check(
        vec![
            Apply("one", json!({"set": ["a", "b"]})),
            Apply("two", json!({"set": ["b", "c"]})),
            Apply("one", json!({"set": ["a"]})),
            Apply("two", json!({"set": ["c"]})),
        ],
        json!({"set": ["a", "c"]}),
        json!({"one (Apply)": {"f:set": {"v:\"a\"": {}}}, "two (Apply)": {"f:set": {"v:\"c\"": {}}}}),
    );
}

#[test]
fn items_with_keys_are_owned_field_by_field() {
    let item = |name: &str| format!("k:{{\"name\":\"{name}\"}}");
    let (a, b, c) = (item("a"), item("b"), item("c"));
    check(
        vec![
            Apply("one", json!({"items": [{"name": "a"}, {"name": "b", "value": 1}]})),
            Apply("two", json!({"items": [{"name": "a", "value": 2}, {"name": "c"}]})),
            Conflict("one", json!({"items": [{"name": "a", "value": 3}]}), &[".items[name=\"a\"].value"]),
            Apply("one", json!({"items": [{"name": "b", "value": 1}]})),
        ],
        json!({"items": [{"name": "a", "value": 2}, {"name": "b", "value": 1}, {"name": "c"}]}),
        json!({
            "one (Apply)": {"f:items": {b: {".": {}, "f:name": {}, "f:value": {}}}},
            "two (Apply)": {"f:items": {a: {".": {}, "f:name": {}, "f:value": {}}, c: {".": {}, "f:name": {}}}},
        }),
    );
}

#[test]
fn an_item_goes_with_what_was_written_into_it() {
    check(
        vec![
            Apply("one", json!({"items": [{"name": "a"}], "mapOfMaps": {"x": {"k": "1"}}, "text": "t"})),
            Update(
                "two",
                json!({"items": [{"name": "a", "value": 5}], "mapOfMaps": {"x": {"k": "1", "l": "2"}},
                                 "text": "t"}),
            ),
            Apply("one", json!({"text": "t"})),
        ],
        json!({"text": "t"}),
        json!({"one (Apply)": {"f:text": {}}}),
    );
}

#[test]
fn an_item_stays_with_what_another_applies_in_it() {
    let a = "k:{\"name\":\"a\"}";
    check(
        vec![
            Apply("one", json!({"items": [{"name": "a", "value": 5}], "mapOfMaps": {"x": {"k": "1"}}})),
            Apply("two", json!({"items": [{"name": "a"}], "mapOfMaps": {"x": {"l": "2"}}})),
            Apply("one", json!({})),
        ],
        json!({"items": [{"name": "a"}], "mapOfMaps": {"x": {"l": "2"}}}),
        json!({"two (Apply)": {"f:items": {a: {".": {}, "f:name": {}}}, "f:mapOfMaps": {"f:x": {".": {}, "f:l": {}}}}}),
    );
}

#[test]
fn wholes_are_owned_as_wholes() {
    check(
        vec![
            Apply("one", json!({"whole": {"a": "1"}, "list": ["a"]})),
            Conflict("two", json!({"whole": {"b": "2"}, "list": ["a", "b"]}), &[".list", ".whole"]),
            Force("two", json!({"whole": {"b": "2"}})),
        ],
        json!({"whole": {"b": "2"}, "list": ["a"]}),
        json!({"one (Apply)": {"f:list": {}}, "two (Apply)": {"f:whole": {}}}),
    );
}

#[test]
fn nested_maps_and_lists_go_when_nothing_of_them_is_applied() {
    check(
        vec![
            Apply(
                "one",
                json!({
                    "struct": {"number": 1, "text": "a"}, "mapOfSets": {"x": ["a", "b"], "y": ["c"]},
                    "itemsOfMaps": [{"name": "i", "value": {"k": "1", "l": "2"}}],
                    "itemsOfSets": [{"name": "i", "value": ["a", "b"]}],
                }),
            ),
            Apply(
                "one",
                json!({
                    "struct": {"text": "a"}, "mapOfSets": {"x": ["b"]},
                    "itemsOfMaps": [{"name": "i", "value": {"l": "2"}}], "itemsOfSets": [{"name": "i", "value": ["b"]}],
                }),
            ),
        ],
        json!({
            "struct": {"text": "a"}, "mapOfSets": {"x": ["b"]},
            "itemsOfMaps": [{"name": "i", "value": {"l": "2"}}], "itemsOfSets": [{"name": "i", "value": ["b"]}],
        }),
        json!({"one (Apply)": {
            "f:struct": {"f:text": {}}, "f:mapOfSets": {"f:x": {".": {}, "v:\"b\"": {}}},
            "f:itemsOfMaps": {"k:{\"name\":\"i\"}": {".": {}, "f:name": {}, "f:value": {"f:l": {}}}},
            "f:itemsOfSets": {"k:{\"name\":\"i\"}": {".": {}, "f:name": {}, "f:value": {"v:\"b\"": {}}}},
        }}),
    );
    check(
        vec![
            Apply("one", json!({"struct": {"number": 1}, "mapOfSets": {"x": ["a"]}, "items": [{"name": "i"}]})),
            Apply("one", json!({"number": 1})),
        ],
        json!({"number": 1}),
        json!({"one (Apply)": {"f:number": {}}}),
    );
}

#[test]
fn empty_and_null_values_are_owned() {
    check(
        vec![Apply("one", json!({"map": {}, "struct": null, "whole": {}}))],
        json!({"map": {}, "whole": {}}),
        json!({"one (Apply)": {"f:map": {}, "f:struct": {}, "f:whole": {}}}),
    );
}

#[test]
fn keys_that_are_left_out_have_their_defaults() {
    let key = "k:{\"port\":80,\"protocol\":\"TCP\"}";
    let udp = "k:{\"port\":80,\"protocol\":\"UDP\"}";
    check(
        vec![
            Apply("one", json!({"ports": [{"port": 80, "name": "a"}, {"port": 80, "protocol": "UDP"}]})),
            Conflict(
                "two",
                json!({"ports": [{"port": 80, "protocol": "TCP", "name": "b"}]}),
                &[".ports[port=80,protocol=\"TCP\"].name"],
            ),
        ],
        json!({"ports": [{"port": 80, "name": "a"}, {"port": 80, "protocol": "UDP"}]}),
        json!({"one (Apply)": {"f:ports": {
            key: {".": {}, "f:port": {}, "f:name": {}}, udp: {".": {}, "f:port": {}, "f:protocol": {}},
        }}}),
    );
}

#[test]
fn fields_that_are_preserved_are_owned_one_by_one() {
    check(
        vec![
            Apply("one", json!({"free": {"a": {"b": 1, "c": [1, 2]}}})),
            Apply("two", json!({"free": {"a": {"d": 1}}})),
            Conflict("two", json!({"free": {"a": {"c": [1]}}}), &[".free.a.c"]),
            Apply("one", json!({"free": {"a": {"b": 1}}})),
        ],
        json!({"free": {"a": {"b": 1, "d": 1}}}),
        json!({
            "one (Apply)": {"f:free": {"f:a": {".": {}, "f:b": {}}}},
            "two (Apply)": {"f:free": {"f:a": {".": {}, "f:d": {}}}},
        }),
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let schema = schema();
    let mut story = story::Story::new(Shape::Custom(&schema));
    let mut refused = |config: Value, expected: &str| {
        let status = story.apply("one", &config, true).expect_err("it does not fit").status();
        assert_eq!((status.code, status.message.as_str()), (if status.code == 400 { 400 } else { 500 }, expected));
    };
    refused(
        json!({"kind": "A", "apiVersion": "v1", "metadata": {"name": "x", "namespace": "y"}, "nope": 1}),
        "failed to create typed patch object (y/x; /v1, Kind=A): .nope: field not declared in schema",
    );
    refused(
        json!({"kind": "A", "apiVersion": "g/v1", "metadata": {"name": "x"}, "set": ["a", "a"]}),
        "failed to create typed patch object (/x; g/v1, Kind=A): .set: duplicate entries for key [=\"a\"]",
    );
    refused(json!({"metadata": {"managedFields": []}}), "metadata.managedFields must be nil");
}

#[test]
fn duplicates_that_are_stored_are_put_up_with() {
    let a = "k:{\"name\":\"a\"}";
    check(
        vec![
            Update("one", json!({"items": [{"name": "a", "value": 1}, {"name": "a", "value": 2}, {"name": "b"}]})),
            Apply("two", json!({"items": [{"name": "b", "value": 3}]})),
        ],
        json!({"items": [{"name": "a", "value": 1}, {"name": "a", "value": 2}, {"name": "b", "value": 3}]}),
        json!({
            "one (Update)": {"f:items": {".": {}, a: {}, "k:{\"name\":\"b\"}": {".": {}, "f:name": {}}}},
            "two (Apply)": {"f:items": {"k:{\"name\":\"b\"}": {".": {}, "f:name": {}, "f:value": {}}}},
        }),
    );
    check(
        vec![
            Update("one", json!({"items": [{"name": "a", "value": 1}, {"name": "a", "value": 2}]})),
            Force("two", json!({"items": [{"name": "a", "value": 3}]})),
        ],
        json!({"items": [{"name": "a", "value": 3}]}),
        json!({
            "one (Update)": {"f:items": {}},
            "two (Apply)": {"f:items": {a: {".": {}, "f:name": {}, "f:value": {}}}},
        }),
    );
}
