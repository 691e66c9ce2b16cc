//! Old ReplicaSets are kept for an undo, up to a limit.

use k8s_openapi::api::apps::v1::Deployment;

use super::member::{Member, Members};
use crate::action::{Action, Plan, Target};
use crate::object::is_deleting;

/// Deletes the old sets beyond the limit that have no pods, the lowest revisions first.
pub(super) fn clean(deployment: &Deployment, members: &Members<'_>, plan: &mut Plan) {
    let limit = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
    let Ok(limit) = usize::try_from(limit) else { return };
    let mut old: Vec<&Member<'_>> =
        members.old.iter().filter(|member| member.set.is_some_and(|set| !is_deleting(&set.metadata))).collect();
    let surplus = old.len().saturating_sub(limit);
    old.sort_by_key(|member| member.revision());
    for member in old.into_iter().take(surplus) {
        let Some(set) = member.set else { continue };
        let observed = set.status.as_ref().and_then(|status| status.observed_generation);
        if member.replicas != 0 || member.existing() != 0 || set.metadata.generation > observed {
            continue;
        }
        plan.push(Action::Delete { target: Target::of(set), grace_seconds: None, propagation: None, announce: None });
    }
}
