//! Strategic merge patches as kubectl sends them, on the kinds that it sends them for.

use pal_patch::strategic_merge;
use pal_resources::schema::{Message, message_for};
use serde_json::{Value, json};

fn pod_spec() -> &'static Message {
    pal_resources::schema::message("io.k8s.api.core.v1.PodSpec").expect("it is in the table")
}

fn check(schema: &'static Message, live: Value, patch: Value, expected: Value) {
    let patched = strategic_merge(&live, &patch, schema);
    assert_eq!(patched.as_ref().map(ToString::to_string), Ok(expected.to_string()), "{patch}");
    // What a patch says holds once it is applied.
    assert_eq!(strategic_merge(&expected, &patch, schema), Ok(expected), "{patch} again");
}

fn refused(live: Value, patch: Value, code: u16, expected: &str) {
    let error = strategic_merge(&live, &patch, pod_spec()).expect_err("it is malformed");
    assert_eq!((error.to_string().as_str(), error.status().code), (expected, code));
}

#[test]
fn maps_are_merged_and_nulls_delete() {
    check(
        message_for("apps", "v1", "Deployment").expect("it is in the table"),
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 1, "paused": true}}),
        json!({"metadata": {"labels": {"b": null, "c": "3", "d": null}}, "spec": {"paused": null, "replicas": 2}}),
        json!({"metadata": {"labels": {"a": "1", "c": "3"}}, "spec": {"replicas": 2}}),
    );
}

#[test]
fn lists_of_objects_are_merged_by_their_key() {
    check(
        pod_spec(),
        json!({"containers": [{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "2"}]}),
        json!({"containers": [{"name": "b", "image": "3"}]}),
        json!({"containers": [{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "3"}]}),
    );
    check(
        pod_spec(),
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}], "ports": [{"containerPort": 80}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}], "ports": [{"containerPort": 80, "name": "w"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}],
            "ports": [{"containerPort": 80, "name": "w"}]}]}),
    );
    check(
        pod_spec(),
        json!({}),
        json!({"containers": [{"name": "a", "image": null, "command": ["x"]}]}),
        json!({"containers": [{"name": "a", "command": ["x"]}]}),
    );
}

#[test]
fn lists_without_strategy_are_replaced() {
    check(
        pod_spec(),
        json!({"containers": [{"name": "a", "args": ["1", "2"]}], "tolerations": [{"key": "a"}]}),
        json!({"containers": [{"name": "a", "args": ["3"]}], "tolerations": [{"key": "b"}]}),
        json!({"containers": [{"name": "a", "args": ["3"]}], "tolerations": [{"key": "b"}]}),
    );
}

#[test]
fn items_are_deleted_and_lists_replaced_by_directive() {
    let live = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]});
    check(
        pod_spec(),
        live.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b", "image": "2"}]}),
    );
    check(
        pod_spec(),
        live.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "c", "image": "3"}]}),
        json!({"containers": [{"name": "c", "image": "3"}]}),
    );
    check(
        pod_spec(),
        json!({"securityContext": {"runAsUser": 1, "runAsNonRoot": true}}),
        json!({"securityContext": {"$patch": "replace", "runAsUser": 2}}),
        json!({"securityContext": {"runAsUser": 2}}),
    );
    check(
        pod_spec(),
        json!({"nodeSelector": {"a": "b"}}),
        json!({"nodeSelector": {"$patch": "delete"}}),
        json!({"nodeSelector": {}}),
    );
    check(
        pod_spec(),
        json!({"nodeSelector": {"a": "b"}}),
        json!({"nodeSelector": {"$patch": "merge", "c": "d"}}),
        json!({"nodeSelector": {"a": "b", "c": "d"}}),
    );
}

#[test]
fn the_order_of_elements_is_set() {
    let live = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
    check(
        pod_spec(),
        live.clone(),
        json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "a", "image": "x"}]}),
        json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a", "image": "x"}]}),
    );
    check(
        pod_spec(),
        live.clone(),
        json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}),
        json!({"containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}),
    );
    // As `kubectl set image` sends it.
    check(
        pod_spec(),
        live,
        json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "b", "image": "new"}]}),
        json!({"containers": [{"name": "a"}, {"name": "b", "image": "new"}, {"name": "c"}]}),
    );
    check(
        pod_spec(),
        json!({}),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b"}, {"name": "a"}]}),
        json!({"containers": [{"name": "b"}, {"name": "a"}]}),
    );
}

#[test]
fn kubectl_apply_renames_a_container() {
    // As kubectl 1.37 sends it.
    check(
        message_for("apps", "v1", "Deployment").expect("it is in the table"),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "old", "image": "x"}, {"name": "c", "image": "j"}]}}}}),
        json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "c"}],
            "containers": [{"image": "i", "name": "c"}, {"$patch": "delete", "name": "old"}]}}}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
    );
}

#[test]
fn primitive_lists_are_merged_and_cut() {
    let meta =
        pal_resources::schema::message("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("it is in the table");
    check(
        meta,
        json!({"finalizers": ["a", "b"]}),
        json!({"finalizers": ["b", "c"]}),
        json!({"finalizers": ["a", "b", "c"]}),
    );
    check(
        meta,
        json!({"finalizers": ["a", "b", "c"]}),
        json!({"$deleteFromPrimitiveList/finalizers": ["b"]}),
        json!({"finalizers": ["a", "c"]}),
    );
    check(
        meta,
        json!({"finalizers": ["a", "b", "c"]}),
        json!({"$setElementOrder/finalizers": ["c", "n", "a"], "$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["n"]}),
        json!({"finalizers": ["c", "n", "a"]}),
    );
}

#[test]
fn keys_that_are_not_retained_go() {
    check(
        message_for("apps", "v1", "Deployment").expect("it is in the table"),
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    );
    check(
        pod_spec(),
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}]}),
        json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}),
    );
}

#[test]
fn a_type_that_changes_is_taken_from_the_patch() {
    let service = message_for("", "v1", "Service").expect("it is in the table");
    check(
        service,
        json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 443, "targetPort": 8443}]}}),
        json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}]}}),
        json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 443, "targetPort": 8443}]}}),
    );
}

#[test]
fn malformed_patches_are_refused() {
    let live = json!({"containers": [{"name": "a"}], "volumes": []});
    let check = |patch: Value, code: u16, expected: &str| refused(live.clone(), patch, code, expected);
    check(json!([]), 400, "json: cannot unmarshal array into Go value of type map[string]interface {}");
    check(json!({"$patch": "nope"}), 500, "unknown patch type: nope in map: map[$patch:nope]");
    let keyless = "map: map[image:x] does not contain declared merge key: name";
    check(json!({"containers": [{"image": "x"}]}), 500, keyless);
    let unmixed = "list element types are not identical: [[map[name:a]] [x]]";
    check(json!({"containers": ["x"]}), 500, unmixed);
    let merging = "merging lists cannot yet be specified in the patch";
    check(json!({"containers": [{"$patch": "merge", "name": "a"}]}), 500, merging);
    check(json!({"$retainKeys": "x"}), 400, "invalid patch format of retainKeys");
    check(json!({"$retainKeys": ["volumes"], "containers": []}), 400, "invalid patch format of retainKeys");
    let ordered = "expected a []interface {}, but received a string";
    check(json!({"$setElementOrder/containers": "x"}), 500, ordered);
    check(
        json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
        500,
        "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
    );
    check(json!({"$deleteFromPrimitiveList/x": 1}), 400, "invalid patch format of primitive list");
}

#[test]
fn nothing_is_kept_of_directives_for_what_is_not_there() {
    let check = |patch: Value, expected: Value| {
        assert_eq!(strategic_merge(&json!({}), &patch, pod_spec()), Ok(expected), "{patch}");
    };
    check(json!({"nodeSelector": {"$patch": "replace", "a": "b"}}), json!({}));
    check(json!({"nodeSelector": {"$patch": "delete"}}), json!({}));
    check(json!({"affinity": {"podAffinity": {"$patch": "replace", "a": "b"}}}), json!({"affinity": {}}));
    check(Value::Null, json!({}));
}
