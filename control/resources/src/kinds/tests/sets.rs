use serde_json::{Value, json};

use super::{check_change_refused, check_refused, created, updated};

fn set(change: Value) -> Value {
    let mut object = json!({"spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "x:1"}]}},
    }});
    super::merge(&mut object, change);
    object
}

#[test]
fn daemon_sets_and_stateful_sets_get_their_defaults() {
    let spec = &created("DaemonSet", set(json!({})))["spec"];
    assert_eq!(
        spec["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    );
    assert_eq!(spec["revisionHistoryLimit"], json!(10));
    let spec = &created("StatefulSet", set(json!({"spec": {"serviceName": "s"}})))["spec"];
    assert_eq!(spec["updateStrategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
    assert_eq!(
        (&spec["replicas"], &spec["podManagementPolicy"], &spec["persistentVolumeClaimRetentionPolicy"]),
        (&json!(1), &json!("OrderedReady"), &json!({"whenDeleted": "Retain", "whenScaled": "Retain"}))
    );
}

#[test]
fn templates_of_daemon_sets_are_numbered() {
    let number = |set: &Value| set["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone();
    let made = created("DaemonSet", set(json!({})));
    assert_eq!(number(&made), "1");
    let check = |subresource: Option<&str>, change: Value, expected: &str| {
        let changed = updated("DaemonSet", &made, subresource, change.clone()).expect("valid");
        assert_eq!(number(&changed), expected, "{change}");
    };
    check(None, json!({"metadata": {"annotations": null}}), "1");
    check(None, json!({"spec": {"minReadySeconds": 5}}), "1");
    check(None, json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}), "2");
    check(Some("status"), json!({"status": {"numberReady": 1}}), "1");
}

#[test]
fn what_is_wrong_with_a_set_is_told_by_field() {
    let check = |kind: &str, change: Value, expected: &[&str]| check_refused(kind, set(change), expected);
    check(
        "DaemonSet",
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}}),
        &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
    );
    check(
        "DaemonSet",
        json!({"spec": {"updateStrategy": {"type": "Recreate"}}}),
        &[
            "spec.updateStrategy.type: Unsupported value: \"Recreate\": supported values: \"RollingUpdate\", \"OnDelete\"",
        ],
    );
    check(
        "StatefulSet",
        json!({"spec": {"podManagementPolicy": "Any"}}),
        &["spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'"],
    );
    check(
        "StatefulSet",
        json!({"spec": {"selector": {"matchLabels": null}}}),
        &[
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`",
        ],
    );
}

#[test]
fn what_a_stateful_set_claims_may_be_mounted() {
    let mounting = |name: &str| {
        let containers = json!([{"name": "a", "image": "x:1", "volumeMounts": [{"name": name, "mountPath": "/data"}]}]);
        let claim = json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        set(json!({"spec": {"template": {"spec": {"containers": containers}}, "volumeClaimTemplates": [claim]}}))
    };
    let made = created("StatefulSet", mounting("data"));
    assert_eq!(made["spec"]["template"]["spec"].get("volumes"), None, "the template stays as it was sent");
    let refused = |change: Value, expected: &str| {
        let mut object = mounting("data");
        super::merge(&mut object, change);
        check_refused("StatefulSet", object, &[expected]);
    };
    check_refused(
        "StatefulSet",
        mounting("other"),
        &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\""],
    );
    refused(
        json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 1}}}}),
        "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported",
    );
    // A claim takes the place of a volume of its name.
    let volumes = json!({"spec": {"template": {"spec": {"volumes": [{"name": "data", "emptyDir": {}}]}}}});
    let mut object = mounting("data");
    super::merge(&mut object, volumes);
    created("StatefulSet", object);
}

#[test]
fn a_stateful_set_changes_only_in_what_it_can_follow() {
    let old = created("StatefulSet", set(json!({})));
    for allowed in [
        json!({"spec": {"replicas": 3}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x:2"}]}}}}),
        json!({"spec": {"minReadySeconds": 5}}),
    ] {
        let new = super::updated("StatefulSet", &old, None, allowed.clone()).expect("allowed");
        assert_eq!(new["metadata"]["generation"], json!(2), "{allowed}");
    }
    check_change_refused(
        "StatefulSet",
        set(json!({})),
        json!({"spec": {"serviceName": "other"}}),
        &["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
           'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
           forbidden"],
    );
}

#[test]
fn what_is_new_counts_nothing_and_says_so() {
    let check =
        |kind: &str, object: Value, status: Value| assert_eq!(created(kind, object)["status"], status, "{kind}");
    check("StatefulSet", set(json!({})), json!({"replicas": 0, "availableReplicas": 0}));
    let budget = json!({"metadata": {"name": "b", "namespace": "default"}, "spec": {"maxUnavailable": 1}});
    let zeros = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    check("PodDisruptionBudget", budget, zeros);
}
