//! Amounts of what nodes have and pods ask for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use pal_resources::amounts::{self, Side, of_spec, parse};

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
    /// What a pod asks for: its containers together, or its greediest init container if that is more, and its overhead.
    pub fn requested(pod: &Pod) -> Self {
        let asked = pod.spec.as_ref().map(|spec| of_spec(spec, Side::Requests)).unwrap_or_default();
        Self { pods: 1, ..Self::from(&asked) }
    }

    /// What a pod is taken to use when nodes are compared: as [`Amounts::requested`], no container for nothing.
    pub fn estimated(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        spec.containers.iter().fold(Self::default(), |mut total, container| {
            let mut own = Self::from(&parse(Side::Requests.of(container.resources.as_ref())));
            if own.milli_cpu == 0 {
                own.milli_cpu = DEFAULT_MILLI_CPU;
            }
            if own.memory == 0 {
                own.memory = DEFAULT_MEMORY;
            }
            total.add(&own);
            total
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
}

impl From<&amounts::Amounts> for Amounts {
    fn from(all: &amounts::Amounts) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in all {
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
}
