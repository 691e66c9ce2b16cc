use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use serde_json::{Value, json};

use super::*;
use crate::action::Action;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn set(replicas: i32) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "rs", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
                "spec": {"containers": [{"name": "main"}]}
            }
        }
    }))
    .unwrap()
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": name, "labels": {"app": "web"},
            "creationTimestamp": "2027-01-01T00:00:00Z", "resourceVersion": "7",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": true}]
        },
        "spec": {"containers": [], "nodeName": "n1"},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2027-01-01T00:00:00Z"}
        ]}
    }))
    .unwrap()
}

fn edit(mut pod: Pod, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
    change(&mut pod);
    Arc::new(pod)
}

fn unready(name: &str) -> Arc<Pod> {
    edit(pod(name), |pod| pod.status.as_mut().unwrap().conditions = None)
}

fn plan(set: &ReplicaSet, pods: &[Arc<Pod>]) -> Plan {
    reconcile(&View { set, owner: &Owner::of(set, COMPONENT), pods, failure: None }, now())
}

fn creates(plan: &Plan) -> usize {
    plan.actions.iter().filter(|action| matches!(action, Action::Create { .. })).count()
}

fn deleted(plan: &Plan) -> Vec<&str> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::Delete { target, .. } => Some(target.name.as_str()),
            _ => None,
        })
        .collect()
}

fn status(plan: &Plan) -> Value {
    plan.actions
        .iter()
        .find_map(|action| match action {
            Action::Patch { subresource: Some("status"), patch, .. } => Some(patch["status"].clone()),
            _ => None,
        })
        .unwrap_or_default()
}

#[test]
fn missing_pods_are_created_up_to_a_burst() {
    let check = |wanted: i32, existing: usize, expected: usize| {
        let pods: Vec<_> = (0..existing).map(|i| Arc::new(pod(&format!("p{i}")))).collect();
        assert_eq!(creates(&plan(&set(wanted), &pods)), expected, "{wanted} {existing}");
    };
    check(3, 0, 3);
    check(3, 2, 1);
    check(3, 3, 0);
    check(1000, 0, 500);
    check(0, 0, 0);
}

#[test]
fn a_pod_is_made_from_the_template_and_controlled_by_the_set() {
    let plan = plan(&set(1), &[]);
    let Action::Create { body, namespace, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(namespace.as_deref(), Some("default"));
    assert_eq!(
        body["metadata"],
        json!({
            "generateName": "web-",
            "namespace": "default",
            "ownerReferences": [{"apiVersion": "apps/v1", "blockOwnerDeletion": true, "controller": true,
                "kind": "ReplicaSet", "name": "web", "uid": "rs"}],
            "labels": {"app": "web"},
            "annotations": {"a": "b"},
        })
    );
}

#[test]
fn pods_that_are_finished_or_going_are_replaced() {
    let finished = edit(pod("a"), |pod| pod.status.as_mut().unwrap().phase = Some("Failed".into()));
    let going = edit(pod("b"), |pod| {
        pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    });
    let plan = plan(&set(2), &[finished, going]);
    assert_eq!(creates(&plan), 2);
    assert_eq!(status(&plan)["terminatingReplicas"], 1);
    assert_eq!(status(&plan)["replicas"], 0);
}

#[test]
fn the_most_dispensable_pods_are_deleted_first() {
    let unbound = edit(pod("unbound"), |pod| pod.spec.as_mut().unwrap().node_name = None);
    let pending = edit(pod("pending"), |pod| pod.status.as_mut().unwrap().phase = Some("Pending".into()));
    let young = edit(pod("young"), |pod| {
        let ready = &mut pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
        ready.last_transition_time =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now() - SignedDuration::from_secs(1)));
    });
    let cheap = edit(pod("cheap"), |pod| {
        pod.metadata.annotations =
            Some([("controller.kubernetes.io/pod-deletion-cost".to_owned(), "-5".to_owned())].into());
    });
    let pods = [Arc::new(pod("old")), young, cheap, unready("unready"), pending, unbound];
    let order = ["unbound", "pending", "unready", "cheap", "young", "old"];
    for wanted in 0..order.len() {
        let count = order.len() - wanted;
        let plan = plan(&set(wanted as i32), &pods);
        assert_eq!(deleted(&plan), order[..count], "{wanted}");
    }
}

#[test]
fn pods_are_taken_and_let_go_as_the_selector_says() {
    let orphan = edit(pod("orphan"), |pod| pod.metadata.owner_references = None);
    let relabelled = edit(pod("relabelled"), |pod| {
        pod.metadata.labels = Some([("app".to_owned(), "debug".to_owned())].into());
    });
    let foreign = edit(pod("foreign"), |pod| {
        pod.metadata.owner_references.as_mut().unwrap()[0].uid = "other".into();
    });
    let plan = plan(&set(2), &[orphan, relabelled, foreign]);
    assert_eq!(creates(&plan), 1);
    let patches: Vec<_> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Patch { target, subresource: None, patch, .. } => {
                Some((target.name.as_str(), patch["metadata"]["ownerReferences"].clone()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(patches.len(), 2);
    assert_eq!((patches[0].0, &patches[0].1[0]["uid"]), ("orphan", &json!("rs")));
    assert_eq!(patches[1], ("relabelled", Value::Null));
}

#[test]
fn a_set_that_is_being_deleted_creates_nothing() {
    let mut set = set(3);
    set.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    assert_eq!(creates(&plan(&set, &[])), 0);
}

#[test]
fn the_status_counts_ready_and_available_pods() {
    let mut set = set(3);
    set.spec.as_mut().unwrap().min_ready_seconds = Some(10);
    let young = edit(pod("young"), |pod| {
        let ready = &mut pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
        ready.last_transition_time =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now() - SignedDuration::from_secs(4)));
    });
    let plan = plan(&set, &[Arc::new(pod("old")), young, unready("c")]);
    let status = status(&plan);
    assert_eq!(
        (&status["replicas"], &status["readyReplicas"], &status["availableReplicas"]),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!(plan.again, Some(std::time::Duration::from_secs(6)));
}

#[test]
fn a_failure_is_a_condition_until_it_is_over() {
    let mut set = set(0);
    let failure = Failure::Create("quota".into());
    let failing =
        reconcile(&View { set: &set, owner: &Owner::of(&set, COMPONENT), pods: &[], failure: Some(&failure) }, now());
    let written = status(&failing);
    assert_eq!(written["conditions"][0]["reason"], "FailedCreate");
    set.status = Some(serde_json::from_value(written).unwrap());
    assert_eq!(
        reconcile(&View { set: &set, owner: &Owner::of(&set, COMPONENT), pods: &[], failure: Some(&failure) }, now())
            .actions,
        [],
        "nothing new to say"
    );
    assert_eq!(status(&plan(&set, &[]))["conditions"], Value::Null);
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let mut set = set(1);
    let pods = [Arc::new(pod("a"))];
    set.status = Some(serde_json::from_value(status(&plan(&set, &pods))).unwrap());
    assert_eq!(plan(&set, &pods), Plan::idle());
}

#[test]
fn a_replication_controller_is_a_set_of_an_older_form() {
    let mut old: ReplicationController = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "rs", "generation": 1},
        "spec": {"replicas": 2, "selector": {"app": "web"}, "template": {"metadata": {"labels": {"app": "web"}}}}
    }))
    .unwrap();
    let going = edit(pod("b"), |pod| {
        pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    });
    let pods = [Arc::new(pod("a")), going];
    let plan = controller::reconcile(&old, &pods, None, now());
    let Some(Action::Create { body, .. }) = plan.actions.first() else { panic!("{plan:?}") };
    assert_eq!(body["metadata"]["ownerReferences"][0]["kind"], "ReplicationController");
    let Some(Action::Patch { target, patch, .. }) = plan.actions.get(1) else { panic!("{plan:?}") };
    assert_eq!(target.resource.plural, "replicationcontrollers");
    assert_eq!(patch["status"]["terminatingReplicas"], Value::Null);
    old.status = Some(serde_json::from_value(patch["status"].clone()).unwrap());
    let plan = controller::reconcile(&old, &pods, None, now());
    assert!(matches!(plan.actions.as_slice(), [Action::Create { .. }]), "the status is as it should be: {plan:?}");
}
