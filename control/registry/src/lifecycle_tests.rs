use pal_resources::{ResourceRef, Uid, resource};
use serde_json::json;

use super::*;
use crate::options::Preconditions;

const NOW: &str = "2026-01-02T03:04:05Z";

fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

fn resource_of(plural: &str) -> ResourceRef {
    let group = match plural {
        "deployments" => "apps",
        "jobs" => "batch",
        _ => "",
    };
    resource::find(group, "v1", plural).expect("a built-in resource")
}

/// What a delete makes of the object: `None` when it goes, else the fields of its metadata that deletion is about.
fn check(plural: &str, object: Value, options: &DeleteOptions, expected: Option<Value>) {
    let outcome = delete(&resource_of(plural), &object, options, now()).expect("no precondition fails");
    let kept = match outcome {
        Outcome::Remove(_) => None,
        Outcome::Keep(object) => {
            let fields = ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "finalizers"];
            let metadata = object["metadata"].as_object().expect("metadata");
            let kept = metadata.iter().filter(|(name, _)| fields.contains(&name.as_str()));
            Some(Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
        }
    };
    assert_eq!(kept, expected, "{plural} {object} {options:?}");
}

fn with_grace(seconds: i64) -> DeleteOptions {
    DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
}

fn with_policy(propagation: Propagation) -> DeleteOptions {
    DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() }
}

fn pod(node: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default", "generation": 1},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}
    })
}

#[test]
fn a_pod_on_a_node_ends_gracefully() {
    let marked = |time: &str, grace: i64| {
        Some(json!({"deletionTimestamp": time, "deletionGracePeriodSeconds": grace, "generation": 2}))
    };
    check("pods", pod("n", "Running"), &DeleteOptions::default(), marked("2026-01-02T03:04:35Z", 30));
    check("pods", pod("n", "Pending"), &DeleteOptions::default(), marked("2026-01-02T03:04:35Z", 30));
    check("pods", pod("n", "Running"), &with_grace(5), marked("2026-01-02T03:04:10Z", 5));
    check("pods", pod("n", "Running"), &with_grace(-3), marked("2026-01-02T03:04:06Z", 1));
    check("pods", pod("n", "Running"), &with_grace(0), None);
}

#[test]
fn a_pod_that_runs_nowhere_goes_at_once() {
    for (node, phase) in [("", "Pending"), ("n", "Succeeded"), ("n", "Failed")] {
        check("pods", pod(node, phase), &DeleteOptions::default(), None);
        check("pods", pod(node, phase), &with_grace(30), None);
    }
}

#[test]
fn a_second_delete_can_only_shorten_the_grace_period() {
    let mut ending = pod("n", "Running");
    ending["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:35Z".into();
    ending["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    let marked = |time: &str, grace: i64| {
        Some(json!({"generation": 1, "deletionTimestamp": time, "deletionGracePeriodSeconds": grace}))
    };
    check("pods", ending.clone(), &DeleteOptions::default(), marked("2026-01-02T03:04:35Z", 30));
    check("pods", ending.clone(), &with_grace(60), marked("2026-01-02T03:04:35Z", 30));
    check("pods", ending.clone(), &with_grace(10), marked("2026-01-02T03:04:15Z", 10));
    check("pods", ending.clone(), &with_grace(0), None);
    ending["metadata"]["finalizers"] = json!(["x/y"]);
    let mut held = marked("2026-01-02T03:04:05Z", 0).expect("fields");
    held["finalizers"] = json!(["x/y"]);
    check("pods", ending, &with_grace(0), Some(held));
}

#[test]
fn finalizers_hold_an_object() {
    let deployment =
        |finalizers: &[&str]| json!({"metadata": {"name": "a", "generation": 3, "finalizers": finalizers}});
    let marked = |finalizers: &[&str]| {
        Some(json!({
            "generation": 4, "finalizers": finalizers, "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0
        }))
    };
    check("deployments", deployment(&[]), &DeleteOptions::default(), None);
    check("deployments", deployment(&["x/y"]), &DeleteOptions::default(), marked(&["x/y"]));
    check("deployments", deployment(&["x/y"]), &with_policy(Propagation::Background), marked(&["x/y"]));
    check("deployments", deployment(&[]), &with_policy(Propagation::Background), None);
    check("deployments", deployment(&[]), &with_policy(Propagation::Foreground), marked(&[FOREGROUND]));
    check("deployments", deployment(&["x/y"]), &with_policy(Propagation::Orphan), marked(&["x/y", ORPHAN]));
    check("deployments", deployment(&[ORPHAN]), &with_policy(Propagation::Foreground), marked(&[FOREGROUND]));
    check("deployments", deployment(&[ORPHAN]), &with_policy(Propagation::Background), None);
    check("deployments", deployment(&[ORPHAN]), &DeleteOptions::default(), marked(&[ORPHAN]));
    check("events", json!({"metadata": {"name": "a"}}), &with_policy(Propagation::Foreground), None);
    for plural in ["replicationcontrollers", "jobs"] {
        check(plural, deployment(&[]), &DeleteOptions::default(), marked(&[ORPHAN]));
        check(plural, deployment(&[FOREGROUND]), &DeleteOptions::default(), marked(&[FOREGROUND]));
        check(plural, deployment(&[]), &with_policy(Propagation::Background), None);
    }
}

#[test]
fn a_second_delete_may_change_what_becomes_of_the_dependents() {
    let deployment = |finalizers: &[&str]| {
        json!({"metadata": {"name": "a", "generation": 3, "finalizers": finalizers,
            "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0}})
    };
    let marked = |finalizers: &[&str]| {
        Some(json!({
            "generation": 3, "finalizers": finalizers, "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0
        }))
    };
    check("deployments", deployment(&[FOREGROUND]), &DeleteOptions::default(), marked(&[FOREGROUND]));
    check("deployments", deployment(&[FOREGROUND]), &with_policy(Propagation::Orphan), marked(&[ORPHAN]));
    check("deployments", deployment(&["x/y"]), &with_policy(Propagation::Foreground), marked(&["x/y", FOREGROUND]));
    check("deployments", deployment(&[FOREGROUND]), &with_policy(Propagation::Background), None);
}

#[test]
fn a_namespace_terminates_before_it_goes() {
    let namespace = |deleting: bool, finalizers: &[&str]| {
        let mut object = json!({
            "metadata": {"name": "a"}, "spec": {"finalizers": finalizers}, "status": {"phase": "Active"}
        });
        if deleting {
            object["metadata"]["deletionTimestamp"] = NOW.into();
        }
        object
    };
    let marked = || Some(json!({"deletionTimestamp": NOW}));
    check("namespaces", namespace(false, &["kubernetes"]), &DeleteOptions::default(), marked());
    check("namespaces", namespace(true, &["kubernetes"]), &DeleteOptions::default(), marked());
    check("namespaces", namespace(true, &[]), &DeleteOptions::default(), None);
    let outcome =
        delete(&resource_of("namespaces"), &namespace(false, &["kubernetes"]), &DeleteOptions::default(), now());
    let Ok(Outcome::Keep(kept)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(kept["status"]["phase"], "Terminating");
}

#[test]
fn preconditions_are_about_uid_and_version() {
    fn check(uid: Option<&str>, version: Option<&str>, expected: Option<&str>) {
        let object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}});
        let preconditions =
            Preconditions { uid: uid.map(|uid| Uid(uid.to_owned())), resource_version: version.map(str::to_owned) };
        let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
        let refused = delete(&resource_of("pods"), &object, &options, now()).err().map(|status| status.message);
        assert_eq!(refused.as_deref(), expected);
    }
    check(Some("u"), Some("7"), None);
    check(
        Some("v"),
        None,
        Some(
            "Operation cannot be fulfilled on Pod \"a\": the UID in the precondition (v) does not match the UID in \
             record (u). The object might have been deleted and then recreated",
        ),
    );
    check(
        None,
        Some("x"),
        Some(
            "Operation cannot be fulfilled on Pod \"a\": the ResourceVersion in the precondition (x) does not match \
             the ResourceVersion in record (7). The object might have been modified",
        ),
    );
}

#[test]
fn what_is_being_deleted_goes_with_its_last_finalizer() {
    fn check(metadata: Value, removed: bool) {
        let object = json!({"metadata": metadata});
        let outcome = after_write(false, object.clone());
        assert_eq!(matches!(outcome, Outcome::Remove(_)), removed, "{object}");
    }
    check(json!({}), false);
    check(json!({"finalizers": ["x/y"]}), false);
    check(json!({"deletionTimestamp": NOW}), true);
    check(json!({"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0}), true);
    check(json!({"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 30}), false);
    check(json!({"deletionTimestamp": NOW, "finalizers": ["x/y"]}), false);
}
