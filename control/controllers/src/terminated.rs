//! Pods that have run to their end and stay to be looked at: beyond a number that nobody looks through, the oldest go.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::action::{Action, Plan, Target};
use crate::object::{created, is_deleting};
use crate::pods::is_finished;

/// How many are kept, as kube-controller-manager does if it is told nothing.
const KEPT: usize = 12_500;
/// How many go in one look at most.
const BURST: usize = 500;
/// How often is looked.
const EVERY: Duration = Duration::from_secs(20);

/// Removes what is too much.
pub fn reconcile<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> Plan {
    let mut plan = beyond(KEPT, pods);
    plan.look_again(EVERY);
    plan
}

fn beyond<'a>(kept: usize, pods: impl Iterator<Item = &'a Arc<Pod>>) -> Plan {
    let mut over: Vec<&Arc<Pod>> = pods.filter(|pod| is_finished(pod) && !is_deleting(&pod.metadata)).collect();
    let surplus = over.len().saturating_sub(kept).min(BURST);
    if surplus > 0 {
        over.sort_by_key(|pod| (created(&pod.metadata), pod.metadata.name.clone()));
    }
    let remove = |pod: &Arc<Pod>| Action::Delete {
        target: Target::of(&**pod),
        grace_seconds: Some(0),
        propagation: None,
        announce: None,
    };
    Plan { actions: over.into_iter().take(surplus).map(remove).collect(), again: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_oldest_that_ended_go() {
        let pod = |name: &str, phase: &str, second: u32, deleted: bool| -> Arc<Pod> {
            let at = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
            let value = json!({
                "metadata": {"name": name, "namespace": "a", "uid": name, "creationTimestamp": at(second),
                    "deletionTimestamp": deleted.then(|| at(59))},
                "status": {"phase": phase},
            });
            Arc::new(serde_json::from_value(value).unwrap())
        };
        let pods = [
            pod("new", "Succeeded", 9, false),
            pod("old", "Failed", 1, false),
            pod("runs", "Running", 0, false),
            pod("goes", "Failed", 0, true),
            pod("middle", "Succeeded", 5, false),
        ];
        let check = |kept: usize, expected: &[&str]| {
            let plan = beyond(kept, pods.iter());
            let names = plan.actions.iter().map(|action| match action {
                Action::Delete { target, grace_seconds: Some(0), .. } => target.name.as_str(),
                other => panic!("{other:?}"),
            });
            assert_eq!(names.collect::<Vec<_>>(), expected, "{kept}");
        };
        check(3, &[]);
        check(2, &["old"]);
        check(0, &["old", "middle", "new"]);
    }
}
