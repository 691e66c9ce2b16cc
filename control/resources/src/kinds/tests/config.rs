use serde_json::json;

use super::{causes, check_change_refused, check_refused, created, updated};

#[test]
fn the_texts_of_a_secret_join_its_data() {
    let given = json!({"data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"b": "3", "c": "4"}});
    let secret = created("Secret", given);
    assert_eq!(secret["data"], json!({"a": "MQ==", "b": "Mw==", "c": "NA=="}));
    assert_eq!(secret["type"], "Opaque");
    assert!(secret.get("stringData").is_none());
}

#[test]
fn what_is_wrong_with_keys_and_types_is_told() {
    let key = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    check_refused("ConfigMap", json!({"data": {"a b": "c"}}), &[&format!("data[a b]: Invalid value: \"a b\": {key}")]);
    check_refused(
        "ConfigMap",
        json!({"data": {"a": "b"}, "binaryData": {"a": "YQ=="}}),
        &["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
    );
    check_refused(
        "ConfigMap",
        json!({"data": {"a": "b".repeat(1_048_577)}}),
        &["[]: Too long: may not be more than 1048576 bytes"],
    );
    check_refused(
        "Secret",
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="}}),
        &["data[tls.key]: Required value"],
    );
    check_refused(
        "Secret",
        json!({"type": "kubernetes.io/service-account-token"}),
        &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
    );
}

#[test]
fn a_secrets_type_is_settled() {
    let expected = "type: Invalid value: \"other\": field is immutable";
    check_change_refused("Secret", json!({}), json!({"type": "other"}), &[expected]);
}

#[test]
fn what_is_immutable_stays_so() {
    for kind in ["ConfigMap", "Secret"] {
        let old = created(kind, json!({"immutable": true, "data": {"a": "YQ=="}}));
        let change = json!({"immutable": null, "data": {"a": "Yg=="}});
        let status = updated(kind, &old, None, change).expect_err("immutable");
        assert_eq!(
            causes(&status),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
        let change = json!({"metadata": {"labels": {"a": "b"}}});
        let new = updated(kind, &old, None, change).expect("labels may change");
        assert_eq!(new["metadata"]["labels"], json!({"a": "b"}));
    }
}
