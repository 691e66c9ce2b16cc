//! The strategy that lets no old pod meet a new one.

use super::budget::Budget;
use super::member::{Member, Members};

/// Asks the old sets for no pods. True when none of their pods is left, which is when new ones may come.
pub(super) fn make_way(members: &mut Members<'_>) -> bool {
    let mut clear = true;
    for old in &mut members.old {
        if old.replicas > 0 {
            old.resize(0);
            clear = false;
        }
        clear = clear && !has_pods(old);
    }
    clear
}

/// Asks the new set for all pods.
pub(super) fn fill(budget: &Budget, members: &mut Members<'_>) {
    if let Some(new) = &mut members.new
        && new.replicas != budget.replicas
    {
        new.resize(budget.replicas);
    }
}

/// Whether pods of the set may still run; when its status is behind its spec, they may.
fn has_pods(member: &Member<'_>) -> bool {
    let Some(set) = member.set else { return false };
    let Some(status) = &set.status else { return true };
    status.replicas > 0
        || status.terminating_replicas.unwrap_or(0) > 0
        || status.observed_generation < set.metadata.generation
}
