//! A change of the deployment's size, apart from any rollout.

use k8s_openapi::api::apps::v1::Deployment;

use super::budget::Budget;
use super::member::{Member, Members};
use super::{DESIRED_REPLICAS, MAX_REPLICAS};

/// Whether a set that has pods was sized for another size of the deployment.
pub(super) fn is_due(deployment: &Deployment, members: &Members<'_>) -> bool {
    let budget = Budget::of(deployment);
    let replicas = budget.replicas;
    // With Recreate there is nothing to share out: the old pods go, then the new ones come, at the size of now.
    if budget.recreate && members.all().filter(|member| member.replicas > 0).count() > 1 {
        return false;
    }
    members
        .all()
        .filter(|member| member.replicas > 0)
        .any(|member| number(member, DESIRED_REPLICAS).is_some_and(|desired| desired != replicas))
}

/// Sizes the sets for the deployment's size: the one that has pods, or each in proportion to what it has.
pub(super) fn proportionally(deployment: &Deployment, budget: &Budget, members: &mut Members<'_>) {
    let active = members.all().filter(|member| member.replicas > 0).count();
    if active <= 1 {
        if let Some(only) = only_or_latest(members, active) {
            only.resize(budget.replicas);
        }
        return;
    }
    if is_saturated(budget, members) {
        for old in members.old.iter_mut().filter(|old| old.replicas > 0) {
            old.resize(0);
        }
        return;
    }
    if !budget.recreate {
        distribute(deployment, budget, members);
    }
}

/// The one set that has pods; when none has, that of the template, or the youngest.
fn only_or_latest<'m, 'a>(members: &'m mut Members<'a>, active: usize) -> Option<&'m mut Member<'a>> {
    if active == 1 {
        return members.all_mut().find(|member| member.replicas > 0);
    }
    if members.new.is_some() { members.new.as_mut() } else { members.old.last_mut() }
}

/// Whether the new set has all the pods that are wanted, and they are available.
fn is_saturated(budget: &Budget, members: &Members<'_>) -> bool {
    members.new.as_ref().is_some_and(|new| {
        new.replicas == budget.replicas
            && new.available == budget.replicas
            && number(new, DESIRED_REPLICAS) == Some(budget.replicas)
    })
}

/// Gives what is to be added, or takes what is too much, in proportion to the sets' sizes; what rounding leaves goes to
/// the largest.
fn distribute(deployment: &Deployment, budget: &Budget, members: &mut Members<'_>) {
    let allowed = if budget.replicas > 0 { budget.most() } else { 0 };
    let to_add = allowed - members.replicas();
    let status_replicas = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let mut active: Vec<&mut Member<'_>> = members.all_mut().filter(|member| member.replicas > 0).collect();
    // When growing, the newer of equals first; when shrinking, the older. `all_mut` goes from old to new.
    if to_add > 0 {
        active.reverse();
    }
    active.sort_by_key(|member| std::cmp::Reverse(member.replicas));
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for member in &active {
        let rest = to_add - added;
        let share = if to_add == 0 { 0 } else { fraction(member, budget, allowed, status_replicas) };
        let share = if to_add > 0 { share.clamp(0, rest.max(0)) } else { share.clamp(rest.min(0), 0) };
        added += share;
        sizes.push(member.replicas + share);
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + to_add - added).max(0);
    }
    for (member, size) in active.into_iter().zip(sizes) {
        member.resize(size);
    }
}

/// How many pods a set of that size gains, or loses, when the deployment goes to its new size.
fn fraction(member: &Member<'_>, budget: &Budget, allowed: i32, status_replicas: i32) -> i32 {
    if budget.replicas == 0 {
        return -member.replicas;
    }
    let before = number(member, MAX_REPLICAS).unwrap_or(status_replicas).max(1);
    let grown = f64::from(member.replicas) * f64::from(allowed) / f64::from(before);
    // Sizes are within i32, and so is their product over their sum.
    grown.round() as i32 - member.replicas
}

fn number(member: &Member<'_>, key: &str) -> Option<i32> {
    member.annotation(key)?.parse().ok()
}
