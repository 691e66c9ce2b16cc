//! What a container that runs may use from now on.

use k8s_openapi::api::core::v1::PodSpec;
use pal_lifecycle::{ResizeFailure, Run};
use pal_resources::amounts::{Side, of_spec};

use super::fields::Capacity;
use super::worker::Worker;
use super::{launch, sources};

impl Worker {
    /// Gives a run what its manifest says. Its memory is limited by the engine; processor time is shared by all that runs
    /// on the node, whatever it asks for.
    pub(super) fn resize(&self, run: Run) -> Result<(), ResizeFailure> {
        let Some(spec) = &self.pod.spec else { return Ok(()) };
        feasible(spec, self.shared.capacity)?;
        let workload = self.runs.iter().find(|active| active.run == run).and_then(|active| active.workload.as_ref());
        let (Some(workload), Some(container)) = (workload, sources::container(spec, run.container)) else {
            return Ok(());
        };
        let Some(limit) = launch::memory_limit(&container).map_err(ResizeFailure::Infeasible)? else { return Ok(()) };
        workload.set_memory_limit(limit).map_err(|used| {
            let why = format!("attempting to set container memory limit ({limit}) below current usage ({used})");
            ResizeFailure::Failed(why)
        })
    }
}

/// Refuses what the node never has.
fn feasible(spec: &PodSpec, capacity: Capacity) -> Result<(), ResizeFailure> {
    let requests = of_spec(spec, Side::Requests);
    let asked = |name: &str, amount: fn(pal_resources::quantity::Quantity) -> i64| {
        requests.get(name).map_or(0, |quantity| u64::try_from(amount(*quantity)).unwrap_or(0))
    };
    let memory = ("memory", asked("memory", |quantity| quantity.units()), capacity.memory_bytes);
    let cpu = ("cpu", asked("cpu", |quantity| quantity.millis()), capacity.cpu_millis);
    match [memory, cpu].into_iter().find(|(_, asked, has)| asked > has) {
        Some((name, asked, has)) => Err(ResizeFailure::Infeasible(format!(
            "Node didn't have enough capacity: {name}, requested: {asked}, capacity: {has}"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gives_no_more_than_it_has() {
        let check = |cpu: &str, memory: &str, expected: Option<&str>| {
            let request = serde_json::json!({"requests": {"cpu": cpu, "memory": memory}});
            let spec = serde_json::json!({"containers": [{"name": "a", "resources": request}, {"name": "b"}]});
            let spec = serde_json::from_value(spec).unwrap();
            let found = feasible(&spec, Capacity { cpu_millis: 4000, memory_bytes: 4 << 30 });
            let expected = expected.map(|why| ResizeFailure::Infeasible(why.to_owned()));
            assert_eq!(found.err(), expected, "{cpu} {memory}");
        };
        check("4", "4Gi", None);
        check("5", "4Gi", Some("Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000"));
        let memory = "Node didn't have enough capacity: memory, requested: 4718592000, capacity: 4294967296";
        check("5", "4500Mi", Some(memory));
    }
}
