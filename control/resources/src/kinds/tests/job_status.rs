use serde_json::{Value, json};

use super::{causes, created, merge, updated};

const START: &str = "2026-01-01T00:00:00Z";
const END: &str = "2026-01-01T00:00:09Z";

/// A stored job with that status; an indexed one of three unless `spec` says otherwise.
fn job(spec: Value, status: Value) -> Value {
    let mut object = json!({"spec": {
        "completions": 3, "parallelism": 2, "completionMode": "Indexed",
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x:1"}]}},
    }});
    merge(&mut object, json!({"spec": spec}));
    let mut stored = created("Job", object);
    stored["status"] = status;
    stored
}

fn holding(conditions: &[&str]) -> Value {
    let condition = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": START});
    json!(conditions.iter().map(condition).collect::<Vec<Value>>())
}

/// What is refused of a status that takes the place of another.
fn refused(spec: Value, old: Value, new: Value) -> Vec<String> {
    let stored = job(spec, old);
    match updated("Job", &stored, Some("status"), json!({"status": new})) {
        Ok(_) => Vec::new(),
        Err(status) => causes(&status),
    }
}

#[test]
fn a_job_ends_in_one_way_and_says_what_led_to_it() {
    let check = |new: Value, expected: &[&str]| {
        assert_eq!(refused(json!({}), json!({}), new.clone()), expected, "{new}");
    };
    let complete = holding(&["SuccessCriteriaMet", "Complete"]);
    check(json!({"conditions": complete, "startTime": START, "completionTime": END, "completedIndexes": "0-2"}), &[]);
    check(json!({"conditions": holding(&["FailureTarget", "Failed"]), "startTime": START}), &[]);
    check(
        json!({"conditions": holding(&["Complete"])}),
        &[
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true \
             condition",
            "status.startTime: Required value: startTime is required for finished job",
        ],
    );
    check(
        json!({"conditions": holding(&["Failed"]), "startTime": START, "active": 1, "terminating": 1}),
        &[
            "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
            "status.active: Invalid value: 1: active>0 is invalid for finished job",
            "status.terminating: Invalid value: 1: terminating>0 is invalid for finished job",
        ],
    );
    check(
        json!({"completionTime": END, "startTime": START}),
        &[&format!(
            "status.completionTime: Invalid value: \"{END}\": cannot set completionTime when there is no Complete=True \
             condition"
        )],
    );
    check(
        json!({"conditions": complete, "startTime": END, "completionTime": START}),
        &[&format!("status.completionTime: Invalid value: \"{START}\": completionTime cannot be set before startTime")],
    );
    check(
        json!({"conditions": holding(&["SuccessCriteriaMet", "FailureTarget"])}),
        &["status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"],
    );
}

#[test]
fn what_a_job_counts_fits_together() {
    let check = |spec: Value, new: Value, expected: &[&str]| {
        assert_eq!(refused(spec, json!({}), new.clone()), expected, "{new}");
    };
    check(json!({}), json!({"active": 1, "ready": 1}), &[]);
    check(
        json!({}),
        json!({"active": 1, "ready": 2}),
        &["status.ready: Invalid value: 2: cannot set more ready pods than active"],
    );
    check(
        json!({}),
        json!({"completedIndexes": "0-7"}),
        &["status.completedIndexes: Invalid value: \"0-7\": error parsing completedIndexes: too large index: \"7\""],
    );
    check(
        json!({}),
        json!({"failedIndexes": "1"}),
        &[
            "status.failedIndexes: Invalid value: \"1\": cannot set non-null failedIndexes when backoffLimitPerIndex is null",
        ],
    );
    check(
        json!({"backoffLimitPerIndex": 1}),
        json!({"completedIndexes": "0-1", "failedIndexes": "1-2"}),
        &["status.failedIndexes: Invalid value: \"1-2\": failedIndexes and completedIndexes overlap at index: 1"],
    );
    // Of what cannot be read there is nothing in common.
    check(
        json!({"backoffLimitPerIndex": 1}),
        json!({"completedIndexes": "0,9", "failedIndexes": "1-1,9"}),
        &[
            "status.completedIndexes: Invalid value: \"0,9\": error parsing completedIndexes: too large index: \"9\"",
            "status.failedIndexes: Invalid value: \"1-1,9\": error parsing failedIndexes: non-increasing order, previous: 1, \
             current: 1",
        ],
    );
    check(
        json!({"completionMode": "NonIndexed"}),
        json!({"completedIndexes": "0"}),
        &[
            "status.completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion \
           mode",
        ],
    );
    check(
        json!({}),
        json!({"uncountedTerminatedPods": {"succeeded": ["a", "a"], "failed": ["", "a"]}}),
        &[
            "status.uncountedTerminatedPods.succeeded[1]: Duplicate value: \"a\"",
            "status.uncountedTerminatedPods.failed[0]: Invalid value: \"\": must not be empty",
            "status.uncountedTerminatedPods.failed[1]: Duplicate value: \"a\"",
        ],
    );
}

#[test]
fn a_job_takes_nothing_back() {
    let check = |spec: Value, old: Value, new: Value, expected: &[&str]| {
        assert_eq!(refused(spec, old.clone(), new.clone()), expected, "{old} to {new}");
    };
    let failed = json!({"conditions": holding(&["FailureTarget"]), "startTime": START, "failed": 2, "succeeded": 2});
    check(
        json!({}),
        failed.clone(),
        json!({"conditions": [], "failed": 1, "succeeded": 1, "startTime": END}),
        &[
            "status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition",
            "status.failed: Invalid value: 1: cannot decrease the failed counter",
            "status.succeeded: Invalid value: 1: cannot decrease the succeeded counter",
            "status.startTime: Required value: startTime cannot be removed for unsuspended job",
        ],
    );
    // One that rests begins anew, and one that may be made smaller forgets what succeeded beyond its end.
    let change = json!({"succeeded": 1, "startTime": null});
    check(json!({"suspend": true, "parallelism": 3}), failed, change, &[]);
    // What was wrong before and is left alone stays.
    check(json!({}), json!({"completedIndexes": "0-9", "ready": 3}), json!({"failed": 1}), &[]);
}

#[test]
fn while_a_job_rests_it_may_be_sent_elsewhere_and_given_something_else() {
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}, "spec": {
        "nodeSelector": {"disk": "fast"},
        "containers": [{"name": "a", "image": "x:1", "resources": {"requests": {"cpu": "2"}}}],
    }}}});
    let suspended = json!({"type": "Suspended", "status": "True"});
    let table = [
        (json!({"suspend": true}), json!({}), true),
        (json!({"suspend": true}), json!({"startTime": START}), false),
        (json!({"suspend": true}), json!({"startTime": START, "conditions": [suspended]}), true),
        (json!({"suspend": true}), json!({"active": 1}), false),
        (json!({}), json!({}), false),
    ];
    for (spec, status, allowed) in table {
        let stored = job(spec.clone(), status.clone());
        assert_eq!(updated("Job", &stored, None, change.clone()).is_ok(), allowed, "{spec} {status}");
    }
    let stored = job(json!({"suspend": true}), json!({}));
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "y:1"}]}}}});
    assert!(updated("Job", &stored, None, image).is_err());
}

#[test]
fn an_indexed_job_is_made_larger_and_smaller_as_a_whole() {
    let stored = job(json!({}), json!({}));
    let status = updated("Job", &stored, None, json!({"spec": {"completions": 5}})).expect_err("half of it");
    let expected = "spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallelism";
    assert_eq!(causes(&status), [expected]);
    assert!(updated("Job", &stored, None, json!({"spec": {"completions": 5, "parallelism": 5}})).is_ok());
}
