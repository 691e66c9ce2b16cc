//! ResourceQuota: whether what an object takes still fits. Where the numbers are kept, and that nobody else changes them
//! meanwhile, is the registry's part.

mod usage;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Resource;
use crate::amounts::{self, Amounts};
use crate::quantity::Quantity;

pub use usage::{Measure, PodTraits, is_ignored, is_measured, measure};

use usage::{COUNT, OF_CLASS, is_extended, lacking};

/// What containers must say as soon as a quota counts it.
const DEMANDED: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const OF_PODS: &[&str] = &[
    "count/pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
const OF_SERVICES: &[&str] = &["count/services", "services", "services.nodeports", "services.loadbalancers"];
const OF_CLAIMS: &[&str] = &["persistentvolumeclaims", "requests.storage"];

/// A ResourceQuota, read.
#[derive(Clone, Debug)]
pub struct Quota {
    pub name: String,
    pub uid: String,
    pub hard: Amounts,
    scopes: Vec<Scope>,
}

/// One condition on what is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

/// Whose objects a counted name is about: what their keys begin with, as `pods` or `deployments.apps`.
pub fn counted_resource(name: &str) -> Option<&str> {
    if let Some(resource) = name.strip_prefix(COUNT) {
        return Some(resource);
    }
    if OF_PODS.contains(&name) || is_of_pods_by_prefix(name) {
        Some("pods")
    } else if OF_SERVICES.contains(&name) {
        Some("services")
    } else if is_of_claims(name) {
        Some("persistentvolumeclaims")
    } else {
        matches!(name, "configmaps" | "resourcequotas" | "replicationcontrollers" | "secrets").then_some(name)
    }
}

fn is_of_claims(name: &str) -> bool {
    let plain = name.split_once(OF_CLASS).map_or(name, |(_, counted)| counted);
    OF_CLAIMS.contains(&plain)
}

fn is_of_pods_by_prefix(name: &str) -> bool {
    name.starts_with("hugepages-")
        || name.strip_prefix("requests.").is_some_and(|rest| rest.starts_with("hugepages-") || is_extended(rest))
}

impl Quota {
    /// Reads a stored ResourceQuota.
    pub fn read(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &object["spec"];
        let plain = spec["scopes"].as_array().into_iter().flatten().map(|name| Scope {
            name: text(name),
            operator: "Exists".to_owned(),
            values: Vec::new(),
        });
        let expressions = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
        let selected = expressions.map(|expression| Scope {
            name: text(&expression["scopeName"]),
            operator: text(&expression["operator"]),
            values: expression["values"].as_array().into_iter().flatten().map(text).collect(),
        });
        Self {
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            hard: amounts::read(&spec["hard"]),
            scopes: plain.chain(selected).collect(),
        }
    }

    /// The names that it counts of objects of that resource, in order.
    pub fn counted_of(&self, resource: &Resource) -> Vec<&str> {
        let qualified = resource.qualified();
        self.hard.keys().map(String::as_str).filter(|name| counted_resource(name) == Some(&*qualified)).collect()
    }

    /// The resources whose objects it counts, as their keys begin.
    pub fn resources(&self) -> BTreeSet<&str> {
        self.hard.keys().filter_map(|name| counted_resource(name)).collect()
    }

    /// Whether it counts every object of its resources alike.
    pub fn is_unscoped(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Whether what was measured meets its scopes. Only pods have any.
    pub fn covers(&self, measure: &Measure) -> bool {
        self.scopes.iter().all(|scope| measure.traits.as_ref().is_some_and(|traits| scope.matches(traits)))
    }

    /// What of a measured object it counts.
    pub fn masked(&self, usage: &Amounts) -> Amounts {
        let counted = usage.iter().filter(|(name, _)| self.hard.contains_key(*name));
        counted.map(|(name, amount)| (name.clone(), *amount)).collect()
    }

    /// Nothing of all that it counts.
    pub fn nothing(&self) -> Amounts {
        self.hard.iter().map(|(name, hard)| (name.clone(), hard.zero())).collect()
    }

    /// What each container of a pod must say that it does not: the refusal's words.
    pub fn check_said(&self, resource: &Resource, object: &Value) -> Result<(), String> {
        if resource.plural != "pods" || !resource.group.is_empty() {
            return Ok(());
        }
        let demanded: Vec<&str> = DEMANDED.iter().copied().filter(|name| self.hard.contains_key(*name)).collect();
        let lacking = lacking(&object["spec"], &demanded);
        let mut parts: Vec<(String, Vec<String>)> = Vec::new();
        for (what, container) in lacking {
            match parts.last_mut() {
                Some((last, containers)) if *last == what => containers.push(container),
                _ => parts.push((what, vec![container])),
            }
        }
        if parts.is_empty() {
            return Ok(());
        }
        let parts: Vec<String> =
            parts.iter().map(|(what, containers)| format!("{what} for: {}", containers.join(","))).collect();
        Err(format!("failed quota: {}: must specify {}", self.name, parts.join("; ")))
    }

    /// What is used when `more` is added to `used`; the refusal's words if that is more than it allows.
    pub fn charged(&self, used: &Amounts, more: &Amounts) -> Result<Amounts, String> {
        let more = self.masked(more);
        let mut sum = used.clone();
        amounts::add(&mut sum, &more);
        let exceeded: BTreeSet<&String> = more.keys().filter(|name| sum.get(*name) > self.hard.get(*name)).collect();
        if exceeded.is_empty() {
            return Ok(sum);
        }
        let only = |all: &Amounts| -> Amounts {
            exceeded.iter().map(|name| ((*name).clone(), all.get(*name).copied().unwrap_or_default())).collect()
        };
        Err(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            self.name,
            amounts::shown(&only(&more)),
            amounts::shown(&only(used)),
            amounts::shown(&only(&self.hard)),
        ))
    }
}

/// By how much `new` takes more than `old`; what it takes less is told by the next count.
pub fn growth(old: &Amounts, new: &Amounts) -> Amounts {
    let grown = new.iter().filter_map(|(name, amount)| {
        let more = amount.saturating_sub(old.get(name).copied().unwrap_or_default());
        (more > Quantity::ZERO).then(|| (name.clone(), more))
    });
    grown.collect()
}

impl Scope {
    fn matches(&self, pod: &PodTraits) -> bool {
        match self.name.as_str() {
            "Terminating" => pod.terminating,
            "NotTerminating" => !pod.terminating,
            "BestEffort" => pod.best_effort,
            "NotBestEffort" => !pod.best_effort,
            "CrossNamespacePodAffinity" => pod.cross_namespace,
            "PriorityClass" => {
                let class = &pod.priority_class;
                match self.operator.as_str() {
                    "Exists" => !class.is_empty(),
                    "DoesNotExist" => class.is_empty(),
                    "In" => !class.is_empty() && self.values.contains(class),
                    "NotIn" => !self.values.contains(class),
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
