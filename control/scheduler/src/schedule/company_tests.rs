//! Where pods go on account of other pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{ROOMY, node, pod};
use super::*;

const HOST: &str = "kubernetes.io/hostname";

/// A node in a zone.
fn in_zone(name: &str, zone: &str) -> Node {
    let mut node = node(name, ROOMY);
    if !zone.is_empty() {
        node.metadata.labels.get_or_insert_default().insert("zone".to_owned(), zone.to_owned());
    }
    node
}

/// A pod of an app that requires this of others.
fn of_app(uid: &str, app: &str, more: Value) -> Pod {
    let mut pod = pod(uid, &[]);
    pod.metadata.labels = Some([("app".to_owned(), app.to_owned())].into());
    let mut spec = serde_json::to_value(pod.spec.take()).unwrap();
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    pod.spec = serde_json::from_value(spec).unwrap();
    pod
}

fn term(app: &str, key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key})
}

fn near(term: Value) -> Value {
    json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn apart(term: Value) -> Value {
    json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn spread(skew: i32, more: Value) -> Value {
    let mut constraint = json!({
        "maxSkew": skew, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}
    });
    for (key, value) in more.as_object().unwrap() {
        constraint[key] = value.clone();
    }
    json!({"topologySpreadConstraints": [constraint]})
}

/// Two zones: `a1` and `a2` in `a`, `b1` in `b`; `c1` is in none.
fn cluster(placed: &[(&str, Pod)]) -> Cluster {
    let mut cluster = Cluster::new();
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "")] {
        cluster.set_node(&in_zone(name, zone));
    }
    for (node, pod) in placed {
        let mut pod = pod.clone();
        pod.spec.get_or_insert_default().node_name = Some((*node).to_owned());
        cluster.set_pod(&pod);
    }
    cluster
}

/// The nodes that take the pod, and why others do not.
fn check(cluster: &Cluster, pod: Pod, nodes: &str, reasons: &[Refusal]) {
    let candidate = Candidate::of(Arc::new(pod));
    let around = Surroundings::of(cluster, &candidate);
    let mut taking = Vec::new();
    let mut refused = Vec::new();
    for (name, node) in cluster.nodes() {
        match around.refusal(node) {
            None => taking.push(name),
            Some(refusal) => refused.push(refusal),
        }
    }
    assert_eq!((taking.join(" ").as_str(), refused.as_slice()), (nodes, reasons), "{candidate:?}");
}

#[test]
fn a_pod_keeps_away_from_those_that_it_does_not_bear() {
    use Refusal::PodAntiAffinity as No;
    let cluster = cluster(&[("a1", of_app("p", "web", json!({})))]);
    check(&cluster, of_app("q", "web", apart(term("web", HOST))), "a2 b1 c1", &[No]);
    check(&cluster, of_app("q", "web", apart(term("web", "zone"))), "b1 c1", &[No, No]);
    check(&cluster, of_app("q", "web", apart(term("db", HOST))), "a1 a2 b1 c1", &[]);
    let unselective = json!({"topologyKey": HOST});
    check(&cluster, of_app("q", "web", apart(unselective)), "a1 a2 b1 c1", &[]);
}

#[test]
fn a_pod_keeps_away_from_those_that_do_not_bear_it() {
    use Refusal::OthersAntiAffinity as No;
    let mut cluster = cluster(&[("a1", of_app("p", "db", apart(term("web", "zone"))))]);
    check(&cluster, of_app("q", "web", json!({})), "b1 c1", &[No, No]);
    check(&cluster, of_app("q", "db", json!({})), "a1 a2 b1 c1", &[]);
    cluster.remove_pod("p");
    check(&cluster, of_app("q", "web", json!({})), "a1 a2 b1 c1", &[]);
}

#[test]
fn a_pod_goes_to_those_that_it_wants_near_it() {
    use Refusal::PodAffinity as No;
    let with_db = cluster(&[("a1", of_app("p", "db", json!({})))]);
    check(&with_db, of_app("q", "web", near(term("db", "zone"))), "a1 a2", &[No, No]);
    check(&with_db, of_app("q", "web", near(term("db", HOST))), "a1", &[No, No, No]);
    let empty = cluster(&[]);
    check(&empty, of_app("q", "web", near(term("db", HOST))), "", &[No, No, No, No]);
    // The first of those that want their like must start somewhere, though only where there is such a place.
    check(&empty, of_app("q", "web", near(term("web", "zone"))), "a1 a2 b1", &[No]);
}

#[test]
fn terms_are_about_the_own_namespace_unless_they_name_others() {
    use Refusal::PodAntiAffinity as No;
    let mut other = of_app("p", "web", json!({}));
    other.metadata.namespace = Some("prod".to_owned());
    let mut cluster = cluster(&[("a1", other)]);
    let named: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "prod", "labels": {"stage": "live"}}})).unwrap();
    cluster.set_namespace(&named);
    let of = |more: Value| {
        let mut term = term("web", HOST);
        for (key, value) in more.as_object().unwrap() {
            term[key] = value.clone();
        }
        of_app("q", "web", apart(term))
    };
    check(&cluster, of(json!({})), "a1 a2 b1 c1", &[]);
    check(&cluster, of(json!({"namespaces": ["prod"]})), "a2 b1 c1", &[No]);
    check(&cluster, of(json!({"namespaceSelector": {}})), "a2 b1 c1", &[No]);
    check(&cluster, of(json!({"namespaceSelector": {"matchLabels": {"stage": "live"}}})), "a2 b1 c1", &[No]);
    check(&cluster, of(json!({"namespaceSelector": {"matchLabels": {"stage": "test"}}})), "a1 a2 b1 c1", &[]);
    check(&cluster, of(json!({"namespaceSelector": {}, "matchLabelKeys": ["app"]})), "a2 b1 c1", &[No]);
    check(&cluster, of(json!({"namespaceSelector": {}, "mismatchLabelKeys": ["app"]})), "a1 a2 b1 c1", &[]);
}

#[test]
fn a_constraint_keeps_pods_from_where_there_are_too_many() {
    use Refusal::{NoTopologyLabel as Unlabelled, TopologySpread as No};
    let web = |uid: &str| of_app(uid, "web", json!({}));
    let wanting = |skew: i32, more: Value| of_app("q", "web", spread(skew, more));
    let one = cluster(&[("a1", web("p"))]);
    check(&one, wanting(1, json!({})), "b1", &[No, No, Unlabelled]);
    check(&one, wanting(2, json!({})), "a1 a2 b1", &[Unlabelled]);
    check(&one, wanting(1, json!({"labelSelector": {"matchLabels": {"app": "db"}}})), "a1 a2 b1", &[Unlabelled]);
    check(&one, wanting(1, json!({"whenUnsatisfiable": "ScheduleAnyway"})), "a1 a2 b1 c1", &[]);
    let both = cluster(&[("a1", web("p")), ("b1", web("r"))]);
    check(&both, wanting(1, json!({})), "a1 a2 b1", &[Unlabelled]);
    // With too few places the emptiest counts as empty.
    check(&both, wanting(1, json!({"minDomains": 3})), "", &[No, No, No, Unlabelled]);
    let mut leaving = web("p");
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2027-01-15T08:00:00Z")).unwrap();
    check(&cluster(&[("a1", leaving)]), wanting(1, json!({})), "a1 a2 b1", &[Unlabelled]);
}

#[test]
fn places_that_the_pod_cannot_go_to_do_not_count() {
    use Refusal::{NoTopologyLabel as Unlabelled, TopologySpread as No};
    let selective = |policy: &str| {
        let mut pod = of_app("q", "web", spread(1, json!({"nodeAffinityPolicy": policy})));
        pod.spec.get_or_insert_default().node_selector = Some([("zone".to_owned(), "a".to_owned())].into());
        pod
    };
    let cluster = cluster(&[("a1", of_app("p", "web", json!({})))]);
    check(&cluster, selective("Honor"), "a1 a2 b1", &[Unlabelled]);
    check(&cluster, selective("Ignore"), "b1", &[No, No, Unlabelled]);
}

#[test]
fn the_refusals_are_told_in_kubernetes_words() {
    let cluster = cluster(&[("a1", of_app("p", "web", json!({})))]);
    let why = |pod: Pod| schedule(&cluster, &Candidate::of(Arc::new(pod)), 0).unwrap_err().to_string();
    assert_eq!(
        why(of_app("q", "web", near(term("db", HOST)))),
        "0/4 nodes are available: 4 node(s) didn't match pod affinity rules. no new claims to deallocate, \
         preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
    );
    let cluster = self::cluster(&[("a1", of_app("p", "web", json!({}))), ("b1", of_app("r", "web", json!({})))]);
    let why = |pod: Pod| schedule(&cluster, &Candidate::of(Arc::new(pod)), 0).unwrap_err().to_string();
    assert_eq!(
        why(of_app("q", "web", spread(1, json!({"minDomains": 3})))),
        "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), \
         3 node(s) didn't match pod topology spread constraints. no new claims to deallocate, \
         preemption: 0/4 nodes are available: 1 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod."
    );
}

proptest! {
    /// Replicas that do not bear one another never share a node, and only as many wait as there are too many.
    #[test]
    fn those_that_do_not_bear_one_another_never_meet(nodes in 1usize..6, replicas in 1usize..12, seed in any::<u64>()) {
        let mut cluster = Cluster::new();
        for index in 0..nodes {
            cluster.set_node(&node(&format!("n{index}"), ROOMY));
        }
        let mut counts = BTreeMap::new();
        for index in 0..replicas {
            let pod = of_app(&format!("p{index}"), "web", apart(term("web", HOST)));
            let candidate = Candidate::of(Arc::new(pod));
            if let Ok(placement) = schedule(&cluster, &candidate, seed.wrapping_mul(index as u64 + 1)) {
                cluster.assume(&candidate, &placement.node);
                *counts.entry(placement.node).or_insert(0usize) += 1;
            }
        }
        prop_assert!(counts.values().all(|count| *count == 1), "{counts:?}");
        prop_assert_eq!(counts.len(), nodes.min(replicas));
    }

    /// However pods come, no zone ever has more than the skew above the emptiest.
    #[test]
    fn zones_never_differ_by_more_than_the_skew(
        zones in prop::collection::vec(0usize..3, 1..6),
        skew in 1i32..4,
        replicas in 1usize..20,
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new();
        let mut counts = BTreeMap::new();
        for (index, zone) in zones.iter().enumerate() {
            cluster.set_node(&in_zone(&format!("n{index}"), &zone.to_string()));
            counts.insert(*zone, 0usize);
        }
        for index in 0..replicas {
            let candidate = Candidate::of(Arc::new(of_app(&format!("p{index}"), "web", spread(skew, json!({})))));
            let random = seed.wrapping_mul(index as u64 + 1);
            let placement = schedule(&cluster, &candidate, random).expect("the emptiest zone takes it");
            cluster.assume(&candidate, &placement.node);
            let at: usize = placement.node[1..].parse().unwrap();
            *counts.get_mut(&zones[at]).unwrap() += 1;
            let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
            prop_assert!(most - least <= skew as usize, "{counts:?}");
        }
    }
}

/// Where the pod goes.
fn goes(cluster: &Cluster, pod: Pod) -> String {
    schedule(cluster, &Candidate::of(Arc::new(pod)), 0).unwrap().node
}

#[test]
fn a_pod_goes_where_it_likes_the_others_or_they_like_it() {
    let preferred = |side: &str, app: &str, key: &str, weight: i32| {
        let weighted = json!({"weight": weight, "podAffinityTerm": term(app, key)});
        json!({"affinity": {side: {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}}})
    };
    let db = |own: Value| cluster(&[("b1", of_app("p", "db", own))]);
    let with_db = db(json!({}));
    assert_eq!(goes(&with_db, of_app("q", "web", preferred("podAffinity", "db", HOST, 1))), "b1");
    assert_eq!(goes(&with_db, of_app("q", "web", preferred("podAffinity", "db", "zone", 1))), "b1");
    assert_ne!(goes(&with_db, of_app("q", "web", preferred("podAntiAffinity", "db", "zone", 1))), "b1");
    assert_eq!(goes(&db(preferred("podAffinity", "web", HOST, 1)), of_app("q", "web", json!({}))), "b1");
    assert_ne!(goes(&db(preferred("podAntiAffinity", "web", HOST, 1)), of_app("q", "web", json!({}))), "b1");
    assert_eq!(goes(&db(near(term("web", HOST))), of_app("q", "web", json!({}))), "b1", "what is required pulls, too");
    let mut gone = db(preferred("podAffinity", "web", HOST, 1));
    gone.remove_pod("p");
    assert_ne!(goes(&gone, of_app("q", "web", json!({}))), "b1", "nothing is left of a pod that is gone");
}

#[test]
fn a_spread_that_need_not_be_kept_is_kept_where_it_can_be() {
    let web = |uid: &str| of_app(uid, "web", json!({}));
    let loose = spread(1, json!({"whenUnsatisfiable": "ScheduleAnyway"}));
    let cluster = cluster(&[("a1", web("p")), ("a2", web("q"))]);
    let mut pod = of_app("r", "web", loose);
    pod.spec.as_mut().unwrap().node_selector = Some([("zone".to_owned(), "a".to_owned())].into());
    assert!(["a1", "a2"].contains(&goes(&cluster, pod.clone()).as_str()), "it is placed though it is not kept");
    pod.spec.as_mut().unwrap().node_selector = None;
    assert!(["b1", "c1"].contains(&goes(&cluster, pod).as_str()));
}

#[test]
fn pods_of_a_controller_are_spread_over_zones() {
    let mut cluster = Cluster::new();
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b")] {
        let mut node = node(name, ROOMY);
        node.metadata.labels.get_or_insert_default().insert("topology.kubernetes.io/zone".to_owned(), zone.to_owned());
        cluster.set_node(&node);
    }
    let mut on = BTreeMap::new();
    for index in 0..4 {
        let mut pod = of_app(&format!("p{index}"), "web", json!({}));
        let node = goes(&cluster, pod.clone());
        *on.entry(node[..1].to_owned()).or_insert(0) += 1;
        pod.spec.get_or_insert_default().node_name = Some(node);
        cluster.set_pod(&pod);
    }
    assert_eq!(on, [("a".to_owned(), 2), ("b".to_owned(), 2)].into());
}
