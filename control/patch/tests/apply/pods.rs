//! Built-in kinds: fields that Go has by value, what creates own, subresources.

use pal_patch::apply::{self, FieldSet, Managers, Rules, Shape, Writer};
use serde_json::{Value, json};

use crate::story::Step::{Apply, Conflict, Update};
use crate::story::{Story, check};

fn pod() -> Shape<'static> {
    Shape::of_kind("", "v1", "Pod").expect("a kind")
}

#[test]
fn a_created_pod_is_owned_as_kubernetes_writes_it() {
    let object = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "default", "uid": "", "labels": {"app": "web"}},
        "spec": {
            "containers": [{
                "name": "web", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "env": [{"name": "A", "value": "b"}],
            }],
            "restartPolicy": "Always", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        },
        "status": {"phase": "Pending"},
    });
    let ignored = FieldSet::of_fields(&[&["status"]]);
    let rules = Rules { api_version: "v1", shape: pod(), others: &[], ignored: &ignored };
    let writer = Writer { manager: "kubectl-create", subresource: "", now: "2026-01-01T00:00:00Z" };
    let managers = apply::track(&rules, &json!({}), &object, Managers::default(), &writer);
    assert_eq!(
        managers.to_json(),
        concat!(
            r#"[{"manager":"kubectl-create","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","#,
            r#""fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"#,
            r#""f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:env":{".":{},"#,
            r#""k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"#,
            r#""f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"#,
            r#""f:containerPort":{},"f:protocol":{}}},"f:resources":{}}},"f:restartPolicy":{},"#,
            r#""f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}]"#,
        )
    );
}

#[test]
fn containers_are_shared_between_appliers() {
    let containers = |items: Value| json!({"spec": {"containers": items}});
    let a = "k:{\"name\":\"a\"}";
    check(
        pod(),
        vec![
            Apply("one", containers(json!([{"name": "a", "image": "1"}]))),
            Apply("two", containers(json!([{"name": "a", "tty": true}, {"name": "b", "image": "2"}]))),
            Conflict("two", containers(json!([{"name": "a", "image": "2"}])), &[".spec.containers[name=\"a\"].image"]),
            Apply("two", containers(json!([{"name": "a", "tty": true}]))),
        ],
        containers(json!([{"name": "a", "image": "1", "tty": true}])),
        json!({
            "one (Apply)": {"f:spec": {"f:containers": {a: {".": {}, "f:name": {}, "f:image": {}}}}},
            "two (Apply)": {"f:spec": {"f:containers": {a: {".": {}, "f:name": {}, "f:tty": {}}}}},
        }),
    );
}

#[test]
fn nobody_owns_what_says_which_object_it_is() {
    let named =
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b", "labels": {"x": "y"}}});
    check(
        pod(),
        vec![Apply("one", named.clone())],
        named,
        json!({"one (Apply)": {"f:metadata": {"f:labels": {"f:x": {}}}}}),
    );
}

#[test]
fn what_a_write_does_not_touch_is_not_owned_by_it() {
    let mut story = Story::new(pod()).ignoring(FieldSet::of_fields(&[&["status"]]));
    story.update("one", json!({"spec": {"nodeName": "n"}, "status": {"phase": "Running"}}));
    story.apply("two", &json!({"spec": {"hostname": "h"}, "status": {"phase": "Failed"}}), false).expect("no conflict");
    assert_eq!(
        story.owners(),
        json!({"one (Update)": {"f:spec": {"f:nodeName": {}}}, "two (Apply)": {"f:spec": {"f:hostname": {}}}})
    );
}

#[test]
fn an_object_without_managers_gets_them_with_the_first_apply_only() {
    let mut story = Story::new(pod());
    story.live = json!({"metadata": {"uid": "u", "labels": {"a": "1"}}, "spec": {"nodeName": "n"}});
    story.update("one", json!({"metadata": {"uid": "u", "labels": {"a": "2"}}, "spec": {"nodeName": "n"}}));
    assert_eq!(story.owners(), json!({}));
    story.step(Conflict("two", json!({"metadata": {"labels": {"a": "3"}}}), &[".metadata.labels.a"]));
    story.step(Apply("two", json!({"metadata": {"labels": {"b": "3"}}})));
    assert_eq!(
        story.owners(),
        json!({
            "before-first-apply (Update)": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:nodeName": {}},
            },
            "two (Apply)": {"f:metadata": {"f:labels": {"f:b": {}}}},
        })
    );
}

#[test]
fn times_tell_when_something_was_last_taken() {
    let mut story = Story::new(pod());
    let time = |story: &Story<'_>, manager: &str| {
        let entry = story.managers.entries().iter().find(|entry| entry.manager == manager);
        entry.and_then(|entry| entry.time.clone()).unwrap_or_default()
    };
    story.apply("one", &json!({"metadata": {"labels": {"a": "1", "b": "1"}}}), false).expect("applies");
    let first = time(&story, "one");
    story.apply("one", &json!({"metadata": {"labels": {"a": "1", "b": "1"}}}), false).expect("applies");
    assert_eq!(time(&story, "one"), first, "nothing changed");
    story.update("two", json!({"metadata": {"labels": {"a": "1", "b": "2"}}}));
    assert_eq!(time(&story, "one"), first, "it lost a field, and took none");
    story.apply("one", &json!({"metadata": {"labels": {"a": "1"}}}), false).expect("applies");
    assert_eq!(time(&story, "one"), first, "nothing changed");
    story.apply("one", &json!({"metadata": {"labels": {"a": "2"}}}), false).expect("applies");
    assert_ne!(time(&story, "one"), first);
    let second = time(&story, "two");
    story.step(Update("two", json!({"metadata": {"labels": {"b": "2"}}})));
    assert_eq!(time(&story, "two"), second, "it removed a field, and took none");
}

#[test]
fn managers_of_versions_that_are_gone_are_forgotten() {
    let mut story = Story::new(pod());
    story.managers = Managers::from_value(&json!([
        {"manager": "old", "operation": "Update", "apiVersion": "v0", "fieldsType": "FieldsV1",
         "fieldsV1": {"f:spec": {"f:hostname": {}}}},
        {"manager": "new", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
         "fieldsV1": {"f:spec": {"f:hostname": {}}}},
    ]))
    .expect("managers");
    story.live = json!({"spec": {"hostname": "h"}});
    story.update("one", json!({"spec": {"hostname": "h", "nodeName": "n"}}));
    assert_eq!(
        story.owners(),
        json!({"new (Update)": {"f:spec": {"f:hostname": {}}}, "one (Update)": {"f:spec": {"f:nodeName": {}}}})
    );
}

#[test]
fn what_became_a_whole_is_owned_as_a_whole() {
    let mut story = Story::new(pod());
    story.managers = Managers::from_value(&json!([
        {"manager": "one", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
         "fieldsV1": {"f:spec": {"f:nodeSelector": {".": {}, "f:a": {}}, "f:hostname": {}}}},
    ]))
    .expect("managers");
    story.live = json!({"spec": {"nodeSelector": {"a": "1"}, "hostname": "h"}});
    story.step(Conflict("two", json!({"spec": {"nodeSelector": {"b": "1"}}}), &[".spec.nodeSelector"]));
    story.step(Apply("one", json!({"spec": {"hostname": "h"}})));
    assert_eq!(story.live, json!({"spec": {"hostname": "h"}}));
}
