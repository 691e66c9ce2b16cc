use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::disruption::Evictions;
use super::pod::Host;
use super::taints::Noticed;
use super::*;
use crate::action::{Action, Plan, ResourceId};
use crate::world::World;

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn node_json(ready: Option<&str>) -> Value {
    let conditions: Vec<Value> = ready.iter().map(|status| json!({"type": "Ready", "status": status})).collect();
    json!({
        "metadata": {"name": "n1", "uid": "n", "resourceVersion": "3",
            "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {"taints": [{"key": "mine", "effect": "NoSchedule"}]},
        "status": {"conditions": conditions}
    })
}

fn node(ready: Option<&str>) -> Node {
    serde_json::from_value(node_json(ready)).unwrap()
}

fn tainted(key: &str, seconds: i64) -> Node {
    let mut node = node(Some(if key == NOT_READY { "False" } else { "Unknown" }));
    node.spec = Some(
        serde_json::from_value(json!({"taints": [
            {"key": key, "effect": "NoExecute", "timeAdded": after(seconds)}
        ]}))
        .unwrap(),
    );
    node
}

fn pod(toleration_seconds: Option<i64>) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "uid": "p", "resourceVersion": "3"},
        "spec": {"nodeName": "n1", "containers": [], "tolerations": [
            {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": toleration_seconds}
        ]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    }))
    .unwrap()
}

#[test]
fn a_node_is_dead_when_its_connection_has_been_gone_for_the_grace() {
    let timing = Timing::default();
    let seconds = Duration::from_secs;
    let check = |last_seen: Option<u64>, now: i64, expected: Life| {
        let got = life(&node(Some("True")), last_seen.map(seconds), start(), &timing, after(now));
        assert_eq!(got, expected, "{last_seen:?} {now}");
    };
    check(Some(0), 1000, Life::Alive);
    check(Some(2), 1000, Life::Waiting(seconds(4)));
    check(Some(6), 1000, Life::Dead);
    // A cluster that slept: the node was never seen, and the controllers have only started to look.
    check(None, 0, Life::Waiting(seconds(20)));
    check(None, 19, Life::Waiting(seconds(1)));
    check(None, 20, Life::Dead);
}

/// Reconciles a node until nothing is left to do, and returns it.
fn settle(ready: Option<&str>, unschedulable: bool, last_seen: Option<u64>) -> Node {
    let mut world = World::new();
    let mut body = node_json(ready);
    body["spec"]["unschedulable"] = json!(unschedulable);
    world.create(ResourceId::of::<Node>(), body);
    world.pass(60_000);
    let timing = Timing::default();
    for _ in 0..5 {
        let node = world.list::<Node>().remove(0);
        let view = lifecycle::View {
            node: &node,
            last_seen: last_seen.map(Duration::from_secs),
            started: world.now - SignedDuration::from_secs(1000),
            resumed: None,
            timing: &timing,
        };
        let plan = lifecycle::reconcile(&view, world.now);
        if plan.actions.is_empty() {
            return (*node).clone();
        }
        world.apply(plan);
    }
    panic!("does not settle");
}

fn taints(node: &Node) -> Vec<(String, String)> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.into_iter().flatten().map(|taint| (taint.key.clone(), taint.effect.clone())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, effect)| ((*key).to_owned(), (*effect).to_owned())).collect()
}

#[test]
fn taints_follow_conditions_and_cordon() {
    let mine = ("mine", "NoSchedule");
    let check = |node: Node, expected: &[(&str, &str)]| assert_eq!(taints(&node), pairs(expected));
    check(settle(Some("True"), false, Some(0)), &[mine]);
    check(settle(Some("False"), false, Some(0)), &[mine, (NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]);
    check(settle(Some("True"), false, Some(60)), &[mine, (UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]);
    check(settle(Some("True"), true, Some(0)), &[mine, ("node.kubernetes.io/unschedulable", "NoSchedule")]);
}

#[test]
fn a_lost_node_says_so_in_kubernetes_words() {
    let lost = settle(Some("True"), false, Some(60));
    let ready = condition(&lost, "Ready").unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_deref(), ready.message.as_deref()),
        ("Unknown", Some("NodeStatusUnknown"), Some("Kubelet stopped posting node status."))
    );
    let never = settle(None, false, None);
    assert_eq!(condition(&never, "Ready").unwrap().reason.as_deref(), Some("NodeStatusNeverUpdated"));
}

#[test]
fn a_node_that_is_back_loses_the_taints_when_it_says_that_it_is_ready() {
    let mut back = settle(Some("True"), false, Some(60));
    back.status = node(Some("True")).status;
    let timing = Timing::default();
    let view = lifecycle::View {
        node: &back,
        last_seen: Some(Duration::ZERO),
        started: start(),
        resumed: None,
        timing: &timing,
    };
    let plan = lifecycle::reconcile(&view, after(100));
    let [Action::Patch { patch, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
    assert_eq!(patch["spec"]["taints"], json!([{"key": "mine", "effect": "NoSchedule"}]));
}

fn look(pod: &Pod, host: Host<'_>, started: i64, now: i64) -> Plan {
    look_in(Evictions::Since(after(started)), pod, host, started, now)
}

fn look_in(evictions: Evictions, pod: &Pod, host: Host<'_>, started: i64, now: i64) -> Plan {
    let (timing, noticed) = (Timing::default(), Noticed::default());
    let view = pod::View { pod, host, started: after(started), evictions, noticed: &noticed, timing: &timing };
    pod::reconcile(&view, after(now))
}

/// What is done to the pod, in a word, and after how many seconds it is looked at again.
fn check(plan: &Plan, expected: &str, again: Option<u64>) {
    let words: Vec<&str> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Delete { grace_seconds: Some(0), .. } => Some("remove"),
            Action::Delete { .. } => Some("evict"),
            Action::Patch { patch, .. } => patch["status"]["conditions"]
                .as_array()
                .and_then(|all| all.iter().find(|condition| condition["type"] == "DisruptionTarget"))
                .map_or(Some("mark"), |condition| condition["reason"].as_str()),
            _ => None,
        })
        .collect();
    assert_eq!((words.join(" ").as_str(), plan.again), (expected, again.map(Duration::from_secs)));
}

#[test]
fn taints_evict_after_the_time_for_which_they_are_borne() {
    let lost = tainted(UNREACHABLE, 0);
    let host = Host::Known(&lost);
    check(&look(&pod(Some(3)), host, 0, 1), "mark", Some(2));
    check(&look(&pod(Some(3)), host, 0, 3), "DeletionByTaintManager evict", None);
    check(&look(&pod(None), host, 0, 1000), "mark", None);
    check(&look(&pod(Some(3)), Host::Known(&tainted(NOT_READY, 0)), 0, 0), "DeletionByTaintManager evict", None);
}

#[test]
fn deleted_pods_of_a_node_that_is_out_of_service_go_at_once() {
    let out = |ready: &str| {
        let mut node = node(Some(ready));
        let taint = json!({"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoSchedule"}]});
        node.spec = serde_json::from_value(taint).unwrap();
        node
    };
    let mut going = pod(None);
    going.metadata.deletion_timestamp = Some(Time(after(0)));
    check(&look(&going, Host::Known(&out("Unknown")), 0, 1), "mark remove", None);
    check(&look(&going, Host::Known(&out("False")), 0, 1), "mark remove", None);
    check(&look(&going, Host::Known(&out("True")), 0, 1), "", None);
    going.status.as_mut().unwrap().phase = Some("Failed".to_owned());
    check(&look(&going, Host::Known(&out("False")), 0, 1), "remove", None);
    check(&look(&pod(None), Host::Known(&out("False")), 0, 1), "", None);
}

#[test]
fn a_taint_that_tells_no_time_counts_from_when_it_was_seen_or_the_pod_came() {
    let tainted = |taints: Value| {
        let mut body = node_json(Some("True"));
        body["spec"]["taints"] = taints;
        serde_json::from_value::<Node>(body).unwrap()
    };
    let mine = tainted(json!([{"key": "mine", "value": "v", "effect": "NoExecute"}]));
    let both = tainted(json!([
        {"key": "mine", "value": "v", "effect": "NoExecute"}, {"key": "other", "effect": "NoExecute"}]));
    let mut bearing = pod(None);
    bearing.spec.as_mut().unwrap().tolerations =
        serde_json::from_value(json!([{"operator": "Exists", "tolerationSeconds": 5}])).unwrap();
    let (timing, mut noticed) = (Timing::default(), Noticed::default());
    let look = |noticed: &Noticed, pod: &Pod, node: &Node, now: i64| {
        let evictions = Evictions::Since(start());
        let view = pod::View { pod, host: Host::Known(node), started: start(), evictions, noticed, timing: &timing };
        pod::reconcile(&view, after(now))
    };
    check(&look(&noticed, &bearing, &mine, 100), "", Some(5));
    noticed.observe("n1", Some(&mine), after(100));
    check(&look(&noticed, &bearing, &mine, 103), "", Some(2));
    // Another one does not make the first younger.
    noticed.observe("n1", Some(&both), after(103));
    check(&look(&noticed, &bearing, &both, 103), "", Some(2));
    check(&look(&noticed, &bearing, &both, 105), "DeletionByTaintManager evict", None);
    let mut later = bearing.clone();
    later.metadata.creation_timestamp = Some(Time(after(104)));
    check(&look(&noticed, &later, &both, 105), "", Some(4));
    // Taken away and given again it is a new one.
    noticed.observe("n1", Some(&tainted(json!([]))), after(106));
    noticed.observe("n1", Some(&mine), after(107));
    check(&look(&noticed, &bearing, &mine, 108), "", Some(4));
    noticed.observe("n1", None, after(109));
    check(&look(&noticed, &bearing, &mine, 200), "", Some(5));
}

#[test]
fn while_no_node_is_ready_pods_stay_and_afterwards_have_their_time_again() {
    let lost = tainted(UNREACHABLE, 0);
    let host = Host::Known(&lost);
    check(&look_in(Evictions::Stopped, &pod(Some(3)), host, 0, 1000), "mark", None);
    let resumed = Evictions::Since(after(1006));
    check(&look_in(resumed, &pod(Some(3)), host, 0, 1000), "mark", Some(9));
    check(&look_in(resumed, &pod(Some(3)), host, 0, 1009), "DeletionByTaintManager evict", None);
    let not_ready = tainted(NOT_READY, 0);
    let unbearing = Host::Known(&not_ready);
    check(&look_in(Evictions::Stopped, &pod(Some(3)), unbearing, 0, 1000), "", None);
    check(&look_in(resumed, &pod(Some(3)), unbearing, 0, 1000), "", Some(6));
    check(&look_in(resumed, &pod(Some(3)), unbearing, 0, 1006), "DeletionByTaintManager evict", None);
    let mut going = pod(Some(3));
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(after(30)));
    check(&look_in(Evictions::Stopped, &going, host, 0, 1000), "", None);
    let own = tainted("mine", 0);
    check(
        &look_in(Evictions::Stopped, &pod(Some(3)), Host::Known(&own), 0, 1000),
        "DeletionByTaintManager evict",
        None,
    );
}

#[test]
fn time_in_which_nobody_looked_does_not_count() {
    let lost = tainted(UNREACHABLE, -100_000);
    check(&look(&pod(Some(3)), Host::Known(&lost), 0, 1), "mark", Some(2));
}

#[test]
fn a_deleted_pod_on_a_lost_node_is_removed_after_a_while() {
    let mut going = pod(Some(3));
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(after(30)));
    going.metadata.deletion_grace_period_seconds = Some(30);
    let lost = tainted(UNREACHABLE, 0);
    check(&look(&going, Host::Known(&lost), 0, 4), "", Some(6));
    check(&look(&going, Host::Known(&lost), 0, 10), "remove", None);
    check(&look(&going, Host::Known(&node(Some("True"))), 0, 100), "", None);
    check(&look(&going, Host::None, 0, 1), "remove", None);
}

#[test]
fn a_pod_of_a_node_that_does_not_exist_is_removed_after_a_while() {
    check(&look(&pod(None), Host::Missing(Duration::from_secs(5)), 0, 5), "", Some(35));
    check(&look(&pod(None), Host::Missing(Duration::from_secs(40)), 0, 40), "DeletionByPodGC remove", None);
    // A pod that comes when its node has long been missed has as long.
    let mut late = pod(None);
    late.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(start()));
    check(&look(&late, Host::Missing(Duration::from_secs(300)), 0, 10), "", Some(30));
    let mut ended = pod(None);
    ended.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
    check(&look(&ended, Host::Missing(Duration::from_secs(40)), 0, 40), "remove", None);
    check(&look(&pod(None), Host::None, 0, 20), "", None);
}

#[test]
fn every_node_gets_a_block_of_its_own() {
    let mut world = World::new();
    for index in 0..300 {
        let mut body = node_json(None);
        body["metadata"]["name"] = json!(format!("n{index}"));
        if index == 7 {
            body["spec"]["podCIDR"] = json!("100.64.16.0/20");
        }
        world.create(ResourceId::of::<Node>(), body);
    }
    let nodes = world.list::<Node>();
    world.apply(cidr::reconcile(&nodes));
    let nodes: Vec<Arc<Node>> = world.list::<Node>();
    let mut blocks: Vec<String> = nodes.iter().filter_map(|node| node.spec.as_ref()?.pod_cidr.clone()).collect();
    assert!(blocks.contains(&"100.64.0.0/20".to_owned()));
    assert!(blocks.contains(&"100.82.176.0/20".to_owned()));
    blocks.sort();
    blocks.dedup();
    assert_eq!(blocks.len(), 300);
    assert_eq!(cidr::reconcile(&nodes).actions, []);
}

#[test]
fn what_becomes_of_a_pod_is_told_when_it_is_done_and_not_when_somebody_came_first() {
    let told = |plan: &Plan| -> Vec<Option<&str>> {
        let announced = plan.actions.iter().map(|action| match action {
            Action::Patch { announce, .. } | Action::Delete { announce, .. } => {
                announce.as_ref().and_then(|announce| announce.done.as_ref()).map(|done| done.reason)
            }
            other => panic!("{other:?}"),
        });
        announced.collect()
    };
    let lost = tainted(UNREACHABLE, 0);
    let host = Host::Known(&lost);
    assert_eq!(told(&look(&pod(Some(3)), host, 0, 1)), [Some("NodeNotReady")]);
    assert_eq!(told(&look(&pod(Some(3)), host, 0, 3)), [None, Some("TaintManagerEviction")]);
}

#[test]
fn of_two_nodes_with_one_block_the_younger_is_told_of() {
    let check = |given: &[(&str, &str, &str)], expected: &[&str]| {
        let nodes: Vec<Arc<Node>> = given
            .iter()
            .map(|(name, block, created)| {
                let mut body = node_json(None);
                body["metadata"]["name"] = json!(name);
                body["metadata"]["creationTimestamp"] = json!(created);
                body["spec"]["podCIDR"] = json!(block);
                Arc::new(serde_json::from_value(body).unwrap())
            })
            .collect();
        let plan = cidr::reconcile(&nodes);
        let told: Vec<&str> = plan
            .actions
            .iter()
            .map(|action| match action {
                Action::Tell(note) => note.message.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, expected);
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let (first, second) = ("100.64.0.0/20", "100.64.16.0/20");
    check(&[("a", first, early), ("b", second, late)], &[]);
    check(&[("a", first, late), ("b", first, early)], &["podCIDR 100.64.0.0/20 overlaps that of an older node"]);
    check(
        &[("a", second, late), ("b", "100.64.0.0/10", early)],
        &["podCIDR 100.64.16.0/20 overlaps that of an older node"],
    );
    check(&[("a", "100.64.16.0/24", early), ("b", "10.0.0.0/8", late), ("c", "10.0.0.0/8", late)], &[]);
}
