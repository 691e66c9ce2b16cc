use k8s_openapi::api::core::v1::EndpointSubset;
use serde_json::{Value, json};

use super::*;
use crate::object::uid;
use crate::world::World;

fn service(spec: Value) -> Value {
    json!({"metadata": {"name": "web", "namespace": "a", "labels": {"team": "x"}}, "spec": spec})
}

/// A pod with that number, whose port `http` is its first argument's.
fn pod(number: u8, http: i32, more: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": format!("p{number}"), "namespace": "a", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": http}]}]},
        "status": {"phase": "Running", "podIP": format!("100.64.0.{number}"), "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2027-01-15T08:00:05Z"}]}
    });
    json_patch(&mut pod, more);
    pod
}

fn json_patch(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| json_patch(object.entry(key).or_insert(Value::Null), value));
        }
        (object, more) => *object = more,
    }
}

fn look(world: &mut World) -> usize {
    let services = world.list::<Service>();
    let endpoints = world.list::<Endpoints>();
    let slices = world.list::<EndpointSlice>();
    let pods = world.list::<Pod>();
    let plan = reconcile(&View {
        service: services.first().map(|service| &**service),
        pods: &pods,
        endpoints: endpoints.first().map(|endpoints| &**endpoints),
        mirrored: &slices,
        sites: &BTreeMap::new(),
    });
    let actions = plan.actions.len();
    world.apply(plan);
    actions
}

/// `ready,ready/waiting:name=port,port` of each subset.
fn shown(subsets: &[EndpointSubset]) -> String {
    let texts = subsets.iter().map(|subset| {
        let ips = |list: &Option<Vec<_>>| {
            let all = list.iter().flatten().map(|one: &k8s_openapi::api::core::v1::EndpointAddress| {
                one.ip.rsplit('.').next().unwrap_or_default().to_owned()
            });
            all.collect::<Vec<_>>().join(",")
        };
        let ports = subset.ports.iter().flatten().map(|port| match &port.name {
            Some(name) => format!("{name}={}", port.port),
            None => port.port.to_string(),
        });
        let ports = ports.collect::<Vec<_>>().join(",");
        format!("{}/{}:{ports}", ips(&subset.addresses), ips(&subset.not_ready_addresses))
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[test]
fn pods_with_the_same_ports_share_a_subset() {
    let check = |spec: Value, pods: &[Value], expected: &str| {
        let mut world = World::new();
        world.create(ResourceId::of::<Service>(), service(spec.clone()));
        for pod in pods {
            world.create(ResourceId::of::<Pod>(), pod.clone());
        }
        assert_eq!(look(&mut world), 1, "{spec}");
        let endpoints = world.list::<Endpoints>().remove(0);
        assert_eq!(shown(endpoints.subsets.as_deref().unwrap_or_default()), expected, "{spec} {pods:?}");
        assert_eq!(look(&mut world), 0, "nothing more to do: {spec}");
    };
    let waiting = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let going = json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}});
    let spec = |more: Value| {
        let mut spec = json!({"selector": {"app": "web"}, "clusterIP": "10.96.0.5",
            "ports": [{"port": 80, "targetPort": "http"}]});
        json_patch(&mut spec, more);
        spec
    };
    let none = || json!({});
    check(spec(none()), &[], "");
    check(spec(none()), &[pod(1, 8080, none()), pod(2, 8080, waiting.clone())], "1/2:8080");
    check(spec(none()), &[pod(1, 8080, none()), pod(2, 9090, none())], "1/:8080 2/:9090");
    check(spec(none()), &[pod(1, 8080, going.clone()), pod(2, 8080, json!({"status": {"phase": "Failed"}}))], "");
    check(spec(none()), &[pod(1, 8080, json!({"status": {"podIP": ""}}))], "");
    let tolerant = json!({"publishNotReadyAddresses": true});
    check(spec(tolerant), &[pod(1, 8080, going), pod(2, 8080, waiting.clone())], "1,2/:8080");
    let two = json!({"ports": [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81}]});
    check(spec(two.clone()), &[pod(1, 8080, none()), pod(2, 8080, waiting)], "1/2:a=8080,b=81");
    check(spec(two), &[pod(1, 8080, none()), pod(2, 9090, none())], "1/:a=8080 1,2/:b=81 2/:a=9090");
    check(spec(json!({"ports": [{"port": 80, "targetPort": "other"}]})), &[pod(1, 8080, none())], "");
    check(spec(json!({"ports": [], "clusterIP": "None"})), &[pod(1, 8080, none())], "1/:");
    check(spec(json!({"ports": []})), &[pod(1, 8080, none())], "");
}

#[test]
fn the_object_says_whose_it_is_and_when_what_it_shows_began() {
    let mut world = World::new();
    let spec = json!({"selector": {"app": "web"}, "clusterIP": "None", "ports": [{"port": 80}]});
    world.create(ResourceId::of::<Service>(), service(spec));
    look(&mut world);
    let meta = world.list::<Endpoints>().remove(0).metadata.clone();
    assert_eq!(json!(meta.labels), json!({"team": "x", MANAGED_BY: MANAGER, HEADLESS: ""}));
    assert_eq!(json!(meta.annotations), json!({TRIGGER_TIME: "2027-01-15T08:00:00Z"}));
    world.create(ResourceId::of::<Pod>(), pod(1, 8080, json!({})));
    assert_eq!(look(&mut world), 1);
    let annotations = world.list::<Endpoints>()[0].metadata.annotations.clone();
    assert_eq!(json!(annotations), json!({TRIGGER_TIME: "2027-01-15T08:00:05Z"}));
    world.remove::<Pod>("a", "p1");
    world.edit::<Service>(
        "a",
        "web",
        json!({"metadata": {"labels": {"team": "y"}}, "spec": {"clusterIP": "10.0.0.1"}}),
    );
    assert_eq!(look(&mut world), 1);
    let endpoints = world.list::<Endpoints>().remove(0);
    assert_eq!(json!(endpoints.metadata.labels), json!({"team": "y", MANAGED_BY: MANAGER}));
    assert_eq!((endpoints.subsets.clone(), endpoints.metadata.annotations.clone()), (Some(vec![]), Some([].into())));
    world.remove::<Service>("a", "web");
    assert_eq!((look(&mut world), world.list::<Endpoints>().len()), (1, 0), "it goes with its Service");
}

#[test]
fn too_many_addresses_are_cut_off_ready_ones_last() {
    let address = |number: usize| json!({"ip": format!("10.0.{}.{}", number / 250, number % 250)});
    let subset = |ready: usize, waiting: usize| -> EndpointSubset {
        let list = |count| (count > 0).then(|| (0..count).map(address).collect::<Vec<_>>());
        serde_json::from_value(json!({"addresses": list(ready), "notReadyAddresses": list(waiting)})).unwrap()
    };
    let check = |given: &[(usize, usize)], expected: &[(usize, usize)], over: bool| {
        let mut subsets: Vec<_> = given.iter().map(|(ready, waiting)| subset(*ready, *waiting)).collect();
        assert_eq!(subsets::truncate(&mut subsets, 1000), over, "{given:?}");
        let count = |list: &Option<Vec<_>>| list.as_ref().map_or(0, Vec::len);
        let left: Vec<_> = subsets.iter().map(|one| (count(&one.addresses), count(&one.not_ready_addresses))).collect();
        assert_eq!(left, expected, "{given:?}");
    };
    check(&[(600, 400)], &[(600, 400)], false);
    check(&[(600, 401)], &[(600, 400)], true);
    check(&[(1001, 5)], &[(1000, 0)], true);
    check(&[(400, 400), (400, 400)], &[(400, 100), (400, 100)], true);
    check(&[(900, 0), (600, 300)], &[(600, 0), (400, 0)], true);
}

#[test]
fn what_people_write_is_mirrored_as_long_as_it_is_a_services() {
    let mut world = World::new();
    let endpoints = json!({
        "metadata": {"name": "web", "namespace": "a", "labels": {"l": "1"}, "annotations": {"x": "y", LAST: "{}"}},
        "subsets": [{"addresses": [{"ip": "100.64.0.1", "hostname": "h"}, {"ip": "fd00::1"}],
            "notReadyAddresses": [{"ip": "100.64.0.2"}], "ports": [{"name": "p", "port": 80, "protocol": "TCP"}]}]
    });
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    world.create(ResourceId::of::<Endpoints>(), endpoints);
    assert_eq!(look(&mut world), 0, "no Service asks for it, nor ever did");
    world.create(ResourceId::of::<Service>(), service(json!({"ports": [{"port": 80}]})));
    assert_eq!(look(&mut world), 2, "one for each family of addresses");
    assert_eq!(look(&mut world), 0);
    let slices = world.list::<EndpointSlice>();
    let four = slices.iter().find(|slice| slice.address_type == "IPv4").expect("one of IPv4");
    let owner = world.list::<Endpoints>()[0].metadata.clone();
    let meta = &four.metadata;
    assert_eq!(meta.owner_references.as_ref().unwrap()[0].uid, uid(&owner));
    let labels = json!({"l": "1", "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": MIRRORER});
    assert_eq!((json!(meta.labels), json!(meta.annotations)), (labels, json!({"x": "y"})));
    assert_eq!(
        json!(four.endpoints),
        json!([{"addresses": ["100.64.0.1"], "conditions": {"ready": true}, "hostname": "h"},
            {"addresses": ["100.64.0.2"], "conditions": {"ready": false}}])
    );
    let change = json!({"metadata": {"labels": {"l": null}}, "subsets": [
        {"addresses": [{"ip": "100.64.0.9"}], "ports": [{"name": "p", "port": 80, "protocol": "TCP"}]}]});
    world.edit::<Endpoints>("a", "web", change);
    assert_eq!(look(&mut world), 2, "one is written, the other deleted");
    let slices = world.list::<EndpointSlice>();
    assert_eq!((slices.len(), slices[0].metadata.name.clone()), (1, meta.name.clone()));
    world.edit::<Endpoints>(
        "a",
        "web",
        json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}}),
    );
    assert_eq!((look(&mut world), world.list::<EndpointSlice>().len()), (1, 0));
    world.edit::<Endpoints>("a", "web", json!({"metadata": {"labels": null}}));
    look(&mut world);
    world.remove::<Service>("a", "web");
    look(&mut world);
    assert_eq!(
        (world.list::<EndpointSlice>().len(), world.list::<Endpoints>().len()),
        (0, 0),
        "it went with its Service"
    );
}
