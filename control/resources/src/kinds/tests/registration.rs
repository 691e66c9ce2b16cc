use serde_json::json;

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
