use serde_json::{Value, json};

use super::{check_refused, created, updated};

#[test]
fn quotas_name_what_they_bound() {
    let check = |spec: Value, expected: &[&str]| check_refused("ResourceQuota", json!({"spec": spec}), expected);
    check(
        json!({"hard": {"foo": "1"}}),
        &[
            "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
            "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource for quota",
        ],
    );
    check(json!({"hard": {"pods": "1.5"}}), &["spec.hard[pods]: Invalid value: \"1.5\": must be an integer"]);
    check(json!({"scopes": ["Foo"]}), &["spec.scopes: Invalid value: [\"Foo\"]: unsupported scope"]);
    check(
        json!({"scopes": ["BestEffort", "NotBestEffort"]}),
        &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
    );
    check(
        json!({"hard": {"requests.cpu": "1"}, "scopes": ["BestEffort"]}),
        &["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"],
    );
    let selects = |requirement: Value| json!({"scopeSelector": {"matchExpressions": [requirement]}});
    check(
        selects(json!({"scopeName": "Foo", "operator": "In", "values": ["a"]})),
        &["spec.scopeSelector.matchExpressions.scopeName: Invalid value: \"Foo\": unsupported scope"],
    );
    check(
        selects(json!({"scopeName": "PriorityClass", "operator": "In"})),
        &[
            "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        ],
    );
    check(
        selects(json!({"scopeName": "PriorityClass", "operator": "Like", "values": ["a"]})),
        &["spec.scopeSelector.matchExpressions.operator: Invalid value: \"Like\": not a valid selector operator"],
    );
    let good =
        json!({"hard": {"requests.example.com/x": "1", "count/foo.bar": "2", "pods": "3", "requests.storage": "1Gi"}});
    created("ResourceQuota", json!({"spec": good}));
}

#[test]
fn limits_name_what_they_limit() {
    let check = |limit: Value, expected: &[&str]| {
        check_refused("LimitRange", json!({"spec": {"limits": [limit]}}), expected);
    };
    check(
        json!({"type": "Foo"}),
        &["spec.limits[0].type: Invalid value: \"Foo\": must be a standard limit type or fully qualified"],
    );
    check(
        json!({"type": "Pod", "max": {"foo": "1"}}),
        &[
            "spec.limits[0].max[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
            "spec.limits[0].max[foo]: Invalid value: \"foo\": must be a standard resource for containers",
        ],
    );
    check(
        json!({"type": "PersistentVolumeClaim", "max": {"cpu": "1"}}),
        &[
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
        ],
    );
}

#[test]
fn what_belongs_to_load_balancers_is_theirs_alone() {
    let check = |mut spec: Value, expected: &[&str]| {
        spec["ports"] = json!([{"port": 80}]);
        check_refused("Service", json!({"spec": spec}), expected);
    };
    let why = "may only be used when `type` is 'LoadBalancer'";
    check(
        json!({"loadBalancerSourceRanges": ["1.2.3.0/24"]}),
        &[&format!("spec.LoadBalancerSourceRanges: Forbidden: {why}")],
    );
    check(
        json!({"type": "LoadBalancer", "loadBalancerSourceRanges": [" 1.2.3.0/24 ", "1.2.3.0/33"]}),
        &[
            "spec.LoadBalancerSourceRanges[1]: Invalid value: \"1.2.3.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ],
    );
    check(json!({"loadBalancerClass": "a/b"}), &[&format!("spec.loadBalancerClass: Forbidden: {why}")]);
    check(
        json!({"healthCheckNodePort": 30000}),
        &[
            "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ],
    );
    check(
        json!({"externalIPs": ["127.0.0.1", "0.0.0.0", "169.254.1.1"]}),
        &[
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "spec.externalIPs[1]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
            "spec.externalIPs[2]: Invalid value: \"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ],
    );
    check(json!({"ipFamilies": ["IPv4", "IPv4"]}), &["spec.ipFamilies[1]: Duplicate value: \"IPv4\""]);
    check(
        json!({"ipFamilies": ["IPv6"]}),
        &["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"],
    );
    check(
        json!({"ipFamilyPolicy": "RequireDualStack"}),
        &[
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ],
    );
}

#[test]
fn volumes_say_where_they_are() {
    let check = |mut spec: Value, expected: &[&str]| {
        spec["capacity"] = json!({"storage": "1Gi"});
        spec["accessModes"] = json!(["ReadWriteOnce"]);
        check_refused("PersistentVolume", json!({"spec": spec}), expected);
    };
    check(
        json!({"local": {"path": "/a"}}),
        &["spec.nodeAffinity: Required value: Local volume requires node affinity"],
    );
    check(json!({"csi": {"driver": "a"}}), &["spec.csi.volumeHandle: Required value"]);
    check(
        json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}),
        &["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
    );
    check(
        json!({"hostPath": {"path": "/a"}, "nodeAffinity": {}}),
        &["spec.nodeAffinity.required: Required value: must specify required node constraints"],
    );
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "0"}},
        "dataSourceRef": {"kind": "Foo", "name": "x"}});
    check_refused(
        "PersistentVolumeClaim",
        json!({"spec": claim}),
        &[
            "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
            "spec.dataSource: Invalid value: \"Foo\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ],
    );
}

#[test]
fn a_policy_tells_which_generation_was_looked_at() {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let policy = json!({"spec": {
        "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}],
    }});
    let made = created("ValidatingAdmissionPolicy", policy);
    assert_eq!(made["status"], json!({"observedGeneration": 1, "typeChecking": {}}));
    let changed = updated("ValidatingAdmissionPolicy", &made, None, json!({"spec": {"failurePolicy": "Ignore"}}));
    let changed = changed.expect("valid");
    assert_eq!(changed["metadata"]["generation"], changed["status"]["observedGeneration"]);
}
