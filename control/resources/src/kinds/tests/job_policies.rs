use serde_json::{Value, json};

use super::{check_refused, merge};

/// The rules of a job with this change are broken in exactly these ways.
fn check(change: Value, expected: &[&str]) {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x:1"}]}});
    let mut job = json!({"spec": {"template": template}});
    merge(&mut job["spec"], change);
    check_refused("Job", job, expected);
}

#[test]
fn what_counts_as_failure_is_told_by_field() {
    let rule = |rule: Value| json!({"podFailurePolicy": {"rules": [rule]}});
    let codes = |codes: Value| json!({"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": codes}]}});
    check(
        rule(json!({"action": "FailJob"})),
        &[
            "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
        ],
    );
    check(
        rule(json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}})),
        &[
            "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
        ],
    );
    check(
        rule(json!({"action": "FailJob", "onPodConditions": [{"type": "a", "status": "Maybe"}]})),
        &[
            "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
        ],
    );
    check(
        codes(json!({"operator": "In", "values": [2, 0, 2], "containerName": "zz"})),
        &[
            "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"zz\": must be one of the container or initContainer names in the pod template",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 2",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0,2]: must be ordered",
        ],
    );
    check(
        codes(json!({"operator": "Is", "values": []})),
        &[
            "spec.podFailurePolicy.rules[0].onExitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\"",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is required",
        ],
    );
    check(
        json!({"podFailurePolicy": {"rules": []}, "template": {"spec": {"restartPolicy": "OnFailure"}}}),
        &[
            "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
        ],
    );
    check(
        json!({"podFailurePolicy": {"rules": []}, "podReplacementPolicy": "TerminatingOrFailed"}),
        &["spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\""],
    );
    let many = vec![json!({"action": "Ignore", "onPodConditions": [{"type": "a"}]}); 21];
    check(
        json!({"podFailurePolicy": {"rules": many}}),
        &["spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items"],
    );
}

#[test]
fn what_counts_as_success_is_told_by_field() {
    let success =
        |rules: Value| json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": rules}});
    check(
        json!({"successPolicy": {"rules": []}}),
        &["spec.successPolicy: Invalid value: {\"rules\":[]}: requires indexed completion mode"],
    );
    check(
        success(json!([])),
        &[
            "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified",
        ],
    );
    check(
        success(json!([{}])),
        &[
            "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
        ],
    );
    check(
        success(json!([{"succeededCount": 9}])),
        &[
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 9: must be less than or equal to 5 (the number of specified completions)",
        ],
    );
    check(
        success(json!([{"succeededCount": 3, "succeededIndexes": "0-1"}])),
        &[
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
        ],
    );
    for (text, why) in [
        ("9", "too large index: \"9\""),
        ("x", "cannot convert string to integer for index: \"x\""),
        ("3-1", "non-increasing order, previous: 3, current: 1"),
        ("1,1", "non-increasing order, previous: 1, current: 1"),
    ] {
        let expected = format!(
            "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"{text}\": error parsing succeededIndexes: {why}"
        );
        check(success(json!([{"succeededIndexes": text}])), &[&expected]);
    }
}

#[test]
fn indexes_and_managers_are_told_by_field() {
    check(
        json!({"completionMode": "Indexed", "completions": 5, "maxFailedIndexes": 9, "backoffLimitPerIndex": 1}),
        &["spec.maxFailedIndexes: Invalid value: 9: must be less than or equal to completions"],
    );
    check(
        json!({"completionMode": "Indexed", "completions": 5, "maxFailedIndexes": 1}),
        &["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"],
    );
    check(
        json!({"completionMode": "Indexed", "completions": 5, "parallelism": 200_000}),
        &[
            "spec.parallelism: Invalid value: 200000: must be less than or equal to 100000 when completion mode is Indexed",
        ],
    );
    check(
        json!({"managedBy": "me"}),
        &["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
    );
    check(
        json!({"completionMode": "Sorted"}),
        &["spec.completionMode: Unsupported value: \"Sorted\": supported values: \"NonIndexed\", \"Indexed\""],
    );
}
