//! Ingresses and network policies.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, IPBlock, Ingress, IngressBackend, IngressClass, IngressClassSpec, IngressLoadBalancerStatus,
    IngressSpec, IngressStatus, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::kind::{Errors, Kind, has_meta, has_status};
use super::meta::validate_domain_path;
use super::names;
use super::optional::{faults, fill, items, items_mut, one_of, plain, text};
use super::status_rules::validate_ingress;
use super::workload::validate_selector_parts;
use crate::{FieldError, FieldPath};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

impl Kind for Ingress {
    const GENERATION: bool = true;

    has_meta!();

    has_status!(IngressStatus { load_balancer: Some(IngressLoadBalancerStatus::default()) });

    fn validate_subresource(&self, _name: &str, errors: &mut Errors) {
        if let Some(balancer) = self.status.as_ref().and_then(|status| status.load_balancer.as_ref()) {
            validate_ingress(balancer, errors);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let path = FieldPath::new("spec");
        let empty = IngressSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&empty);
        if items(&spec.rules).is_empty() && spec.default_backend.is_none() {
            let shown = serde_json::to_value(&spec.rules).unwrap_or_default();
            let why = "either `defaultBackend` or `rules` must be specified";
            errors.push(FieldError::invalid(&path, shown, why));
        }
        if let Some(backend) = &spec.default_backend {
            validate_backend(backend, &path.child("defaultBackend"), errors);
        }
        for (index, rule) in items(&spec.rules).iter().enumerate() {
            let path = path.child("rules").index(index);
            if let Some(host) = text(&rule.host) {
                validate_host(host, &path.child("host"), errors);
            }
            let Some(http) = &rule.http else { continue };
            let path = path.child("http").child("paths");
            if http.paths.is_empty() {
                errors.push(FieldError::required(&path, ""));
            }
            for (index, rule) in http.paths.iter().enumerate() {
                validate_path(rule, &path.index(index), errors);
            }
        }
        for (index, tls) in items(&spec.tls).iter().enumerate() {
            let path = path.child("tls").index(index);
            for (index, host) in items(&tls.hosts).iter().enumerate() {
                validate_host(host, &path.child("hosts").index(index), errors);
            }
            if let Some(secret) = text(&tls.secret_name) {
                faults(names::dns1123_subdomain(secret), secret, || path.child("secretName"), errors);
            }
        }
        if let Some(class) = &spec.ingress_class_name {
            faults(names::dns1123_subdomain(class), class, || path.child("ingressClassName"), errors);
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

fn validate_host(host: &str, path: &FieldPath, errors: &mut Errors) {
    if host.parse::<IpAddr>().is_ok() {
        errors.push(FieldError::invalid(path, host, "must be a DNS name, not an IP address"));
        return;
    }
    match host.strip_prefix("*.") {
        Some(rest) => {
            if !names::dns1123_subdomain(rest).is_empty() {
                let why = names::regex_fault(
                    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                     consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
                    "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
                    &["*.example.com"],
                );
                errors.push(FieldError::invalid(path, host, &why));
            }
        }
        None => faults(names::dns1123_subdomain(host), host, || path.clone(), errors),
    }
}

fn validate_path(rule: &HTTPIngressPath, path: &FieldPath, errors: &mut Errors) {
    let given = plain(&rule.path);
    let at = || path.child("path");
    match &*rule.path_type {
        "" => errors.push(FieldError::required(&path.child("pathType"), "pathType must be specified")),
        "Exact" | "Prefix" => {
            if !given.starts_with('/') {
                errors.push(FieldError::invalid(&at(), given, "must be an absolute path"));
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| given.contains(**part)) {
                errors.push(FieldError::invalid(&at(), given, &format!("must not contain '{part}'")));
            }
            for end in ["/..", "/."].iter().filter(|end| given.ends_with(**end)) {
                errors.push(FieldError::invalid(&at(), given, &format!("cannot end with '{end}'")));
            }
        }
        "ImplementationSpecific" => {
            if !given.is_empty() && !given.starts_with('/') {
                errors.push(FieldError::invalid(&at(), given, "must be an absolute path"));
            }
        }
        other => {
            let known = ["Exact", "ImplementationSpecific", "Prefix"];
            one_of(other, &known, || path.child("pathType"), errors);
        }
    }
    validate_backend(&rule.backend, &path.child("backend"), errors);
}

fn validate_backend(backend: &IngressBackend, path: &FieldPath, errors: &mut Errors) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => {
            let why = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(path, "", why));
        }
        (None, None) => errors.push(FieldError::invalid(path, "", "resource or service backend is required")),
        (Some(resource), None) => {
            let named = (resource.api_group.as_deref(), resource.kind.as_str(), resource.name.as_str());
            validate_reference(named, &path.child("resource"), errors);
        }
        (None, Some(service)) => {
            let whole = path;
            let path = path.child("service");
            if service.name.is_empty() {
                errors.push(FieldError::required(&path.child("name"), ""));
            } else {
                faults(names::dns1123_label(&service.name), &service.name, || path.child("name"), errors);
            }
            let port = service.port.clone().unwrap_or_default();
            let (name, number) = (plain(&port.name), port.number.unwrap_or(0));
            match (name.is_empty(), number == 0) {
                (false, false) => {
                    let why = "cannot set both port name & port number";
                    errors.push(FieldError::invalid(whole, "", why));
                }
                (true, true) => {
                    errors.push(FieldError::required(whole, "port name or number is required"));
                }
                (false, true) => faults(names::port_name(name), name, || path.child("port").child("name"), errors),
                (true, false) => {
                    for fault in names::port_number(number) {
                        errors.push(FieldError::invalid(&path.child("port").child("number"), number, &fault));
                    }
                }
            }
        }
    }
}

/// An object of some kind, told by group, kind and name.
fn validate_reference(named: (Option<&str>, &str, &str), path: &FieldPath, errors: &mut Errors) {
    let (group, kind, name) = named;
    if let Some(group) = group {
        faults(names::dns1123_subdomain(group), group, || path.child("apiGroup"), errors);
    }
    for (field, value) in [("kind", kind), ("name", name)] {
        if value.is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        } else {
            faults(names::path_segment(value), value, || path.child(field), errors);
        }
    }
}

impl Kind for IngressClass {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        if let Some(parameters) = self.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) {
            fill(&mut parameters.scope, "Cluster");
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let empty = IngressClassSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&empty);
        let path = FieldPath::new("spec");
        let controller = plain(&spec.controller);
        validate_domain_path(controller, 250, &path.child("controller"), errors);
        if let Some(parameters) = &spec.parameters {
            let path = path.child("parameters");
            let named = (parameters.api_group.as_deref(), parameters.kind.as_str(), parameters.name.as_str());
            validate_reference(named, &path, errors);
            one_of(plain(&parameters.scope), &["Cluster", "Namespace"], || path.child("scope"), errors);
            let namespaced = plain(&parameters.scope) == "Namespace";
            match (namespaced, text(&parameters.namespace)) {
                (true, None) => {
                    let why = "`parameters.scope` is set to 'Namespace'";
                    errors.push(FieldError::required(&path.child("namespace"), why));
                }
                (false, Some(_)) => {
                    let why = "`parameters.scope` is set to 'Cluster'";
                    errors.push(FieldError::forbidden(&path.child("namespace"), why));
                }
                _ => {}
            }
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let controller = |class: &Self| class.spec.as_ref().and_then(|spec| spec.controller.clone());
        if controller(self) != controller(old) {
            let path = FieldPath::new("spec").child("controller");
            let shown = controller(self).unwrap_or_default();
            errors.push(FieldError::invalid(&path, shown, "field is immutable"));
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

impl Kind for NetworkPolicy {
    const GENERATION: bool = true;

    has_meta!();

    fn fill(&mut self) {
        let Some(spec) = &mut self.spec else { return };
        for rule in items_mut(&mut spec.ingress) {
            items_mut(&mut rule.ports).iter_mut().for_each(|port| fill(&mut port.protocol, "TCP"));
        }
        for rule in items_mut(&mut spec.egress) {
            items_mut(&mut rule.ports).iter_mut().for_each(|port| fill(&mut port.protocol, "TCP"));
        }
        if items(&spec.policy_types).is_empty() {
            let types = spec.policy_types.get_or_insert_default();
            types.push("Ingress".to_owned());
            if spec.egress.as_ref().is_some_and(|egress| !egress.is_empty()) {
                types.push("Egress".to_owned());
            }
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let path = FieldPath::new("spec");
        if let Some(selector) = &spec.pod_selector {
            validate_selector_parts(selector, &path.child("podSelector"), errors);
        }
        if items(&spec.policy_types).len() > 2 {
            let why = "may not specify more than two policyTypes";
            errors.push(FieldError::invalid(&path.child("policyTypes"), items(&spec.policy_types).to_vec(), why));
            return;
        }
        for (index, rule) in items(&spec.ingress).iter().enumerate() {
            let path = path.child("ingress").index(index);
            validate_ports(items(&rule.ports), &path.child("ports"), errors);
            validate_peers(items(&rule.from), &path.child("from"), errors);
        }
        for (index, rule) in items(&spec.egress).iter().enumerate() {
            let path = path.child("egress").index(index);
            validate_ports(items(&rule.ports), &path.child("ports"), errors);
            validate_peers(items(&rule.to), &path.child("to"), errors);
        }
        for (index, kind) in items(&spec.policy_types).iter().enumerate() {
            one_of(kind, &["Egress", "Ingress"], || path.child("policyTypes").index(index), errors);
        }
    }

    fn wants_other(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
}

fn validate_ports(ports: &[NetworkPolicyPort], path: &FieldPath, errors: &mut Errors) {
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(protocol) = port.protocol.as_deref() {
            one_of(protocol, PROTOCOLS, || path.child("protocol"), errors);
        }
        match (&port.port, port.end_port) {
            (Some(IntOrString::Int(number)), end) => {
                for fault in names::port_number(*number) {
                    errors.push(FieldError::invalid(&path.child("port"), *number, &fault));
                }
                if let Some(end) = end.filter(|end| end < number) {
                    let why = "must be greater than or equal to `port`";
                    errors.push(FieldError::invalid(&path.child("endPort"), end, why));
                }
            }
            (Some(IntOrString::String(name)), end) => {
                faults(names::port_name(name), name, || path.child("port"), errors);
                if let Some(end) = end {
                    let why = "may not be specified when `port` is non-numeric";
                    errors.push(FieldError::invalid(&path.child("endPort"), end, why));
                }
            }
            (None, Some(end)) => {
                let why = "may not be specified when `port` is not specified";
                errors.push(FieldError::invalid(&path.child("endPort"), end, why));
            }
            (None, None) => {}
        }
    }
}

fn validate_peers(peers: &[NetworkPolicyPeer], path: &FieldPath, errors: &mut Errors) {
    for (index, peer) in peers.iter().enumerate() {
        let path = path.index(index);
        for (field, selector) in [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)]
        {
            if let Some(selector) = selector {
                validate_selector_parts(selector, &path.child(field), errors);
            }
        }
        let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        match &peer.ip_block {
            None if !selects => errors.push(FieldError::required(&path, "must specify a peer")),
            None => {}
            Some(block) => {
                validate_block(block, &path.child("ipBlock"), errors);
                if selects {
                    let why = "may not specify both ipBlock and another peer";
                    errors.push(FieldError::forbidden(&path, why));
                }
            }
        }
    }
}

/// Addresses, and those among them that are not meant.
fn validate_block(block: &IPBlock, path: &FieldPath, errors: &mut Errors) {
    if block.cidr.is_empty() {
        errors.push(FieldError::required(&path.child("cidr"), ""));
        return;
    }
    validate_cidr(&block.cidr, &path.child("cidr"), errors);
    if !names::cidr(&block.cidr).is_empty() {
        return;
    }
    for (index, except) in items(&block.except).iter().enumerate() {
        let path = path.child("except").index(index);
        validate_cidr(except, &path, errors);
        if !is_within(except, &block.cidr) {
            let why = "must be a strict subset of `cidr`";
            errors.push(FieldError::invalid(&path, except.as_str(), why));
        }
    }
}

fn validate_cidr(cidr: &str, path: &FieldPath, errors: &mut Errors) {
    faults(names::cidr(cidr), cidr, || path.clone(), errors);
}

/// Whether the addresses of `inner` are some of `outer`'s, not all; true of what is none.
fn is_within(inner: &str, outer: &str) -> bool {
    let read = |text: &str| {
        let (address, bits) = text.split_once('/')?;
        let (bits, address) = (bits.parse::<u32>().ok()?, address.parse::<IpAddr>().ok()?);
        Some(match address {
            IpAddr::V4(ip) => (bits + 96, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (bits, ip.to_bits()),
        })
    };
    let (Some((inner_bits, inner)), Some((outer_bits, outer))) = (read(inner), read(outer)) else { return true };
    let network = |ip: u128| ip.checked_shr(128u32.saturating_sub(outer_bits)).unwrap_or(0);
    inner_bits > outer_bits && network(inner) == network(outer)
}
