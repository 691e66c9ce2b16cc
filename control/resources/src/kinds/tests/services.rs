use serde_json::{Value, json};

use super::{causes, check_refused, created, updated};

#[test]
fn a_service_gets_its_defaults() {
    let service = created("Service", json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}));
    let expected = json!({
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "selector": {"a": "b"},
        "sessionAffinity": "None",
        "type": "ClusterIP",
    });
    assert_eq!(service["spec"], expected);
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
    let service = created("Service", json!({"spec": {"clusterIP": "None", "ports": []}}));
    assert_eq!(service["spec"]["clusterIPs"], json!(["None"]));
}

#[test]
fn what_is_wrong_with_a_service_is_told_by_field() {
    let port = json!([{"port": 80}]);
    let table: [(Value, &[&str]); 10] = [
        (json!({}), &["spec.ports: Required value"]),
        (
            json!({"ports": port, "type": "X"}),
            &[
                "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ],
        ),
        (
            json!({"ports": [{"port": 0}]}),
            &[
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            json!({"ports": [{"port": 80}, {"port": 81}]}),
            &["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
        ),
        (
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}),
            &["spec.ports[1].name: Duplicate value: \"a\""],
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            json!({"ports": [{"port": 80, "targetPort": "Web"}]}),
            &[
                "spec.ports[0].targetPort: Invalid value: \"Web\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            ],
        ),
        (
            json!({"ports": port, "clusterIP": "abc"}),
            &[
                "spec.clusterIPs[0]: Invalid value: \"abc\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (json!({"type": "ExternalName"}), &["spec.externalName: Required value"]),
        (
            json!({"ports": port, "sessionAffinity": "X"}),
            &["spec.sessionAffinity: Unsupported value: \"X\": supported values: \"ClientIP\", \"None\""],
        ),
    ];
    for (spec, expected) in table {
        check_refused("Service", json!({"spec": spec}), expected);
    }
}

fn node_port() -> Value {
    json!({"spec": {
        "type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{"port": 80, "nodePort": 30080}],
    }})
}

#[test]
fn what_was_handed_out_stays() {
    let old = created("Service", node_port());
    let change = json!({"spec": {"clusterIP": null, "clusterIPs": null, "ports": [{"port": 80, "targetPort": 8080}]}});
    let new = updated("Service", &old, None, change).expect("valid");
    assert_eq!(new["spec"]["clusterIP"], "10.96.0.5");
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.5"]));
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
    assert_eq!(new["spec"]["ports"][0]["targetPort"], 8080);
}

#[test]
fn a_cluster_ip_may_not_change() {
    let old = created("Service", node_port());
    for change in [
        json!({"spec": {"clusterIP": "10.96.0.6", "clusterIPs": ["10.96.0.6"]}}),
        json!({"spec": {"clusterIP": "10.96.0.6"}}),
    ] {
        let status = updated("Service", &old, None, change).expect_err("another address");
        let expected = "spec.clusterIPs[0]: Invalid value: [\"10.96.0.6\"]: may not change once set";
        assert_eq!(causes(&status), [expected]);
    }
}

#[test]
fn another_type_gives_up_what_it_has_no_use_for() {
    let old = created("Service", node_port());
    let new = updated("Service", &old, None, json!({"spec": {"type": "ClusterIP"}})).expect("valid");
    assert_eq!(new["spec"]["ports"], json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]));
    assert!(new["spec"].get("externalTrafficPolicy").is_none());
    let change = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    let new = updated("Service", &old, None, change).expect("valid");
    assert!(new["spec"].get("clusterIP").is_none());
    assert!(new["spec"].get("clusterIPs").is_none());
}

#[test]
fn an_address_of_a_load_balancer_says_how_it_is_reached() {
    let check = |way: Value, expected: Option<&str>| {
        let service = created("Service", json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}));
        let status = json!({"status": {"loadBalancer": {"ingress": [&way]}}});
        let service = updated("Service", &service, Some("status"), status).expect("valid");
        let mode = &service["status"]["loadBalancer"]["ingress"][0]["ipMode"];
        assert_eq!(mode.as_str(), expected, "{way}");
    };
    check(json!({"ip": "203.0.113.1"}), Some("VIP"));
    check(json!({"ip": "203.0.113.1", "ipMode": "Proxy"}), Some("Proxy"));
    check(json!({"hostname": "example.com"}), None);
}
