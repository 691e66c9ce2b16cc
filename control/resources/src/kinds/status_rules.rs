//! What statuses cannot say, whoever writes them: counts of pods that do not add up, and places where nothing is reached.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{LoadBalancerStatus, ServiceSpec};
use k8s_openapi::api::networking::v1::IngressLoadBalancerStatus;
use serde::Serialize;

use super::kind::Errors;
use super::names;
use super::optional::{faults, items, non_negative, one_of, plain, text};
use crate::{FieldError, FieldPath};

/// Refuses negative counts, and parts that are more than what they are of: each part with the field of its whole, and how that
/// is called.
pub(super) fn validate_counts(
    status: &Option<impl Serialize>,
    counts: &[&str],
    parts: &[(&str, &str, &str)],
    errors: &mut Errors,
) {
    let status = serde_json::to_value(status).unwrap_or_default();
    let path = FieldPath::new("status");
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    for field in counts {
        non_negative(count(field), || path.child(field), errors);
    }
    for (part, whole, called) in parts {
        if count(part) > count(whole) {
            let why = format!("cannot be greater than {called}");
            errors.push(FieldError::invalid(&path.child(part), count(part), &why));
        }
    }
}

/// The counts of a ReplicaSet, or of what came before those.
pub(super) fn validate_replicas(status: &Option<impl Serialize>, errors: &mut Errors) {
    validate_counts(
        status,
        &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
        &[
            ("fullyLabeledReplicas", "replicas", "status.replicas"),
            ("readyReplicas", "replicas", "status.replicas"),
            ("availableReplicas", "replicas", "status.replicas"),
            ("availableReplicas", "readyReplicas", "readyReplicas"),
        ],
        errors,
    );
}

/// How often names were taken is counted up only.
pub(super) fn validate_collisions(new: Option<i32>, old: Option<i32>, errors: &mut Errors) {
    if old.is_some_and(|old| new.is_none_or(|new| new < old)) {
        let path = FieldPath::new("status").child("collisionCount");
        errors.push(FieldError::invalid(&path, new.unwrap_or(0), "cannot be decremented"));
    }
}

/// Where the load balancer of a service is reached.
pub(super) fn validate_balancer(spec: Option<&ServiceSpec>, status: &LoadBalancerStatus, errors: &mut Errors) {
    let list = FieldPath::new("status").child("loadBalancer").child("ingress");
    let balanced = spec.is_some_and(|spec| plain(&spec.type_) == "LoadBalancer");
    if !balanced && !items(&status.ingress).is_empty() {
        errors.push(FieldError::forbidden(&list, "may only be used when `spec.type` is 'LoadBalancer'"));
        return;
    }
    for (index, way) in items(&status.ingress).iter().enumerate() {
        let path = list.index(index);
        validate_way(text(&way.ip), text(&way.hostname), &path, errors);
        let path = path.child("ipMode");
        match (text(&way.ip), &way.ip_mode) {
            (Some(_), None) => errors.push(FieldError::required(&path, "must be specified when `ip` is set")),
            (None, Some(_)) => errors.push(FieldError::forbidden(&path, "may not be specified when `ip` is not set")),
            (Some(_), Some(mode)) => one_of(mode, &["Proxy", "VIP"], || path, errors),
            (None, None) => {}
        }
    }
}

/// Where an ingress is reached.
pub(super) fn validate_ingress(status: &IngressLoadBalancerStatus, errors: &mut Errors) {
    let list = FieldPath::new("status").child("loadBalancer").child("ingress");
    for (index, way) in items(&status.ingress).iter().enumerate() {
        validate_way(text(&way.ip), text(&way.hostname), &list.index(index), errors);
    }
}

fn validate_way(ip: Option<&str>, host: Option<&str>, path: &FieldPath, errors: &mut Errors) {
    if let Some(ip) = ip {
        faults(names::ip_address(ip), ip, || path.child("ip"), errors);
    }
    if let Some(host) = host {
        let path = path.child("hostname");
        faults(names::dns1123_subdomain(host), host, || path.clone(), errors);
        if host.parse::<IpAddr>().is_ok() {
            errors.push(FieldError::invalid(&path, host, "must be a DNS name, not an IP address"));
        }
    }
}
