//! How much of what quotas count an object takes (`pkg/quota/v1/evaluator/core`).

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::Resource;
use crate::amounts::{Amounts, Side, containers, of_pod, read};
use crate::quantity::Quantity;

/// What stands between a storage class and what is counted of it.
pub(super) const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
pub(super) const COUNT: &str = "count/";
/// Core resources whose objects are counted under their plain names too.
const PLAIN: &[&str] = &["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
const NATIVE: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// What an object takes, and what decides which quotas it counts against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measure {
    usage: Amounts,
    pub(super) traits: Option<PodTraits>,
    /// From then on the object takes no more than its number.
    overdue: Option<Timestamp>,
}

impl Measure {
    /// What the object takes at that time: a pod whose end is overdue counts as ended.
    pub fn usage(&self, now: Timestamp) -> Cow<'_, Amounts> {
        if self.overdue.is_none_or(|overdue| now <= overdue) {
            return Cow::Borrowed(&self.usage);
        }
        let counted = self.usage.iter().filter(|(name, _)| name.starts_with(COUNT));
        Cow::Owned(counted.map(|(name, amount)| (name.clone(), *amount)).collect())
    }
}

/// What scopes ask of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodTraits {
    pub terminating: bool,
    pub best_effort: bool,
    pub cross_namespace: bool,
    /// Empty for none.
    pub priority_class: String,
}

/// The resources whose objects take more than their number.
pub fn is_measured(resource: &Resource) -> bool {
    resource.group.is_empty() && matches!(&*resource.plural, "pods" | "services" | "persistentvolumeclaims")
}

/// Whether no quota counts objects of the resource.
pub fn is_ignored(resource: &Resource) -> bool {
    !resource.namespaced || resource.plural == "events"
}

/// Measures an object.
pub fn measure(resource: &Resource, object: &Value) -> Measure {
    let mut usage = Amounts::new();
    usage.insert(format!("{COUNT}{}", resource.qualified()), Quantity::from_units(1));
    if !resource.group.is_empty() {
        return Measure { usage, ..Measure::default() };
    }
    match &*resource.plural {
        "pods" => {
            if !matches!(object["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
                pod(&object["spec"], &mut usage);
            }
            return Measure { usage, traits: Some(traits(object)), overdue: overdue(&object["metadata"]) };
        }
        "services" => service(&object["spec"], &mut usage),
        "persistentvolumeclaims" => claim(object, &mut usage),
        plain if PLAIN.contains(&plain) => {
            usage.insert(plain.to_owned(), Quantity::from_units(1));
        }
        _ => {}
    }
    Measure { usage, ..Measure::default() }
}

fn overdue(metadata: &Value) -> Option<Timestamp> {
    let deleted: Timestamp = metadata["deletionTimestamp"].as_str()?.parse().ok()?;
    let grace = metadata["deletionGracePeriodSeconds"].as_i64()?;
    deleted.checked_add(SignedDuration::from_secs(grace)).ok()
}

fn pod(spec: &Value, usage: &mut Amounts) {
    let (requests, limits) = (of_pod(spec, Side::Requests), of_pod(spec, Side::Limits));
    usage.insert("pods".to_owned(), Quantity::from_units(1));
    compute(&requests, &limits, usage);
}

/// The names under which quotas count what is requested and limited.
pub(super) fn compute(requests: &Amounts, limits: &Amounts, usage: &mut Amounts) {
    for (name, amount) in requests {
        if NATIVE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
            usage.insert(format!("requests.{name}"), *amount);
        } else if is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in NATIVE {
        if let Some(amount) = limits.get(*name) {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
}

/// Whether the name is of something that is not Kubernetes' own.
pub(super) fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
        && !name.starts_with("requests.")
}

fn traits(pod: &Value) -> PodTraits {
    let spec = &pod["spec"];
    PodTraits {
        terminating: spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0),
        best_effort: pod["status"]["qosClass"] == "BestEffort",
        cross_namespace: is_cross_namespace(&spec["affinity"]),
        priority_class: spec["priorityClassName"].as_str().unwrap_or_default().to_owned(),
    }
}

fn is_cross_namespace(affinity: &Value) -> bool {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let rules = &affinity[*kind];
        let required = list(&rules["requiredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = list(&rules["preferredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = preferred.into_iter().map(|weighted| weighted["podAffinityTerm"].clone());
        required.into_iter().chain(preferred).any(|term| {
            term["namespaces"].as_array().is_some_and(|names| !names.is_empty())
                || term["namespaceSelector"].is_object()
        })
    })
}

fn service(spec: &Value, usage: &mut Amounts) {
    let ports = || spec["ports"].as_array().into_iter().flatten();
    let all = ports().count();
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (0, all),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => {
            (1, ports().filter(|port| port["nodePort"].as_u64().unwrap_or(0) != 0).count())
        }
        Some("LoadBalancer") => (1, all),
        _ => (0, 0),
    };
    let units = |count: usize| Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX));
    usage.insert("services".to_owned(), units(1));
    usage.insert("services.loadbalancers".to_owned(), units(balancers));
    usage.insert("services.nodeports".to_owned(), units(node_ports));
}

fn claim(claim: &Value, usage: &mut Amounts) {
    let one = Quantity::from_units(1);
    let spec = &claim["spec"];
    let annotated = claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    let class = annotated.or_else(|| spec["storageClassName"].as_str()).unwrap_or_default();
    let requested = read(&spec["resources"]["requests"]).remove("storage").map(|size| {
        let allocated = read(&claim["status"]["allocatedResources"]).remove("storage");
        allocated.map_or(size, |allocated| allocated.max(size)).rounded_to_units()
    });
    usage.insert("persistentvolumeclaims".to_owned(), one);
    usage.extend(requested.map(|size| ("requests.storage".to_owned(), size)));
    if !class.is_empty() {
        usage.insert(format!("{class}{OF_CLASS}persistentvolumeclaims"), one);
        usage.extend(requested.map(|size| (format!("{class}{OF_CLASS}requests.storage"), size)));
    }
}

/// The containers that lack what a quota demands of each: pairs of what is lacking and the container.
pub(super) fn lacking(spec: &Value, demanded: &[&str]) -> Vec<(String, String)> {
    let mut lacking = Vec::new();
    for container in containers(spec, "containers").chain(containers(spec, "initContainers")) {
        let mut usage = Amounts::new();
        let side = |side: Side| read(&container["resources"][side.field()]);
        compute(&side(Side::Requests), &side(Side::Limits), &mut usage);
        let name = container["name"].as_str().unwrap_or_default();
        for what in demanded {
            if !usage.contains_key(*what) {
                lacking.push(((*what).to_owned(), name.to_owned()));
            }
        }
    }
    lacking.sort();
    lacking
}
