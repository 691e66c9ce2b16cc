//! Services. Addresses and node ports are handed out by the registry, after this.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::Env;
use super::kind::{Errors, Kind, has_meta};
use super::optional::{faults, fill, items, items_mut, one_of, plain, text};
use super::pod::validate_port;
use super::status_rules::validate_balancer;
use super::{meta, names, service_rules};
use crate::{FieldError, FieldPath};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

impl Kind for Service {
    has_meta!();

    fn name_faults(name: &str) -> Vec<String> {
        names::dns1123_label(name)
    }

    fn fill(&mut self) {
        fill_spec(self.spec.get_or_insert_default());
        fill_modes(self);
    }

    fn prepare_create(&mut self, _env: &Env) {
        let load_balancer = Some(LoadBalancerStatus::default());
        self.status = Some(ServiceStatus { load_balancer, ..ServiceStatus::default() });
    }

    fn prepare_update(&mut self, old: &Self, _env: &Env) {
        self.status.clone_from(&old.status);
        if let (Some(new), Some(old)) = (&mut self.spec, &old.spec) {
            keep_allocated(new, old);
            drop_unneeded(new, old);
        }
    }

    fn prepare_subresource(&mut self, _name: &str, old: &Self, _env: &Env) {
        self.spec.clone_from(&old.spec);
    }

    fn validate_subresource(&self, _name: &str, errors: &mut Errors) {
        if let Some(balancer) = self.status.as_ref().and_then(|status| status.load_balancer.as_ref()) {
            validate_balancer(self.spec.as_ref(), balancer, errors);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(spec) = &self.spec {
            validate(spec, &FieldPath::new("spec"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        let kept = has_address(new) && has_address(old) && text(&old.cluster_ip).is_some();
        if kept && new.cluster_ip != old.cluster_ip {
            let path = FieldPath::new("spec").child("clusterIPs").index(0);
            let shown = json!(items(&new.cluster_ips));
            errors.push(FieldError::invalid(&path, shown, "may not change once set"));
        }
        service_rules::validate_update(new, old, errors);
    }
}

/// Whether the service has an address of its own in the cluster, be it `None`.
fn has_address(spec: &ServiceSpec) -> bool {
    plain(&spec.type_) != "ExternalName"
}

/// Whether the service is reached through a port of every node.
fn has_node_ports(spec: &ServiceSpec) -> bool {
    match plain(&spec.type_) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

fn is_external(spec: &ServiceSpec) -> bool {
    matches!(plain(&spec.type_), "NodePort" | "LoadBalancer")
}

/// How traffic reaches an address of a load balancer that does not say.
fn fill_modes(service: &mut Service) {
    let balanced = service.spec.as_ref().is_some_and(|spec| plain(&spec.type_) == "LoadBalancer");
    let status = service.status.as_mut().and_then(|status| status.load_balancer.as_mut()).filter(|_| balanced);
    for way in status.into_iter().flat_map(|status| items_mut(&mut status.ingress)) {
        if text(&way.ip).is_some() {
            fill(&mut way.ip_mode, "VIP");
        }
    }
}

fn fill_spec(spec: &mut ServiceSpec) {
    fill(&mut spec.type_, "ClusterIP");
    fill(&mut spec.session_affinity, "None");
    match plain(&spec.session_affinity) {
        "ClientIP" => {
            let config = spec.session_affinity_config.get_or_insert_default();
            let client = config.client_ip.get_or_insert_default();
            client.timeout_seconds.get_or_insert(10800);
        }
        _ => spec.session_affinity_config = None,
    }
    for port in items_mut(&mut spec.ports) {
        fill(&mut port.protocol, "TCP");
        let empty = match &port.target_port {
            None | Some(IntOrString::Int(0)) => true,
            Some(IntOrString::String(name)) => name.is_empty(),
            Some(IntOrString::Int(_)) => false,
        };
        if empty {
            port.target_port = Some(IntOrString::Int(port.port));
        }
        port.node_port.take_if(|port| *port == 0);
        port.name.take_if(|name| name.is_empty());
    }
    if is_external(spec) {
        fill(&mut spec.external_traffic_policy, "Cluster");
    }
    if plain(&spec.type_) == "LoadBalancer" {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    spec.cluster_ip.take_if(|address| address.is_empty());
    spec.cluster_ips.take_if(|addresses| addresses.is_empty());
    if has_address(spec) {
        fill(&mut spec.internal_traffic_policy, "Cluster");
        fill(&mut spec.ip_family_policy, "SingleStack");
        if items(&spec.ip_families).is_empty() {
            spec.ip_families = Some(vec!["IPv4".to_owned()]);
        }
        match (&spec.cluster_ip, items(&spec.cluster_ips).first()) {
            (Some(address), None) => spec.cluster_ips = Some(vec![address.clone()]),
            (None, Some(address)) => spec.cluster_ip = Some(address.clone()),
            _ => {}
        }
    }
}

/// What the registry handed out stays where the new object leaves it out.
fn keep_allocated(new: &mut ServiceSpec, old: &ServiceSpec) {
    // A client that knows of one address only changes that one.
    if new.cluster_ip != old.cluster_ip && new.cluster_ips == old.cluster_ips {
        new.cluster_ips = new.cluster_ip.clone().map(|address| vec![address]);
    }
    if has_address(new) && has_address(old) && new.cluster_ip.is_none() {
        new.cluster_ip.clone_from(&old.cluster_ip);
        new.cluster_ips.clone_from(&old.cluster_ips);
    }
    if has_health_port(new) && has_health_port(old) && new.health_check_node_port.unwrap_or(0) == 0 {
        new.health_check_node_port = old.health_check_node_port;
    }
    if has_node_ports(new) && has_node_ports(old) {
        let key = |port: &ServicePort| (port.protocol.clone(), port.port);
        let mut taken: BTreeSet<i32> = items(&new.ports).iter().filter_map(|port| port.node_port).collect();
        for port in items_mut(&mut new.ports) {
            let before = items(&old.ports).iter().find(|old| key(old) == key(port));
            if let (None, Some(number)) = (port.node_port, before.and_then(|old| old.node_port))
                && taken.insert(number)
            {
                port.node_port = Some(number);
            }
        }
    }
}

/// What the new type has no use for goes, unless the client set it now.
fn drop_unneeded(new: &mut ServiceSpec, old: &ServiceSpec) {
    if !has_address(new) && new.cluster_ip == old.cluster_ip {
        new.cluster_ip = None;
        new.cluster_ips = None;
        new.ip_families = None;
        new.ip_family_policy = None;
        new.internal_traffic_policy = None;
    }
    if has_node_ports(old) && !has_node_ports(new) {
        for port in items_mut(&mut new.ports) {
            let same = |old: &ServicePort| old.node_port == port.node_port;
            if items(&old.ports).iter().any(same) {
                port.node_port = None;
            }
        }
    }
    if !is_external(new) && new.external_traffic_policy == old.external_traffic_policy {
        new.external_traffic_policy = None;
    }
    let balanced = |spec: &ServiceSpec| plain(&spec.type_) == "LoadBalancer";
    if !balanced(new) {
        new.allocate_load_balancer_node_ports = None;
        if balanced(old) && new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
    }
    let same_port = new.health_check_node_port == old.health_check_node_port;
    if has_health_port(old) && !has_health_port(new) && same_port {
        new.health_check_node_port = None;
    }
}

/// Whether a load balancer asks a port of every node which of them have endpoints.
pub(super) fn has_health_port(spec: &ServiceSpec) -> bool {
    plain(&spec.type_) == "LoadBalancer" && plain(&spec.external_traffic_policy) == "Local"
}

fn validate(spec: &ServiceSpec, path: &FieldPath, errors: &mut Errors) {
    let headless = plain(&spec.cluster_ip) == "None";
    if items(&spec.ports).is_empty() && !headless && has_address(spec) {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    validate_ports(items(&spec.ports), &path.child("ports"), errors);
    if let Some(labels) = &spec.selector {
        meta::validate_labels(labels, &path.child("selector"), errors);
    }
    validate_affinity(spec, path, errors);
    validate_address(spec, headless, path, errors);
    for (index, address) in items(&spec.external_ips).iter().enumerate() {
        faults(names::common_ip(address), address, || path.child("externalIPs").index(index), errors);
    }
    service_rules::validate(spec, path, errors);
    one_of(plain(&spec.type_), TYPES, || path.child("type"), errors);
    validate_uniqueness(spec, &path.child("ports"), errors);
    let external = path.child("externalTrafficPolicy");
    match text(&spec.external_traffic_policy) {
        Some(policy) if !is_external(spec) => {
            let why = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid(&external, policy, why));
        }
        Some(policy) => one_of(policy, &["Cluster", "Local"], || external, errors),
        None => {}
    }
    if let Some(policy) = spec.internal_traffic_policy.as_deref() {
        let path = || path.child("internalTrafficPolicy");
        one_of(policy, &["Cluster", "Local"], path, errors);
    }
}

fn validate_affinity(spec: &ServiceSpec, path: &FieldPath, errors: &mut Errors) {
    let known = ["ClientIP", "None"];
    one_of(plain(&spec.session_affinity), &known, || path.child("sessionAffinity"), errors);
    let client = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    if let Some(seconds) = client.and_then(|client| client.timeout_seconds)
        && !(1..=86400).contains(&seconds)
    {
        let path = path.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds");
        let why = "must be greater than 0 and less than 86400";
        errors.push(FieldError::invalid(&path, seconds, why));
    }
}

fn validate_address(spec: &ServiceSpec, headless: bool, path: &FieldPath, errors: &mut Errors) {
    let list = path.child("clusterIPs");
    if !has_address(spec) {
        if text(&spec.cluster_ip).is_some() {
            let why = "may not be set when `type` is 'ExternalName'";
            errors.push(FieldError::forbidden(&list.index(0), why));
        }
        match text(&spec.external_name) {
            None => errors.push(FieldError::required(&path.child("externalName"), "")),
            Some(name) => {
                let plain_name = name.strip_suffix('.').unwrap_or(name);
                let path = || path.child("externalName");
                faults(names::dns1123_subdomain(plain_name), name, path, errors);
            }
        }
        return;
    }
    if headless && is_external(spec) {
        let why = format!("may not be set to 'None' for {} services", plain(&spec.type_));
        errors.push(FieldError::invalid(&list.index(0), "None", &why));
    }
    if let (Some(address), Some(first)) = (text(&spec.cluster_ip), items(&spec.cluster_ips).first())
        && address != first
    {
        let why = "must match `clusterIP`";
        errors.push(FieldError::invalid(&list, json!(items(&spec.cluster_ips)), why));
    }
    if items(&spec.cluster_ips).len() > 1 {
        let why = "may only hold one address: the cluster has one address family";
        errors.push(FieldError::invalid(&list, json!(items(&spec.cluster_ips)), why));
    }
    if let Some(address) = text(&spec.cluster_ip)
        && !headless
    {
        validate_ip(address, || list.index(0), errors);
    }
    for (index, family) in items(&spec.ip_families).iter().enumerate() {
        one_of(family, &["IPv4", "IPv6"], || path.child("ipFamilies").index(index), errors);
    }
    let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of(plain(&spec.ip_family_policy), &known, || path.child("ipFamilyPolicy"), errors);
}

fn validate_ip(address: &str, path: impl FnOnce() -> FieldPath, errors: &mut Errors) {
    faults(names::ip_address(address), address, path, errors);
}

fn validate_ports(ports: &[ServicePort], list: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = || list.index(index);
        match text(&port.name) {
            Some(name) => {
                faults(names::dns1123_label(name), name, || path().child("name"), errors);
                if !taken.insert(name) {
                    errors.push(FieldError::duplicate(&path().child("name"), name));
                }
            }
            None if ports.len() > 1 => {
                errors.push(FieldError::required(&path().child("name"), ""));
            }
            None => {}
        }
        for fault in names::port_number(port.port) {
            errors.push(FieldError::invalid(&path().child("port"), port.port, &fault));
        }
        let known = ["SCTP", "TCP", "UDP"];
        one_of(plain(&port.protocol), &known, || path().child("protocol"), errors);
        if let Some(target) = &port.target_port {
            validate_port(target, &path().child("targetPort"), errors);
        }
        if let Some(protocol) = &port.app_protocol {
            let path = || path().child("appProtocol");
            faults(names::qualified_name(protocol), protocol, path, errors);
        }
    }
}

/// Ports that may not stand twice in one service, and node ports where there are none.
fn validate_uniqueness(spec: &ServiceSpec, list: &FieldPath, errors: &mut Errors) {
    let ports = items(&spec.ports);
    if plain(&spec.type_) == "ClusterIP" {
        for index in (0..ports.len()).filter(|index| ports[*index].node_port.is_some()) {
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&list.index(index).child("nodePort"), why));
        }
    }
    let mut node_ports = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let Some(number) = port.node_port else { continue };
        if !node_ports.insert((plain(&port.protocol), number)) {
            errors.push(FieldError::duplicate(&list.index(index).child("nodePort"), number));
        }
    }
    let mut pairs = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let protocol = plain(&port.protocol);
        if !pairs.insert((protocol, port.port)) {
            let shown = json!({"protocol": protocol, "port": port.port, "targetPort": 0});
            errors.push(FieldError::duplicate(&list.index(index), shown));
        }
    }
}
