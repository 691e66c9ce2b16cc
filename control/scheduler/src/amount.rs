//! Amounts of what nodes have and pods ask for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use pal_resources::quantity::Quantity;

/// What a container without requests is taken to use when nodes are compared (never when they are filtered).
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts by resource. Processor time is in thousandths of a core, memory in bytes, all else in its unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub milli_cpu: i64,
    pub memory: i64,
    pub pods: i64,
    /// By resource name; a name that is absent is none of it.
    pub others: BTreeMap<String, i64>,
}

impl Amounts {
    /// What a map of quantities says; text that is no quantity counts as none.
    pub fn of(map: Option<&BTreeMap<String, Text>>) -> Self {
        let mut amounts = Self::default();
        for (name, text) in map.into_iter().flatten() {
            let Ok(quantity) = text.0.parse::<Quantity>() else {
                continue;
            };
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity.millis(),
                "memory" => amounts.memory = quantity.units(),
                "pods" => amounts.pods = quantity.units(),
                other => {
                    amounts.others.insert(other.to_owned(), quantity.units());
                }
            }
        }
        amounts
    }

    /// What a pod asks for: its containers together, or its greediest init container if that is more, and its overhead.
    pub fn requested(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self { pods: 1, ..Self::default() };
        };
        let mut total = sum(spec.containers.iter(), requests);
        // Sidecars go on running beside what follows them.
        let mut sidecars = Self::default();
        let mut peak = Self::default();
        for container in spec.init_containers.iter().flatten() {
            let own = requests(container);
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars.add(&own);
                peak.raise_to(&sidecars);
            } else {
                let mut with_sidecars = sidecars.clone();
                with_sidecars.add(&own);
                peak.raise_to(&with_sidecars);
            }
        }
        total.add(&sidecars);
        total.raise_to(&peak);
        // What the pod as a whole asks for comes in the place of what its containers do (KEP-2837).
        let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let (of_pod, has) = (Self::of(whole), |name: &str| whole.is_some_and(|whole| whole.contains_key(name)));
        if has("cpu") {
            total.milli_cpu = of_pod.milli_cpu;
        }
        if has("memory") {
            total.memory = of_pod.memory;
        }
        total.add(&Self::of(spec.overhead.as_ref()));
        total.pods = 1;
        total
    }

    /// What a pod is taken to use when nodes are compared: as [`Amounts::requested`], no container for nothing.
    pub fn estimated(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        sum(spec.containers.iter(), |container| {
            let mut amounts = requests(container);
            if amounts.milli_cpu == 0 {
                amounts.milli_cpu = DEFAULT_MILLI_CPU;
            }
            if amounts.memory == 0 {
                amounts.memory = DEFAULT_MEMORY;
            }
            amounts
        })
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_add(other.milli_cpu);
        self.memory = self.memory.saturating_add(other.memory);
        self.pods = self.pods.saturating_add(other.pods);
        for (name, amount) in &other.others {
            let entry = self.others.entry(name.clone()).or_default();
            *entry = entry.saturating_add(*amount);
        }
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_sub(other.milli_cpu);
        self.memory = self.memory.saturating_sub(other.memory);
        self.pods = self.pods.saturating_sub(other.pods);
        for (name, amount) in &other.others {
            let Some(entry) = self.others.get_mut(name) else {
                continue;
            };
            *entry = entry.saturating_sub(*amount);
            if *entry == 0 {
                self.others.remove(name);
            }
        }
    }

    fn raise_to(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        for (name, amount) in &other.others {
            let entry = self.others.entry(name.clone()).or_default();
            *entry = (*entry).max(*amount);
        }
    }
}

fn sum<'a>(containers: impl Iterator<Item = &'a Container>, amounts: impl Fn(&Container) -> Amounts) -> Amounts {
    containers.fold(Amounts::default(), |mut total, container| {
        total.add(&amounts(container));
        total
    })
}

/// A container's requests; a limit stands in for a request that is absent.
fn requests(container: &Container) -> Amounts {
    let Some(resources) = &container.resources else {
        return Amounts::default();
    };
    let mut merged = resources.limits.clone().unwrap_or_default();
    merged.extend(resources.requests.clone().unwrap_or_default());
    Amounts::of(Some(&merged))
}
