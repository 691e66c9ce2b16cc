//! Endpoints, the older form of EndpointSlices.

use k8s_openapi::api::core::v1::Endpoints;

use super::kind::{Errors, Kind, has_meta};
use super::names;
use super::optional::{faults, fill, items, items_mut, one_of, plain, text};
use crate::{FieldError, FieldPath};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

impl Kind for Endpoints {
    has_meta!();

    fn fill(&mut self) {
        for subset in items_mut(&mut self.subsets) {
            items_mut(&mut subset.ports).iter_mut().for_each(|port| fill(&mut port.protocol, "TCP"));
        }
    }

    fn validate(&self, errors: &mut Errors) {
        for (index, subset) in items(&self.subsets).iter().enumerate() {
            let path = FieldPath::new("subsets").index(index);
            let (ready, waiting) = (items(&subset.addresses), items(&subset.not_ready_addresses));
            if ready.is_empty() && waiting.is_empty() {
                let why = "must specify `addresses` or `notReadyAddresses`";
                errors.push(FieldError::required(&path, why));
            }
            for (field, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
                for (index, address) in addresses.iter().enumerate() {
                    let path = path.child(field).index(index);
                    let ip = address.ip.as_str();
                    faults(names::common_ip(ip), ip, || path.child("ip"), errors);
                    if let Some(host) = text(&address.hostname) {
                        faults(names::dns1123_label(host), host, || path.child("hostname"), errors);
                    }
                    if let Some(node) = address.node_name.as_deref() {
                        faults(names::dns1123_subdomain(node), node, || path.child("nodeName"), errors);
                    }
                }
            }
            let several = items(&subset.ports).len() > 1;
            for (index, port) in items(&subset.ports).iter().enumerate() {
                let path = path.child("ports").index(index);
                match text(&port.name) {
                    None if several => errors.push(FieldError::required(&path.child("name"), "")),
                    None => {}
                    Some(name) => faults(names::dns1123_label(name), name, || path.child("name"), errors),
                }
                for fault in names::port_number(port.port) {
                    errors.push(FieldError::invalid(&path.child("port"), port.port, &fault));
                }
                one_of(plain(&port.protocol), PROTOCOLS, || path.child("protocol"), errors);
                if let Some(protocol) = &port.app_protocol {
                    faults(names::qualified_name(protocol), protocol, || path.child("appProtocol"), errors);
                }
            }
        }
    }
}
