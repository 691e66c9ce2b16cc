use serde_json::{Value, json};

use super::{causes, check_change_refused, check_refused, created, of, updated};
use crate::kinds::{apply_scale, scale_of};

fn deployment() -> Value {
    json!({"spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "a", "image": "x:1"}]},
        },
    }})
}

fn changed(change: Value) -> Value {
    let mut object = deployment();
    super::merge(&mut object, change);
    object
}

#[test]
fn a_deployment_gets_its_defaults() {
    let spec = &created("Deployment", deployment())["spec"];
    let expected = json!({
        "progressDeadlineSeconds": 600,
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": {"app": "a"}},
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {
                "containers": [{
                    "image": "x:1", "imagePullPolicy": "IfNotPresent", "name": "a", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30,
            },
        },
    });
    assert_eq!(spec, &expected);
}

#[test]
fn what_is_wrong_with_a_deployment_is_told_by_field() {
    let table: [(Value, &[&str]); 9] = [
        (json!({"spec": {"replicas": -1}}), &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            json!({"spec": {"selector": null}}),
            &[
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}}),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
            &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": []}}}}),
            &["spec.template.spec.containers: Required value"],
        ),
        (
            json!({"spec": {"strategy": {"type": "Blue"}}}),
            &["spec.strategy.type: Unsupported value: \"Blue\": supported values: \"Recreate\", \"RollingUpdate\""],
        ),
        (
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {}}}}),
            &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}),
            &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            json!({"spec": {"progressDeadlineSeconds": 5, "minReadySeconds": 5}}),
            &["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
        ),
    ];
    for (change, expected) in table {
        check_refused("Deployment", changed(change), expected);
    }
    let status = super::refused("Deployment", changed(json!({"spec": {"replicas": -1}})));
    assert_eq!(
        status.message,
        "Deployment.apps \"x\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
}

#[test]
fn a_selector_is_settled() {
    let change = json!({"spec": {
        "selector": {"matchLabels": {"b": "c"}},
        "template": {"metadata": {"labels": {"b": "c"}}},
    }});
    let expected = "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"a\",\"b\":\"c\"}}: field is immutable";
    check_change_refused("Deployment", deployment(), change.clone(), &[expected]);
    check_change_refused("ReplicaSet", deployment(), change, &[expected]);
}

#[test]
fn the_generation_counts_changes_of_what_is_wanted() {
    for kind in ["Deployment", "ReplicaSet"] {
        let old = created(kind, deployment());
        assert_eq!(old["metadata"]["generation"], 1);
        let table = [
            (None, json!({"spec": {"replicas": 5}}), 2),
            (None, json!({"metadata": {"labels": {"a": "b"}}}), 1),
            (None, json!({"status": {"replicas": 5}}), 1),
            (Some("status"), json!({"status": {"replicas": 5}, "spec": {"replicas": 9}}), 1),
            (Some("status"), json!({"metadata": {"annotations": {"a": "b"}}}), 1),
        ];
        for (subresource, change, expected) in table {
            let new = updated(kind, &old, subresource, change.clone()).expect("valid");
            assert_eq!(new["metadata"]["generation"], expected, "{kind} {change}");
        }
        let change = json!({"status": {"replicas": 5}, "spec": {"replicas": 9}});
        let new = updated(kind, &old, Some("status"), change).expect("valid");
        assert_eq!((&new["spec"], &new["status"]["replicas"]), (&old["spec"], &json!(5)));
    }
}

#[test]
fn a_scale_shows_and_sets_the_replicas() {
    let mut object = created("Deployment", deployment());
    object["status"]["replicas"] = json!(1);
    object["metadata"]["resourceVersion"] = json!("5");
    let expected = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": "x", "namespace": "default", "uid": "u-1", "resourceVersion": "5",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"replicas": 1},
        "status": {"replicas": 1, "selector": "app=a"},
    });
    assert_eq!(scale_of(&of("Deployment"), &object), Some(expected));
    assert_eq!(apply_scale(&of("Deployment"), &object, 7)["spec"]["replicas"], 7);
    let controller = json!({"spec": {"selector": {"app": "a"}}});
    let scale = scale_of(&of("ReplicationController"), &controller).expect("a scale");
    assert_eq!(scale["status"]["selector"], "app=a");
    assert_eq!(scale_of(&of("Pod"), &json!({})), None);
    let scaled = apply_scale(&of("Deployment"), &object, -1);
    let status = updated("Deployment", &object, None, scaled).expect_err("less than none");
    assert_eq!(causes(&status).len(), 1);
}
