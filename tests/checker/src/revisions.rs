//! Revisions against real time: what was answered before an operation was called lies below its revision.

use std::collections::BTreeMap;

use crate::history::{Call, History, Operation, Outcome};
use crate::report::{Kind, Report};
use crate::shrink::describe;

/// An answered operation whose revision was told.
struct Told<'a> {
    operation: &'a Operation,
    at: u64,
    revision: u64,
    commits: bool,
}

pub(crate) fn check(history: &History, report: &mut Report) {
    let mut told: Vec<Told> = history.operations.iter().filter_map(told).collect();
    check_unique(&told, report);
    told.sort_by_key(|told| told.operation.called);
    let mut answered: Vec<&Told> = told.iter().collect();
    answered.sort_by_key(|told| told.at);
    let mut answered = answered.into_iter().peekable();
    let mut newest: Option<&Told> = None;
    for later in &told {
        while let Some(earlier) = answered.next_if(|earlier| earlier.at < later.operation.called) {
            if newest.is_none_or(|newest| earlier.revision > newest.revision) {
                newest = Some(earlier);
            }
        }
        let floor = newest.map_or(history.base, |newest| newest.revision);
        let is_old = match later.operation.call {
            // It shows what its server had applied, however long ago.
            Call::Stale { .. } => false,
            _ if later.commits => later.revision <= floor,
            _ => later.revision < floor,
        };
        if is_old {
            let before = newest.map_or("the beginning".to_owned(), |newest| describe(newest.operation));
            let text = format!("after revision {floor} had been answered\n  {before}\n  {}", describe(later.operation));
            report.add(Kind::RevisionWentBack, text);
        }
    }
}

fn told(operation: &Operation) -> Option<Told<'_>> {
    let returned = operation.returned.as_ref()?;
    let (revision, commits) = match returned.outcome {
        Outcome::Read { revision, .. } => (revision?, false),
        Outcome::Committed { revision } => (revision?, true),
        _ => return None,
    };
    Some(Told { operation, at: returned.at, revision, commits })
}

fn check_unique(told: &[Told], report: &mut Report) {
    let mut commits: BTreeMap<u64, &Operation> = BTreeMap::new();
    for told in told.iter().filter(|told| told.commits) {
        if let Some(other) = commits.insert(told.revision, told.operation) {
            let (one, two) = (describe(other), describe(told.operation));
            report.add(Kind::RevisionReused, format!("two commits at revision {}\n  {one}\n  {two}", told.revision));
        }
    }
}
