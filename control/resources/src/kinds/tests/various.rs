use serde_json::{Value, json};

use super::{check_change_refused, check_refused, created};

#[test]
fn ingresses_say_where_requests_go() {
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let with = |path: Value| json!({"spec": {"rules": [{"http": {"paths": [path]}}]}});
    let ingress = created("Ingress", with(json!({"path": "/", "pathType": "Prefix", "backend": backend})));
    assert_eq!(ingress["status"], json!({"loadBalancer": {}}));
    check_refused(
        "Ingress",
        json!({"spec": {}}),
        &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
    );
    check_refused(
        "Ingress",
        with(json!({"path": "x", "pathType": "Exact", "backend": {}})),
        &[
            "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
            "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
        ],
    );
    check_refused(
        "Ingress",
        with(json!({"path": "/", "pathType": "Glob", "backend": backend})),
        &["spec.rules[0].http.paths[0].pathType: Unsupported value: \"Glob\": supported values: \"Exact\", \
           \"ImplementationSpecific\", \"Prefix\""],
    );
}

#[test]
fn network_policies_get_their_types() {
    let check = |spec: Value, expected: Value| {
        assert_eq!(created("NetworkPolicy", json!({"spec": spec}))["spec"]["policyTypes"], expected);
    };
    check(json!({"podSelector": {}}), json!(["Ingress"]));
    check(json!({"podSelector": {}, "egress": [{}]}), json!(["Ingress", "Egress"]));
    check_refused(
        "NetworkPolicy",
        json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/40"}}]}]}}),
        &["spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0/40\": must be a valid CIDR value, (e.g. \
           10.9.8.0/24 or 2001:db8::/64)"],
    );
}

#[test]
fn claims_and_volumes_are_pending_until_somebody_serves_them() {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim = created("PersistentVolumeClaim", json!({"spec": spec}));
    assert_eq!((&claim["status"]["phase"], &claim["spec"]["volumeMode"]), (&json!("Pending"), &json!("Filesystem")));
    check_refused(
        "PersistentVolumeClaim",
        json!({"spec": {"accessModes": ["Often"]}}),
        &[
            "spec.accessModes: Unsupported value: \"Often\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \
             \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.resources[storage]: Required value",
        ],
    );
    check_refused(
        "PersistentVolume",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}),
        &["spec: Required value: must specify a volume type"],
    );
    let volume =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}});
    let made = created("PersistentVolume", volume);
    assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], json!("Retain"));
    let class = json!({"provisioner": "example.com/x"});
    let made = created("StorageClass", class.clone());
    assert_eq!((&made["reclaimPolicy"], &made["volumeBindingMode"]), (&json!("Delete"), &json!("Immediate")));
    check_change_refused(
        "StorageClass",
        class,
        json!({"provisioner": "other"}),
        &["provisioner: Forbidden: updates to this field are forbidden."],
    );
}

#[test]
fn bounds_and_ranks_are_checked() {
    check_refused(
        "PodDisruptionBudget",
        json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}}),
        &[
            "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
        ],
    );
    check_refused(
        "PriorityClass",
        json!({"value": 2_000_000_000}),
        &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    );
    check_change_refused(
        "PriorityClass",
        json!({"value": 5}),
        json!({"value": 6}),
        &["value: Forbidden: may not be changed in an update."],
    );
    assert_eq!(created("PriorityClass", json!({"value": 5}))["preemptionPolicy"], json!("PreemptLowerPriority"));
    check_refused(
        "ResourceQuota",
        json!({"spec": {"hard": {"pods": "-1"}}}),
        &["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
    let limits = json!({"spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}});
    let made = created("LimitRange", limits);
    let limit = &made["spec"]["limits"][0];
    assert_eq!((&limit["default"], &limit["defaultRequest"]), (&json!({"memory": "1Gi"}), &json!({"memory": "1Gi"})));
    check_refused(
        "LimitRange",
        json!({"spec": {"limits": [{"type": "Container", "min": {"memory": "2Gi"}, "max": {"memory": "1Gi"},
            "default": {"memory": "2Gi"}, "defaultRequest": {"memory": "2Gi"}}]}}),
        &[
            "spec.limits[0].min[memory]: Invalid value: \"2Gi\": min value 2Gi is greater than max value 1Gi",
            "spec.limits[0].defaultRequest[memory]: Invalid value: \"2Gi\": default request value 2Gi is greater than max value 1Gi",
            "spec.limits[0].default[memory]: Invalid value: \"2Gi\": default value 2Gi is greater than max value 1Gi",
        ],
    );
}

#[test]
fn an_autoscaler_aims_at_the_cpu_unless_it_says() {
    let spec =
        json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}});
    let made = created("HorizontalPodAutoscaler", json!({"spec": spec}));
    let metric = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    assert_eq!((&made["spec"]["minReplicas"], &made["spec"]["metrics"]), (&json!(1), &metric));
    check_refused(
        "HorizontalPodAutoscaler",
        json!({"spec": {"minReplicas": 4, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": ""}}}),
        &[
            "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
            "spec.scaleTargetRef.name: Required value",
        ],
    );
}

#[test]
fn older_kinds_work_as_ever() {
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}});
    let made = created("ReplicationController", json!({"spec": {"template": template}}));
    assert_eq!((&made["spec"]["selector"], &made["spec"]["replicas"]), (&json!({"app": "a"}), &json!(1)));
    check_refused(
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 0, "name": "a"}]}]}),
        &[
            "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ],
    );
    check_refused("ControllerRevision", json!({"revision": 1}), &["data: Required value: data is mandatory"]);
}
