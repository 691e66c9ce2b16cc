//! What a new object is refused for, one fault at a time.

use serde_json::{Value, json};

use super::{SUBDOMAIN, check_refused, created};

const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

#[test]
fn ingresses_lead_to_one_thing_that_is_named_whole() {
    let check = |backend: Value, expected: &[&str]| {
        check_refused("Ingress", json!({"spec": {"defaultBackend": backend}}), expected);
    };
    check(json!({}), &["spec.defaultBackend: Invalid value: \"\": resource or service backend is required"]);
    check(json!({"service": {"name": "a"}}), &["spec.defaultBackend: Required value: port name or number is required"]);
    check(
        json!({"service": {"name": "a", "port": {"name": "b", "number": 1}}}),
        &["spec.defaultBackend: Invalid value: \"\": cannot set both port name & port number"],
    );
    check(
        json!({"service": {"name": "a", "port": {"number": -1}}}),
        &["spec.defaultBackend.service.port.number: Invalid value: -1: must be between 1 and 65535, inclusive"],
    );
    check(
        json!({"resource": {"apiGroup": "A", "kind": "a/b", "name": ""}}),
        &[
            &format!("spec.defaultBackend.resource.apiGroup: Invalid value: \"A\": {SUBDOMAIN}"),
            "spec.defaultBackend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
            "spec.defaultBackend.resource.name: Required value",
        ],
    );
}

#[test]
fn classes_of_ingresses_have_a_controller_and_whole_parameters() {
    check_refused("IngressClass", json!({}), &["spec.controller: Required value"]);
    check_refused(
        "IngressClass",
        json!({"spec": {"controller": "a.b/c", "parameters": {"kind": "a/b", "name": "%"}}}),
        &[
            "spec.parameters.kind: Invalid value: \"a/b\": may not contain '/'",
            "spec.parameters.name: Invalid value: \"%\": may not contain '%'",
        ],
    );
}

#[test]
fn a_block_of_addresses_is_told_apart_from_none() {
    let from = |block: Value| json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]}});
    check_refused("NetworkPolicy", from(json!({})), &["spec.ingress[0].from[0].ipBlock.cidr: Required value"]);
    check_refused(
        "NetworkPolicy",
        from(json!({"cidr": "x", "except": ["y"]})),
        &[
            "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or \
           2001:db8::/64)",
        ],
    );
}

#[test]
fn protocols_of_applications_are_qualified_names() {
    let port = json!({"name": "a", "port": 80, "protocol": "TCP", "appProtocol": "a b"});
    let check = |kind: &str, object: Value, path: &str| {
        check_refused(kind, object, &[&format!("{path}.appProtocol: Invalid value: \"a b\": {QUALIFIED}")]);
    };
    check("EndpointSlice", json!({"addressType": "IPv4", "endpoints": [], "ports": [port]}), "ports[0]");
    let subset = json!({"addresses": [{"ip": "10.0.0.1"}], "ports": [port]});
    check("Endpoints", json!({"subsets": [subset]}), "subsets[0].ports[0]");
    check("Service", json!({"spec": {"ports": [port]}}), "spec.ports[0]");
}

#[test]
fn a_role_that_gathers_others_says_which() {
    let why = "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if \
               aggregationRule is non-nil";
    check_refused("ClusterRole", json!({"aggregationRule": {}}), &[why]);
    let selectors = json!([{"matchExpressions": [{"key": "a", "operator": "Like"}]}]);
    check_refused(
        "ClusterRole",
        json!({"aggregationRule": {"clusterRoleSelectors": selectors}}),
        &[
            "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"Like\": not a valid \
           selector operator",
        ],
    );
}

#[test]
fn run_time_classes_add_what_pods_may_have() {
    let check = |part: Value, expected: &[&str]| {
        let mut class = json!({"handler": "a"});
        super::merge(&mut class, part);
        check_refused("RuntimeClass", class, expected);
    };
    check(
        json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
        &["overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
    check(
        json!({"scheduling": {"tolerations": [{"key": "a", "effect": "Never"}]}}),
        &[
            "scheduling.tolerations.tolerations[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \
           \"PreferNoSchedule\", \"NoExecute\"",
        ],
    );
    let one = json!({"key": "a", "operator": "Exists"});
    check(
        json!({"scheduling": {"tolerations": [one, one]}}),
        &["scheduling.tolerations[1]: Duplicate value: {\"key\":\"a\",\"operator\":\"Exists\"}"],
    );
    check(
        json!({"scheduling": {"nodeSelector": {"a": "b c"}}}),
        &[
            "scheduling.nodeSelector: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric \
           characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
           'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ],
    );
}

#[test]
fn a_node_says_where_its_pods_and_drivers_are() {
    let driver =
        json!({"name": "a.b", "nodeID": "n".repeat(257), "allocatable": {"count": -1}, "topologyKeys": ["a", "a"]});
    let long =
        format!("spec.drivers[0].nodeID: Invalid value: \"{}\": must be 256 characters or less", "n".repeat(257));
    check_refused(
        "CSINode",
        json!({"spec": {"drivers": [driver]}}),
        &[
            &long,
            "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            "spec.drivers[0]: Duplicate value: \"a\"",
        ],
    );
    check_refused(
        "Node",
        json!({"spec": {"podCIDR": "x"}}),
        &["spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"],
    );
    check_refused(
        "Node",
        json!({"spec": {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}}),
        &[
            "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP \
           family",
        ],
    );
    let node = created("Node", json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.1.0.0/24"]}}));
    assert_eq!(node["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
}

#[test]
fn names_that_become_part_of_no_other_may_be_odd() {
    for (kind, object) in [
        ("PodDisruptionBudget", json!({"spec": {}})),
        ("Event", json!({"involvedObject": {"namespace": "default"}})),
        ("CertificateSigningRequest", json!({"spec": {"request": "", "signerName": "a.b/c"}})),
    ] {
        let mut named = object;
        named["metadata"]["name"] = json!("Odd_Name");
        match kind {
            "CertificateSigningRequest" => {
                let status = super::refused(kind, named);
                assert!(super::causes(&status).iter().all(|cause| cause.starts_with("spec.")), "{}", status.message);
            }
            _ => drop(created(kind, named)),
        }
    }
    let unnamed = super::create(
        &super::of("LimitRange"),
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"namespace": "default"}, "spec": {"limits": []}}),
        &super::env(),
    );
    assert_eq!(unnamed.expect("named after its uid")["metadata"]["name"], "u-1");
}

#[test]
fn requests_and_limits_lie_no_farther_apart_than_their_bounds() {
    let limit =
        json!({"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "500m"}, "maxLimitRequestRatio": {"cpu": "3"}});
    check_refused(
        "LimitRange",
        json!({"spec": {"limits": [limit]}}),
        &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000"],
    );
}

#[test]
fn webhooks_and_services_of_the_api_are_at_paths_and_ports_that_there_can_be() {
    let check = |part: Value, expected: &[&str]| {
        let mut webhook = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"]});
        super::merge(&mut webhook, part);
        check_refused("ValidatingWebhookConfiguration", json!({"webhooks": [webhook]}), expected);
    };
    let service = |path: &str| json!({"clientConfig": {"service": {"namespace": "n", "name": "s", "path": path}}});
    let at = "webhooks[0].clientConfig.service.path";
    check(
        service("a/B"),
        &[
            &format!("{at}: Invalid value: \"a/B\": must start with a '/'"),
            &format!("{at}: Invalid value: \"a/B\": segment[0] may not be empty"),
            &format!("{at}: Invalid value: \"a/B\": segment[1]: {SUBDOMAIN}"),
        ],
    );
    let mut named = service("/");
    named["name"] = json!("A");
    check(named, &[&format!("webhooks[0].name: Invalid value: \"A\": {SUBDOMAIN}")]);
    let mut choosy = service("/");
    choosy["namespaceSelector"] = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
    check(
        choosy,
        &[
            "webhooks[0].namespaceSelector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator",
        ],
    );
    let service = json!({"name": "s", "namespace": "n", "port": 70000});
    let spec =
        json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, "service": service});
    check_refused(
        "APIService",
        json!({"metadata": {"name": "v1.a.b"}, "spec": spec}),
        &["spec.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive"],
    );
}

#[test]
fn a_job_selects_its_own_pods_unless_told_otherwise() {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    let job = |selector: Value, labels: Value, manual: bool| {
        let template = json!({"metadata": {"labels": labels}, "spec": pod});
        json!({"spec": {"manualSelector": manual, "selector": selector, "template": template}})
    };
    created("Job", job(json!({}), json!({"a": "b"}), true));
    check_refused(
        "Job",
        job(json!({"matchLabels": {"a": "b"}}), json!({"a": "b", "job-name": "other"}), false),
        &[
            "spec.template.metadata.labels[job-name]: Invalid value: {\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u-1\",\
             \"batch.kubernetes.io/job-name\":\"x\",\"controller-uid\":\"u-1\",\"job-name\":\"other\"}: must be 'x'",
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u-1\"}}: \
             `selector` not auto-generated",
        ],
    );
}

#[test]
fn a_load_balancer_keeps_the_port_of_its_checks_while_it_is_checked() {
    let balancer = json!({"spec": {
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000, "ports": [{"port": 80}],
    }});
    super::check_change_refused(
        "Service",
        balancer.clone(),
        json!({"spec": {"healthCheckNodePort": 31001}}),
        &[
            "spec.healthCheckNodePort: Invalid value: 31001: cannot change healthCheckNodePort on loadBalancer service with \
           externalTraffic=Local during update",
        ],
    );
    let old = created("Service", balancer);
    let kept = super::updated("Service", &old, None, json!({"spec": {"healthCheckNodePort": null}})).expect("kept");
    assert_eq!(kept["spec"]["healthCheckNodePort"], 31000);
    let elsewhere = json!({"spec": {"externalTrafficPolicy": "Cluster"}});
    let freed = super::updated("Service", &old, None, elsewhere).expect("goes");
    assert_eq!(freed["spec"]["healthCheckNodePort"], Value::Null);
}

#[test]
fn nothing_is_scaled_from_none_by_what_only_running_pods_tell() {
    let target = json!({"kind": "Deployment", "name": "d"});
    check_refused(
        "HorizontalPodAutoscaler",
        json!({"spec": {"minReplicas": 0, "maxReplicas": 2, "scaleTargetRef": target}}),
        &[
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero \
             replicas",
        ],
    );
}

#[test]
fn an_event_that_tells_its_time_may_be_of_another_namespace() {
    let exact = json!({
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "a.b/c", "reportingInstance": "i",
        "action": "a", "reason": "r", "involvedObject": {"namespace": "elsewhere"},
    });
    created("Event", exact.clone());
    let mut unnamed = exact;
    unnamed["reportingComponent"] = json!("");
    let expected = [
        "reportingController: Required value".to_owned(),
        "reportingController: Invalid value: \"\": name part must be non-empty".to_owned(),
        format!("reportingController: Invalid value: \"\": {QUALIFIED}"),
    ];
    check_refused("Event", unnamed, &expected.each_ref().map(String::as_str));
    check_refused(
        "Event",
        json!({"involvedObject": {"namespace": "elsewhere"}}),
        &["involvedObject.namespace: Invalid value: \"elsewhere\": does not match event.namespace"],
    );
}

#[test]
fn statuses_count_what_adds_up() {
    let check = |kind: &str, object: Value, status: Value, expected: &[&str]| {
        let old = created(kind, object);
        let refused =
            super::updated(kind, &old, Some("status"), json!({"status": status.clone()})).expect_err("invalid");
        assert_eq!(super::causes(&refused), expected, "{status}");
    };
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    check(
        "Deployment",
        set.clone(),
        json!({"replicas": -1, "readyReplicas": 0}),
        &[
            "status.replicas: Invalid value: -1: must be greater than or equal to 0",
            "status.updatedReplicas: Invalid value: 0: cannot be greater than status.replicas",
            "status.readyReplicas: Invalid value: 0: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas",
        ],
    );
    check(
        "ReplicaSet",
        set.clone(),
        json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}),
        &["status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"],
    );
    check(
        "StatefulSet",
        set.clone(),
        json!({"replicas": 1, "currentReplicas": 2}),
        &["status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas"],
    );
    check(
        "DaemonSet",
        set.clone(),
        json!({"numberReady": -1}),
        &["status.numberReady: Invalid value: -1: must be greater than or equal to 0"],
    );
    let mut counted = created("Deployment", set);
    counted["status"]["collisionCount"] = json!(3);
    let fewer = json!({"status": {"collisionCount": 2}});
    let refused = super::updated("Deployment", &counted, Some("status"), fewer).expect_err("invalid");
    assert_eq!(super::causes(&refused), ["status.collisionCount: Invalid value: 2: cannot be decremented"]);
}

#[test]
fn balancers_are_reached_at_addresses_and_names() {
    let check = |kind: &str, spec: Value, ways: Value, expected: &[&str]| {
        let old = created(kind, json!({"spec": spec}));
        let status = json!({"status": {"loadBalancer": {"ingress": ways}}});
        let refused = super::updated(kind, &old, Some("status"), status).expect_err("invalid");
        assert_eq!(super::causes(&refused), expected, "{ways}");
    };
    let at = |index: usize, field: &str| format!("status.loadBalancer.ingress[{index}].{field}");
    let ways = json!([{"ip": "x"}, {"hostname": "A"}, {"hostname": "1.2.3.4"}]);
    let faults = [
        format!("{}: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)", at(0, "ip")),
        format!("{}: Invalid value: \"A\": {SUBDOMAIN}", at(1, "hostname")),
        format!("{}: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address", at(2, "hostname")),
    ];
    let expected = faults.each_ref().map(String::as_str);
    let backend = json!({"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}});
    check("Ingress", backend, ways.clone(), &expected);
    let balancer = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
    check("Service", balancer.clone(), ways, &expected);
    let mode = format!("{}: Forbidden: may not be specified when `ip` is not set", at(0, "ipMode"));
    check("Service", balancer, json!([{"hostname": "a.b", "ipMode": "VIP"}]), &[&mode]);
    check(
        "Service",
        json!({"ports": [{"port": 80}]}),
        json!([{"ip": "10.0.0.1"}]),
        &["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"],
    );
}

#[test]
fn a_job_without_labels_has_those_of_its_pods() {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    let job = created("Job", json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}}));
    let given = json!({
        "a": "b", "batch.kubernetes.io/controller-uid": "u-1", "batch.kubernetes.io/job-name": "x",
        "controller-uid": "u-1", "job-name": "x",
    });
    assert_eq!(job["metadata"]["labels"], given);
    let own = json!({"metadata": {"labels": {"c": "d"}}, "spec": {"template": {"spec": pod}}});
    assert_eq!(created("Job", own)["metadata"]["labels"], json!({"c": "d"}));
}

#[test]
fn classes_of_the_system_are_its_own() {
    let check = |name: &str, value: i64, default: bool, expected: &str| {
        let class = json!({"metadata": {"name": name}, "value": value, "globalDefault": default});
        let why = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. \
                   error: ";
        check_refused("PriorityClass", class, &[&format!("{why}{expected}")]);
    };
    check("system-x", 1, false, "system-x is not a known system priority class");
    let name = "system-node-critical";
    check(name, 1, false, "value of system-node-critical PriorityClass must be 2000001000");
    check(name, 2_000_001_000, true, "globalDefault of system-node-critical PriorityClass must be false");
}

#[test]
fn an_empty_text_is_no_known_value_where_leaving_out_means_the_default() {
    let check = |kind: &str, object: Value, cause: &str| check_refused(kind, object, &[cause]);
    check(
        "StorageClass",
        json!({"provisioner": "a", "volumeBindingMode": ""}),
        "volumeBindingMode: Unsupported value: \"\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
    );
    check("PriorityClass", json!({"value": 1, "preemptionPolicy": ""}), "preemptionPolicy: Required value");
    check(
        "CSIDriver",
        json!({"spec": {"fsGroupPolicy": ""}}),
        "spec.fsGroupPolicy: Unsupported value: \"\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
    );
    check(
        "NetworkPolicy",
        json!({"spec": {"podSelector": {}, "ingress": [{"ports": [{"protocol": "", "port": 1}]}]}}),
        "spec.ingress[0].ports[0].protocol: Unsupported value: \"\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
    );
    check(
        "EndpointSlice",
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": ""}]}),
        &format!("endpoints[0].nodeName: Invalid value: \"\": {SUBDOMAIN}"),
    );
    check(
        "IngressClass",
        json!({"spec": {"controller": "a.b/c", "parameters": {"apiGroup": "", "kind": "K", "name": "n"}}}),
        &format!("spec.parameters.apiGroup: Invalid value: \"\": {SUBDOMAIN}"),
    );
    let size = json!({"requests": {"storage": "1Gi"}});
    check(
        "PersistentVolumeClaim",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": size, "volumeMode": ""}}),
        "spec.volumeMode: Unsupported value: \"\": supported values: \"Block\", \"Filesystem\"",
    );
    check(
        "HorizontalPodAutoscaler",
        json!({"spec": {"scaleTargetRef": {"kind": "A", "name": "a"}, "maxReplicas": 1,
            "behavior": {"scaleUp": {"selectPolicy": ""}}}}),
        "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"\": supported values: \"Disabled\", \"Max\", \"Min\"",
    );
    check(
        "HorizontalPodAutoscaler",
        json!({"spec": {"scaleTargetRef": {"kind": "A", "name": "a"}, "maxReplicas": 1,
            "behavior": {"scaleDown": {"policies": []}}}}),
        "spec.behavior.scaleDown.policies: Required value: must specify at least one Policy",
    );
    check(
        "HorizontalPodAutoscaler",
        json!({"spec": {"scaleTargetRef": {"kind": "A", "name": "a"}, "maxReplicas": 1,
            "behavior": {"scaleDown": {"tolerance": "-1"}}}}),
        "spec.behavior.scaleDown.tolerance: Invalid value: \"-1\": must be greater than or equal to 0",
    );
    let hook = |field: &str| {
        let mut hook = json!({"name": "a.b.c", "clientConfig": {"url": "https://a"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"]});
        hook[field] = json!("");
        json!({"webhooks": [hook]})
    };
    let known = "Unsupported value: \"\": supported values:";
    for (field, values) in [
        ("failurePolicy", "\"Fail\", \"Ignore\""),
        ("matchPolicy", "\"Equivalent\", \"Exact\""),
        ("reinvocationPolicy", "\"IfNeeded\", \"Never\""),
    ] {
        let cause = format!("webhooks[0].{field}: {known} {values}");
        check("MutatingWebhookConfiguration", hook(field), &cause);
    }
}

#[test]
fn a_replication_controller_finds_what_it_makes() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let check = |value: &str| {
        check_refused(
            "ReplicationController",
            json!({"spec": {"selector": {"a": value}, "template": template}}),
            &[
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            ],
        );
    };
    check("c");
    check("no label's value!");
    created("ReplicationController", json!({"spec": {"selector": {"a": "b"}, "template": template}}));
}
