//! What the node's containers use, as kubelet's `/stats/summary` tells it: processor time and memory of each, and of the
//! machine.
//!
//! A rate needs two looks. The last one is kept for the next question; where there is none that is recent, two are made a
//! second apart.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pal_engine::Meter;
use pal_resources::metrics::{head, sample, single};
use serde_json::{Value, json};

/// What lies between two looks at least.
const SHORTEST: Duration = Duration::from_secs(1);
/// A look that is older says nothing of now.
const LONGEST: Duration = Duration::from_secs(60);
/// Ticks of the clock by which Linux tells processor time to its users.
const NANOS_PER_TICK: u64 = 10_000_000;

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
}

/// What was used until some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    cpu_nanos: u64,
    memory_bytes: u64,
    /// Which run of the container this is of.
    run: usize,
}

#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    machine: Used,
    containers: Vec<(Place, Used)>,
}

/// The meters of what runs.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    meters: Mutex<HashMap<Place, Weak<Meter>>>,
    last: tokio::sync::Mutex<Option<Look>>,
}

impl Stats {
    /// A container begins to run, or something in it; what they use is told as long as anyone holds the meter.
    pub(crate) fn begin(&self, place: Place) -> Arc<Meter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|_, meter| meter.strong_count() > 0);
        if let Some(meter) = meters.get(&place).and_then(Weak::upgrade) {
            return meter;
        }
        let meter = Arc::new(Meter::default());
        meters.insert(place, Arc::downgrade(&meter));
        meter
    }

    /// What is used now.
    pub(crate) async fn summary(&self, node: &str) -> Value {
        let mut last = self.last.lock().await;
        let before = match last.take().filter(|look| (SHORTEST..LONGEST).contains(&look.at.elapsed())) {
            Some(look) => look,
            None => {
                let first = self.look();
                tokio::time::sleep(SHORTEST).await;
                first
            }
        };
        let now = last.insert(self.look());
        summary(node, &before, now, Timestamp::now())
    }

    /// The same for Prometheus, as kubelet's `/metrics/resource` has it.
    pub(crate) fn figures(&self) -> String {
        figures(&self.look())
    }

    fn look(&self) -> Look {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |meter: Arc<Meter>| Used {
            cpu_nanos: u64::try_from(meter.cpu().as_nanos()).unwrap_or(u64::MAX),
            memory_bytes: meter.memory_bytes(),
            run: Arc::as_ptr(&meter) as usize,
        };
        let mut containers: Vec<(Place, Used)> =
            meters.iter().filter_map(|(place, meter)| Some((place.clone(), used(meter.upgrade()?)))).collect();
        containers.sort_by(|a, b| a.0.cmp(&b.0));
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let machine = machine(&read("/proc/stat"), &read("/proc/meminfo"));
        Look { at: Instant::now(), machine, containers }
    }
}

/// What the machine has used since it started, and what of its memory is not to be had.
fn machine(stat: &str, meminfo: &str) -> Used {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|tick| tick.parse().ok()).collect();
    // user, nice, system, then idle and waiting, then interrupts and what the hypervisor took.
    let busy: u64 =
        ticks.iter().enumerate().filter(|(at, _)| !matches!(at, 3 | 4) && *at < 8).map(|(_, tick)| tick).sum();
    let kilobytes = |name: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    let taken = kilobytes("MemTotal:").saturating_sub(kilobytes("MemAvailable:"));
    Used { cpu_nanos: busy.saturating_mul(NANOS_PER_TICK), memory_bytes: taken.saturating_mul(1024), run: 0 }
}

fn summary(node: &str, before: &Look, now: &Look, time: Timestamp) -> Value {
    let took = now.at.duration_since(before.at);
    let told = |was: Option<Used>, is: Used| {
        let since = is.cpu_nanos.saturating_sub(was.filter(|was| was.run == is.run).map_or(0, |was| was.cpu_nanos));
        let rate = u128::from(since) * 1_000_000_000 / took.as_nanos().max(1);
        json!({
            "cpu": {"time": time.to_string(), "usageNanoCores": u64::try_from(rate).unwrap_or(u64::MAX),
                    "usageCoreNanoSeconds": is.cpu_nanos},
            "memory": {"time": time.to_string(), "usageBytes": is.memory_bytes, "workingSetBytes": is.memory_bytes,
                       "rssBytes": is.memory_bytes}
        })
    };
    let mut pods: Vec<Value> = Vec::new();
    for (place, used) in &now.containers {
        let was = before.containers.iter().find(|(other, _)| other == place).map(|(_, used)| *used);
        let mut container = told(was, *used);
        container["name"] = place.container.as_str().into();
        let reference = json!({"name": place.pod, "namespace": place.namespace});
        match pods.last_mut().filter(|pod| pod["podRef"] == reference) {
            Some(pod) => {
                if let Some(containers) = pod["containers"].as_array_mut() {
                    containers.push(container);
                }
            }
            None => pods.push(json!({"podRef": reference, "containers": [container]})),
        }
    }
    let mut machine = told(Some(before.machine), now.machine);
    machine["nodeName"] = node.into();
    json!({"node": machine, "pods": pods, "windowSeconds": took.as_secs_f64()})
}

fn figures(look: &Look) -> String {
    let seconds = |used: &Used| Duration::from_nanos(used.cpu_nanos).as_secs_f64();
    let label = |place: &Place| {
        let Place { namespace, pod, container } = place;
        format!("container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"")
    };
    let mut text = String::new();
    let name = "container_cpu_usage_seconds_total";
    head(&mut text, name, "counter", "Cumulative cpu time consumed by the container in core-seconds");
    look.containers.iter().for_each(|(place, used)| sample(&mut text, name, &label(place), seconds(used)));
    let name = "container_memory_working_set_bytes";
    head(&mut text, name, "gauge", "Current working set of the container in bytes");
    look.containers.iter().for_each(|(place, used)| sample(&mut text, name, &label(place), used.memory_bytes));
    let mut pods: BTreeMap<String, Used> = BTreeMap::new();
    for (Place { namespace, pod, .. }, used) in &look.containers {
        let whole = pods.entry(format!("namespace=\"{namespace}\",pod=\"{pod}\"")).or_default();
        whole.cpu_nanos = whole.cpu_nanos.saturating_add(used.cpu_nanos);
        whole.memory_bytes = whole.memory_bytes.saturating_add(used.memory_bytes);
    }
    let help = "Cumulative cpu time consumed by the node in core-seconds";
    single(&mut text, "node_cpu_usage_seconds_total", "counter", help, seconds(&look.machine));
    let help = "Current working set of the node in bytes";
    single(&mut text, "node_memory_working_set_bytes", "gauge", help, look.machine.memory_bytes);
    let name = "pod_cpu_usage_seconds_total";
    head(&mut text, name, "counter", "Cumulative cpu time consumed by the pod in core-seconds");
    pods.iter().for_each(|(labels, used)| sample(&mut text, name, labels, seconds(used)));
    let name = "pod_memory_working_set_bytes";
    head(&mut text, name, "gauge", "Current working set of the pod in bytes");
    pods.iter().for_each(|(labels, used)| sample(&mut text, name, labels, used.memory_bytes));
    let help = "1 if there was an error while getting container metrics, 0 otherwise";
    single(&mut text, "resource_scrape_error", "gauge", help, 0);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_told_by_container() {
        let place =
            |container: &str| Place { namespace: "n".to_owned(), pod: "p".to_owned(), container: container.to_owned() };
        let used = |cpu_nanos, run| Used { cpu_nanos, memory_bytes: 4096, run };
        let at = Instant::now();
        let look = |at, machine, a, b| Look {
            at,
            machine: used(machine, 0),
            containers: vec![(place("a"), a), (place("b"), b)],
        };
        let before = look(at, 1_000_000_000, used(500, 1), used(9_000_000_000, 2));
        let after = look(at + Duration::from_secs(2), 3_000_000_000, used(2_000_500, 1), used(4_000_000, 3));
        let told = summary("m", &before, &after, Timestamp::UNIX_EPOCH);
        assert_eq!(told["node"]["cpu"]["usageNanoCores"], 1_000_000_000);
        let containers = &told["pods"][0]["containers"];
        assert_eq!(containers[0]["cpu"]["usageNanoCores"], 1_000_000);
        let text = figures(&after);
        for line in [
            "container_cpu_usage_seconds_total{container=\"b\",namespace=\"n\",pod=\"p\"} 0.004",
            "pod_memory_working_set_bytes{namespace=\"n\",pod=\"p\"} 8192",
            "node_cpu_usage_seconds_total 3",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
        // It has begun anew since.
        assert_eq!(containers[1]["cpu"]["usageNanoCores"], 2_000_000);
        assert_eq!((&containers[1]["name"], &containers[1]["memory"]["workingSetBytes"]), (&json!("b"), &json!(4096)));
    }

    #[test]
    fn the_machine_is_read() {
        let stat = "cpu  10 20 30 1000 500 1 2 3 4 5\ncpu0 1 1 1 1\n";
        let meminfo = "MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable:  400 kB\n";
        let used = machine(stat, meminfo);
        assert_eq!((used.cpu_nanos, used.memory_bytes), (660_000_000, 614_400));
        assert_eq!(machine("", ""), Used::default());
    }
}
