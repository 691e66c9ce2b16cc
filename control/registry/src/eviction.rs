//! Eviction: a delete of a pod that asks the disruption budgets first.
//!
//! As kube-apiserver's `pods/eviction` does it (KEP-85, KEP-3017): an eviction that a budget allows is counted in its status
//! before the pod is deleted, so that of many at once no more come through than are allowed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pal_resources::selector::LabelSelector;
use pal_resources::status::{Reason, Status, StatusCause};
use serde_json::{Value, json};

use crate::options::{DeleteOptions, Deletion, ListOptions, Preconditions, Read};
use crate::pod::{disrupted, is_ready, pods};
use crate::registry::Registry;

/// The condition that says whether a budget allows any disruption.
const ALLOWED: &str = "DisruptionAllowed";
const SYNC_FAILED: &str = "SyncFailed";
/// Evictions of one budget that wait to be seen by its controller at most.
const MOST_DISRUPTED: usize = 2_000;
/// How often a count is tried again that somebody else came before.
const TRIES: u32 = 20;
const SEVERAL: &str =
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// What a budget says to an eviction.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It has nothing against it.
    Evict,
    /// It allows it, and wants this merged into itself first.
    Count(Value),
    /// Not now.
    Refuse(Status),
    /// Not as its status is.
    Forbid(&'static str),
}

impl Registry {
    /// Takes a pod off its node as a delete does, unless a disruption budget is against that: 429, with the budget as cause.
    /// Policies of admission were asked about the Eviction, and have no say in the delete.
    pub async fn evict(&self, namespace: &str, name: &str, options: &DeleteOptions) -> Result<Deletion, Status> {
        self.permit(namespace, name, options.dry_run).await?;
        let mut options = options.clone();
        if !options.dry_run {
            self.say_who_evicts(namespace, name, &mut options.preconditions).await?;
        }
        self.delete_admitted(&*pods()?, Some(namespace), name, &options, None).await
    }

    /// Leaves the condition by which a Job knows that the pod did not end by itself (KEP-3329). A pod that is not as
    /// `wanted` is left to the delete to refuse; one that is has another version afterwards.
    async fn say_who_evicts(&self, namespace: &str, name: &str, wanted: &mut Preconditions) -> Result<(), Status> {
        let (now, mut said) = (self.env().now, false);
        let say = |pod: &mut Pod| {
            said = is_as_wanted(pod, wanted) && pod.metadata.deletion_timestamp.is_none();
            if said {
                let conditions = disrupted(pod, "EvictionByEvictionAPI", "Eviction API: evicting".to_owned(), now);
                pod.status.get_or_insert_default().conditions = Some(conditions);
            }
            Ok(())
        };
        let pod = self.client::<Pod>().modify(Some("status"), Some(namespace), name, say).await?;
        if said && wanted.resource_version.is_some() {
            wanted.resource_version = pod.metadata.resource_version;
        }
        Ok(())
    }

    /// Asks the budgets, and counts the eviction in the one that allows it.
    async fn permit(&self, namespace: &str, name: &str, dry_run: bool) -> Result<(), Status> {
        let (pods, budgets) = (pods()?, self.client::<PodDisruptionBudget>());
        for _ in 0..TRIES {
            let pod: Pod = self.get(&pods, Some(namespace), name, Read::Consistent).await?.parse()?;
            if !is_protected(&pod) {
                return Ok(());
            }
            let (_, all) = budgets.list(Some(namespace), ListOptions::default()).await?;
            let found: Vec<&PodDisruptionBudget> = all.iter().filter(|budget| budget_chooses(budget, &pod)).collect();
            let budget = match found.as_slice() {
                [] => return Ok(()),
                [budget] => budget,
                _ => return Err(Status::new(500, Reason::InternalError, SEVERAL)),
            };
            let named = budget.metadata.name.as_deref().unwrap_or_default();
            let count = match judge(budget, &pod, self.env().now) {
                Verdict::Evict => return Ok(()),
                Verdict::Refuse(status) => return Err(status),
                Verdict::Forbid(why) => return Err(Status::forbidden(budgets.resource()?, named, why)),
                Verdict::Count(_) if dry_run => return Ok(()),
                Verdict::Count(count) => count,
            };
            match budgets.patch_merge(Some("status"), Some(namespace), named, count).await {
                Ok(_) => return Ok(()),
                // Somebody else changed it, or it is gone: it is looked at again.
                Err(status) if matches!(status.code, 404 | 409) => {}
                Err(status) => return Err(status),
            }
        }
        Err(Status::too_many_requests("the PodDisruptionBudget could not be updated due to conflicts", 10))
    }
}

fn is_as_wanted(pod: &Pod, wanted: &Preconditions) -> bool {
    let uid = wanted.uid.as_ref().is_none_or(|uid| pod.metadata.uid.as_ref() == Some(&uid.0));
    uid && wanted.resource_version.as_ref().is_none_or(|wanted| pod.metadata.resource_version.as_ref() == Some(wanted))
}

/// Whether budgets have a say: not of what has ended, has not begun or goes anyway.
fn is_protected(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, "Succeeded" | "Failed" | "Pending")
}

/// Whether a budget chooses a pod: one without a selector none, one with an empty selector all.
pub fn budget_chooses(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let none = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    selector.and_then(|selector| LabelSelector::from_object(selector).ok()).is_some_and(|found| found.matches(labels))
}

fn judge(budget: &PodDisruptionBudget, pod: &Pod, now: Timestamp) -> Verdict {
    let (meta, status) = (&budget.metadata, budget.status.clone().unwrap_or_default());
    let name = meta.name.as_deref().unwrap_or_default();
    let (healthy, desired) = (status.current_healthy.unwrap_or(0), status.desired_healthy.unwrap_or(0));
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let spare = policy == Some("AlwaysAllow") || healthy >= desired && desired > 0;
    if !is_ready(pod) && spare {
        return Verdict::Evict;
    }
    if status.observed_generation.unwrap_or(0) < meta.generation.unwrap_or(0) {
        return refuse(10, format!("The disruption budget {name} is still being processed by the server."));
    }
    let allowed = status.disruptions_allowed.unwrap_or(0);
    let too_many = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
    match allowed {
        ..0 => return Verdict::Forbid("pdb disruptions allowed is negative"),
        _ if status.disrupted_pods.as_ref().is_some_and(|pods| pods.len() > MOST_DISRUPTED) => {
            return Verdict::Forbid(too_many);
        }
        0 => return refuse(0, why(name, &status, healthy, desired)),
        1.. => {}
    }
    let left = allowed - 1;
    let pod = pod.metadata.name.clone().unwrap_or_default();
    let mut counted = json!({"disruptionsAllowed": left, "disruptedPods": {pod: Time(now)}});
    if left == 0 {
        counted["conditions"] = json!(status.conditions.map(|conditions| {
            let spent = |mut condition: k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
                if condition.type_ == ALLOWED && condition.status != "False" {
                    condition.status = "False".to_owned();
                    condition.reason = "InsufficientPods".to_owned();
                    condition.last_transition_time = Time(now);
                }
                condition
            };
            conditions.into_iter().map(spent).collect::<Vec<_>>()
        }));
    }
    let seen = json!({"uid": meta.uid, "resourceVersion": meta.resource_version});
    Verdict::Count(json!({"metadata": seen, "status": counted}))
}

/// Why a budget allows no disruption, in kube-apiserver's words.
fn why(name: &str, status: &PodDisruptionBudgetStatus, healthy: i32, desired: i32) -> String {
    let conditions = status.conditions.iter().flatten();
    let mut refusing = conditions.filter(|condition| condition.type_ == ALLOWED && condition.status == "False");
    let said = refusing.rfind(|condition| !condition.message.is_empty());
    let refuses = format!("The disruption budget {name} does not allow evicting pods currently");
    match said {
        Some(condition) if condition.reason == SYNC_FAILED => {
            format!("{refuses} because it failed sync: {}", condition.message)
        }
        _ if healthy <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
        }
        Some(condition) => format!("{refuses} ({}): {}", condition.reason, condition.message),
        None => refuses,
    }
}

fn refuse(seconds: u32, message: String) -> Verdict {
    let mut status = Status::too_many_requests(REFUSED, seconds);
    let mut details = status.details.take().unwrap_or_default();
    details.causes.push(StatusCause { reason: "DisruptionBudget".to_owned(), message, field: String::new() });
    status.details = Some(details);
    Verdict::Refuse(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:10Z";

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        let value = json!({
            "metadata": {"name": "b", "uid": "u", "resourceVersion": "7", "generation": 1},
            "spec": spec,
            "status": status,
        });
        serde_json::from_value(value).expect("a budget")
    }

    fn pod(ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        let value = json!({
            "metadata": {"name": "p", "labels": {"app": "a"}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        });
        serde_json::from_value(value).expect("a pod")
    }

    fn now() -> Timestamp {
        NOW.parse().expect("a time")
    }

    #[test]
    fn a_budget_counts_what_it_allows() {
        let condition = |status: &str, reason: &str| json!({"type": ALLOWED, "status": status, "reason": reason, "message": "", "lastTransitionTime": NOW});
        let status = |allowed: i32| {
            json!({
                "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 3, "desiredHealthy": 2,
                "conditions": [condition("True", "SufficientPods")],
            })
        };
        let check = |allowed: i32, expected: Value| {
            let Verdict::Count(patch) = judge(&budget(json!({}), status(allowed)), &pod(true), now()) else {
                panic!("it is counted");
            };
            assert_eq!(patch["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
            assert_eq!(patch["status"], expected, "{allowed}");
        };
        check(2, json!({"disruptionsAllowed": 1, "disruptedPods": {"p": NOW}}));
        let spent = [condition("False", "InsufficientPods")];
        check(1, json!({"disruptionsAllowed": 0, "disruptedPods": {"p": NOW}, "conditions": spent}));
    }

    #[test]
    fn a_budget_refuses_with_its_reason() {
        let check = |ready: bool, spec: Value, status: Value, expected: Option<(Option<u32>, &str)>| {
            let verdict = judge(&budget(spec, status.clone()), &pod(ready), now());
            let found = match &verdict {
                Verdict::Evict => None,
                Verdict::Refuse(refused) => {
                    assert_eq!((refused.code, refused.message.as_str()), (429, REFUSED));
                    let details = refused.details.as_ref().expect("details");
                    assert_eq!(details.causes[0].reason, "DisruptionBudget");
                    Some((details.retry_after_seconds, details.causes[0].message.as_str()))
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{status}");
        };
        let needs = "The disruption budget b needs 2 healthy pods and has 1 currently";
        let none = json!({"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 2});
        check(true, json!({}), none.clone(), Some((None, needs)));
        check(false, json!({}), none.clone(), Some((None, needs)));
        check(false, json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}), none, None);
        check(false, json!({}), json!({"observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 2}), None);
        let new = "The disruption budget b is still being processed by the server.";
        check(true, json!({}), json!({"disruptionsAllowed": 5}), Some((Some(10), new)));
        let failed = json!({"observedGeneration": 1, "conditions": [{
            "type": ALLOWED, "status": "False", "reason": SYNC_FAILED, "message": "no", "lastTransitionTime": NOW
        }]});
        let said = "The disruption budget b does not allow evicting pods currently because it failed sync: no";
        check(true, json!({}), failed, Some((None, said)));
    }

    #[test]
    fn a_budget_without_a_selector_chooses_nothing_and_an_empty_one_everything() {
        let check = |selector: Value, expected: bool| {
            assert_eq!(
                budget_chooses(&budget(json!({"selector": selector}), json!({})), &pod(true)),
                expected,
                "{selector}"
            );
        };
        check(json!(null), false);
        check(json!({}), true);
        check(json!({"matchLabels": {"app": "a"}}), true);
        check(json!({"matchLabels": {"app": "b"}}), false);
    }
}
