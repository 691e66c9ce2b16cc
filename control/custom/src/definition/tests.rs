use serde_json::{Value, json};

use super::*;

pub(super) fn definition(schema: Value) -> Value {
    let mut crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    default_definition(&mut crd);
    crd
}

pub(super) fn told(crd: &Value, old: Option<&Value>) -> Vec<String> {
    validate_definition(crd, old).iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_filled_in() {
    let crd = definition(json!({"type": "object"}));
    assert_eq!(crd["spec"]["names"]["singular"], "widget");
    assert_eq!(crd["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    let mut again = crd.clone();
    default_definition(&mut again);
    assert_eq!(again, crd);
    assert_eq!(told(&crd, None), Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_a_definition_is_told_in_the_words_of_kubernetes() {
    let check = |pointer: &str, value: Value, expected: &[&str]| {
        let mut crd = definition(json!({"type": "object"}));
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        crd.pointer_mut(parent).expect("a parent")[field] = value;
        let errors = told(&crd, None);
        for text in expected {
            assert!(errors.iter().any(|error| error.contains(text)), "{pointer}: {text} among {errors:#?}");
        }
        assert_eq!(errors.len(), expected.len(), "{pointer}: {errors:#?}");
    };
    let name = "metadata.name: Invalid value: \"widgets.example.com\": must be spec.names.plural+\".\"+spec.group";
    check("/metadata/name", json!("x.example.com"), &["must be spec.names.plural+\".\"+spec.group"]);
    check(
        "/spec/group",
        json!("example"),
        &[name, "spec.group: Invalid value: \"example\": should be a domain with at least one dot"],
    );
    check("/spec/group", json!(""), &[name, "spec.group: Required value"]);
    check(
        "/spec/scope",
        json!("World"),
        &["spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\""],
    );
    check("/spec/scope", json!(""), &["spec.scope: Required value"]);
    check(
        "/spec/names/kind",
        json!("wi dget"),
        &[
            "spec.names.kind: Invalid value: \"wi dget\": may have mixed case, but should otherwise match: a DNS-1035 label",
        ],
    );
    check(
        "/spec/names/listKind",
        json!("Widget"),
        &["spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same"],
    );
    check(
        "/spec/names/shortNames",
        json!(["a", "B"]),
        &["spec.names.shortNames[1]: Invalid value: \"B\": a DNS-1035 label"],
    );
    check("/spec/versions/0/name", json!("V1"), &["spec.versions[0].name: Invalid value: \"V1\": a DNS-1035 label"]);
    check(
        "/spec/versions/0/storage",
        json!(false),
        &[
            "must have exactly one version marked as storage version",
            "status.storedVersions: Invalid value: null: must have at least one stored version",
        ],
    );
    check("/spec/versions/0/schema", Value::Null, &["spec.versions[0].schema.openAPIV3Schema: Required value"]);
    check(
        "/spec/preserveUnknownFields",
        json!(true),
        &[
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ],
    );
    check(
        "/spec/conversion",
        json!({"strategy": "Webhook"}),
        &[
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value",
        ],
    );
    check(
        "/spec/conversion",
        json!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a.b/c"}, "conversionReviewVersions": ["v1"]}}),
        &[],
    );
    check(
        "/spec/versions/0/deprecationWarning",
        json!("old"),
        &["spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions"],
    );
    check(
        "/spec/versions/0/deprecationWarning",
        json!(""),
        &["spec.versions[0].deprecationWarning: Invalid value: \"\": can only be set for deprecated versions"],
    );
    check(
        "/spec/versions/0/additionalPrinterColumns",
        json!([{"name": "A", "type": "text", "jsonPath": "spec.a"}]),
        &[
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec.a\": must be a simple json path starting with .",
        ],
    );
    check(
        "/spec/versions/0/subresources",
        json!({"scale": {"specReplicasPath": ".status.r"}}),
        &[
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.r\": should be a json path under .spec",
            "spec.subresources.scale.statusReplicasPath: Required value",
        ],
    );
    check(
        "/spec/versions/0/selectableFields",
        json!([{"jsonPath": ".spec.color"}]),
        &[
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.color\": is an invalid path: does not refer to a valid field",
        ],
    );
}

#[test]
fn formats_that_nobody_checks_are_found() {
    let check = |ty: &str, format: &str, unknown: bool| {
        let schema =
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": ty, "format": format}}}});
        let expected: &[&str] = if unknown { &[format] } else { &[] };
        assert_eq!(unknown_formats(&definition(schema)), expected, "{ty} {format}");
    };
    check("string", "date-time", false);
    check("string", "k8s-short-name", false);
    check("string", "int32", true);
    check("string", "nope", true);
    check("integer", "int32", false);
    check("integer", "double", true);
    check("number", "double", false);
    check("boolean", "date", true);
    check("string", "", false);
}

#[test]
fn schemas_are_structural() {
    let check = |schema: Value, expected: &[&str]| {
        let root = json!({"type": "object", "properties": {"spec": schema}});
        let errors = told(&definition(root), None);
        let expected: Vec<String> =
            expected.iter().map(|text| format!("spec.validation.openAPIV3Schema.properties[spec]{text}")).collect();
        for text in &expected {
            assert!(errors.iter().any(|error| error.starts_with(text)), "{text} among {errors:#?}");
        }
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    };
    check(json!({"type": "object"}), &[]);
    let spoken =
        told(&definition(json!({"type": "object", "properties": {"a": {"type": "string", "$schema": "x"}}})), None);
    assert_eq!(
        spoken,
        ["spec.validation.openAPIV3Schema: Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported"]
    );
    check(
        json!({"type": "string", "pattern": "("}),
        &[".pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp"],
    );
    check(json!({}), &[".type: Required value: must not be empty for specified object fields"]);
    check(
        json!({"type": "text"}),
        &[
            ".type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ],
    );
    check(json!({"type": "array"}), &[".items: Required value: must be specified"]);
    check(
        json!({"type": "array", "items": {}}),
        &[".items.type: Required value: must not be empty for specified array items"],
    );
    check(
        json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
        &[".uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"],
    );
    check(json!({"x-kubernetes-preserve-unknown-fields": true}), &[]);
    check(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), &[]);
    check(
        json!({"type": "integer", "anyOf": [{"type": "integer"}]}),
        &[".anyOf[0].type: Forbidden: must be empty to be structural"],
    );
    // Alternatives below the root may speak of what is said nowhere else.
    check(json!({"type": "object", "allOf": [{"properties": {"a": {"minimum": 1}}}]}), &[]);
    check(
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
        &[".additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    );
    check(json!({"type": "object", "$ref": "#/x"}), &[".$ref: Forbidden: $ref is not supported"]);
    check(
        json!({"type": "string", "default": 5}),
        &[".default: Invalid value: \"integer\":  in body must be of type string: \"integer\""],
    );
    check(
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "default": {"b": 1}}),
        &[".default: Invalid value: {\"b\":1}: must not have unknown fields"],
    );
    // What may be a number or a text has no type that its default could miss, unless alternatives say it.
    check(json!({"x-kubernetes-int-or-string": true, "default": true}), &[]);
    check(
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "default": {}}),
        &[
            ".default: Invalid value: \"\": \"\" must validate at least one schema (anyOf)",
            ".default: Invalid value: \"object\":  in body must be of type integer: \"object\"",
        ],
    );
    let embedded = |name: Value| {
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
            "metadata": {"type": "object", "properties": {"name": name}}}})
    };
    check(embedded(json!({"type": "string", "default": "a"})), &[]);
    check(
        embedded(json!({"type": "string", "default": "a/b"})),
        &[".properties[metadata].properties[name].default: Invalid value: \"a/b\": must result in valid metadata: \
             metadata.name: Invalid value: \"a/b\": may not contain '/'"],
    );
    check(
        embedded(json!({"type": "integer", "default": 5})),
        &[".properties[metadata].properties[name].default: Invalid value: 5: must result in valid metadata: \
             metadata.name: Invalid value: 5: must have the type of that field of metadata"],
    );
    check(
        json!({"type": "object", "x-kubernetes-embedded-resource": true}),
        &[
            ".properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ],
    );
    let list = |keys: Value, items: Value| json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items});
    let item = json!({"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]});
    check(list(json!(["k"]), item.clone()), &[]);
    check(
        list(json!([]), item.clone()),
        &[".x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
    );
    check(
        list(json!(["z"]), item),
        &[".x-kubernetes-list-map-keys: Invalid value: [\"z\"]: entries must all be names of item properties"],
    );
    check(
        list(json!(["k"]), json!({"type": "object", "properties": {"k": {"type": "string"}}})),
        &[
            ".items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ],
    );
}

#[test]
fn what_objects_hang_on_may_not_change() {
    let old = definition(json!({"type": "object"}));
    let mut established = old.clone();
    established["status"] =
        json!({"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"]});
    let check = |old: &Value, pointer: &str, value: Value, expected: &[&str]| {
        let mut crd = old.clone();
        *crd.pointer_mut(pointer).expect("a field") = value;
        assert_eq!(told(&crd, Some(old)), expected);
    };
    check(
        &established,
        "/spec/scope",
        json!("Cluster"),
        &["spec.scope: Invalid value: \"Cluster\": field is immutable"],
    );
    check(
        &established,
        "/spec/names/kind",
        json!("Gadget"),
        &["spec.names.kind: Invalid value: \"Gadget\": field is immutable"],
    );
    check(&old, "/spec/scope", json!("Cluster"), &[]);
    check(
        &established,
        "/spec/versions/0/name",
        json!("v2"),
        &[
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions",
        ],
    );
}

#[test]
fn names_are_accepted_unless_somebody_has_them() {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut crd = definition(json!({"type": "object"}));
    crd["spec"]["names"]["shortNames"] = json!(["wd"]);
    let status = names_status(&crd, &[], now);
    assert_eq!(
        status,
        json!({
            "conditions": [
                {"lastTransitionTime": "2026-01-01T00:00:00Z", "message": "no conflicts found", "reason": "NoConflicts", "status": "True", "type": "NamesAccepted"},
                {"lastTransitionTime": "2026-01-01T00:00:00Z", "message": "the initial names have been accepted", "reason": "InitialNamesAccepted", "status": "True", "type": "Established"},
            ],
            "acceptedNames": {"plural": "widgets", "singular": "widget", "shortNames": ["wd"], "kind": "Widget", "listKind": "WidgetList"},
            "storedVersions": ["v1"],
        })
    );
    let mut again = crd.clone();
    again["status"] = status.clone();
    let later = "2026-01-02T00:00:00Z".parse().expect("a time");
    assert_eq!(names_status(&again, &[], later), status, "nothing moves where nothing changed");
    let mut other = json!({});
    other["status"] = status;
    let taken = names_status(&crd, &[TakenNames::of(&other)], now);
    assert_eq!(taken["conditions"][0]["status"], "False");
    assert_eq!(taken["conditions"][0]["reason"], "ListKindConflict");
    assert_eq!(taken["conditions"][0]["message"], "\"WidgetList\" is already in use");
    assert_eq!(taken["conditions"][1]["reason"], "NotAccepted");
    let gone = deletion_status(&other, &Deletion::InProgress, now);
    assert_eq!(gone["conditions"][2]["reason"], "InstanceDeletionInProgress");
}
