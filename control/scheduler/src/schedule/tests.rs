//! Placements, refusals and their words, and what holds for every cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, Node, NodeAffinity, NodeCondition, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, NodeSpec, NodeStatus, Pod, PodSpec, ResourceRequirements, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use proptest::prelude::*;

use super::*;

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), Quantity((*text).to_owned()))).collect()
}

pub(super) fn node(name: &str, allocatable: &[(&str, &str)]) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([("kubernetes.io/hostname".to_owned(), name.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus {
            allocatable: Some(quantities(allocatable)),
            conditions: Some(vec![NodeCondition {
                type_: "Ready".to_owned(),
                status: "True".to_owned(),
                ..NodeCondition::default()
            }]),
            ..NodeStatus::default()
        }),
    }
}

pub(super) fn pod(uid: &str, requests: &[(&str, &str)]) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(uid.to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![Container {
                name: "main".to_owned(),
                resources: Some(ResourceRequirements {
                    requests: Some(quantities(requests)),
                    ..ResourceRequirements::default()
                }),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    }
}

#[test]
fn a_port_of_a_node_is_given_out_once() {
    let asking = |uid: &str, address: &str| {
        let mut pod = pod(uid, &[]);
        let port = ContainerPort {
            container_port: 80,
            host_port: Some(8080),
            host_ip: Some(address.to_owned()),
            ..ContainerPort::default()
        };
        pod.spec.as_mut().unwrap().containers[0].ports = Some(vec![port]);
        Candidate::of(Arc::new(pod))
    };
    let mut cluster = Cluster::from(vec![Arc::new(node("n", &[]))]);
    let placed = |cluster: &Cluster, candidate: &Candidate| schedule(cluster, candidate, 0).map(|at| at.node);
    assert_eq!(placed(&cluster, &asking("a", "")), Ok("n".to_owned()));
    cluster.assume(&asking("a", "127.0.0.1"), "n");
    assert_eq!(placed(&cluster, &asking("b", "127.0.0.2")), Ok("n".to_owned()));
    let refused = placed(&cluster, &asking("b", "")).unwrap_err().to_string();
    assert!(refused.contains("1 node(s) didn't have free ports for the requested pod ports"), "{refused}");
    cluster.remove_pod("a");
    assert_eq!(placed(&cluster, &asking("b", "")), Ok("n".to_owned()));
}

fn owned(uid: &str, owner: &str) -> Pod {
    let mut pod = pod(uid, &[]);
    pod.metadata.owner_references =
        Some(vec![OwnerReference { controller: Some(true), uid: owner.to_owned(), ..OwnerReference::default() }]);
    pod
}

fn taint(key: &str, value: &str, effect: &str) -> Taint {
    Taint { key: key.to_owned(), value: Some(value.to_owned()), effect: effect.to_owned(), time_added: None }
}

fn spec(node: &mut Node) -> &mut NodeSpec {
    node.spec.get_or_insert_default()
}

pub(super) const ROOMY: &[(&str, &str)] = &[("cpu", "4"), ("memory", "8Gi"), ("pods", "110")];

/// Where the pod goes among those nodes, or the message.
fn check(nodes: &[Node], pod: Pod, expected: Result<&str, &str>) {
    let mut cluster = Cluster::new();
    for node in nodes {
        cluster.set_node(node);
    }
    let got = schedule(&cluster, &Candidate::of(Arc::new(pod)), 0);
    match (got, expected) {
        (Ok(placement), Ok(node)) => assert_eq!(placement.node, node),
        (Err(why), Err(message)) => assert_eq!(why.to_string(), message),
        (got, expected) => panic!("{got:?}, expected {expected:?}"),
    }
}

#[test]
fn without_nodes_the_message_says_so() {
    check(&[], pod("p", &[]), Err("no nodes available to schedule pods"));
}

#[test]
fn a_lack_of_room_is_told_by_resource() {
    check(
        &[node("a", &[("cpu", "1"), ("memory", "1Gi"), ("pods", "10")])],
        pod("p", &[("cpu", "1500m"), ("memory", "2Gi")]),
        Err("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, \
             preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."),
    );
    check(
        &[node("a", ROOMY)],
        pod("p", &[("example.com/gpu", "1")]),
        Err("0/1 nodes are available: 1 Insufficient example.com/gpu. no new claims to deallocate, \
             preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."),
    );
}

#[test]
fn reasons_are_counted_over_the_nodes() {
    let mut tainted = [node("b", ROOMY), node("c", ROOMY)];
    for node in &mut tainted {
        spec(node).taints = Some(vec![taint("dedicated", "db", "NoSchedule")]);
    }
    let [b, c] = tainted;
    check(
        &[node("a", &[("cpu", "4"), ("memory", "1Gi"), ("pods", "110")]), b, c],
        pod("p", &[("memory", "2Gi")]),
        Err("0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint(s). \
             no new claims to deallocate, preemption: 0/3 nodes are available: \
             3 Preemption is not helpful for scheduling."),
    );
}

#[test]
fn a_cordoned_node_takes_no_pods() {
    let mut cordoned = node("a", ROOMY);
    spec(&mut cordoned).unschedulable = Some(true);
    check(
        &[cordoned.clone()],
        pod("p", &[]),
        Err("0/1 nodes are available: 1 node(s) were unschedulable. no new claims to deallocate, \
             preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."),
    );
    check(&[cordoned, node("b", ROOMY)], pod("p", &[]), Ok("b"));
}

#[test]
fn a_node_that_is_not_ready_takes_no_pods_even_before_it_is_tainted() {
    let mut lost = node("a", ROOMY);
    lost.status.get_or_insert_default().conditions = Some(vec![NodeCondition {
        type_: "Ready".to_owned(),
        status: "Unknown".to_owned(),
        ..NodeCondition::default()
    }]);
    check(
        &[lost],
        pod("p", &[]),
        Err("0/1 nodes are available: 1 node(s) had untolerated taint(s). \
             no new claims to deallocate, preemption: 0/1 nodes are available: \
             1 Preemption is not helpful for scheduling."),
    );
}

#[test]
fn a_toleration_opens_a_tainted_node() {
    let mut tainted = node("a", ROOMY);
    spec(&mut tainted).taints = Some(vec![taint("dedicated", "db", "NoExecute")]);
    let mut tolerant = pod("p", &[]);
    tolerant.spec.get_or_insert_default().tolerations = Some(vec![Toleration {
        key: Some("dedicated".to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    }]);
    check(&[tainted], tolerant, Ok("a"));
}

#[test]
fn selectors_and_required_affinity_choose_nodes() {
    let message = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. \
                   no new claims to deallocate, preemption: 0/2 nodes are available: \
                   2 Preemption is not helpful for scheduling.";
    let nodes = [node("a", ROOMY), node("b", ROOMY)];
    let mut selecting = pod("p", &[]);
    selecting.spec.get_or_insert_default().node_selector =
        Some([("kubernetes.io/hostname".to_owned(), "b".to_owned())].into());
    check(&nodes, selecting, Ok("b"));

    let wanting = |name: &str| {
        let mut pod = pod("p", &[]);
        let term = NodeSelectorTerm {
            match_fields: Some(vec![NodeSelectorRequirement {
                key: "metadata.name".to_owned(),
                operator: "In".to_owned(),
                values: Some(vec![name.to_owned()]),
            }]),
            match_expressions: None,
        };
        pod.spec.get_or_insert_default().affinity = Some(Affinity {
            node_affinity: Some(NodeAffinity {
                required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                    node_selector_terms: vec![term],
                }),
                ..NodeAffinity::default()
            }),
            ..Affinity::default()
        });
        pod
    };
    check(&nodes, wanting("b"), Ok("b"));
    check(&nodes, wanting("z"), Err(message));
}

#[test]
fn a_full_node_says_too_many_pods() {
    let mut cluster = Cluster::new();
    cluster.set_node(&node("a", &[("cpu", "4"), ("memory", "8Gi"), ("pods", "1")]));
    let first = Candidate::of(Arc::new(pod("p1", &[])));
    cluster.assume(&first, "a");
    let why = schedule(&cluster, &Candidate::of(Arc::new(pod("p2", &[]))), 0).unwrap_err();
    assert_eq!(
        why.to_string(),
        "0/1 nodes are available: 1 Too many pods. no new claims to deallocate, preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod."
    );
    assert!(cluster.remove_pod("p1"));
    assert!(schedule(&cluster, &Candidate::of(Arc::new(pod("p2", &[]))), 0).is_ok());
}

#[test]
fn a_finished_pod_takes_no_room() {
    let mut cluster = Cluster::new();
    cluster.set_node(&node("a", &[("cpu", "1"), ("memory", "1Gi"), ("pods", "10")]));
    let mut running = pod("p1", &[("cpu", "1")]);
    running.spec.get_or_insert_default().node_name = Some("a".to_owned());
    assert!(!cluster.set_pod(&running));
    assert_eq!(cluster.node("a").unwrap().requested().milli_cpu, 1000);
    running.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
    assert!(cluster.set_pod(&running));
    assert_eq!(cluster.node("a").unwrap().requested().milli_cpu, 0);
}

#[test]
fn an_init_container_counts_when_it_asks_for_more_than_the_others_together() {
    let mut pod = pod("p", &[("cpu", "100m"), ("memory", "1Gi")]);
    let greedy = pod.spec.as_ref().unwrap().containers[0].clone();
    let spec = pod.spec.get_or_insert_default();
    spec.init_containers = Some(vec![greedy]);
    let init = &mut spec.init_containers.as_mut().unwrap()[0];
    init.resources.as_mut().unwrap().requests = Some(quantities(&[("cpu", "2")]));
    let amounts = crate::Amounts::requested(&pod);
    assert_eq!((amounts.milli_cpu, amounts.memory, amounts.pods), (2000, 1 << 30, 1));
    // What the pod asks for as a whole takes its containers' place.
    let whole = ResourceRequirements { requests: Some(quantities(&[("cpu", "3")])), ..ResourceRequirements::default() };
    pod.spec.get_or_insert_default().resources = Some(whole);
    let amounts = crate::Amounts::requested(&pod);
    assert_eq!((amounts.milli_cpu, amounts.memory), (3000, 1 << 30));
}

proptest! {
    /// Whatever is placed fits, and replicas of one owner differ by at most one between equal nodes.
    #[test]
    fn replicas_spread_evenly_over_equal_nodes(nodes in 1usize..6, replicas in 1usize..40, seed in any::<u64>()) {
        let mut cluster = Cluster::new();
        for index in 0..nodes {
            cluster.set_node(&node(&format!("n{index}"), ROOMY));
        }
        let mut counts = BTreeMap::new();
        for index in 0..replicas {
            let candidate = Candidate::of(Arc::new(owned(&format!("p{index}"), "owner")));
            let random = seed.wrapping_mul(index as u64 + 1);
            let placement = schedule(&cluster, &candidate, random).expect("room for all");
            cluster.assume(&candidate, &placement.node);
            *counts.entry(placement.node).or_insert(0usize) += 1;
        }
        let most = counts.values().max().copied().unwrap_or(0);
        let least = if counts.len() < nodes { 0 } else { counts.values().min().copied().unwrap_or(0) };
        prop_assert!(most - least <= 1, "{counts:?}");
    }

    /// No node is ever given more than it has, and a pod is refused only when no node has room for it.
    #[test]
    fn nothing_is_overcommitted(
        sizes in prop::collection::vec(1i64..5, 1..5),
        wants in prop::collection::vec((1i64..2500, any::<bool>()), 1..60),
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new();
        for (index, cores) in sizes.iter().enumerate() {
            cluster.set_node(&node(&format!("n{index}"), &[("cpu", &cores.to_string()), ("memory", "1Gi")]));
        }
        for (index, (want, leaves)) in wants.iter().enumerate() {
            let candidate = Candidate::of(Arc::new(pod(&format!("p{index}"), &[("cpu", &format!("{want}m"))])));
            match schedule(&cluster, &candidate, seed ^ index as u64) {
                Ok(placement) => cluster.assume(&candidate, &placement.node),
                Err(_) => {
                    for (name, state) in cluster.nodes() {
                        let index: usize = name[1..].parse().unwrap();
                        prop_assert!(state.requested().milli_cpu + want > sizes[index] * 1000);
                    }
                }
            }
            if *leaves {
                cluster.remove_pod(&format!("p{}", index / 2));
            }
            for (name, state) in cluster.nodes() {
                let index: usize = name[1..].parse().unwrap();
                prop_assert!(state.requested().milli_cpu <= sizes[index] * 1000);
                prop_assert!(state.requested().milli_cpu >= 0);
            }
        }
    }
}
