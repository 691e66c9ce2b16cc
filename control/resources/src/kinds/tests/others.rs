use base64::Engine;
use serde_json::{Value, json};

use super::{check_change_refused, check_refused, created, of, updated};
use crate::kinds::{field_labels, names, selectable, unselectable};

#[test]
fn a_namespace_is_held_until_it_is_finalized() {
    let old = created("Namespace", json!({"spec": {"finalizers": []}, "status": {"phase": "Terminating"}}));
    assert_eq!(old["spec"], json!({"finalizers": ["kubernetes"]}));
    let held =
        |given: Value| created("Namespace", json!({"spec": {"finalizers": given}}))["spec"]["finalizers"].clone();
    assert_eq!(held(json!(["example.com/x"])), json!(["example.com/x", "kubernetes"]));
    assert_eq!(held(json!(["kubernetes", "example.com/x"])), json!(["kubernetes", "example.com/x"]));
    assert_eq!(old["status"], json!({"phase": "Active"}));
    assert_eq!(old["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "x"}));
    let change = json!({"metadata": {"labels": null}, "spec": {"finalizers": []}});
    let new = updated("Namespace", &old, None, change.clone()).expect("valid");
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["metadata"]["labels"], old["metadata"]["labels"]);
    let new = updated("Namespace", &old, Some("finalize"), change).expect("valid");
    assert_eq!(new["spec"], json!({"finalizers": []}));
    let change = json!({"status": {"phase": "Terminating"}});
    let new = updated("Namespace", &old, Some("status"), change).expect("valid");
    assert_eq!((&new["spec"], &new["status"]["phase"]), (&old["spec"], &json!("Terminating")));
}

#[test]
fn a_node_tells_of_itself_and_keeps_its_addresses() {
    let given = json!({
        "spec": {"podCIDR": "100.64.1.0/24"},
        "status": {"capacity": {"cpu": "2000m", "memory": "1024Ki"}},
    });
    let node = created("Node", given.clone());
    assert_eq!(node["spec"]["podCIDRs"], json!(["100.64.1.0/24"]));
    let amounts = json!({"cpu": "2", "memory": "1Mi"});
    assert_eq!(node["status"], json!({"capacity": amounts, "allocatable": amounts}));
    check_change_refused(
        "Node",
        given,
        json!({"spec": {"podCIDR": "100.64.2.0/24", "podCIDRs": ["100.64.2.0/24"]}}),
        &["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"],
    );
    let taint = json!({"key": "a", "effect": "NoExecute"});
    check_refused(
        "Node",
        json!({"spec": {"taints": [taint, taint, {"key": "b", "effect": "x"}]}}),
        &[
            "metadata.taints[1]: Duplicate value: {\"effect\":\"NoExecute\",\"key\":\"a\"}: taints must be unique by key and effect pair",
            "metadata.taints[2].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ],
    );
}

#[test]
fn addresses_and_blocks_mean_one_thing() {
    let no_ip = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    let no_block = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let zeros = "must not have leading 0s in IP or prefix length";
    let beyond = "must not have bits set beyond the prefix length";
    let addresses = [
        ("10.0.0.1", ""),
        ("FE80:0:0::1", ""),
        ("010.000.0.1", "must not have leading 0s"),
        ("10.0.0", no_ip),
        ("", no_ip),
        ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
        ("1..2.3", no_ip),
        ("fe80::1%eth0", no_ip),
    ];
    for (text, why) in addresses {
        assert_eq!(names::ip_address(text).join(""), why, "{text}");
    }
    let blocks = [
        ("10.0.0.0/8", ""),
        ("2001:DB8::/64", ""),
        ("192.168.0.5/32", ""),
        ("192.168.0.5/24", beyond),
        ("010.0.0.0/8", zeros),
        ("10.0.0.0/08", zeros),
        ("::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
        ("10.0.0.0", no_block),
        ("10.0.0.0/33", no_block),
        ("10.0.0.0/+8", no_block),
        ("/8", no_block),
    ];
    for (text, why) in blocks {
        assert_eq!(names::cidr(text).join(""), why, "{text}");
    }
}

#[test]
fn addresses_have_one_form_and_keep_their_parent() {
    let check = |text: &str, expected: &[&str]| assert_eq!(names::canonical_ip(text), expected, "{text}");
    check("10.0.0.1", &[]);
    check("2001:db8::1", &[]);
    check("2001:db8:0::1", &["must be in canonical form (\"2001:db8::1\")"]);
    check("::ffff:10.0.0.1", &["must not be an IPv4-mapped IPv6 address"]);
    check("web", &["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]);
    let service = json!({"resource": "services", "namespace": "default", "name": "web"});
    let address = |parent: Value| json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": parent}});
    check_refused("IPAddress", json!({"metadata": {"name": "10.0.0.1"}}), &["spec.parentRef: Required value"]);
    check_refused(
        "IPAddress",
        address(json!({"group": "A", "name": "a/b"})),
        &[
            "spec.parentRef.group: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case \
             alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
             'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "spec.parentRef.resource: Required value",
            "spec.parentRef.name: Invalid value: \"a/b\": may not contain '/'",
        ],
    );
    let mut other = service.clone();
    other["name"] = "other".into();
    let expected = format!("spec.parentRef: Invalid value: {other}: field is immutable");
    check_change_refused("IPAddress", address(service), json!({"spec": {"parentRef": other}}), &[&expected]);
}

#[test]
fn blocks_of_service_addresses_are_of_one_family_each() {
    let check = |text: &str, expected: &[&str]| assert_eq!(names::canonical_cidr(text), expected, "{text}");
    check("10.96.0.0/16", &[]);
    check("0.0.0.0/0", &[]);
    check("10.0.0.1/32", &[]);
    check("2001:db8::/64", &[]);
    check("10.96.0.1/16", &["must not have bits set beyond the prefix length"]);
    check("10.96.0.0/016", &["must not have leading 0s in IP or prefix length"]);
    check("2001:db8:0::/64", &["must be in canonical form (\"2001:db8::/64\")"]);
    check("10.96.0.0", &["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]);
    let block = |cidrs: &[&str]| json!({"spec": {"cidrs": cidrs}});
    let refused = |cidrs: &[&str], why: &str| check_refused("ServiceCIDR", block(cidrs), &[why]);
    refused(&[], "spec.cidrs: Required value: at least one CIDR required");
    refused(
        &["10.0.0.0/16", "10.1.0.0/16"],
        "spec.cidrs: Invalid value: {\"cidrs\":[\"10.0.0.0/16\",\"10.1.0.0/16\"]}: may specify no more than one IP for each \
         IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
    );
    let old = created("ServiceCIDR", block(&["10.0.0.0/16"]));
    assert_eq!(old["status"], json!({}));
    updated("ServiceCIDR", &old, None, block(&["10.0.0.0/16", "2001:db8::/64"])).expect("the other family joins");
    let change = block(&["10.1.0.0/16"]);
    let why = "spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable";
    check_change_refused("ServiceCIDR", block(&["10.0.0.0/16"]), change, &[why]);
}

#[test]
fn classes_of_attributes_say_something_that_stays() {
    let class = json!({"driverName": "a.example", "parameters": {"iops": "3"}});
    created("VolumeAttributesClass", class.clone());
    check_refused(
        "VolumeAttributesClass",
        json!({}),
        &["driverName: Required value", "parameters: Required value: must contain at least one key/value pair"],
    );
    check_change_refused(
        "VolumeAttributesClass",
        class,
        json!({"driverName": "b.example", "parameters": {"iops": "4"}}),
        &[
            "driverName: Forbidden: updates to driverName are forbidden.",
            "parameters: Forbidden: updates to parameters are forbidden.",
        ],
    );
}

#[test]
fn endpoint_slices_hold_addresses_of_one_type() {
    let given = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]});
    let slice = created("EndpointSlice", given.clone());
    assert_eq!(slice["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    let expected = "addressType: Invalid value: \"FQDN\": field is immutable";
    let change = json!({"addressType": "FQDN", "endpoints": []});
    check_change_refused("EndpointSlice", given, change, &[expected]);
    check_refused("EndpointSlice", json!({}), &["addressType: Required value"]);
    check_refused(
        "EndpointSlice",
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["x"]}]}),
        &["endpoints[0].addresses[0]: Invalid value: \"x\": must be a valid IPv4 address"],
    );
}

#[test]
fn an_event_lies_where_its_object_lies() {
    let given = json!({"involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}});
    assert_eq!(created("Event", given)["source"], json!({}));
    check_refused(
        "Event",
        json!({"involvedObject": {"kind": "Pod", "namespace": "other"}}),
        &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
    );
}

#[test]
fn leases_last_a_while() {
    check_refused(
        "Lease",
        json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
        &[
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
}

/// A block of PEM, as objects hold it.
fn certificate(kind: &str, inside: &str) -> String {
    let pem = format!("-----BEGIN {kind}-----\n{inside}\n-----END {kind}-----\n");
    base64::engine::general_purpose::STANDARD.encode(pem)
}

#[test]
fn a_signing_request_is_decided_and_signed_apart() {
    let pem = "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n";
    let request = base64::engine::general_purpose::STANDARD.encode(pem);
    let given = json!({"spec": {"request": request, "signerName": "a.b/c", "usages": ["client auth"]}});
    let old = created("CertificateSigningRequest", given);
    let issued = certificate("CERTIFICATE", "eA==");
    let change = json!({"status": {"certificate": issued, "conditions": [{"type": "Approved", "status": "True"}]}});
    let approved = updated("CertificateSigningRequest", &old, Some("approval"), change.clone());
    let approved = approved.expect("valid");
    assert!(approved["status"].get("certificate").is_none());
    assert_eq!(approved["status"]["conditions"][0]["lastUpdateTime"], "2026-01-01T00:00:00Z");
    let signed = updated("CertificateSigningRequest", &old, Some("status"), change).expect("valid");
    assert_eq!(signed["status"], json!({ "certificate": issued }));
    check_refused(
        "CertificateSigningRequest",
        json!({"spec": {"request": "eA==", "signerName": "c", "expirationSeconds": 5}}),
        &[
            "spec.request: Invalid value: \"x\": PEM block type must be CERTIFICATE REQUEST",
            "spec.usages: Required value",
            "spec.signerName: Invalid value: \"c\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)",
        ],
    );
}

#[test]
fn what_was_decided_of_a_request_stays() {
    let pem = "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n";
    let request = base64::engine::general_purpose::STANDARD.encode(pem);
    let given = json!({"spec": {"request": request, "signerName": "a.b/c", "usages": ["client auth"]}});
    const KIND: &str = "CertificateSigningRequest";
    let new = created(KIND, given.clone());
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    let with = |conditions: &[Value]| json!({"status": {"conditions": conditions}});
    let approved = updated(KIND, &new, Some("approval"), with(&[condition("Approved", "True")])).expect("valid");
    let issue = |certificate: String| json!({"status": {"certificate": certificate}});
    let issued = issue(certificate("CERTIFICATE", "eA=="));
    let issued = updated(KIND, &approved, Some("status"), issued).expect("valid");
    assert_eq!(issued["status"]["conditions"][0]["type"], "Approved");
    let check = |old: &Value, part: &str, change: Value, expected: &str| {
        let message = updated(KIND, old, Some(part), change.clone()).expect_err("a refusal").message;
        assert!(message.contains(expected), "{change}: {message}");
    };
    let gone = "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"";
    check(&approved, "approval", with(&[]), gone);
    check(&approved, "approval", with(&[condition("Denied", "True")]), gone);
    let both = [condition("Approved", "True"), condition("Denied", "True")];
    check(&new, "approval", with(&both), "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied");
    let twice = [condition("Approved", "True"), condition("Approved", "True")];
    check(&new, "approval", with(&twice), "status.conditions[1].type: Duplicate value: \"Approved\"");
    check(&new, "approval", with(&[condition("Approved", "False")]), "status.conditions[0].status: Unsupported value");
    check(&new, "approval", with(&[condition("", "True")]), "status.conditions[0].type: Required value");
    let other = issue(certificate("CERTIFICATE", "eQ=="));
    check(&issued, "status", other, "may not modify existing certificate content");
    let of = "status.certificate: Invalid value: \"<certificate data>\": ";
    let refused = [
        ("eA==".to_owned(), "must contain at least one CERTIFICATE PEM block"),
        (certificate("PRIVATE KEY", "eA=="), "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\""),
        (certificate("CERTIFICATE", "Odd: header\n\neA=="), "no PEM block headers are permitted"),
    ];
    for (text, why) in refused {
        check(&approved, "status", issue(text), &format!("{of}{why}"));
    }
    let failed = updated(KIND, &new, Some("status"), with(&[condition("Failed", "True")])).expect("valid");
    check(&failed, "status", with(&[]), "updates may not remove a condition of type \"Failed\"");
    let mut legacy = given;
    legacy["spec"]["signerName"] = "kubernetes.io/legacy-unknown".into();
    legacy["spec"]["usages"] = json!(["client auth", "client auth"]);
    check_refused(
        KIND,
        legacy,
        &[
            "spec.usages[1]: Duplicate value: \"client auth\"",
            "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
        ],
    );
}

#[test]
fn a_binding_grants_one_role() {
    let given = json!({"roleRef": {"kind": "ClusterRole", "name": "a"}, "subjects": [{"kind": "User", "name": "u"}]});
    let binding = created("ClusterRoleBinding", given.clone());
    assert_eq!(binding["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    check_change_refused(
        "ClusterRoleBinding",
        given,
        json!({"roleRef": {"name": "b"}}),
        &[
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"b\"}: cannot change roleRef",
        ],
    );
    check_refused(
        "ClusterRole",
        json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]}),
        &["rules[0].verbs: Required value: verbs must contain at least one value"],
    );
}

#[test]
fn field_selectors_know_the_fields_of_each_kind() {
    let table = [
        ("Pod", "status.phase", true),
        ("Pod", "spec.nodeName", true),
        ("Pod", "spec.volumes", false),
        ("Event", "involvedObject.uid", true),
        ("Node", "spec.unschedulable", true),
        ("Node", "metadata.namespace", false),
        ("Secret", "type", true),
        ("Deployment", "metadata.name", true),
        ("Deployment", "status.replicas", false),
    ];
    for (kind, field, expected) in table {
        assert_eq!(selectable(&of(kind), field), expected, "{kind} {field}");
    }
    let plain = r#""spec.x" is not a known field selector: only "metadata.name", "metadata.namespace""#;
    let refusals = [
        ("ConfigMap", plain),
        ("PersistentVolume", plain),
        ("ReplicaSet", plain),
        ("Pod", "field label not supported: spec.x"),
        ("Job", r#"field label "spec.x" not supported for Job"#),
    ];
    for (kind, expected) in refusals {
        let status = unselectable(&of(kind), "spec.x");
        assert_eq!((status.code, &*status.message), (400, expected), "{kind}");
    }
    let node = json!({"metadata": {"name": "n"}});
    let expected = [("metadata.name", "n".to_owned()), ("spec.unschedulable", "false".to_owned())];
    assert_eq!(field_labels(&of("Node"), &node), expected);
    let event = json!({"source": {}, "reportingComponent": "c"});
    assert!(field_labels(&of("Event"), &event).contains(&("source", "c".to_owned())));
    let secret = json!({"metadata": {"name": "s", "namespace": "d"}, "type": "Opaque"});
    let expected =
        [("metadata.name", "s".to_owned()), ("metadata.namespace", "d".to_owned()), ("type", "Opaque".to_owned())];
    assert_eq!(field_labels(&of("Secret"), &secret), expected);
}
