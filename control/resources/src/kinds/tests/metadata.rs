use serde_json::json;

use super::{SUBDOMAIN, check_change_refused, check_refused, created, env, named, of, updated};
use crate::kinds::{create, update};

#[test]
fn a_new_object_gets_its_identity() {
    let given = json!({
        "metadata": {
            "name": "x", "uid": "mine", "resourceVersion": "7", "generation": 9, "selfLink": "/",
            "creationTimestamp": "2000-01-01T00:00:00Z", "deletionTimestamp": "2000-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 5, "labels": {}, "finalizers": [],
        },
    });
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "x", "namespace": "default", "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z",
        },
    });
    assert_eq!(created("ConfigMap", given), expected);
}

#[test]
fn names_have_the_form_of_their_kind() {
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let table = [
        ("ConfigMap", json!({}), "Bad_Name", SUBDOMAIN),
        ("ConfigMap", json!({}), "a..b", SUBDOMAIN),
        ("Namespace", json!({}), "Bad", label),
        ("Namespace", json!({}), "a.b", "must not contain dots"),
        ("Service", json!({"spec": {"ports": [{"port": 80}]}}), "1_st", label),
        ("Role", json!({}), "a/b", "may not contain '/'"),
    ];
    for (kind, mut object, name, why) in table {
        object["metadata"]["name"] = json!(name);
        let expected = format!("metadata.name: Invalid value: \"{name}\": {why}");
        check_refused(kind, object, &[&expected]);
    }
    // Since 1.36 a Service's name may begin with a digit.
    created("Service", json!({"metadata": {"name": "1st"}, "spec": {"ports": [{"port": 80}]}}));
    let long = "a".repeat(254);
    let expected = format!("metadata.name: Invalid value: \"{long}\": must be no more than 253 bytes");
    check_refused("ConfigMap", json!({"metadata": {"name": long}}), &[&expected]);
}

#[test]
fn a_name_that_is_to_be_made_up_begins_as_one() {
    for prefix in ["a-", "a", "a.b-"] {
        created("ConfigMap", json!({"metadata": {"generateName": prefix}}));
    }
    for prefix in ["A-", "a.", "-"] {
        let expected = format!("metadata.generateName: Invalid value: {prefix:?}: {SUBDOMAIN}");
        check_refused("ConfigMap", json!({"metadata": {"generateName": prefix}}), &[&expected]);
    }
}

#[test]
fn an_object_needs_a_name_and_the_namespace_its_kind_has() {
    let missing = json!({"metadata": {"namespace": "default"}});
    let status = create(&of("ConfigMap"), missing, &env()).expect_err("no name");
    assert_eq!(
        status.message,
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
    let missing = json!({"metadata": {"name": "x"}});
    let status = create(&of("ConfigMap"), missing, &env()).expect_err("no namespace");
    assert_eq!(status.message, "ConfigMap \"x\" is invalid: metadata.namespace: Required value");
    let extra = json!({"metadata": {"namespace": "default"}});
    check_refused("Namespace", extra, &["metadata.namespace: Forbidden: not allowed on this type"]);
}

#[test]
fn labels_annotations_owners_and_finalizers_have_their_forms() {
    let label = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    let name = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let table = [
        (
            json!({"ownerReferences": [{"apiVersion": "a/b/c", "kind": "K", "name": "p", "uid": "u"}]}),
            "metadata.ownerReferences.apiVersion: Invalid value: \"a/b/c\": version must not be empty".to_owned(),
        ),
        (
            json!({"labels": {"a": "b c"}}),
            format!("metadata.labels: Invalid value: \"b c\": {label}"),
        ),
        (json!({"labels": {"a b": ""}}), format!("metadata.labels: Invalid value: \"a b\": {name}")),
        (
            json!({"annotations": {"a b": ""}}),
            format!("metadata.annotations: Invalid value: \"a b\": {name}"),
        ),
        (
            json!({"annotations": {"a": "b".repeat(262_144)}}),
            "metadata.annotations: Too long: may not be more than 262144 bytes".to_owned(),
        ),
        (
            json!({"finalizers": ["mine"]}),
            "metadata.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified".to_owned(),
        ),
        (
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]}),
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty".to_owned(),
        ),
    ];
    for (metadata, expected) in table {
        check_refused("ConfigMap", json!({"metadata": metadata}), &[&expected]);
    }
}

#[test]
fn finalizers_of_some_groups_need_not_say_whose_they_are() {
    for (kind, finalizers) in [
        ("ConfigMap", json!(["example.com/mine", "foregroundDeletion"])),
        ("Lease", json!(["mine"])),
        ("RuntimeClass", json!(["mine"])),
    ] {
        let made = created(kind, json!({"metadata": {"finalizers": finalizers}, "handler": "a"}));
        assert_eq!(made["metadata"]["finalizers"], finalizers, "{kind}");
    }
}

#[test]
fn identity_may_not_change() {
    let table = [
        (
            json!({"metadata": {"namespace": "other"}}),
            "metadata.namespace: Invalid value: \"other\": field is immutable",
        ),
        (
            json!({"metadata": {"deletionGracePeriodSeconds": 5}}),
            "metadata.deletionGracePeriodSeconds: Invalid value: 5: field is immutable",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2000-01-01T00:00:00Z"}}),
            "metadata.deletionTimestamp: Invalid value: \"2000-01-01T00:00:00Z\": field is immutable",
        ),
    ];
    for (change, expected) in table {
        check_change_refused("ConfigMap", json!({}), change, &[expected]);
    }
}

#[test]
fn an_update_for_another_uid_is_a_conflict() {
    let old = created("ConfigMap", json!({}));
    let status = updated("ConfigMap", &old, None, json!({"metadata": {"uid": "u-2"}}));
    let status = status.expect_err("another object");
    assert_eq!(status.code, 409);
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on configmaps \"x\": StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/x, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: u-2, UID in object meta: u-1"
    );
}

#[test]
fn what_an_update_leaves_out_of_the_identity_stays() {
    let old = created("ConfigMap", json!({"data": {"a": "1"}}));
    let new = named("ConfigMap", json!({"data": {"a": "2"}}));
    let new = update(&of("ConfigMap"), None, &old, new, &env()).expect("valid");
    assert_eq!(new["metadata"], old["metadata"]);
    assert_eq!(new["data"], json!({"a": "2"}));
}

#[test]
fn an_object_that_is_deleted_gets_no_new_finalizers_and_stays_deleted() {
    let mut old = created("ConfigMap", json!({"metadata": {"finalizers": ["a.b/c"]}}));
    old["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:09Z");
    old["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    let change = json!({"metadata": {"deletionTimestamp": null, "finalizers": null}});
    let new = updated("ConfigMap", &old, None, change).expect("finalizers may go");
    assert_eq!(new["metadata"]["deletionTimestamp"], "2026-01-01T00:00:09Z");
    assert_eq!(new["metadata"]["deletionGracePeriodSeconds"], 0);
    assert!(new["metadata"].get("finalizers").is_none());
    let change = json!({"metadata": {"finalizers": ["a.b/c", "d.e/f"]}});
    let status = updated("ConfigMap", &old, None, change).expect_err("a new finalizer");
    assert_eq!(
        super::causes(&status),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"d.e/f\"}"
        ]
    );
}

#[test]
fn what_has_the_wrong_type_is_a_bad_request() {
    let object = named("ConfigMap", json!({"data": {"a": 1}}));
    let status = create(&of("ConfigMap"), object, &env()).expect_err("a number for a text");
    assert_eq!(status.code, 400);
    let words = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: ";
    assert!(status.message.starts_with(words), "{}", status.message);
}
