//! What goes together in a Service: what belongs to load balancers alone, and families of addresses.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ServiceSpec;

use super::kind::Errors;
use super::names;
use super::optional::{faults, items, one_of, plain, text};
use super::service::has_health_port;
use crate::{FieldError, FieldPath};

const FOR_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";

/// The fields of a service that depend on others.
pub(super) fn validate(spec: &ServiceSpec, path: &FieldPath, errors: &mut Errors) {
    let balanced = plain(&spec.type_) == "LoadBalancer";
    let ranges = items(&spec.load_balancer_source_ranges);
    // kube-apiserver writes it with a capital letter here.
    let at = || path.child("LoadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        errors.push(FieldError::forbidden(&at(), FOR_BALANCERS));
    }
    for (index, range) in ranges.iter().enumerate() {
        let range = range.trim();
        faults(names::cidr(range), range, || at().index(index), errors);
    }
    if spec.allocate_load_balancer_node_ports.is_some() && !balanced {
        errors.push(FieldError::forbidden(&path.child("allocateLoadBalancerNodePorts"), FOR_BALANCERS));
    }
    if let Some(class) = text(&spec.load_balancer_class) {
        let path = || path.child("loadBalancerClass");
        if !balanced {
            errors.push(FieldError::forbidden(&path(), FOR_BALANCERS));
        }
        faults(names::qualified_name(class), class, path, errors);
    }
    if let Some(port) = spec.health_check_node_port.filter(|port| *port != 0)
        && !has_health_port(spec)
    {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid(&path.child("healthCheckNodePort"), port, why));
    }
    if let Some(distribution) = text(&spec.traffic_distribution) {
        let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
        one_of(distribution, &known, || path.child("trafficDistribution"), errors);
    }
    validate_families(spec, path, errors);
}

/// The cluster's addresses are of one family, IPv4.
fn validate_families(spec: &ServiceSpec, path: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    let headless = plain(&spec.cluster_ip) == "None" && spec.selector.as_ref().is_none_or(|labels| labels.is_empty());
    for (index, family) in items(&spec.ip_families).iter().enumerate() {
        let path = || path.child("ipFamilies").index(index);
        if !taken.insert(family) {
            errors.push(FieldError::duplicate(&path(), family.as_str()));
        } else if family == "IPv6" && !headless {
            errors.push(FieldError::invalid(&path(), family.as_str(), "not configured on this cluster"));
        }
    }
    if plain(&spec.ip_family_policy) == "RequireDualStack" && !headless {
        let why = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(&path.child("ipFamilyPolicy"), "RequireDualStack", why));
    }
}

/// What does not change while the type stays.
pub(super) fn validate_update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    let (port, before) = (new.health_check_node_port.unwrap_or(0), old.health_check_node_port.unwrap_or(0));
    if has_health_port(new) && has_health_port(old) && port != before {
        let path = FieldPath::new("spec").child("healthCheckNodePort");
        let why = "cannot change healthCheckNodePort on loadBalancer service with externalTraffic=Local during update";
        errors.push(FieldError::invalid(&path, port, why));
    }
    let balanced = |spec: &ServiceSpec| plain(&spec.type_) == "LoadBalancer";
    if balanced(new) && balanced(old) && new.load_balancer_class != old.load_balancer_class {
        let path = FieldPath::new("spec").child("loadBalancerClass");
        let shown = serde_json::to_value(&new.load_balancer_class).unwrap_or_default();
        errors.push(FieldError::invalid(&path, shown, "may not change once set"));
    }
}
