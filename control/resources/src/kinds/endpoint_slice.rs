//! EndpointSlices.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use super::Env;
use super::kind::{Errors, Kind, has_meta};
use super::names;
use super::optional::{faults, fill, items, items_mut, one_of, plain};
use crate::field::FieldErrorKind;
use crate::{FieldError, FieldPath};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20000;

impl Kind for EndpointSlice {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        for port in items_mut(&mut self.ports) {
            port.name.get_or_insert_default();
            fill(&mut port.protocol, "TCP");
        }
    }

    fn prepare_update(&mut self, _old: &Self, _env: &Env) {}

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("addressType");
        if self.address_type.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else {
            one_of(&self.address_type, &["FQDN", "IPv4", "IPv6"], || path, errors);
        }
        let list = FieldPath::new("endpoints");
        let endpoints = items(&self.endpoints);
        too_many(endpoints.len(), MAX_ENDPOINTS, &list, errors);
        for (index, endpoint) in endpoints.iter().enumerate() {
            validate_endpoint(endpoint, &self.address_type, || list.index(index), errors);
        }
        validate_ports(items(&self.ports), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        if self.address_type != old.address_type {
            let path = FieldPath::new("addressType");
            let shown = self.address_type.as_str();
            errors.push(FieldError::invalid(&path, shown, "field is immutable"));
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.endpoints != old.endpoints || self.ports != old.ports || self.metadata.labels != old.metadata.labels
    }
}

fn too_many(found: usize, max: usize, path: &FieldPath, errors: &mut Errors) {
    if found > max {
        let message = format!("Too many: {found}: must have at most {max} items");
        let kind = FieldErrorKind::TooMany;
        errors.push(FieldError { kind, path: path.clone(), message });
    }
}

fn validate_endpoint(endpoint: &Endpoint, address_type: &str, path: impl Fn() -> FieldPath, errors: &mut Errors) {
    if endpoint.addresses.is_empty() {
        let why = "must contain at least 1 address";
        errors.push(FieldError::required(&path().child("addresses"), why));
    }
    if endpoint.addresses.len() > MAX_ADDRESSES {
        too_many(endpoint.addresses.len(), MAX_ADDRESSES, &path().child("addresses"), errors);
    }
    for (index, address) in endpoint.addresses.iter().enumerate() {
        let found = match address_type {
            "IPv4" if address.parse::<Ipv4Addr>().is_err() => {
                vec!["must be a valid IPv4 address".to_owned()]
            }
            "IPv6" if address.parse::<Ipv6Addr>().is_err() => {
                vec!["must be a valid IPv6 address".to_owned()]
            }
            "FQDN" => names::dns1123_subdomain(address),
            _ => continue,
        };
        faults(found, address, || path().child("addresses").index(index), errors);
    }
    if let Some(node) = endpoint.node_name.as_deref() {
        faults(names::dns1123_subdomain(node), node, || path().child("nodeName"), errors);
    }
    if let Some(host) = endpoint.hostname.as_deref() {
        faults(names::dns1123_label(host), host, || path().child("hostname"), errors);
    }
}

fn validate_ports(ports: &[EndpointPort], errors: &mut Errors) {
    let list = FieldPath::new("ports");
    too_many(ports.len(), MAX_PORTS, &list, errors);
    let mut taken = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = || list.index(index);
        let name = plain(&port.name);
        if !name.is_empty() {
            faults(names::dns1123_label(name), name, || path().child("name"), errors);
        }
        if !taken.insert(name) {
            errors.push(FieldError::duplicate(&path().child("name"), name));
        }
        let known = ["SCTP", "TCP", "UDP"];
        one_of(plain(&port.protocol), &known, || path().child("protocol"), errors);
        if let Some(protocol) = &port.app_protocol {
            faults(names::qualified_name(protocol), protocol, || path().child("appProtocol"), errors);
        }
    }
}
