use serde_json::{Value, json};

use super::{check_change_refused, check_refused, created};

fn template(policy: &str) -> Value {
    json!({"spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "x:1"}]}})
}

fn job(change: Value) -> Value {
    let mut object = json!({"spec": {"template": template("Never")}});
    super::merge(&mut object, change);
    object
}

fn cron_job(change: Value) -> Value {
    let mut object =
        json!({"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": template("OnFailure")}}}});
    super::merge(&mut object, change);
    object
}

#[test]
fn a_job_gets_its_defaults_and_knows_its_pods_by_its_uid() {
    let made = created("Job", job(json!({})));
    let spec = &made["spec"];
    let check = |field: &str, expected: Value| assert_eq!(spec[field], expected, "{field}");
    check("completions", json!(1));
    check("parallelism", json!(1));
    check("backoffLimit", json!(6));
    check("completionMode", json!("NonIndexed"));
    check("suspend", json!(false));
    check("podReplacementPolicy", json!("TerminatingOrFailed"));
    check("selector", json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}));
    let labels = json!({
        "batch.kubernetes.io/controller-uid": "u-1", "controller-uid": "u-1",
        "batch.kubernetes.io/job-name": "x", "job-name": "x",
    });
    assert_eq!(spec["template"]["metadata"]["labels"], labels);
    let rules = json!([{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]);
    let policy = created("Job", job(json!({"spec": {"podFailurePolicy": {"rules": rules}}})));
    let condition = &policy["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0];
    assert_eq!(condition, &json!({"type": "DisruptionTarget", "status": "True"}));
    // One that asks for several at once ends with the first that succeeds.
    assert_eq!(created("Job", job(json!({"spec": {"parallelism": 3}})))["spec"]["completions"], Value::Null);
}

#[test]
fn what_is_wrong_with_a_job_is_told_by_field() {
    let table: [(Value, &[&str]); 4] = [
        (
            json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}),
            &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
        ),
        (
            json!({"spec": {"parallelism": -1}}),
            &["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            json!({"spec": {"completionMode": "Indexed", "parallelism": 2}}),
            &["spec.completions: Required value: when completion mode is Indexed"],
        ),
        (
            json!({"spec": {"backoffLimitPerIndex": 1}}),
            &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
    ];
    for (change, expected) in table {
        check_refused("Job", job(change), expected);
    }
}

#[test]
fn a_job_that_was_made_keeps_its_pods() {
    check_change_refused(
        "Job",
        job(json!({})),
        json!({"spec": {"completions": 3}}),
        &["spec.completions: Invalid value: 3: field is immutable"],
    );
    let suspended = created("Job", job(json!({"spec": {"suspend": true}})));
    let change = json!({"spec": {"template": {"spec": {"nodeSelector": {"disk": "fast"}}}}});
    assert!(super::updated("Job", &suspended, None, change).is_ok());
}

#[test]
fn a_cron_job_gets_its_defaults() {
    let made = created("CronJob", cron_job(json!({})));
    let spec = &made["spec"];
    let check = |field: &str, expected: Value| assert_eq!(spec[field], expected, "{field}");
    check("concurrencyPolicy", json!("Allow"));
    check("suspend", json!(false));
    check("successfulJobsHistoryLimit", json!(3));
    check("failedJobsHistoryLimit", json!(1));
    assert_eq!(spec["jobTemplate"]["spec"]["completions"], Value::Null);
}

#[test]
fn what_is_wrong_with_a_cron_job_is_told_by_field() {
    let table: [(Value, &[&str]); 4] = [
        (json!({"spec": {"schedule": ""}}), &["spec.schedule: Required value"]),
        (
            json!({"spec": {"schedule": "61 * * * *"}}),
            &["spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"],
        ),
        (
            json!({"spec": {"concurrencyPolicy": "Never"}}),
            &[
                "spec.concurrencyPolicy: Unsupported value: \"Never\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ],
        ),
        (
            json!({"metadata": {"name": "a".repeat(53)}}),
            &[&format!("metadata.name: Invalid value: \"{}\": must be no more than 52 characters", "a".repeat(53))],
        ),
    ];
    for (change, expected) in table {
        check_refused("CronJob", cron_job(change), expected);
    }
}

#[test]
fn a_job_has_no_less_than_no_pods() {
    let made = created("Job", job(json!({})));
    let change = json!({"status": {"active": 1, "succeeded": -1}});
    let status = super::updated("Job", &made, Some("status"), change).expect_err("less than none");
    let causes: Vec<String> = super::causes(&status);
    let expected = ["must be greater than or equal to 0", "cannot decrease the succeeded counter"];
    assert_eq!(causes, expected.map(|why| format!("status.succeeded: Invalid value: -1: {why}")));
}
