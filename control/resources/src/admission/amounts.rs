//! What a pod asks for as a whole (component-helpers `resource.PodRequests`, `PodLimits`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity::Quantity;

/// Amounts by the name of what they are of.
pub type Amounts = BTreeMap<String, Quantity>;

/// Which of a container's two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Requests,
    Limits,
}

impl Side {
    /// The field's name.
    pub fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
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

/// What all containers need at the time when they need most: those that run together add up, and one that prepares the
/// others runs alone, beside sidecars.
pub fn of_pod(spec: &Value, side: Side) -> Amounts {
    let mut total = Amounts::new();
    for container in containers(spec, "containers") {
        add(&mut total, &of_container(container, side));
    }
    let (mut sidecars, mut preparing) = (Amounts::new(), Amounts::new());
    for container in containers(spec, "initContainers") {
        let own = of_container(container, side);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            raise(&mut preparing, &sidecars);
        } else {
            let mut with_sidecars = own;
            add(&mut with_sidecars, &sidecars);
            raise(&mut preparing, &with_sidecars);
        }
    }
    raise(&mut total, &preparing);
    for (name, amount) in read(&spec["resources"][side.field()]) {
        if OF_PODS.contains(&name.as_str()) || name.starts_with(HUGE_PAGES) {
            total.insert(name, amount);
        }
    }
    for (name, amount) in read(&spec["overhead"]) {
        // No limit stays none.
        if side == Side::Requests || total.get(&name).is_some_and(|limit| !limit.is_zero()) {
            *total.entry(name).or_default() += amount;
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
