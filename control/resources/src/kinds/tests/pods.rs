use serde_json::{Value, json};

use super::{causes, check_refused, created, of, updated};
use crate::kinds::default_grace;

fn container() -> Value {
    json!({"name": "a", "image": "x:1"})
}

#[test]
fn a_pod_gets_all_its_defaults() {
    let given = json!({"spec": {
        "containers": [{
            "name": "a", "image": "x",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}},
            "readinessProbe": {"httpGet": {"port": 80}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }],
        "volumes": [{"name": "v"}, {"name": "c", "configMap": {"name": "c"}}, {"name": "s", "secret": {"secretName": "s"}}],
    }});
    let pod = created("Pod", given);
    let expected = json!({
        "containers": [{
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
            "image": "x", "imagePullPolicy": "Always", "name": "a",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "readinessProbe": {
                "failureThreshold": 3, "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1,
            },
            "resources": {
                "limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "64Mi"},
            },
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "volumeMounts": [{"mountPath": "/v", "name": "v"}],
        }],
        "dnsPolicy": "ClusterFirst", "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority", "priority": 0, "restartPolicy": "Always",
        "schedulerName": "default-scheduler", "securityContext": {}, "serviceAccount": "default",
        "serviceAccountName": "default", "terminationGracePeriodSeconds": 30,
        "tolerations": [
            {"effect": "NoExecute", "key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 3},
            {"effect": "NoExecute", "key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 3},
        ],
        "volumes": [
            {"emptyDir": {}, "name": "v"},
            {"configMap": {"defaultMode": 420, "name": "c"}, "name": "c"},
            {"name": "s", "secret": {"defaultMode": 420, "secretName": "s"}},
        ],
    });
    assert_eq!(pod["spec"], expected);
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "Guaranteed"}));
    assert_eq!(pod["metadata"]["generation"], 1);
}

#[test]
fn the_pull_policy_follows_the_images_tag() {
    let table = [
        ("x", "Always"),
        ("x:latest", "Always"),
        ("x:1", "IfNotPresent"),
        ("host:5000/x", "Always"),
        ("host:5000/x:2", "IfNotPresent"),
        ("x@sha256:00", "IfNotPresent"),
    ];
    for (image, expected) in table {
        let pod = created("Pod", json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], expected, "{image}");
    }
}

#[test]
fn quality_of_service_follows_requests_and_limits() {
    let table = [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
        (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}), "Burstable"),
        (json!({"requests": {"cpu": "0"}}), "BestEffort"),
    ];
    for (resources, expected) in table {
        let mut container = container();
        container["resources"] = resources.clone();
        let pod = created("Pod", json!({"spec": {"containers": [container]}}));
        assert_eq!(pod["status"]["qosClass"], expected, "{resources}");
        // What the pod asks for as a whole counts alone.
        let whole = created("Pod", json!({"spec": {"resources": resources, "containers": [self::container()]}}));
        assert_eq!(whole["status"]["qosClass"], expected, "{resources}");
    }
}

#[test]
fn a_pod_that_tolerates_lost_nodes_is_left_alone() {
    let table = [
        (json!([{"operator": "Exists"}]), 1),
        (json!([{"operator": "Exists", "effect": "NoExecute", "key": "node.kubernetes.io/not-ready"}]), 2),
        (json!([{"operator": "Exists", "effect": "NoSchedule"}]), 3),
        (json!([{"operator": "Exists", "key": "other"}]), 3),
    ];
    for (tolerations, expected) in table {
        let pod = created("Pod", json!({"spec": {"containers": [container()], "tolerations": tolerations}}));
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(expected));
    }
}

/// A pod with that spec is refused.
fn check(spec: Value, expected: &[&str]) {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([container()]);
    }
    check_refused("Pod", json!({"spec": spec}), expected);
}

/// A pod whose container has these fields too is refused.
fn check_container(fields: Value, expected: &[&str]) {
    let mut container = container();
    super::merge(&mut container, fields);
    check(json!({"containers": [container]}), expected);
}

#[test]
fn what_is_wrong_with_a_pod_is_told_by_field() {
    check(json!({"containers": []}), &["spec.containers: Required value"]);
    check(
        json!({"containers": [{}]}),
        &["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"],
    );
    check(json!({"containers": [container(), container()]}), &["spec.containers[1].name: Duplicate value: \"a\""]);
    check(json!({"initContainers": [container()]}), &["spec.initContainers[0].name: Duplicate value: \"a\""]);
    check(
        json!({"restartPolicy": "Sometimes"}),
        &[
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ],
    );
    check(
        json!({"dnsPolicy": "X"}),
        &[
            "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
        ],
    );
    check(
        json!({"dnsPolicy": "None"}),
        &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    );
    check(
        json!({"activeDeadlineSeconds": 0}),
        &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    );
    check(
        json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "Never"}]}),
        &[
            "spec.tolerations[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ],
    );
    check(
        json!({"ephemeralContainers": [{"name": "e", "image": "x"}]}),
        &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    );
}

#[test]
fn what_is_wrong_with_a_container_is_told_by_field() {
    let table = [
        (
            json!({"imagePullPolicy": "Maybe"}),
            "imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (json!({"image": " x"}), "image: Invalid value: \" x\": must not have leading or trailing whitespace"),
        (json!({"ports": [{}]}), "ports[0].containerPort: Required value"),
        (
            json!({"ports": [{"containerPort": 70000}]}),
            "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": [{"containerPort": 1, "protocol": "X"}]}),
            "ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
            "ports[1].name: Duplicate value: \"a\"",
        ),
        (json!({"env": [{"value": "x"}]}), "env[0].name: Required value"),
        (
            json!({"env": [{"name": "A", "valueFrom": {}}]}),
            "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
            "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
        ),
        (
            json!({"env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}),
            "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (json!({"envFrom": [{}]}), "envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"),
        (json!({"volumeMounts": [{"name": "no", "mountPath": "/a"}]}), "volumeMounts[0].name: Not found: \"no\""),
        (json!({"livenessProbe": {}}), "livenessProbe: Required value: must specify a handler type"),
        (
            json!({"livenessProbe": {"httpGet": {"port": 80}, "tcpSocket": {"port": 80}}}),
            "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            json!({"livenessProbe": {"httpGet": {"port": 80}, "successThreshold": 2}}),
            "livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
            "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            json!({"resources": {"requests": {"memory": "-1"}}}),
            "resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
    ];
    for (fields, expected) in table {
        check_container(fields, &[&format!("spec.containers[0].{expected}")]);
    }
}

#[test]
fn what_is_wrong_with_a_volume_is_told_by_field() {
    let table = [
        (json!([{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]), "[1].name: Duplicate value: \"a\""),
        (json!([{"name": "a", "secret": {}}]), "[0].secret.secretName: Required value"),
        (json!([{"name": "a", "configMap": {}}]), "[0].configMap.name: Required value"),
        (
            json!([{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]),
            "[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!([{"name": "a", "secret": {"secretName": "s", "defaultMode": 512}}]),
            "[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            json!([{"name": "a", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]),
            "[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'",
        ),
    ];
    for (volumes, expected) in table {
        check(json!({"volumes": volumes}), &[&format!("spec.volumes{expected}")]);
    }
}

#[test]
fn a_pods_spec_is_settled_but_for_images_deadline_and_tolerations() {
    let old = created("Pod", json!({"spec": {"containers": [container()]}}));
    let new = updated("Pod", &old, None, json!({"spec": {"containers": old["spec"]["containers"]}}));
    assert_eq!(new.expect("no change")["metadata"]["generation"], 1);
    let mut containers = old["spec"]["containers"].clone();
    containers[0]["image"] = json!("x:2");
    let new = updated("Pod", &old, None, json!({"spec": {"containers": containers}}));
    assert_eq!(new.expect("a new image")["metadata"]["generation"], 2);
    containers[0]["args"] = json!(["x"]);
    let status = updated("Pod", &old, None, json!({"spec": {"containers": containers}}));
    assert_eq!(
        causes(&status.expect_err("new arguments")),
        [
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        ]
    );
    let status = updated("Pod", &old, None, json!({"spec": {"nodeName": "n1"}}));
    assert_eq!(status.expect_err("the scheduler's work").code, 422);
    let bound = updated("Pod", &old, Some("binding"), json!({"spec": {"nodeName": "n1"}}));
    assert_eq!(bound.expect("a binding")["spec"]["nodeName"], "n1");
}

#[test]
fn status_and_spec_are_written_apart() {
    let old = created("Pod", json!({"spec": {"containers": [container()]}, "status": {"podIP": "1.2.3.4"}}));
    assert!(old["status"].get("podIP").is_none());
    let change = json!({
        "metadata": {"labels": {"a": "b"}, "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "y"}]},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "qosClass": "Guaranteed", "podIP": "100.64.0.1"},
    });
    let new = updated("Pod", &old, Some("status"), change).expect("a status");
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(new["metadata"]["generation"], 1);
    assert!(new["metadata"].get("ownerReferences").is_none());
    let expected = json!({"phase": "Running", "podIP": "100.64.0.1", "qosClass": "BestEffort"});
    assert_eq!(new["status"], expected);
    let back = updated("Pod", &new, None, json!({"status": {"phase": "Failed"}})).expect("no change");
    assert_eq!(back["status"], new["status"]);
}

#[test]
fn a_pod_with_gates_says_what_holds_it_back() {
    let pod = created("Pod", json!({"spec": {"containers": [container()], "schedulingGates": [{"name": "a"}]}}));
    let condition = &pod["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("PodScheduled"), &json!("SchedulingGated")));
    let open = updated("Pod", &pod, None, json!({"spec": {"schedulingGates": null}})).expect("gates may go");
    assert!(open["spec"].get("schedulingGates").is_none());
    let change = json!({"spec": {"schedulingGates": [{"name": "a"}, {"name": "b"}]}});
    let status = updated("Pod", &pod, None, change).expect_err("a new gate");
    let expected =
        "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'b'";
    assert_eq!(causes(&status), [expected]);
}

#[test]
fn amounts_are_rounded_up_to_thousandths() {
    let mut container = container();
    container["resources"] = json!({"requests": {"cpu": "0.0001", "memory": "1.5Ki"}});
    let pod = created("Pod", json!({"spec": {"containers": [container]}}));
    let expected = json!({"cpu": "1m", "memory": "1536"});
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], expected);
}

#[test]
fn ephemeral_containers_come_later_and_stay_as_they_are() {
    let old = created("Pod", json!({"spec": {"containers": [container()]}}));
    let own = old["spec"]["containers"][0]["name"].clone();
    let with = |containers: Value| json!({"spec": {"ephemeralContainers": containers, "nodeName": "n"}});
    let debug = json!({"name": "debug", "image": "x", "targetContainerName": own, "stdin": true});
    let given = with(json!([debug]));
    let new = updated("Pod", &old, Some("ephemeralcontainers"), given).expect("a container more");
    let added = &new["spec"]["ephemeralContainers"][0];
    assert_eq!((&added["imagePullPolicy"], &added["terminationMessagePolicy"]), (&json!("Always"), &json!("File")));
    assert!(new["spec"].get("nodeName").is_none(), "nothing else is taken");
    let plain = updated("Pod", &new, None, json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(plain.expect("an update")["spec"]["ephemeralContainers"], new["spec"]["ephemeralContainers"]);
    let check = |containers: Value, expected: &[&str]| {
        let status = updated("Pod", &new, Some("ephemeralcontainers"), with(containers)).expect_err("a fault");
        assert_eq!(causes(&status), expected);
    };
    let path = "spec.ephemeralContainers";
    check(json!([]), &[&format!("{path}: Forbidden: existing ephemeral containers \"debug\" may not be removed\n")]);
    let changed = json!({"name": "debug", "image": "y", "targetContainerName": own, "stdin": true});
    check(
        json!([changed]),
        &[&format!("{path}: Forbidden: existing ephemeral containers \"debug\" may not be changed\n")],
    );
    let odd = json!({"name": own, "targetContainerName": "none", "ports": [{"containerPort": 80}]});
    check(
        json!([debug, odd]),
        &[
            &format!("{path}[1].name: Duplicate value: {own}"),
            &format!("{path}[1].image: Required value"),
            &format!("{path}[1].targetContainerName: Not found: \"none\""),
            &format!("{path}[1].ports: Forbidden: cannot be set for an Ephemeral Container"),
        ],
    );
}

#[test]
fn what_a_node_runs_without_the_api_gets_no_containers_and_no_other_size() {
    let mut old = created("Pod", json!({"spec": {"containers": [container()], "nodeName": "n"}}));
    old["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let check = |subresource: &str, spec: Value, expected: &str| {
        let status = updated("Pod", &old, Some(subresource), json!({"spec": spec})).expect_err("a fault");
        assert_eq!(causes(&status), [format!("[]: Forbidden: {expected}")]);
    };
    let debug = json!({"ephemeralContainers": [{"name": "debug", "image": "x"}]});
    check("ephemeralcontainers", debug, "static pods do not support ephemeral containers");
    check("resize", json!({"containers": [container()]}), "static pods cannot be resized");
}

#[test]
fn what_a_pod_may_use_is_resized_within_its_class() {
    let with = |resources: Value| {
        let mut container = container();
        container["resources"] = resources;
        json!({"spec": {"containers": [container], "nodeName": "n"}})
    };
    let burstable = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}});
    let old = created("Pod", json!({"spec": {"containers": with(burstable)["spec"]["containers"]}}));
    let more = json!({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "3Gi"}});
    let new = updated("Pod", &old, Some("resize"), with(more.clone())).expect("more");
    assert_eq!(new["spec"]["containers"][0]["resources"], more);
    assert!(new["spec"].get("nodeName").is_none(), "nothing else is taken");
    let check = |resources: Value, expected: &[&str]| {
        let status = updated("Pod", &old, Some("resize"), with(resources)).expect_err("a fault");
        assert_eq!(causes(&status), expected);
    };
    let path = "spec.containers[0].resources";
    check(
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {}}),
        &[&format!("{path}.limits: Forbidden: resource limits cannot be removed")],
    );
    check(
        json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi", "cpu": "1"}}),
        &["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"],
    );
    check(
        json!({"requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}, "limits": {"memory": "2Gi"}}),
        &["spec: Forbidden: only cpu and memory resources are mutable"],
    );
}

#[test]
fn a_pod_that_no_node_runs_needs_no_grace() {
    let table = [
        (json!({"spec": {"terminationGracePeriodSeconds": 9}}), Some(0)),
        (json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 9}}), Some(9)),
        (json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": -5}}), Some(1)),
        (json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}), Some(0)),
    ];
    for (pod, expected) in table {
        assert_eq!(default_grace(&of("Pod"), &pod), expected);
    }
    assert_eq!(default_grace(&of("ConfigMap"), &json!({})), None);
}

#[test]
fn where_a_gated_pod_may_go_can_be_narrowed() {
    let term = |keys: &[&str]| {
        let expressions: Vec<Value> = keys.iter().map(|key| json!({"key": key, "operator": "Exists"})).collect();
        json!({"matchExpressions": expressions})
    };
    let affinity = |terms: &[Value]| {
        let required = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    };
    let mut spec = json!({"containers": [container()], "schedulingGates": [{"name": "a"}], "nodeSelector": {"a": "b"}});
    let bare = created("Pod", json!({ "spec": spec }));
    super::merge(&mut spec, affinity(&[term(&["x"])]));
    let bound = created("Pod", json!({ "spec": spec }));
    let check = |pod: &Value, change: Value, expected: Option<&str>| {
        let changed = updated("Pod", pod, None, json!({"spec": change.clone()}));
        let found = changed.err().map(|status| causes(&status).join("; "));
        assert_eq!(found.as_deref(), expected, "{change}");
    };
    let selector = "spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    check(&bare, json!({"nodeSelector": {"c": "d"}}), None);
    check(&bare, json!({"nodeSelector": {"a": "c"}}), Some(selector));
    check(&bare, affinity(&[term(&["x"]), term(&["y"])]), None);
    check(&bound, affinity(&[term(&["x", "y"])]), None);
    let path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let more = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
    let two = json!([term(&["x"]), term(&["y"])]);
    check(&bound, affinity(&[term(&["x"]), term(&["y"])]), Some(&format!("{path}: Invalid value: {two}: {more}")));
    let other = term(&["y"]);
    let only = "only additions are allowed (no mutations or deletions)";
    check(&bound, affinity(&[term(&["y"])]), Some(&format!("{path}[0]: Invalid value: {other}: {only}")));
    let mut free = bound.clone();
    free["spec"].as_object_mut().expect("a spec").remove("schedulingGates");
    assert!(updated("Pod", &free, None, json!({"spec": {"nodeSelector": {"c": "d"}}})).is_err());
}
