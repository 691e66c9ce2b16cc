use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Definition, Version, default_definition};

fn definition(version: Value) -> Definition {
    let mut version = version;
    for (field, value) in [("name", json!("v1")), ("served", json!(true)), ("storage", json!(true))] {
        version[field] = value;
    }
    let mut crd = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"}, "versions": [version]},
    });
    default_definition(&mut crd);
    // As one that is stored: what costs more than anybody may write now is evaluated too.
    let told: Vec<String> = crate::validate_definition(&crd, Some(&crd)).iter().map(ToString::to_string).collect();
    assert_eq!(told, Vec::<String>::new());
    Definition::compile(&crd).expect("what is accepted compiles")
}

/// A version whose `spec` has that schema.
fn with_spec(spec: Value) -> Definition {
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}});
    definition(json!({"schema": {"openAPIV3Schema": schema}}))
}

fn only(definition: &Definition) -> &Version {
    definition.storage().expect("one version is stored")
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": spec})
}

fn told(schema: Value, spec: Value) -> Vec<String> {
    only(&with_spec(schema)).validate(&object(spec), None).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_wrong_with_an_object_is_told_in_the_words_of_kubernetes() {
    let check = |field: Value, value: Value, expected: &[&str]| {
        let schema = json!({"type": "object", "properties": {"x": field}});
        assert_eq!(told(schema, json!({"x": value})), expected, "{value}");
    };
    let integer = json!({"type": "integer", "minimum": 1, "maximum": 10});
    check(integer.clone(), json!(5), &[]);
    check(integer.clone(), json!(5.0), &[]);
    check(
        integer.clone(),
        json!(11),
        &["spec.x: Invalid value: 11: spec.x in body should be less than or equal to 10"],
    );
    check(
        integer.clone(),
        json!(0),
        &["spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1"],
    );
    check(
        integer.clone(),
        json!("a"),
        &["spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\""],
    );
    check(
        integer,
        json!(1.5),
        &[
            "spec.x: Invalid value: \"number\": spec.x in body must be of type integer: \"number\"",
            "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in spec.x",
        ],
    );
    let int32 = json!({"type": "integer", "format": "int32"});
    check(int32.clone(), json!(2_147_483_647), &[]);
    check(
        int32,
        json!(3_000_000_000_u32),
        &["<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.x"],
    );
    check(
        json!({"type": "number", "format": "float"}),
        json!(1e300),
        &["<nil>: Invalid value: \"\": Checked value must be of type number with format float in spec.x"],
    );
    // Whole numbers are compared with whole bounds.
    let ratio = json!({"type": "number", "minimum": 1.5, "maximum": 2.5});
    check(ratio.clone(), json!(1), &[]);
    check(
        ratio.clone(),
        json!(1.2),
        &["spec.x: Invalid value: 1.2: spec.x in body should be greater than or equal to 1.5"],
    );
    check(ratio, json!(3), &["spec.x: Invalid value: 3: spec.x in body should be less than or equal to 2"]);
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 2});
    check(map, json!({"a": "b"}), &["spec.x: Invalid value: 1: spec.x in body should have at least 2 properties"]);
    check(
        json!({"type": "number", "multipleOf": 0.5, "maximum": 2, "exclusiveMaximum": true}),
        json!(2),
        &["spec.x: Invalid value: 2: spec.x in body should be less than 2"],
    );
    check(
        json!({"type": "number", "multipleOf": 0.5}),
        json!(0.7),
        &["spec.x: Invalid value: 0.7: spec.x in body should be a multiple of 0.5"],
    );
    check(
        json!({"type": "string"}),
        Value::Null,
        &["spec.x: Invalid value: \"null\": spec.x in body must be of type string: \"null\""],
    );
    check(json!({"type": "string", "nullable": true}), Value::Null, &[]);
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!("c"),
        &["spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\""],
    );
    check(
        json!({"type": "string", "pattern": "^[a-z]+$"}),
        json!("A"),
        &["spec.x: Invalid value: \"A\": spec.x in body should match '^[a-z]+$'"],
    );
    check(
        json!({"type": "string", "minLength": 2}),
        json!("a"),
        &["spec.x: Invalid value: \"a\": spec.x in body should be at least 2 chars long"],
    );
    check(json!({"type": "string", "maxLength": 2}), json!("abc"), &["spec.x: Too long: may not be more than 2 bytes"]);
    check(
        json!({"type": "string", "format": "date-time"}),
        json!("soon"),
        &["spec.x: Invalid value: \"soon\": spec.x in body must be of type date-time: \"soon\""],
    );
    check(json!({"type": "string", "format": "int32"}), json!("soon"), &[]);
    let list = json!({"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}});
    check(list.clone(), json!([]), &["spec.x: Invalid value: 0: spec.x in body should have at least 1 items"]);
    check(list.clone(), json!(["a", "b", "c"]), &["spec.x: Too many: 3: must have at most 2 items"]);
    let one = json!({"type": "array", "maxItems": 1, "items": {"type": "string", "maxLength": 1}});
    check(one.clone(), json!(["a", "b"]), &["spec.x: Too many: 2: must have at most 1 item"]);
    check(one, json!(["ab"]), &["spec.x[0]: Too long: may not be more than 1 byte"]);
    check(
        list,
        json!(["a", 1]),
        &["spec.x[1]: Invalid value: \"integer\": spec.x[1] in body must be of type string: \"integer\""],
    );
    check(
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
        json!(["a", "b", "a", "a"]),
        &["spec.x[2]: Duplicate value: \"a\""],
    );
    let map_list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}});
    check(
        map_list.clone(),
        json!([{"k": "a"}, {"k": "b"}, {"k": "a"}]),
        &["spec.x[2]: Duplicate value: {\"k\":\"a\"}"],
    );
    check(map_list, json!([{"v": 1}]), &["spec.x[0].k: Required value"]);
    let port = json!({"x-kubernetes-int-or-string": true});
    check(port.clone(), json!(1), &[]);
    check(port.clone(), json!("a"), &[]);
    check(
        port,
        json!(true),
        &["spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\""],
    );
    check(
        json!({"type": "integer", "oneOf": [{"minimum": 5}, {"maximum": 3}]}),
        json!(4),
        &[
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found none valid",
            "spec.x: Invalid value: 4: spec.x in body should be greater than or equal to 5",
        ],
    );
    check(
        json!({"type": "integer", "not": {"enum": [4]}}),
        json!(4),
        &["<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)"],
    );
    let template =
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true});
    check(template.clone(), json!({"apiVersion": "v1", "kind": "Pod"}), &[]);
    check(template, json!({"kind": "Pod"}), &["spec.x.apiVersion: Required value"]);
    let ruled = json!({"type": "integer", "maximum": 9, "x-kubernetes-validations": [{"rule": "self % 2 == 0", "message": "must be even"}]});
    check(ruled.clone(), json!(3), &["spec.x: Invalid value: 3: must be even"]);
    check(
        ruled,
        json!("a"),
        &[
            "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ],
    );
}

#[test]
fn unknown_fields_are_left_out_and_told() {
    let definition = with_spec(json!({"type": "object", "properties": {
        "a": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"k": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": {"type": "object"}}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
    }}));
    let mut given = object(json!({
        "a": "x", "b": 1, "list": [{"k": "v", "z": 1}], "map": {"m": {"k": "v", "z": 1}},
        "free": {"anything": {"goes": 1}, "known": {"x": 1}},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "odd": 1}, "extra": 1},
    }));
    given["metadata"] = json!({"name": "x", "labels": {"l": "v"}, "nope": 1});
    given["top"] = json!(1);
    let unknown = only(&definition).prune(&mut given);
    assert_eq!(
        unknown,
        [
            "metadata.nope",
            "spec.b",
            "spec.free.known.x",
            "spec.list[0].z",
            "spec.map.m.z",
            "spec.pod.extra",
            "spec.pod.metadata.odd",
            "top"
        ]
    );
    let mut expected = object(json!({
        "a": "x", "list": [{"k": "v"}], "map": {"m": {"k": "v"}}, "free": {"anything": {"goes": 1}, "known": {}},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}},
    }));
    expected["metadata"]["labels"] = json!({"l": "v"});
    assert_eq!(given, expected);
}

#[test]
fn defaults_are_filled_in_wherever_something_is_missing() {
    let definition = with_spec(json!({"type": "object", "default": {}, "properties": {
        "a": {"type": "string", "default": "x"},
        "n": {"type": "string", "nullable": true, "default": "x"},
        "gone": {"type": "string"},
        "deep": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"type": "integer", "default": 1}}}},
    }}));
    let check = |given: Value, expected: Value| {
        let mut given = given;
        only(&definition).default(&mut given);
        assert_eq!(given["spec"], expected);
    };
    check(json!({}), json!({"a": "x", "n": "x", "deep": {"b": 3}}));
    check(
        object(json!({"a": null, "n": null, "gone": null, "deep": null})),
        json!({"a": "x", "n": null, "deep": {"b": 3}}),
    );
    check(
        object(json!({"a": "y", "n": "y", "deep": {"b": 4}, "list": [{}, {"p": "UDP"}], "map": {"k": {}}})),
        json!({"a": "y", "n": "y", "deep": {"b": 4}, "list": [{"p": "TCP"}, {"p": "UDP"}], "map": {"k": {"q": 1}}}),
    );
}

#[test]
fn what_did_not_change_is_forgiven() {
    let schema = json!({"type": "object", "properties": {
        "size": {"type": "integer", "maximum": 5},
        "name": {"type": "string"},
        "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 5}}}},
        "even": {"type": "integer", "x-kubernetes-validations": [{"rule": "self % 2 == 0"}]},
    }});
    let definition = with_spec(schema);
    let old = object(json!({"size": 9, "name": "a", "items": [{"k": "a", "v": 9}], "even": 3}));
    let check = |spec: Value, expected: usize| {
        let errors = only(&definition).validate(&object(spec.clone()), Some(&old));
        assert_eq!(errors.len(), expected, "{spec}: {errors:?}");
    };
    check(json!({"size": 9, "name": "b", "items": [{"k": "b", "v": 1}, {"k": "a", "v": 9}], "even": 3}), 0);
    check(json!({"size": 8, "name": "a", "even": 3}), 1);
    check(json!({"size": 9, "items": [{"k": "a", "v": 8}], "even": 3}), 1);
    check(json!({"size": 9, "even": 5}), 1);
}

#[test]
fn a_list_with_keys_is_the_same_in_another_order() {
    let item = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
        "ports": {"type": "array", "items": {"type": "integer"}}}});
    let list = json!({"type": "array", "maxItems": 1, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"], "items": item,
        "x-kubernetes-validations": [{"rule": "self.all(i, size(i.name) > 3)"}]});
    let definition = with_spec(json!({"type": "object", "properties": {"list": list}}));
    let old = object(json!({"list": [{"name": "a", "ports": [1, 2]}, {"name": "b"}]}));
    let check = |list: Value, faults: usize| {
        let found = only(&definition).validate(&object(json!({"list": list})), Some(&old));
        assert_eq!(found.len(), faults, "{list}: {found:?}");
    };
    check(json!([{"name": "b"}, {"name": "a", "ports": [1, 2]}]), 0);
    // Items of a list without keys are what they are where they stand.
    check(json!([{"name": "b"}, {"name": "a", "ports": [2, 1]}]), 2);
    check(json!([{"name": "b"}, {"name": "c", "ports": [1, 2]}]), 2);
    check(json!([{"name": "b"}, {"name": "a", "ports": [1, 2]}, {"name": "c"}]), 2);
}

#[test]
fn a_scale_is_read_and_written() {
    let definition = definition(json!({
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}, "color": {"type": "string"}}},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
        }}},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
        "selectableFields": [{"jsonPath": ".spec.color"}],
    }));
    let version = only(&definition);
    assert!(version.has_status());
    let scale = version.scale().expect("there is a scale");
    let mut given = object(json!({"color": "red"}));
    given["status"] = json!({"replicas": 2, "selector": "a=b"});
    assert_eq!(scale.scale_of(&given), Err("the spec replicas field \".spec.replicas\" does not exist".to_owned()));
    scale.set_replicas(&mut given, 3);
    let read = scale.scale_of(&given).expect("it has replicas");
    assert_eq!((&read["spec"], &read["status"]), (&json!({"replicas": 3}), &json!({"replicas": 2, "selector": "a=b"})));
    assert_eq!(version.selected(&given), [("spec.color".to_owned(), "red".to_owned())]);
    scale.set_replicas(&mut given, -1);
    let errors = version.validate(&given, None);
    assert_eq!(errors[0].to_string(), ".spec.replicas: Invalid value: -1: should be a non-negative integer");
}

/// What takes long would be seen here: a million entries, most of them wrong, and lists in lists in lists.
#[test]
fn large_and_deep_objects_cost_little() {
    let definition = with_spec(
        json!({"type": "object", "x-kubernetes-validations": [{"rule": "!has(self.list) || self.list.all(x, self.list.exists(y, x == y))"}], "properties": {
            "list": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "maxLength": 2}},
            "any": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        }}),
    );
    let version = only(&definition);
    let many: Vec<Value> = (0..300_000).map(|n| n.to_string().into()).collect();
    let errors = version.validate(&object(json!({"list": many})), None);
    assert!(errors.len() < 500, "{}", errors.len());
    let mut unknown = object(json!({}));
    unknown["spec"] = (0..300_000).map(|n| (n.to_string(), Value::Null)).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(version.prune(&mut unknown).len(), 1000);
    assert_eq!(unknown["spec"], json!({}));
    // Moved, not copied: copies are recursive.
    let mut deep = json!({"x": 1});
    for _ in 0..5000 {
        deep = Value::Array(vec![deep]);
    }
    let mut given = object(json!({"any": [[]]}));
    given["spec"]["any"][0] = Value::Array(vec![deep]);
    version.prune(&mut given);
    assert!(!version.validate(&given, None).is_empty());
    // Dropping such a value is recursive: it is taken apart.
    let mut rest = given["spec"].take();
    while let Some(inner) = match &mut rest {
        Value::Array(list) => list.pop(),
        Value::Object(map) => map.iter_mut().next().map(|(_, value)| value.take()),
        _ => None,
    } {
        rest = inner;
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..9i64).prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let name = prop_oneof![Just("a"), Just("b"), Just("n"), Just("list"), Just("deep"), Just("z")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..5).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pruning and defaulting settle at once, and neither makes what was right wrong.
    #[test]
    fn pruning_and_defaulting_settle(spec in values()) {
        let definition = with_spec(json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "x"},
            "b": {"type": "integer", "maximum": 5},
            "n": {"type": "boolean", "nullable": true},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer", "default": 1}}}},
            "deep": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "string", "default": "y"}}}},
        }}));
        let version = only(&definition);
        let mut once = object(spec);
        version.prune(&mut once);
        let pruned = once.clone();
        prop_assert!(version.prune(&mut once).is_empty());
        prop_assert_eq!(&once, &pruned);
        version.default(&mut once);
        let filled = once.clone();
        version.default(&mut once);
        prop_assert!(version.prune(&mut once).is_empty());
        prop_assert_eq!(&once, &filled);
        if version.validate(&pruned, None).is_empty() {
            prop_assert_eq!(version.validate(&filled, None), vec![]);
        }
    }
}

#[test]
fn definitions_are_shared_among_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Definition>();
}

#[test]
fn a_stored_definition_whose_rules_are_refused_by_now_is_served() {
    let check = |rule: Value, spec: Value, expected: &[&str]| {
        let fields = json!({"on": {"type": "boolean"}, "port": {"x-kubernetes-int-or-string": true}, "count": {"type": "integer"},
            "names": {"type": "array", "items": {"type": "string"}}});
        let spec_schema = json!({"type": "object", "properties": fields, "x-kubernetes-validations": [rule]});
        let schema = json!({"type": "object", "properties": {"spec": spec_schema}});
        let mut crd = json!({
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
        });
        default_definition(&mut crd);
        assert_ne!(crate::validate_definition(&crd, None), [], "{rule}: nobody may write it now");
        let definition = Definition::compile(&crd).unwrap_or_else(|why| panic!("{rule}: {why:?}"));
        let told: Vec<String> =
            only(&definition).validate(&object(spec), None).iter().map(ToString::to_string).collect();
        assert_eq!(told, expected, "{rule}");
    };
    check(json!({"rule": "dyn(self.on)"}), json!({"on": true}), &[]);
    check(json!({"rule": "dyn(self.on)"}), json!({"on": false}), &["spec: Invalid value: failed rule: dyn(self.on)"]);
    check(json!({"rule": "{1: 'a', 'b': 'c'}.size() == 2"}), json!({}), &[]);
    check(
        json!({"rule": "self.names.indexOf(1) == -1 && sets.contains([1], []) || [?1] == []"}),
        json!({"names": ["a"]}),
        &[],
    );
    check(
        json!({"rule": "self.count < 3", "messageExpression": "self.port"}),
        json!({"count": 4, "port": "not so many"}),
        &["spec: Invalid value: not so many"],
    );
    check(
        json!({"rule": "int(self.on) == 1", "message": "m"}),
        json!({"on": true}),
        &[
            "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: m",
        ],
    );
}
