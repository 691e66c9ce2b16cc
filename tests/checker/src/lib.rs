//! Judges what clients saw of a store: whether one single store, to which every operation happened at one instant between
//! its call and its answer, could have shown them that.
//!
//! | module | holds |
//! |---|---|
//! | `history` | what clients did and saw: the input |
//! | `linear` | the search for an order of the operations on one key (Wing and Gong, with Lowe's memory of dead ends) |
//! | `project` | what a history says about one key |
//! | `shrink` | the smallest part of a history that still fails, in words |
//! | `revisions` | revisions against real time: unique, rising, never with other content |
//! | `sequence` | the commits in the order of their revisions, given or gathered from what was seen |
//! | `watches` | watchers against that sequence: no gap, no repeat, in order, across resumptions |
//!
//! It is pure: no clock, no file, no thread. A simulation and suites on real processes judge with the same code.

mod history;
mod linear;
mod project;
mod report;
mod revisions;
mod sequence;
mod shrink;
mod watches;

pub use history::{Call, Found, Guard, History, Operation, Outcome, Returned, Step, Value, Watch, Write};
pub use report::{Kind, Report, Violation};
pub use sequence::{Change, Sequence};

/// How much work the search for an order may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps of the search for each key; beyond them the key is reported as undecided.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { steps: 2_000_000 }
    }
}

/// Judges a history by itself: the sequence of commits is gathered from what its clients and watchers saw.
pub fn check(history: &History, limits: Limits) -> Report {
    let mut report = Report::default();
    let sequence = Sequence::gather(history, &mut report);
    judge(history, &sequence, limits, report)
}

/// Judges a history against the sequence of commits that is known to have happened, such as a simulation's.
pub fn check_against(history: &History, sequence: &Sequence, limits: Limits) -> Report {
    judge(history, sequence, limits, Report::default())
}

/// To make a failure small takes work: for more keys than this it is only told that there is one.
const EXPLAINED: usize = 2;

fn judge(history: &History, sequence: &Sequence, limits: Limits, mut report: Report) -> Report {
    revisions::check(history, &mut report);
    sequence.check(history, &mut report);
    watches::check(history, sequence, &mut report);
    let mut explained = 0;
    for key in project::keys(history) {
        report.keys += 1;
        let steps = project::steps(history, &key);
        match linear::search(&steps, limits.steps) {
            linear::Found::Order => {}
            linear::Found::Undecided => report.undecided.push(key),
            linear::Found::None if explained < EXPLAINED => {
                explained += 1;
                report.add(Kind::NotLinearizable, shrink::explain(history, &key, steps, limits.steps));
            }
            linear::Found::None => {
                report.add(Kind::NotLinearizable, format!("{key}: no order explains its operations"))
            }
        }
    }
    report
}

#[cfg(test)]
mod tests;
