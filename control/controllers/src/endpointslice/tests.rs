use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::world::World;

fn service(target_port: serde_json::Value) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "svc", "labels": {"team": "a"}},
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.5",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": target_port}]
        }
    }))
    .unwrap()
}

fn pod(index: usize, ready: bool) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": format!("p{index}"), "namespace": "default", "uid": format!("u{index:05}")},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "main", "ports": [{"name": "http", "containerPort": 8080 + (index % 2)}]}
            ]},
            "status": {
                "phase": "Running",
                "podIP": format!("100.64.{}.{}", index / 256, index % 256),
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]
            }
        }))
        .unwrap(),
    )
}

/// Reconciles into the world and says how many endpoints were written.
fn step(world: &mut World, service: &Service, pods: &[Arc<Pod>], per_slice: usize) -> usize {
    let slices = world.list::<EndpointSlice>();
    let plan = reconcile(&View { service, pods, slices: &slices, per_slice, sites: &BTreeMap::new() });
    let written = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::Create { body, .. } => body["endpoints"].as_array().unwrap().len(),
            Action::Patch { patch, .. } => patch["endpoints"].as_array().unwrap().len(),
            _ => 0,
        })
        .sum();
    world.apply(plan);
    written
}

/// A slice's ports, and its endpoints with their readiness.
type Shown = (Vec<i32>, Vec<(String, bool)>);

/// All endpoints, as address and readiness, and the ports, slice by slice.
fn shown(world: &World) -> Vec<Shown> {
    world
        .list::<EndpointSlice>()
        .iter()
        .map(|slice| {
            let ports = slice.ports.iter().flatten().filter_map(|port| port.port).collect();
            let endpoints = slice.endpoints.iter().flatten();
            let endpoints = endpoints.map(|endpoint| {
                let ready = endpoint.conditions.as_ref().unwrap().ready.unwrap();
                (endpoint.addresses[0].clone(), ready)
            });
            (ports, endpoints.collect())
        })
        .collect()
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let mut world = World::new();
    let service = service(json!(8080));
    step(&mut world, &service, &[], 100);
    assert_eq!(shown(&world), [(vec![], vec![])]);
    let before = world.objects.clone();
    step(&mut world, &service, &[], 100);
    assert_eq!(world.objects, before);
}

#[test]
fn a_slice_is_labelled_and_owned() {
    let mut world = World::new();
    step(&mut world, &service(json!(8080)), &[pod(0, true)], 100);
    let slice = &world.list::<EndpointSlice>()[0];
    let labels = slice.metadata.labels.as_ref().unwrap();
    assert_eq!(labels[SERVICE_NAME], "web");
    assert_eq!(labels[MANAGED_BY], MANAGER);
    assert_eq!(labels["team"], "a");
    assert_eq!(slice.metadata.owner_references.as_ref().unwrap()[0].uid, "svc");
    let endpoint = &slice.endpoints.as_ref().unwrap()[0];
    assert_eq!(endpoint.node_name.as_deref(), Some("n1"));
    assert_eq!(endpoint.target_ref.as_ref().unwrap().name.as_deref(), Some("p0"));
}

#[test]
fn a_pod_that_comes_and_goes_changes_its_conditions_first() {
    let mut world = World::new();
    let service = service(json!(8080));
    let conditions = |world: &World| {
        let slice = &world.list::<EndpointSlice>()[0];
        let endpoint = slice.endpoints.iter().flatten().next().cloned();
        endpoint.map(|endpoint| {
            let c = endpoint.conditions.unwrap();
            (c.ready.unwrap(), c.serving.unwrap(), c.terminating.unwrap())
        })
    };
    step(&mut world, &service, &[pod(0, false)], 100);
    assert_eq!(conditions(&world), Some((false, false, false)));
    step(&mut world, &service, &[pod(0, true)], 100);
    assert_eq!(conditions(&world), Some((true, true, false)));
    let mut going = (*pod(0, true)).clone();
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
    step(&mut world, &service, &[Arc::new(going)], 100);
    assert_eq!(conditions(&world), Some((false, true, true)));
    step(&mut world, &service, &[], 100);
    assert_eq!(conditions(&world), None);
}

#[test]
fn a_named_port_is_resolved_for_each_pod() {
    let mut world = World::new();
    step(&mut world, &service(json!("http")), &[pod(0, true), pod(1, true), pod(2, true)], 100);
    let mut shown = shown(&world);
    shown.sort();
    assert_eq!(shown[0].0, [8080]);
    assert_eq!(shown[0].1.len(), 2);
    assert_eq!((shown[1].0.clone(), shown[1].1.len()), (vec![8081], 1));
}

#[test]
fn a_service_without_a_selector_is_left_alone() {
    let mut without = service(json!(80));
    without.spec.as_mut().unwrap().selector = None;
    let plan = reconcile(&View { service: &without, pods: &[], slices: &[], per_slice: 100, sites: &BTreeMap::new() });
    assert_eq!(plan, Plan::idle());
}

#[test]
fn a_thousand_pods_that_become_ready_in_turn_are_not_written_quadratically() {
    let mut world = World::new();
    let service = service(json!(8080));
    let total = 1000;
    let batch = 50;
    let mut written = 0;
    for ready in (0..=total).step_by(batch) {
        let pods: Vec<_> = (0..total).map(|index| pod(index, index < ready)).collect();
        written += step(&mut world, &service, &pods, 100);
    }
    // Twenty batches that each touch one or two slices of a hundred, after the first thousand.
    assert!(written <= total + (total / batch) * 200, "{written} endpoints were written");
    assert_eq!(shown(&world).len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever came before, the slices hold each pod once, no slice is too large, and a second look changes nothing.
    #[test]
    fn slices_hold_every_pod_once(
        rounds in prop::collection::vec(prop::collection::btree_map(0usize..40, any::<bool>(), 0..40), 1..6),
        per_slice in 1usize..9,
        named in any::<bool>(),
    ) {
        let mut world = World::new();
        let service = service(if named { json!("http") } else { json!(8080) });
        for round in rounds {
            let pods: Vec<_> = round.iter().map(|(index, ready)| pod(*index, *ready)).collect();
            step(&mut world, &service, &pods, per_slice);
            let mut all: Vec<_> = shown(&world).into_iter().flat_map(|(_, endpoints)| endpoints).collect();
            all.sort();
            let mut expected: Vec<_> = round
                .iter()
                .map(|(index, ready)| (format!("100.64.0.{index}"), *ready))
                .collect();
            expected.sort();
            prop_assert_eq!(all, expected);
            prop_assert!(shown(&world).iter().all(|(_, endpoints)| endpoints.len() <= per_slice));
            let before = world.objects.clone();
            step(&mut world, &service, &pods, per_slice);
            prop_assert_eq!(&world.objects, &before);
        }
    }
}

#[test]
fn a_pod_whose_address_is_not_of_its_nodes_block_is_no_endpoint() {
    let service = service(json!(8080));
    let pods = [pod(1, true), pod(256, true)];
    let check = |blocks: &[(&str, &str)], expected: &[&str]| {
        let site = |block: &str| Site { block: Some(block.to_owned()), zone: None };
        let sites = blocks.iter().map(|(node, block)| ((*node).to_owned(), site(block))).collect();
        let mut world = World::new();
        let view = View { service: &service, pods: &pods, slices: &[], per_slice: 100, sites: &sites };
        world.apply(reconcile(&view));
        let shown = shown(&world);
        let addresses: Vec<&str> = shown.iter().flat_map(|(_, pods)| pods).map(|(address, _)| &**address).collect();
        assert_eq!(addresses, expected, "{blocks:?}");
    };
    check(&[], &["100.64.0.1", "100.64.1.0"]);
    check(&[("n1", "100.64.0.0/20")], &["100.64.0.1", "100.64.1.0"]);
    check(&[("n1", "100.64.0.0/24")], &["100.64.0.1"]);
    check(&[("n1", "100.64.32.0/20")], &[]);
    check(&[("n2", "100.64.32.0/20")], &["100.64.0.1", "100.64.1.0"]);
}

#[test]
fn a_service_whose_ports_change_is_never_without_endpoints() {
    let mut world = World::new();
    let pods = [pod(0, true), pod(2, true)];
    step(&mut world, &service(json!(8080)), &pods, 100);
    let slices = world.list::<EndpointSlice>();
    let changed = service(json!(9090));
    let sites = BTreeMap::new();
    let plan = reconcile(&View { service: &changed, pods: &pods, slices: &slices, per_slice: 100, sites: &sites });
    assert!(matches!(plan.actions.as_slice(), [Action::Create { .. }, Action::Delete { .. }]), "{:?}", plan.actions);
}

#[test]
fn endpoints_are_meant_for_their_own_node_or_zone_where_the_service_wants_it() {
    let check = |distribution: Option<&str>, ready: bool, zone: Option<&str>, expected: serde_json::Value| {
        let mut service = service(json!(8080));
        service.spec.as_mut().unwrap().traffic_distribution = distribution.map(str::to_owned);
        let sites = [("n1".to_owned(), Site { block: None, zone: zone.map(str::to_owned) })].into();
        let endpoint = endpoint::of(&service, &pod(1, ready), &sites).unwrap();
        assert_eq!(endpoint.zone.as_deref(), zone);
        assert_eq!(json!(endpoint.hints), expected, "{distribution:?} {ready} {zone:?}");
    };
    let (node, zone) = (json!({"forNodes": [{"name": "n1"}]}), json!({"forZones": [{"name": "z"}]}));
    let both = json!({"forNodes": [{"name": "n1"}], "forZones": [{"name": "z"}]});
    check(Some("PreferSameNode"), true, None, node);
    check(Some("PreferSameNode"), true, Some("z"), both);
    check(Some("PreferSameNode"), false, Some("z"), json!(null));
    check(Some("PreferSameZone"), true, Some("z"), zone.clone());
    check(Some("PreferSameZone"), true, None, json!(null));
    check(Some("PreferClose"), true, Some("z"), zone);
    check(None, true, Some("z"), json!(null));
}
