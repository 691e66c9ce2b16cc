//! The smallest part of a history that still fails, in words.

use crate::history::{Call, Guard, History, Operation, Outcome, Value};
use crate::linear::{Found, Step, search_within};
use crate::project::{INITIAL, forget_unseen};

/// So many times the work of finding a failure may be spent on making it small, and so many searches.
const EFFORT: u64 = 2;
const SEARCHES: usize = 500;

/// Why there is no order of the operations on a key.
pub(crate) fn explain(history: &History, key: &str, steps: Vec<Step>, limit: u64) -> String {
    let all = steps.len();
    let mut shrinking = Shrinking { searches: SEARCHES, left: limit.saturating_mul(EFFORT), each: limit };
    let steps = shrinking.shortest_beginning(steps);
    let mut steps = shrinking.fewest(steps);
    steps.sort_by_key(|step| (step.operation != INITIAL, step.called));
    let mut text = format!("{key}: the smallest part that no order explains, {} of {all} operations:", steps.len());
    for step in &steps {
        match history.operations.get(step.operation) {
            None => text.push_str(&format!("\n  at the beginning it held {}", value(step.writes.flatten()))),
            Some(operation) if step.returned.is_none() && operation.returned.is_some() => {
                text.push_str(&format!("\n  {} (its answer does not matter)", describe(operation)));
            }
            Some(operation) => text.push_str(&format!("\n  {}", describe(operation))),
        }
    }
    text
}

struct Shrinking {
    searches: usize,
    /// Steps that may be taken in all, and by one search.
    left: u64,
    each: u64,
}

impl Shrinking {
    fn fails(&mut self, steps: &[Step]) -> bool {
        if self.searches == 0 {
            return false;
        }
        self.searches -= 1;
        let budget = self.left.min(self.each);
        let mut left = budget;
        let found = search_within(steps, &mut left);
        self.left -= budget - left;
        found == Found::None
    }

    /// What happened until the first answer that cannot be explained: a beginning of what can be explained can be too.
    fn shortest_beginning(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let mut answers: Vec<u64> = steps.iter().filter_map(|step| step.returned).collect();
        answers.sort_unstable();
        answers.dedup();
        let (mut good, mut bad) = (0, answers.len());
        while good < bad {
            let middle = good.midpoint(bad);
            let fails = answers.get(middle).is_some_and(|until| self.fails(&beginning(&steps, *until)));
            if fails { bad = middle } else { good = middle + 1 }
        }
        answers.get(bad).map_or(steps.clone(), |until| beginning(&steps, *until))
    }

    /// Leaves out reads, and lets writes happen at any time or never, as long as it still fails: both only make it easier
    /// to find an order.
    fn fewest(&mut self, mut steps: Vec<Step>) -> Vec<Step> {
        let mut size = steps.len();
        while size > 0 && self.left > 0 && self.searches > 0 {
            let mut at = 0;
            while at < steps.len() {
                let until = (at + size).min(steps.len());
                let fewer = weakened(&steps, at..until);
                if fewer != steps && self.fails(&fewer) {
                    at = until.saturating_sub(steps.len() - fewer.len());
                    steps = fewer;
                } else {
                    at = until;
                }
            }
            size /= 2;
        }
        steps
    }
}

fn beginning(steps: &[Step], until: u64) -> Vec<Step> {
    let mut kept: Vec<Step> = steps.iter().filter(|step| step.called <= until).cloned().collect();
    for step in &mut kept {
        step.returned = step.returned.filter(|returned| *returned <= until);
    }
    kept.retain(|step| step.returned.is_some() || step.writes.is_some());
    forget_unseen(&mut kept);
    kept
}

fn weakened(steps: &[Step], range: std::ops::Range<usize>) -> Vec<Step> {
    let mut kept = steps.to_vec();
    for step in &mut kept[range] {
        step.returned = None;
    }
    kept.retain(|step| step.returned.is_some() || step.writes.is_some());
    forget_unseen(&mut kept);
    kept
}

/// An operation in one line.
pub(crate) fn describe(operation: &Operation) -> String {
    let ms = |ns: u64| format!("{}.{:06}", ns / 1_000_000, ns % 1_000_000);
    let until = operation.returned.as_ref().map_or("never".to_owned(), |returned| ms(returned.at));
    let outcome = operation.returned.as_ref().map_or("no answer".to_owned(), |returned| outcome(&returned.outcome));
    let Operation { client, server, called, call, .. } = operation;
    format!("[{} .. {until} ms] client {client} at {server}: {} -> {outcome}", ms(*called), words(call))
}

fn words(call: &Call) -> String {
    match call {
        Call::Read { keys } => format!("read {}", keys.join(", ")),
        Call::Stale { keys } => format!("read of any age {}", keys.join(", ")),
        Call::Txn { guards, writes } => {
            let guards = guards.iter().map(|guard| match guard {
                Guard::Absent(key) => format!("if no {key}"),
                Guard::Present(key) => format!("if {key}"),
                Guard::Is(key, value) => format!("if {key} is {value}"),
            });
            let writes = writes.iter().map(|write| match write.value {
                Some(value) => format!("{} = {value}", write.key),
                None => format!("remove {}", write.key),
            });
            guards.chain(writes).collect::<Vec<_>>().join(", ")
        }
    }
}

fn value(value: Option<Value>) -> String {
    value.map_or("nothing".to_owned(), |value| value.to_string())
}

fn outcome(outcome: &Outcome) -> String {
    let at = |revision: &Option<u64>| revision.map_or(String::new(), |revision| format!(" at revision {revision}"));
    match outcome {
        Outcome::Read { found, revision } => {
            let found: Vec<String> = found.iter().map(|found| value(found.map(|found| found.value))).collect();
            format!("{}{}", found.join(", "), at(revision))
        }
        Outcome::Committed { revision } => format!("committed{}", at(revision)),
        Outcome::Refused { guard, current: None } => format!("guard {guard} refused"),
        Outcome::Refused { guard, current: Some(current) } => {
            format!("guard {guard} refused, there is {}", value(*current))
        }
        Outcome::Unknown => "unknown".to_owned(),
        Outcome::Failed => "failed".to_owned(),
    }
}
