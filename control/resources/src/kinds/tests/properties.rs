use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{created, env, named, of, updated};
use crate::kinds::{create, field_labels, update};
use crate::table;

const KINDS: &[&str] = &[
    "Pod",
    "Deployment",
    "ReplicaSet",
    "Service",
    "EndpointSlice",
    "Node",
    "Namespace",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "Event",
    "Lease",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// The words that decisions look for, so that arbitrary objects reach them.
const WORDS: &[&str] = &[
    "metadata",
    "name",
    "labels",
    "spec",
    "status",
    "containers",
    "initContainers",
    "image",
    "ports",
    "port",
    "containerPort",
    "env",
    "valueFrom",
    "fieldRef",
    "fieldPath",
    "volumes",
    "volumeMounts",
    "mountPath",
    "secret",
    "resources",
    "requests",
    "limits",
    "cpu",
    "memory",
    "livenessProbe",
    "httpGet",
    "tcpSocket",
    "selector",
    "matchLabels",
    "template",
    "replicas",
    "strategy",
    "rollingUpdate",
    "maxSurge",
    "type",
    "clusterIP",
    "nodePort",
    "targetPort",
    "data",
    "stringData",
    "taints",
    "key",
    "effect",
    "operator",
    "tolerations",
    "conditions",
    "phase",
    "containerStatuses",
    "state",
    "waiting",
    "terminated",
    "reason",
    "addresses",
    "endpoints",
    "finalizers",
    "ownerReferences",
    "request",
    "usages",
    "roleRef",
    "subjects",
    "rules",
    "verbs",
    "creationTimestamp",
];

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z0-9%./-]{0,12}".prop_map(Value::from),
        proptest::sample::select(vec!["100m", "64Mi", "None", "NodePort", "Always", "2026-01-01T00:00:00Z", "YQ=="])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key = proptest::sample::select(WORDS).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..6)
                .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<String, Value>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_is_stored_or_refused_and_shown(
        kind in proptest::sample::select(KINDS),
        spec in json_value(),
        status in json_value(),
        data in json_value(),
    ) {
        let object = json!({"metadata": {"name": "x"}, "spec": spec, "status": status, "data": data});
        let object = named(kind, object);
        let resource = of(kind);
        let cells = table::cells(&resource, &object, env().now);
        prop_assert_eq!(cells.len(), table::columns(&resource).len());
        field_labels(&resource, &object);
        match create(&resource, object, &env()) {
            Ok(stored) => {
                // What is stored once is not changed by being written again.
                let again = update(&resource, None, &stored, stored.clone(), &env());
                prop_assert_eq!(again.as_ref(), Ok(&stored));
                let status = update(&resource, Some("status"), &stored, stored.clone(), &env());
                prop_assert_eq!(status.as_ref(), Ok(&stored));
            }
            Err(status) => prop_assert!(matches!(status.code, 400 | 422), "{}", status.message),
        }
    }
}

#[test]
fn an_object_written_again_stays_the_same() {
    let template = json!({
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "a", "image": "x", "readinessProbe": {"httpGet": {"port": 80}}}]},
    });
    let workload = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let table = [
        ("Pod", json!({"spec": template["spec"]})),
        ("Deployment", workload.clone()),
        ("ReplicaSet", workload),
        (
            "Service",
            json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.1", "ports": [{"port": 80, "nodePort": 30000}]}}),
        ),
        ("Service", json!({"spec": {"type": "ExternalName", "externalName": "example.com"}})),
        ("EndpointSlice", json!({"addressType": "IPv4", "ports": [{"port": 80}]})),
        ("Node", json!({"status": {"capacity": {"cpu": "2"}}})),
        ("Namespace", json!({})),
        ("Secret", json!({"stringData": {"a": "b"}})),
        ("Event", json!({"involvedObject": {"namespace": "default"}})),
        ("Lease", json!({"spec": {"renewTime": "2026-01-01T00:00:00.000001Z"}})),
        ("CertificateSigningRequest", json!({"spec": {"request": pem, "signerName": "a.b/c", "usages": ["any"]}})),
        ("ClusterRoleBinding", json!({"roleRef": {"kind": "ClusterRole", "name": "a"}})),
    ];
    for (kind, object) in table {
        let old = created(kind, object);
        for subresource in [None, Some("status")] {
            let new = updated(kind, &old, subresource, json!({}));
            assert_eq!(new.as_ref(), Ok(&old), "{kind} {subresource:?}");
        }
    }
}

#[test]
fn kinds_without_rules_keep_what_they_are_given() {
    let resource = crate::Resource {
        group: "example.com".into(),
        version: "v1".into(),
        plural: "things".into(),
        singular: "thing".into(),
        kind: "Thing".into(),
        namespaced: false,
        ..crate::Resource::clone(&of("Namespace"))
    };
    let thing = json!({"kind": "Thing", "metadata": {"name": "x"}, "spec": {"any": [1]}, "status": {"a": 1}});
    let old = create(&resource, thing, &env()).expect("valid");
    assert_eq!((&old["spec"], &old["metadata"]["uid"]), (&json!({"any": [1]}), &json!("u-1")));
    let mut new = old.clone();
    new["spec"] = json!({});
    new["status"] = json!({"a": 2});
    let new = update(&resource, Some("status"), &old, new, &env()).expect("valid");
    assert_eq!((&new["spec"], &new["status"]), (&old["spec"], &json!({"a": 2})));
}
