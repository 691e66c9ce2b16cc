use serde_json::{Value, json};

use super::{check_refused, created};

#[test]
fn local_services_are_always_available() {
    let local = json!({"metadata": {"name": "v1.apps"}, "spec": {
        "group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15}});
    let condition = created("APIService", local)["status"]["conditions"][0].clone();
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("Local")));
    check_refused(
        "APIService",
        json!({"metadata": {"name": "x"}, "spec": {"group": "a.io", "version": "v1", "versionPriority": 1}}),
        &[
            "metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.a.io\"",
            "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
        ],
    );
}

#[test]
fn levels_and_flows_get_their_defaults() {
    let level = created(
        "PriorityLevelConfiguration",
        json!({"spec": {
        "type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}}),
    );
    let queuing = json!({"queues": 64, "handSize": 8, "queueLengthLimit": 50});
    assert_eq!(level["spec"]["limited"]["limitResponse"]["queuing"], queuing);
    assert_eq!(level["spec"]["limited"]["nominalConcurrencyShares"], 30);
    check_refused(
        "PriorityLevelConfiguration",
        json!({"spec": {"type": "x"}}),
        &["spec.type: Unsupported value: \"x\": supported values: \"Exempt\", \"Limited\""],
    );
    let flow = created("FlowSchema", json!({"spec": {"priorityLevelConfiguration": {"name": "a"}}}));
    assert_eq!(flow["spec"]["matchingPrecedence"], 1000);
    check_refused(
        "FlowSchema",
        json!({"spec": {"matchingPrecedence": 10001}}),
        &[
            "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        ],
    );
}

#[test]
fn webhooks_and_policies_are_checked_and_filled() {
    let webhook = json!({
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "s", "namespace": "n"}},
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]
    });
    let config = created("MutatingWebhookConfiguration", json!({"webhooks": [webhook]}));
    let made = &config["webhooks"][0];
    assert_eq!((&made["failurePolicy"], &made["timeoutSeconds"]), (&json!("Fail"), &json!(10)));
    assert_eq!((&made["rules"][0]["scope"], &made["reinvocationPolicy"]), (&json!("*"), &json!("Never")));
    assert_eq!(made["clientConfig"]["service"]["port"], 443);
    assert_eq!(config["metadata"]["generation"], 1);
    check_refused(
        "ValidatingWebhookConfiguration",
        json!({"webhooks": [{"name": "a", "clientConfig": {}, "timeoutSeconds": 40}]}),
        &[
            "webhooks[0].name: Invalid value: \"a\": should be a domain with at least three segments separated by dots",
            "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
            "webhooks[0].timeoutSeconds: Invalid value: 40: the timeout value must be between 1 and 30 seconds",
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
        ],
    );
    check_refused(
        "ValidatingAdmissionPolicy",
        json!({"spec": {"failurePolicy": "x"}}),
        &[
            "spec.failurePolicy: Unsupported value: \"x\": supported values: \"Fail\", \"Ignore\"",
            "spec.matchConstraints: Required value",
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
        ],
    );
    check_refused(
        "ValidatingAdmissionPolicyBinding",
        json!({"spec": {"validationActions": ["Deny", "Deny"]}}),
        &["spec.policyName: Required value", "spec.validationActions[1]: Duplicate value: \"Deny\""],
    );
}

/// A policy with this change of its spec is refused for exactly these causes, all of them below `spec.`.
fn check_policy(change: Value, expected: &[&str]) {
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let mut policy = json!({"spec": {
        "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}],
    }});
    super::merge(&mut policy["spec"], change);
    let expected: Vec<String> = expected.iter().map(|cause| format!("spec.{cause}")).collect();
    check_refused("ValidatingAdmissionPolicy", policy, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn what_a_policy_says_and_notes_is_checked() {
    check_policy(
        json!({"validations": [
            {"expression": "true", "message": " "}, {"expression": "true", "message": "a\nb"},
            {"expression": "true", "messageExpression": " "},
        ]}),
        &[
            "validations[0].message: Invalid value: \" \": message must be non-empty if specified",
            "validations[1].message: Invalid value: \"a\\nb\": message must not contain line breaks",
            "validations[2].messageExpression: Invalid value: \" \": must be non-empty if specified",
        ],
    );
    let form = names_form();
    check_policy(
        json!({"auditAnnotations": [
            {"key": "a b", "valueExpression": "'x'"}, {"key": "c", "valueExpression": " "}, {"key": "c", "valueExpression": "'x'"},
        ]}),
        &[
            &format!("auditAnnotations[0].key: Invalid value: \"x/a b\": {form}"),
            "auditAnnotations[1].valueExpression: Required value: valueExpression is not specified",
            "auditAnnotations[2].key: Duplicate value: \"c\"",
        ],
    );
    let condition = |index: usize| json!({"name": format!("c{index}"), "expression": "true"});
    check_policy(
        json!({"matchConditions": (0..65).map(condition).collect::<Vec<Value>>()}),
        &["matchConditions: Too many: 65: must have at most 64 items"],
    );
    check_policy(
        json!({"matchConditions": [{"name": "", "expression": " "}], "variables": [{"name": " ", "expression": "1"}]}),
        &[
            "matchConditions[0].expression: Required value",
            "matchConditions[0].name: Required value",
            "variables[0].name: Required value: name is not specified",
        ],
    );
}

/// What the part of a name behind its domain must be.
fn names_form() -> String {
    crate::kinds::names::qualified_name("a b").join("")
}

#[test]
fn what_a_policy_is_for_is_checked() {
    let label = crate::kinds::names::dns1035_label("V_1").join(",");
    check_policy(
        json!({"paramKind": {"apiVersion": "a.b/V_1", "kind": "K_1"}}),
        &[
            &format!("paramKind.apiVersion: Invalid value: \"V_1\": {label}"),
            &format!(
                "paramKind.kind: Invalid value: \"K_1\": may have mixed case, but should otherwise match: {label}"
            ),
        ],
    );
    check_policy(
        json!({"paramKind": {"apiVersion": "a/b/c", "kind": "K"}}),
        &["paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"],
    );
    let rule = |resources: &[&str], names: &[&str]| {
        json!({"matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": resources, "resourceNames": names}]}})
    };
    let path = "matchConstraints.resourceRules[0]";
    check_policy(
        rule(&["*", "pods"], &["a", "a"]),
        &[
            &format!("{path}.resourceNames[1]: Duplicate value: \"a\""),
            &format!(
                "{path}.resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources \
                 without subresources"
            ),
        ],
    );
    check_policy(
        rule(&["pods/*", "pods/log", "*/scale", "a/scale"], &[]),
        &[
            &format!(
                "{path}.resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log"
            ),
            &format!(
                "{path}.resources[3]: Invalid value: \"a/scale\": if '*/scale' is present, must not specify a/scale"
            ),
        ],
    );
    check_policy(
        json!({"matchConstraints": {"objectSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
        &[
            "matchConstraints.objectSelector.matchExpressions[0].values: Required value: must be specified when `operator` \
           is 'In' or 'NotIn'",
        ],
    );
}

fn mutating(spec: Value) -> Value {
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let mut whole = json!({"matchConstraints": {"resourceRules": [rule]}, "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]});
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    json!({"spec": whole})
}

#[test]
fn mutating_policies_are_filled() {
    let made = &created("MutatingAdmissionPolicy", mutating(json!({})))["spec"];
    let constraints = &made["matchConstraints"];
    assert_eq!((&made["failurePolicy"], &constraints["matchPolicy"]), (&json!("Fail"), &json!("Equivalent")));
    assert_eq!((&constraints["resourceRules"][0]["scope"], &constraints["objectSelector"]), (&json!("*"), &json!({})));
}

#[test]
fn what_is_wrong_with_mutating_policies_is_told() {
    let kind = "MutatingAdmissionPolicy";
    check_refused(
        kind,
        json!({"spec": {}}),
        &[
            "spec.matchConstraints: Required value",
            "spec.mutations: Required value: mutations must contain at least one item",
            "spec.reinvocationPolicy: Required value",
        ],
    );
    for (spec, expected) in [
        (
            json!({"reinvocationPolicy": "x", "failurePolicy": "y"}),
            &[
                "spec.failurePolicy: Unsupported value: \"y\": supported values: \"Fail\", \"Ignore\"",
                "spec.reinvocationPolicy: Unsupported value: \"x\": supported values: \"IfNeeded\", \"Never\"",
            ][..],
        ),
        (
            json!({"mutations": [{"patchType": "JSONPatch", "applyConfiguration": {"expression": "Object{}"}}]}),
            &[
                "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
            ],
        ),
        (
            json!({"mutations": [{"applyConfiguration": {"expression": "Object{}"}}, {"patchType": "x"}]}),
            &[
                "spec.mutations[0].patchType: Required value",
                "spec.mutations[1].patchType: Unsupported value: \"x\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
            ],
        ),
        (
            json!({"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": " "}}]}),
            &["spec.mutations[0].jsonPatch.expression: Required value: expression is not specified"],
        ),
        (
            json!({"matchConstraints": {"resourceRules": [{"operations": ["DELETE"], "apiGroups": ["*"],
                "apiVersions": ["*"], "resources": ["*"]}]}}),
            &[
                "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
            ],
        ),
        (
            json!({"paramKind": {"apiVersion": "v1"}, "variables": [{"name": "for", "expression": "1"}]}),
            &[
                "spec.paramKind.kind: Required value",
                "spec.variables[0].name: Invalid value: \"for\": name is not a valid CEL identifier",
            ],
        ),
    ] {
        check_refused(kind, mutating(spec), expected);
    }
    check_refused(
        "MutatingAdmissionPolicyBinding",
        json!({"spec": {"policyName": "", "paramRef": {"name": "a", "selector": {}}}}),
        &[
            "spec.policyName: Required value",
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.parameterNotFoundAction: Required value",
        ],
    );
}
