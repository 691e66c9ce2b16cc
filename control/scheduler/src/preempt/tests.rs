//! Who goes for whom.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;
use crate::schedule::{Remedy, schedule};

fn pod(name: &str, priority: i32, cpu: &str, started: i64) -> Pod {
    let started = k8s_time(started);
    let requests = json!({ "cpu": cpu });
    let containers = json!([{"name": "c", "resources": {"requests": requests}}]);
    from(json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name},
        "spec": {"priority": priority, "containers": containers},
        "status": {"startTime": started}
    }))
}

fn k8s_time(second: i64) -> String {
    format!("2026-11-22T10:00:{second:02}Z")
}

fn from<T: k8s_openapi::serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Nodes of two cores, and pods on them.
fn cluster(nodes: &[&str], pods: &[(&str, Pod)]) -> Cluster {
    let node = |name: &&str| -> Arc<Node> {
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"allocatable": {"cpu": "2", "pods": "10"}, "conditions": ready});
        Arc::new(from(json!({"metadata": {"name": name, "labels": {"host": name}}, "status": status})))
    };
    let mut cluster = Cluster::from(nodes.iter().map(node).collect::<Vec<_>>());
    for (node, pod) in pods {
        cluster.assume(&Candidate::of(Arc::new(pod.clone())), node);
    }
    cluster
}

fn check(cluster: &Cluster, candidate: &Candidate, guards: &Guards, expected: &str) {
    assert!(schedule(cluster, candidate, 0).is_err(), "{expected}");
    let found = preempt(cluster, candidate, guards).map_or("nobody".to_owned(), |found| {
        let mut names: Vec<&str> = found.victims.iter().map(|victim| victim.name.as_str()).collect();
        names.sort_unstable();
        format!("{}: {}", found.node, names.join(" "))
    });
    assert_eq!(found, expected);
}

#[test]
fn as_few_and_as_unimportant_as_may_be_go() {
    let asks = |priority, cpu| Candidate::of(Arc::new(pod("new", priority, cpu, 0)));
    let none = Guards::default();
    let one = cluster(&["n"], &[("n", pod("a", 1, "1", 1)), ("n", pod("b", 2, "1", 2))]);
    check(&one, &asks(3, "1"), &none, "n: a");
    check(&one, &asks(3, "2"), &none, "n: a b");
    check(&one, &asks(2, "1"), &none, "n: a");
    check(&one, &asks(2, "2"), &none, "nobody");
    check(&one, &asks(1, "1"), &none, "nobody");
    check(&one, &asks(9, "3"), &none, "nobody");
    let alike = cluster(&["n"], &[("n", pod("old", 1, "1", 1)), ("n", pod("young", 1, "1", 2))]);
    check(&alike, &asks(3, "1"), &none, "n: young");
    let two = [("m", pod("a", 5, "2", 1)), ("n", pod("b", 1, "1", 1)), ("n", pod("c", 1, "1", 1))];
    check(&cluster(&["m", "n"], &two), &asks(9, "2"), &none, "n: b c");
    let fewer = [("m", pod("a", 1, "2", 1)), ("n", pod("b", 1, "1", 1)), ("n", pod("c", 1, "1", 1))];
    check(&cluster(&["m", "n"], &fewer), &asks(9, "2"), &none, "m: a");
    let younger = [("m", pod("a", 1, "2", 1)), ("n", pod("b", 1, "2", 5))];
    check(&cluster(&["m", "n"], &younger), &asks(9, "2"), &none, "n: b");
}

#[test]
fn budgets_are_broken_only_where_nothing_else_helps() {
    let asks = |cpu| Candidate::of(Arc::new(pod("new", 9, cpu, 0)));
    let guards = Guards { allowed: vec![0], of_pod: [("a".to_owned(), vec![0])].into() };
    let one = cluster(&["n"], &[("n", pod("a", 1, "1", 1)), ("n", pod("b", 2, "1", 2))]);
    check(&one, &asks("1"), &guards, "n: b");
    check(&one, &asks("2"), &guards, "n: a b");
    let two = cluster(&["m", "n"], &[("m", pod("a", 1, "2", 1)), ("n", pod("b", 5, "2", 2))]);
    check(&two, &asks("2"), &guards, "n: b");
}

#[test]
fn nobody_goes_for_a_pod_that_asks_for_that_or_where_it_does_not_help() {
    let one = cluster(&["n"], &[("n", pod("a", 1, "2", 1))]);
    let none = Guards::default();
    let mut meek = pod("new", 9, "1", 0);
    meek.spec.as_mut().unwrap().preemption_policy = Some("Never".to_owned());
    check(&one, &Candidate::of(Arc::new(meek)), &none, "nobody");
    let mut elsewhere = pod("new", 9, "1", 0);
    elsewhere.spec.as_mut().unwrap().node_selector = Some([("host".to_owned(), "other".to_owned())].into());
    check(&one, &Candidate::of(Arc::new(elsewhere)), &none, "nobody");
}

#[test]
fn a_pod_near_which_the_new_one_is_not_to_be_goes() {
    let mut shunned = pod("a", 1, "0", 1);
    shunned.metadata.labels = Some([("app".to_owned(), "a".to_owned())].into());
    let one = cluster(&["n"], &[("n", shunned), ("n", pod("b", 1, "0", 1))]);
    let mut new = pod("new", 9, "1", 0);
    let term = json!({"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "host"});
    new.spec.as_mut().unwrap().affinity =
        Some(from(json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})));
    check(&one, &Candidate::of(Arc::new(new)), &Guards::default(), "n: a");
}

#[test]
fn room_that_is_made_is_kept_for_whom_it_is_made() {
    let mut cluster = cluster(&["n"], &[("n", pod("a", 1, "2", 1))]);
    let new = Candidate::of(Arc::new(pod("new", 9, "2", 0)));
    let node = preempt(&cluster, &new, &Guards::default()).unwrap().node;
    cluster.nominate(&new, &node);
    assert!(!cluster.is_being_cleared_for(&new));
    let mut leaving = pod("a", 1, "2", 1);
    leaving.metadata.deletion_timestamp = Some(from(json!("2026-11-22T10:00:00Z")));
    leaving.spec.as_mut().unwrap().node_name = Some(node.clone());
    cluster.set_pod(&leaving);
    assert!(cluster.is_being_cleared_for(&new));
    cluster.remove_pod("a");
    let placed = |cluster: &Cluster, priority, uid| {
        let other = Candidate::of(Arc::new(pod(uid, priority, "1", 0)));
        schedule(cluster, &other, 0).is_ok()
    };
    assert!(!placed(&cluster, 5, "thief"));
    assert!(placed(&cluster, 10, "greater"));
    assert!(placed(&cluster, 9, "new"));
    cluster.assume(&new, &node);
    cluster.remove_pod("new");
    assert!(placed(&cluster, 5, "thief"));
}

#[test]
fn what_came_of_making_room_is_told() {
    let one = cluster(&["n"], &[("n", pod("a", 1, "2", 1))]);
    let why = schedule(&one, &Candidate::of(Arc::new(pod("new", 9, "2", 0))), 0).unwrap_err();
    let check = |remedy, expected: &str| {
        let text = crate::Unschedulable { remedy, ..why.clone() }.to_string();
        assert_eq!(text, format!("0/1 nodes are available: 1 Insufficient cpu.{expected}"));
    };
    check(Remedy::Preempted, "");
    let check =
        |remedy, expected: &str| check(remedy, &format!(" no new claims to deallocate, preemption: {expected}"));
    check(Remedy::Awaited, "not eligible due to a terminating pod on the nominated node.");
    check(Remedy::Unwanted, "not eligible due to preemptionPolicy=Never.");
    check(Remedy::None, "0/1 nodes are available: 1 No preemption victims found for incoming pod.");
}
