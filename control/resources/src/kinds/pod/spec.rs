//! What is wrong with a pod's spec.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, Toleration};

use super::{affinity, container, security, volume, whole};
use crate::kinds::kind::Errors;
use crate::kinds::optional::{faults, items, one_of, plain, text};
use crate::kinds::{meta, names};
use crate::{FieldError, FieldPath};

/// The rules that pods and templates share.
pub(super) fn validate(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let volumes = volume::validate(items(&spec.volumes), &path.child("volumes"), errors);
    validate_claims(spec, path, errors);
    whole::validate(spec, path, errors);
    container::validate_all(spec, &volumes, path, errors);
    let restart = ["Always", "OnFailure", "Never"];
    one_of(plain(&spec.restart_policy), &restart, || path.child("restartPolicy"), errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(plain(&spec.dns_policy), &dns, || path.child("dnsPolicy"), errors);
    if let Some(labels) = &spec.node_selector {
        meta::validate_labels(labels, &path.child("nodeSelector"), errors);
    }
    security::validate_pod(spec, path, errors);
    if let Some(affinity) = &spec.affinity {
        affinity::validate(affinity, &path.child("affinity"), errors);
    }
    validate_dns(spec, path, errors);
    validate_gates(spec, path, errors);
    let spreads = items(&spec.topology_spread_constraints);
    if !spreads.is_empty() {
        affinity::validate_spreads(spreads, &path.child("topologySpreadConstraints"), errors);
    }
    validate_host(spec, path, errors);
    validate_names(spec, path, errors);
    validate_override(spec, path, errors);
    if let Some(deadline) = spec.active_deadline_seconds {
        for fault in names::in_range(deadline, 1, i64::from(i32::MAX)) {
            let path = path.child("activeDeadlineSeconds");
            errors.push(FieldError::invalid(&path, deadline, &fault));
        }
    }
    for (index, toleration) in items(&spec.tolerations).iter().enumerate() {
        validate_toleration(toleration, || path.child("tolerations").index(index), errors);
    }
    let at = || path.child("preemptionPolicy");
    match spec.preemption_policy.as_deref() {
        Some("") => errors.push(FieldError::required(&at(), "")),
        Some(policy) => one_of(policy, &["PreemptLowerPriority", "Never"], at, errors),
        None => {}
    }
    security::validate_os(spec, path, errors);
}

/// The rules that hold for pods alone.
pub(super) fn validate_pod(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    container::validate_for_pod(spec, path, errors);
    if text(&spec.node_name).is_some() && !items(&spec.scheduling_gates).is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(&path.child("nodeName"), why));
    }
}

/// How many servers names are asked of at most, how many domains are searched, and how long these are together.
const NAMESERVERS: usize = 3;
const SEARCHES: usize = 32;
const SEARCH_CHARS: usize = 2048;

fn validate_dns(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let alone = plain(&spec.dns_policy) == "None";
    let path = || path.child("dnsConfig");
    let Some(config) = &spec.dns_config else {
        if alone {
            errors.push(FieldError::required(&path(), "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        return;
    };
    let servers = items(&config.nameservers);
    let at = path().child("nameservers");
    if alone && servers.is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(&at, why));
        return;
    }
    if servers.len() > NAMESERVERS {
        let why = format!("must not have more than {NAMESERVERS} nameservers");
        errors.push(FieldError::invalid(&at, servers.to_vec(), &why));
    }
    for (index, server) in servers.iter().enumerate() {
        faults(names::ip_address(server), server, || at.index(index), errors);
    }
    let searches = items(&config.searches);
    let at = path().child("searches");
    if searches.len() > SEARCHES {
        let why = format!("must not have more than {SEARCHES} search paths");
        errors.push(FieldError::invalid(&at, searches.to_vec(), &why));
    }
    if searches.join(" ").len() > SEARCH_CHARS {
        let why = format!("must not have more than {SEARCH_CHARS} characters (including spaces) in the search list");
        errors.push(FieldError::invalid(&at, searches.to_vec(), &why));
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let domain = search.strip_suffix('.').unwrap_or(search);
        faults(names::dns1123_subdomain_with_underscore(domain), domain, || at.index(index), errors);
    }
    for (index, option) in items(&config.options).iter().enumerate() {
        if plain(&option.name).is_empty() {
            errors.push(FieldError::required(&path().child("options").index(index), "must not be empty"));
        }
    }
}

/// What a pod shares with its node, and the names that it gives to addresses.
fn validate_host(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    for (index, alias) in items(&spec.host_aliases).iter().enumerate() {
        let path = path.child("hostAliases").index(index);
        faults(names::ip_address(&alias.ip), &alias.ip, || path.child("ip"), errors);
        for (index, name) in items(&alias.hostnames).iter().enumerate() {
            faults(names::dns1123_subdomain(name), name, || path.child("hostnames").index(index), errors);
        }
    }
    if spec.host_network == Some(true) {
        validate_host_ports(spec, path, errors);
    }
    if spec.host_users == Some(false) {
        let shared = [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)];
        for (field, _) in shared.into_iter().filter(|(_, shared)| *shared == Some(true)) {
            errors.push(FieldError::forbidden(&path.child(field), "when `pod.Spec.HostUsers` is false"));
        }
    }
}

/// On the node's own network a port is the node's port. Templates may leave it out: it is filled in for the pod.
fn validate_host_ports(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    for (index, container) in spec.containers.iter().enumerate() {
        let path = path.child("containers").index(index).child("ports");
        for (index, port) in items(&container.ports).iter().enumerate() {
            let host = port.host_port.unwrap_or(0);
            if host != 0 && host != port.container_port {
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&path.index(index).child("hostPort"), host, why));
            }
        }
    }
}

/// The claims to devices that containers can name.
fn validate_claims(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (index, claim) in items(&spec.resource_claims).iter().enumerate() {
        let path = path.child("resourceClaims").index(index);
        let name = claim.name.as_str();
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else if !taken.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        } else {
            faults(names::dns1123_label(name), name, || path.child("name"), errors);
        }
        let why = match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            (None, None) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            _ => "",
        };
        if !why.is_empty() {
            errors.push(FieldError::invalid(&path, serde_json::to_value(claim).unwrap_or_default(), why));
        }
        let named = [
            ("resourceClaimName", &claim.resource_claim_name),
            ("resourceClaimTemplateName", &claim.resource_claim_template_name),
        ];
        for (field, name) in named {
            if let Some(name) = name {
                faults(names::dns1123_subdomain(name), name, || path.child(field), errors);
            }
        }
    }
}

fn validate_gates(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    for (index, gate) in items(&spec.readiness_gates).iter().enumerate() {
        let condition = gate.condition_type.as_str();
        let path = || path.child("readinessGates").index(index).child("conditionType");
        faults(names::qualified_name(condition), condition, path, errors);
    }
    let mut taken = BTreeSet::new();
    for (index, gate) in items(&spec.scheduling_gates).iter().enumerate() {
        let path = || path.child("schedulingGates").index(index);
        faults(names::qualified_name(&gate.name), &gate.name, path, errors);
        if !taken.insert(&gate.name) {
            errors.push(FieldError::duplicate(&path(), gate.name.as_str()));
        }
    }
}

fn validate_names(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    type Form = fn(&str) -> Vec<String>;
    let named: [(&str, &Option<String>, Form); 7] = [
        ("serviceAccountName", &spec.service_account_name, names::dns1123_subdomain),
        ("nodeName", &spec.node_name, names::dns1123_subdomain),
        ("hostname", &spec.hostname, names::dns1123_label),
        ("subdomain", &spec.subdomain, names::dns1123_label),
        ("schedulerName", &spec.scheduler_name, names::qualified_name),
        ("runtimeClassName", &spec.runtime_class_name, names::dns1123_subdomain),
        ("priorityClassName", &spec.priority_class_name, names::dns1123_subdomain),
    ];
    for (field, value, form) in named {
        if let Some(value) = text(value) {
            faults(form(value), value, || path.child(field), errors);
        }
    }
}

/// How long a host's name is at most, in bytes.
const HOSTNAME: usize = 64;

/// A name of the host in the place of all others (KEP-4762).
fn validate_override(spec: &PodSpec, path: &FieldPath, errors: &mut Errors) {
    let Some(name) = &spec.hostname_override else { return };
    let path = path.child("hostnameOverride");
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.push(FieldError::forbidden(&path, "may not be specified when `setHostnameAsFQDN` is true"));
    }
    if spec.host_network == Some(true) {
        errors.push(FieldError::forbidden(&path, "may not be specified when `hostNetwork` is true"));
    }
    if name.len() > HOSTNAME {
        errors.push(FieldError::too_long(&path, HOSTNAME));
    }
    faults(names::dns1123_subdomain(name), name, || path.clone(), errors);
}

pub(in crate::kinds) fn validate_toleration(
    toleration: &Toleration,
    path: impl Fn() -> FieldPath,
    errors: &mut Errors,
) {
    let (key, operator) = (plain(&toleration.key), plain(&toleration.operator));
    let effect = plain(&toleration.effect);
    if !key.is_empty() {
        faults(names::qualified_name(key), key, || path().child("key"), errors);
    } else if operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(&path().child("operator"), operator, why));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(&path().child("effect"), effect, why));
    }
    match operator {
        "" | "Equal" => {
            let value = plain(&toleration.value);
            let found = names::label_value(value);
            if !found.is_empty() {
                let path = path().child("operator");
                errors.push(FieldError::invalid(&path, value, &found.join(";")));
            }
        }
        "Exists" => {
            if let Some(value) = text(&toleration.value) {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&path().child("operator"), value, why));
            }
        }
        _ => one_of(operator, &["Equal", "Exists"], || path().child("operator"), errors),
    }
    if !effect.is_empty() {
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        one_of(effect, &known, || path().child("effect"), errors);
    }
}
