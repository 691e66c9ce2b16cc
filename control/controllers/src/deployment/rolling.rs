//! One step of a rolling update: as many new pods as may be, then as few old ones as must be.

use super::budget::Budget;
use super::member::Members;

/// How many pods the new set may ask for, of `total` that all sets ask for and `current` of its own.
pub(super) fn grown(budget: &Budget, total: i32, current: i32) -> i32 {
    let room = (budget.most() - total).max(0);
    current + room.min((budget.replicas - current).max(0))
}

/// Sizes all sets for the next step.
pub(super) fn step(budget: &Budget, members: &mut Members<'_>) {
    let total = members.replicas();
    if let Some(new) = &mut members.new {
        let replicas =
            if new.replicas > budget.replicas { budget.replicas } else { grown(budget, total, new.replicas) };
        if replicas != new.replicas {
            new.resize(replicas);
        }
    }
    shrink(budget, members);
}

/// Takes from the old sets: first what is not available anyhow, then what is more than must be.
fn shrink(budget: &Budget, members: &mut Members<'_>) {
    let new_unavailable = members.new.as_ref().map_or(0, |new| new.replicas - new.available.min(new.replicas));
    let mut spare = members.replicas() - budget.least_available() - new_unavailable;
    for old in &mut members.old {
        let unhealthy = (old.replicas - old.available).min(spare);
        if unhealthy > 0 {
            spare -= unhealthy;
            old.resize(old.replicas - unhealthy);
        }
    }
    // What was counted as spare above covers pods that are not available; these are.
    let mut surplus = (members.available() - budget.least_available()).min(spare);
    for old in &mut members.old {
        let less = old.replicas.min(surplus);
        if less > 0 {
            surplus -= less;
            old.resize(old.replicas - less);
        }
    }
}
