//! What a history says about one key.

use std::collections::BTreeSet;

use crate::history::{Call, Guard, History, Operation, Outcome, Value};
use crate::linear::{Seen, Step};

/// All keys of a history.
pub(crate) fn keys(history: &History) -> BTreeSet<String> {
    let mut keys: BTreeSet<String> = history.initial.keys().cloned().collect();
    for operation in &history.operations {
        match &operation.call {
            Call::Read { keys: read } => keys.extend(read.iter().cloned()),
            Call::Stale { .. } => {}
            Call::Txn { guards, writes } => {
                keys.extend(guards.iter().map(|guard| guard.key().to_owned()));
                keys.extend(writes.iter().map(|write| write.key.clone()));
            }
        }
    }
    keys
}

/// The place of the write that made a key's initial value.
pub(crate) const INITIAL: usize = usize::MAX;

/// What the history's operations are to one key, without those that do not matter to it.
pub(crate) fn steps(history: &History, key: &str) -> Vec<Step> {
    let mut steps = all_steps(history, key);
    forget_unseen(&mut steps);
    steps
}

pub(crate) fn all_steps(history: &History, key: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(value) = history.initial.get(key) {
        let writes = Some(Some(*value));
        steps.push(Step { called: 0, returned: Some(0), sees: Vec::new(), writes, operation: INITIAL });
    }
    for (at, operation) in history.operations.iter().enumerate() {
        let Some((sees, writes, is_certain)) = part(operation, key) else { continue };
        if sees.is_empty() && writes.is_none() || !is_certain && writes.is_none() {
            continue;
        }
        let returned = operation.returned.as_ref().filter(|_| is_certain).map(|returned| returned.at);
        steps.push(Step { called: operation.called, returned, sees, writes, operation: at });
    }
    steps
}

type Part = (Vec<Seen>, Option<Option<Value>>, bool);

fn part(operation: &Operation, key: &str) -> Option<Part> {
    let outcome = operation.returned.as_ref().map_or(&Outcome::Unknown, |returned| &returned.outcome);
    match (&operation.call, outcome) {
        (Call::Read { keys }, Outcome::Read { found, .. }) => {
            let seen = keys.iter().zip(found).filter(|(read, _)| *read == key);
            let sees = seen.map(|(_, found)| Seen::Exactly(found.map(|found| found.value))).collect();
            Some((sees, None, true))
        }
        (Call::Txn { guards, writes }, Outcome::Committed { .. } | Outcome::Unknown) => {
            let held = guards.iter().filter(|guard| guard.key() == key).map(held).collect();
            let written = writes.iter().find(|write| write.key == key).map(|write| write.value);
            Some((held, written, *outcome != Outcome::Unknown))
        }
        (Call::Txn { guards, .. }, Outcome::Refused { guard: failed, current }) => {
            let first = guards.iter().take(*failed).filter(|guard| guard.key() == key).map(held);
            let last = guards.get(*failed).filter(|guard| guard.key() == key).map(broken);
            let told = last.and(*current).map(Seen::Exactly);
            // What the answer says of the value says it all, unless the guard would have held with it.
            let last = last.filter(|seen| current.is_none_or(|current| !seen.fits(current)));
            Some((first.chain(last).chain(told).collect(), None, true))
        }
        _ => None,
    }
}

fn held(guard: &Guard) -> Seen {
    match guard {
        Guard::Absent(_) => Seen::Exactly(None),
        Guard::Present(_) => Seen::Present,
        Guard::Is(_, value) => Seen::Exactly(Some(*value)),
    }
}

fn broken(guard: &Guard) -> Seen {
    match guard {
        Guard::Absent(_) => Seen::Present,
        Guard::Present(_) => Seen::Exactly(None),
        Guard::Is(_, value) => Seen::Not(*value),
    }
}

/// Leaves out writes that may have happened and whose value nobody saw: if they did, something else came over it before
/// anybody looked. Not where somebody saw only that there was a value, or another one.
pub(crate) fn forget_unseen(steps: &mut Vec<Step>) {
    let vague = steps.iter().any(|step| step.sees.iter().any(|seen| !matches!(seen, Seen::Exactly(_))));
    if vague {
        return;
    }
    loop {
        let seen: BTreeSet<Option<Value>> = steps
            .iter()
            .flat_map(|step| &step.sees)
            .filter_map(|seen| if let Seen::Exactly(value) = seen { Some(*value) } else { None })
            .collect();
        let before = steps.len();
        steps.retain(|step| step.returned.is_some() || step.writes.is_some_and(|value| seen.contains(&value)));
        if steps.len() == before {
            return;
        }
    }
}
