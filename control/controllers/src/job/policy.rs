//! What a job's policies say of pods that failed and of indexes that succeeded.

use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes::Indexes;
use crate::object::{is_deleting, name, namespace};
use crate::pods::phase;

/// What becomes of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts, as it does without a policy.
    Count,
    Ignore,
    /// Its index has failed, however often it may.
    FailIndex,
    /// The job has failed, for that reason.
    FailJob(String),
}

/// Whether a pod counts as failed: one that is going does, unless the job replaces only what has ended.
pub(super) fn has_failed(spec: &JobSpec, pod: &Pod) -> bool {
    let going = !only_ended(spec) && is_deleting(&pod.metadata) && phase(pod) != "Succeeded";
    phase(pod) == "Failed" || going
}

/// Whether pods that are going are waited for before others take their place.
pub(super) fn only_ended(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// What the first rule that matches says of a pod that failed.
pub(super) fn verdict(spec: &JobSpec, pod: &Pod) -> Verdict {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    for (number, rule) in rules.enumerate() {
        let Some(why) = matched(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{why} matching {} rule at index {number}", rule.action)),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// How a pod matches a rule, in words.
fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let (home, own) = (namespace(&pod.metadata), name(&pod.metadata));
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let lists = [status.container_statuses.as_ref(), status.init_container_statuses.as_ref()];
        let (container, code) =
            lists.into_iter().flatten().flatten().find_map(|container| Some((container, exit(container, codes)?)))?;
        return Some(format!("Container {} for pod {home}/{own} failed with exit code {code}", container.name));
    }
    let patterns = rule.on_pod_conditions.as_ref()?;
    let found = status.conditions.iter().flatten().find(|condition| {
        patterns.iter().any(|pattern| {
            pattern.type_ == condition.type_ && pattern.status.as_deref().unwrap_or("True") == condition.status
        })
    })?;
    Some(format!("Pod {home}/{own} has condition {}", found.type_))
}

/// The code with which a container ended, if that is one that is meant. Zero never is.
fn exit(container: &ContainerStatus, codes: &PodFailurePolicyOnExitCodesRequirement) -> Option<i32> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let named = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
    let listed = codes.values.contains(&code);
    let meant = match codes.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    };
    (named && meant && code != 0).then_some(code)
}

/// The first rule of the success policy that the indexes fulfil, as it is told.
pub(super) fn success(spec: &JobSpec, succeeded: &Indexes) -> Option<String> {
    if succeeded.len() == 0 {
        return None;
    }
    let completions = u32::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
    let rules = spec.success_policy.as_ref()?.rules.iter();
    let enough = |done: usize, wanted: Option<i32>| {
        wanted.is_some_and(|wanted| usize::try_from(wanted).is_ok_and(|wanted| done >= wanted))
    };
    let met = rules.map(|rule| match &rule.succeeded_indexes {
        None => enough(succeeded.len(), rule.succeeded_count),
        Some(text) => {
            let wanted = Indexes::parse(text, completions);
            let done = wanted.common(succeeded);
            wanted.len() > 0 && (done == wanted.len() || enough(done, rule.succeeded_count))
        }
    });
    let number = met.enumerate().find_map(|(number, met)| met.then_some(number))?;
    Some(format!("Matched rules at index {number}"))
}
