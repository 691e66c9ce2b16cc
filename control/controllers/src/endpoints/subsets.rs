//! Pods as subsets: addresses that have the same ports together.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Pod, Service};

use crate::endpointslice::{Site, endpoint};
use crate::object::uid;

/// A pod behind a Service.
pub(super) struct Member<'a> {
    pub(super) pod: &'a Pod,
    pub(super) uid: &'a str,
    pub(super) ready: bool,
    address: EndpointAddress,
    /// None, of a headless Service without ports.
    ports: Vec<Port>,
}

/// A port as it is compared: name, protocol, number and application's protocol.
type Port = (String, String, i32, Option<String>);

impl<'a> Member<'a> {
    /// What the pod is behind the Service; `None` for one that has ended, has no address or is going, unless the Service
    /// wants those that are not ready.
    pub(super) fn of(service: &Service, pod: &'a Arc<Pod>, sites: &BTreeMap<String, Site>) -> Option<Self> {
        let endpoint = endpoint::of(service, pod, sites)?;
        let conditions = endpoint.conditions.unwrap_or_default();
        let ready = conditions.ready == Some(true);
        if conditions.terminating == Some(true) && !ready {
            return None;
        }
        let spec = service.spec.as_ref()?;
        let given = spec.ports.as_deref().unwrap_or_default();
        let ports: Vec<Port> = endpoint::ports(service, &endpoint::numbers(service, pod))
            .into_iter()
            .filter_map(|port| Some((port.name?, port.protocol?, port.port?, port.app_protocol)))
            .collect();
        // Only without any port of its own a headless Service has addresses alone.
        let bare = given.is_empty() && spec.cluster_ip.as_deref() == Some("None");
        if ports.is_empty() && !bare {
            return None;
        }
        let address = EndpointAddress {
            ip: endpoint.addresses.into_iter().next()?,
            hostname: endpoint.hostname,
            node_name: endpoint.node_name,
            target_ref: endpoint.target_ref,
        };
        Some(Self { pod, uid: uid(&pod.metadata), ready, address, ports })
    }
}

/// What tells an address from others, and whether it is ready.
type Key<'a> = (&'a str, &'a str, bool);

/// As few subsets as say the same: ports that are on the same addresses share one.
pub(super) fn pack(members: &[Member<'_>]) -> Vec<EndpointSubset> {
    let mut by_port: BTreeMap<Option<&Port>, BTreeMap<Key<'_>, &EndpointAddress>> = BTreeMap::new();
    for member in members {
        let key = (member.address.ip.as_str(), member.uid, member.ready);
        let bare = member.ports.is_empty().then_some(None);
        for port in member.ports.iter().map(Some).chain(bare) {
            by_port.entry(port).or_default().insert(key, &member.address);
        }
    }
    let mut by_addresses: BTreeMap<Vec<Key<'_>>, (Vec<&Port>, Vec<&EndpointAddress>)> = BTreeMap::new();
    for (port, addresses) in by_port {
        let (keys, addresses) = addresses.into_iter().unzip();
        by_addresses.entry(keys).or_insert_with(|| (Vec::new(), addresses)).0.extend(port);
    }
    let subset = |(keys, (ports, addresses)): (Vec<Key<'_>>, (Vec<&Port>, Vec<&EndpointAddress>))| {
        let all = || keys.iter().zip(&addresses);
        let of = |wanted: bool| {
            let some: Vec<_> = all().filter(|(key, _)| key.2 == wanted).map(|(_, one)| (*one).clone()).collect();
            Some(some).filter(|some| !some.is_empty())
        };
        let ports: Vec<EndpointPort> = ports.into_iter().map(port).collect();
        EndpointSubset {
            addresses: of(true),
            not_ready_addresses: of(false),
            ports: Some(ports).filter(|ports| !ports.is_empty()),
        }
    };
    by_addresses.into_iter().map(subset).collect()
}

fn port((name, protocol, number, app_protocol): &Port) -> EndpointPort {
    EndpointPort {
        name: Some(name.clone()).filter(|name| !name.is_empty()),
        protocol: Some(protocol.clone()),
        port: *number,
        app_protocol: app_protocol.clone(),
    }
}

/// Leaves no more than `most` addresses, from each subset its share, ready ones before others. Whether there were more.
pub(super) fn truncate(subsets: &mut [EndpointSubset], most: usize) -> bool {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|subset| count(&subset.addresses)).sum();
    let waiting: usize = subsets.iter().map(|subset| count(&subset.not_ready_addresses)).sum();
    if ready + waiting <= most {
        return false;
    }
    let only_ready = ready > most;
    let (room, of) = if only_ready { (most, ready) } else { (most - ready, waiting) };
    let mut left = room;
    for subset in subsets {
        let list = if only_ready {
            subset.not_ready_addresses = None;
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        if let Some(addresses) = list {
            let share = (addresses.len() * room).div_ceil(of).min(left);
            addresses.truncate(share);
            left -= addresses.len();
        }
        if count(list) == 0 {
            *list = None;
        }
    }
    true
}
