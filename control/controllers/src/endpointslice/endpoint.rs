//! A pod as an endpoint of a Service.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::object::{is_deleting, name};
use crate::pods::{is_finished, is_ready, node};

/// What of a pod's node matters to its endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The addresses that its pods have, if it has a block of them.
    pub block: Option<String>,
    /// The zone that it is in, if it says.
    pub zone: Option<String>,
}

/// The endpoint that a pod is; `None` for one that has no address, or that has ended. Nor is a pod one whose address is
/// outside its node's block: the node says the address, and with another node's it would draw that one's traffic.
pub(crate) fn of(service: &Service, pod: &Pod, sites: &BTreeMap<String, Site>) -> Option<Endpoint> {
    let address = pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())?;
    let site = node(pod).and_then(|node| sites.get(node));
    let block = site.and_then(|site| site.block.as_deref());
    let zone = site.and_then(|site| site.zone.as_deref());
    if is_finished(pod) || block.is_some_and(|block| !contains(block, address)) {
        return None;
    }
    let spec = service.spec.as_ref();
    let always = spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let serving = is_ready(pod);
    let terminating = is_deleting(&pod.metadata);
    let subdomain = pod.spec.as_ref().and_then(|spec| spec.subdomain.as_deref());
    let hostname = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.hostname.clone())
        .filter(|host| !host.is_empty() && subdomain == Some(name(&service.metadata)));
    Some(Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(always || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname,
        hints: hints(service, pod, zone).filter(|_| always || (serving && !terminating)),
        node_name: node(pod).map(str::to_owned),
        zone: zone.map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

/// For whom the endpoint is meant first (KEP-4444, KEP-3015): those in its own zone, and before them those on its own node,
/// where the Service wants it so.
fn hints(service: &Service, pod: &Pod, zone: Option<&str>) -> Option<EndpointHints> {
    let wanted = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref())?;
    let of_node = wanted == "PreferSameNode";
    if !of_node && !matches!(wanted, "PreferSameZone" | "PreferClose") {
        return None;
    }
    let for_nodes = node(pod).filter(|_| of_node).map(|name| vec![ForNode { name: name.to_owned() }]);
    let for_zones = zone.map(|name| vec![ForZone { name: name.to_owned() }]);
    (for_nodes.is_some() || for_zones.is_some()).then_some(EndpointHints { for_nodes, for_zones })
}

/// Whether an address lies in a block such as `100.64.16.0/20`; not, when either cannot be read.
fn contains(block: &str, address: &str) -> bool {
    let Some((network, length)) = block.split_once('/') else { return false };
    let (Ok(network), Ok(length), Ok(address)) =
        (network.parse::<Ipv4Addr>(), length.parse::<u32>(), address.parse::<Ipv4Addr>())
    else {
        return false;
    };
    let differ = network.to_bits() ^ address.to_bits();
    length <= 32 && differ.checked_shr(32 - length).unwrap_or(0) == 0
}

/// The numbers that the Service's ports have on that pod; `None` for a name that the pod does not have.
pub(crate) fn numbers(service: &Service, pod: &Pod) -> Vec<Option<i32>> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    ports.into_iter().flatten().map(|port| number(port, pod)).collect()
}

/// The Service's ports with those numbers; those without one are left out.
pub(crate) fn ports(service: &Service, numbers: &[Option<i32>]) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let resolved = ports.into_iter().flatten().zip(numbers);
    resolved
        .filter_map(|(port, number)| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some((*number)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn number(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let wanted = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => return Some(port.port),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let spec = pod.spec.as_ref()?;
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|candidate| {
            candidate.name.as_ref() == Some(wanted) && candidate.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .map(|candidate| candidate.container_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_contains_the_addresses_that_begin_as_it_does() {
        let check = |block: &str, address: &str, expected: bool| {
            assert_eq!(contains(block, address), expected, "{address} in {block}");
        };
        check("100.64.16.0/20", "100.64.16.1", true);
        check("100.64.16.0/20", "100.64.31.255", true);
        check("100.64.16.0/20", "100.64.32.0", false);
        check("100.64.16.0/20", "100.64.15.255", false);
        check("100.64.1.5/32", "100.64.1.5", true);
        check("100.64.1.5/32", "100.64.1.4", false);
        check("0.0.0.0/0", "192.0.2.1", true);
        check("100.64.16.0/33", "100.64.16.0", false);
        check("100.64.16.0", "100.64.16.0", false);
        check("100.64.16.0/20", "fe80::1", false);
        check("x/y", "100.64.16.1", false);
    }
}
