//! Amounts of what pods ask for and may use, and what a pod has as a whole (component-helpers `resource.PodRequests`,
//! `PodLimits`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::Value;

use crate::quantity::Quantity;

/// Amounts by the name of what they are of.
pub type Amounts = BTreeMap<String, Quantity>;

/// What is asked for, or what may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Requests,
    Limits,
}

impl Side {
    /// Both, in the order in which they are looked at.
    pub const BOTH: [Self; 2] = [Self::Requests, Self::Limits];

    /// The field's name.
    pub fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }

    /// What the field holds.
    pub fn of(self, resources: Option<&ResourceRequirements>) -> &BTreeMap<String, Text> {
        static NONE: BTreeMap<String, Text> = BTreeMap::new();
        let amounts = resources.and_then(|resources| match self {
            Self::Requests => resources.requests.as_ref(),
            Self::Limits => resources.limits.as_ref(),
        });
        amounts.unwrap_or(&NONE)
    }
}

/// What of a pod's own amounts stands for all its containers.
const OF_PODS: &[&str] = &["cpu", "memory"];
const HUGE_PAGES: &str = "hugepages-";

/// Reads a map of quantities; what is no quantity is left out, validation refuses it.
pub fn read(map: &Value) -> Amounts {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

/// The same of what was read before.
pub fn parse(texts: &BTreeMap<String, Text>) -> Amounts {
    texts.iter().filter_map(|(name, text)| Some((name.clone(), Quantity::try_from(text).ok()?))).collect()
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// `a=1,b=2`, as messages have it.
pub fn shown(amounts: &Amounts) -> String {
    let parts: Vec<String> = amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    parts.join(",")
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += *amount;
    }
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let held = most.entry(name.clone()).or_insert(*amount);
        *held = (*held).max(*amount);
    }
}

/// A container's requests or limits.
pub fn of_container(container: &Value, side: Side) -> Amounts {
    read(&container["resources"][side.field()])
}

/// A list of the pod's containers.
pub fn containers<'a>(spec: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    spec[list].as_array().into_iter().flatten()
}

/// What a pod has as a whole.
pub fn of_pod(spec: &Value, side: Side) -> Amounts {
    let before = containers(spec, "initContainers")
        .map(|container| Before { own: of_container(container, side), stays: container["restartPolicy"] == "Always" });
    let total = at_once(containers(spec, "containers").map(|container| of_container(container, side)), before);
    with_its_own(total, read(&spec["resources"][side.field()]), &read(&spec["overhead"]), side)
}

/// As [`of_pod`].
pub fn of_spec(spec: &PodSpec, side: Side) -> Amounts {
    let overhead = spec.overhead.as_ref().map(parse).unwrap_or_default();
    with_its_own(of_containers(spec, side), parse(side.of(spec.resources.as_ref())), &overhead, side)
}

/// What a pod's containers have, whatever the pod has besides.
pub fn of_containers(spec: &PodSpec, side: Side) -> Amounts {
    let own = |container: &Container| parse(side.of(container.resources.as_ref()));
    let before = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| Before { own: own(container), stays: container.restart_policy.as_deref() == Some("Always") });
    at_once(spec.containers.iter().map(own), before)
}

/// A container that starts before the others.
struct Before {
    own: Amounts,
    /// A sidecar: it goes on running.
    stays: bool,
}

/// What containers have at the time when they have most: together, or while the greediest of those runs that start before them.
fn at_once(containers: impl Iterator<Item = Amounts>, before: impl Iterator<Item = Before>) -> Amounts {
    let mut total = Amounts::new();
    containers.for_each(|own| add(&mut total, &own));
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for Before { own: mut running, stays } in before {
        add(&mut running, &sidecars);
        raise(&mut peak, &running);
        if stays {
            sidecars = running;
        }
    }
    add(&mut total, &sidecars);
    raise(&mut total, &peak);
    total
}

/// What the pod has for itself stands for what its containers have (KEP-2837); what it takes to run one comes on top.
fn with_its_own(mut total: Amounts, whole: Amounts, overhead: &Amounts, side: Side) -> Amounts {
    total
        .extend(whole.into_iter().filter(|(name, _)| OF_PODS.contains(&name.as_str()) || name.starts_with(HUGE_PAGES)));
    for (name, amount) in overhead {
        // No limit stays none.
        if side == Side::Requests || total.get(name).is_some_and(|limit| !limit.is_zero()) {
            *total.entry(name.clone()).or_default() += *amount;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_needs_what_its_containers_need_at_once() {
        fn check(spec: Value, side: Side, expected: &str) {
            assert_eq!(shown(&of_pod(&spec, side)), expected, "{spec}");
            let typed: PodSpec = serde_json::from_value(spec.clone()).unwrap();
            assert_eq!(shown(&of_spec(&typed, side)), expected, "{spec}");
        }
        let c = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}});
        let sidecar = |cpu: &str| {
            let mut container = c(cpu);
            container["restartPolicy"] = "Always".into();
            container
        };
        check(json!({"containers": [c("1"), c("500m")]}), Side::Requests, "cpu=1500m");
        check(json!({"containers": [c("1")], "initContainers": [c("3")]}), Side::Limits, "cpu=3");
        let spec = json!({"containers": [c("1")], "initContainers": [sidecar("1"), c("3")]});
        check(spec, Side::Requests, "cpu=4");
        let spec = json!({"containers": [c("1")], "overhead": {"cpu": "250m", "memory": "1Mi"}});
        check(spec.clone(), Side::Requests, "cpu=1250m,memory=1Mi");
        check(spec, Side::Limits, "cpu=1250m");
        let spec = json!({"containers": [c("1")], "resources": {"requests": {"cpu": "2"}}});
        check(spec, Side::Requests, "cpu=2");
        check(json!({}), Side::Requests, "");
    }
}
