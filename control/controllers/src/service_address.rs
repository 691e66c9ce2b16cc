//! IPAddresses: for each address that a Service has, an object that says whose it is, as kube-apiserver keeps them. They follow
//! the Services; nothing is given out by them.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use serde_json::json;

use crate::action::{Action, Plan, ResourceId, Target};
use crate::object::{is_deleting, name, namespace};

const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";

/// The addresses that the Service has of the cluster's.
pub fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"));
    let texts = spec.into_iter().flat_map(|spec| spec.cluster_ips.iter().flatten());
    texts.filter_map(|text| text.parse().ok())
}

/// The Service whose address it is, by its namespace and name.
pub fn parent(address: &IPAddress) -> Option<(&str, &str)> {
    let ParentReference { group, resource, namespace, name } = &address.spec.parent_ref;
    let is_service = group.as_deref().unwrap_or_default().is_empty() && resource == "services";
    is_service.then_some((namespace.as_deref().unwrap_or_default(), name.as_str()))
}

/// Makes what lacks for a Service. `known` finds an IPAddress by its name.
pub fn provide<'a>(service: &Service, known: impl Fn(&str) -> Option<&'a IPAddress>) -> Plan {
    let mut plan = Plan::idle();
    if is_deleting(&service.metadata) {
        return plan;
    }
    for address in addresses(service) {
        match known(&address.to_string()) {
            Some(known) if parent(known) == Some(place(service)) || !is_managed(known) => continue,
            // It was another's, and no address moves.
            Some(known) => plan.push(delete(known)),
            None => {}
        }
        plan.push(create(service, address));
    }
    plan
}

/// Removes what belongs to a Service that is gone or has another address. `service` finds one by its namespace and name.
pub fn withdraw<'a>(address: &IPAddress, service: impl Fn(&str, &str) -> Option<&'a Service>) -> Plan {
    let own = name(&address.metadata);
    let has = |service: &Service| addresses(service).any(|other| other.to_string() == own);
    let is_held = parent(address).and_then(|(namespace, name)| service(namespace, name)).is_some_and(has);
    if is_held || !is_managed(address) || is_deleting(&address.metadata) {
        return Plan::idle();
    }
    Plan::of(delete(address))
}

fn place(service: &Service) -> (&str, &str) {
    (namespace(&service.metadata), name(&service.metadata))
}

fn is_managed(address: &IPAddress) -> bool {
    address.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGER)
}

fn create(service: &Service, address: IpAddr) -> Action {
    let (namespace, name) = place(service);
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    Action::Create {
        resource: ResourceId::of::<IPAddress>(),
        namespace: None,
        body: json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IPAddress",
            "metadata": { "name": address, "labels": { FAMILY: family, MANAGED_BY: MANAGER } },
            "spec": { "parentRef": { "resource": "services", "namespace": namespace, "name": name } },
        }),
        announce: None,
    }
}

fn delete(address: &IPAddress) -> Action {
    Action::Delete { target: Target::of(address), grace_seconds: None, propagation: None, announce: None }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn service(name: &str, kind: &str, addresses: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": name},
            "spec": {"type": kind, "clusterIPs": addresses},
        }))
        .unwrap()
    }

    fn address(by: &str, service: &str) -> IPAddress {
        serde_json::from_value(json!({
            "metadata": {"name": "10.96.0.7", "uid": "u", "labels": {MANAGED_BY: by}},
            "spec": {"parentRef": {"resource": "services", "namespace": "a", "name": service}},
        }))
        .unwrap()
    }

    fn deeds(plan: &Plan) -> Vec<String> {
        let deed = |action: &Action| match action {
            Action::Create { body, .. } => format!("make {}", body["metadata"]["name"].as_str().unwrap()),
            Action::Delete { target, .. } => format!("delete {}", target.name),
            other => panic!("{other:?}"),
        };
        plan.actions.iter().map(deed).collect()
    }

    #[test]
    fn each_address_of_a_service_has_its_object() {
        let check = |service: Service, known: Option<IPAddress>, expected: &[&str]| {
            let plan = provide(&service, |name| known.as_ref().filter(|_| name == "10.96.0.7"));
            assert_eq!(deeds(&plan), expected, "{service:?} {known:?}");
        };
        let own = json!(["10.96.0.7"]);
        check(service("web", "ClusterIP", own.clone()), None, &["make 10.96.0.7"]);
        check(service("web", "ClusterIP", json!(["10.96.0.8", "fd00::8"])), None, &["make 10.96.0.8", "make fd00::8"]);
        check(service("web", "ClusterIP", json!(["None"])), None, &[]);
        check(service("web", "ExternalName", own.clone()), None, &[]);
        check(service("web", "ClusterIP", own.clone()), Some(address(MANAGER, "web")), &[]);
        let moved = ["delete 10.96.0.7", "make 10.96.0.7"];
        check(service("web", "ClusterIP", own.clone()), Some(address(MANAGER, "old")), &moved);
        check(service("web", "ClusterIP", own), Some(address("somebody", "old")), &[]);
    }

    #[test]
    fn an_address_goes_with_its_service() {
        let check = |address: IPAddress, service: Option<Service>, expected: &[&str]| {
            let plan = withdraw(&address, |_, name| service.as_ref().filter(|_| name == "web"));
            assert_eq!(deeds(&plan), expected, "{address:?} {service:?}");
        };
        let web = |address: &str| Some(service("web", "ClusterIP", json!([address])));
        check(address(MANAGER, "web"), web("10.96.0.7"), &[]);
        check(address(MANAGER, "web"), web("10.96.0.8"), &["delete 10.96.0.7"]);
        check(address(MANAGER, "web"), None, &["delete 10.96.0.7"]);
        check(address(MANAGER, "gone"), web("10.96.0.7"), &["delete 10.96.0.7"]);
        check(address("somebody", "gone"), None, &[]);
    }
}
