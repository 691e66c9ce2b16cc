use serde_json::{Value, json};

use super::{check_refused, created, merge};

#[test]
fn network_policies_select_and_block_what_there_can_be() {
    let check = |change: Value, expected: &[&str]| {
        let mut spec = json!({"podSelector": {}});
        merge(&mut spec, change);
        check_refused("NetworkPolicy", json!({"spec": spec}), expected);
    };
    check(
        json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "11.0.0.0/16", "10.0.0.0/8"]}}]}]}),
        &[
            "spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            "spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
        ],
    );
    check(
        json!({"ingress": [{"ports": [{"port": 70000}]}]}),
        &["spec.ingress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    );
    check(
        json!({"policyTypes": ["Ingress", "Egress", "Ingress"]}),
        &[
            "spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes",
        ],
    );
    check(
        json!({"egress": [{"to": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}]}]}),
        &[
            "spec.egress[0].to[0].podSelector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator",
        ],
    );
    let wide = json!({"from": [{"ipBlock": {"cidr": "::/0", "except": ["fd00::/8"]}}]});
    created("NetworkPolicy", json!({"spec": {"podSelector": {}, "ingress": [wide]}}));
}

#[test]
fn roles_are_bound_to_whom_there_can_be() {
    let check = |subject: Value, expected: &[&str]| {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
        check_refused("RoleBinding", json!({"roleRef": role, "subjects": [subject]}), expected);
    };
    check(
        json!({"kind": "User", "name": "u", "apiGroup": "x"}),
        &["subjects[0].apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\""],
    );
    check(
        json!({"kind": "ServiceAccount", "name": "u", "namespace": "default", "apiGroup": "x"}),
        &["subjects[0].apiGroup: Unsupported value: \"x\": supported values: \"\""],
    );
    let account = json!([{"kind": "ServiceAccount", "name": "bot"}]);
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    created("RoleBinding", json!({"roleRef": role, "subjects": account}));
    let refused = ["subjects[0].namespace: Required value"];
    check_refused("ClusterRoleBinding", json!({"roleRef": role, "subjects": account}), &refused);
    let both = json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [""], "resources": ["pods"]});
    check_refused(
        "ClusterRole",
        json!({"rules": [both]}),
        &[
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource URLs",
        ],
    );
}

#[test]
fn classes_name_who_serves_them() {
    check_refused(
        "IngressClass",
        json!({"spec": {"controller": "abc"}}),
        &["spec.controller: Invalid value: \"abc\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
    );
    check_refused(
        "StorageClass",
        json!({"provisioner": "a.b/c", "parameters": {"": "x"}, "allowedTopologies": [
            {"matchLabelExpressions": [{"key": "a", "values": ["c", "c"]}, {"key": "b", "values": []}]},
        ]}),
        &[
            "parameters: Invalid value: 1: field can not be empty.",
            "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"c\"",
            "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
        ],
    );
}

#[test]
fn webhooks_are_at_plain_addresses() {
    let check = |url: &str, expected: &[&str]| {
        let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        let webhook = json!({"name": "a.b.c", "clientConfig": {"url": url}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "rules": [rule]});
        let expected: Vec<String> =
            expected.iter().map(|cause| format!("webhooks[0].clientConfig.url: Invalid value: {cause}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check_refused("ValidatingWebhookConfiguration", json!({"webhooks": [webhook]}), &expected);
    };
    check("http://x", &["\"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"]);
    check("https://u@x", &["\"u\": user information is not permitted in the URL"]);
    check("https://x/p#f", &["\"f\": fragments are not permitted in the URL"]);
    check("https://x?a=b", &["\"a=b\": query parameters are not permitted in the URL"]);
}
