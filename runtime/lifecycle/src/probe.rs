//! When to probe next, and what the answers amount to.

use std::time::Duration;

use crate::plan::ProbePlan;

/// One probe of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbeState {
    /// When the next one is due (monotonic); `None` while one is under way.
    due: Option<Duration>,
    successes: u32,
    failures: u32,
    /// What the thresholds make of it so far.
    pub(crate) verdict: Option<bool>,
}

impl ProbeState {
    /// For a run that began at `since`, asked about at `now`.
    pub(crate) fn new(plan: &ProbePlan, since: Duration, now: Duration) -> Self {
        Self { due: Some((since + plan.initial_delay).max(now)), successes: 0, failures: 0, verdict: None }
    }

    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Whether to send one now; if so it counts as under way.
    pub(crate) fn take_due(&mut self, now: Duration) -> bool {
        match self.due {
            Some(due) if due <= now => {
                self.due = None;
                true
            }
            _ => false,
        }
    }

    /// Takes an answer in; true when the verdict is reached again or anew.
    pub(crate) fn answer(&mut self, plan: &ProbePlan, success: bool, now: Duration) -> bool {
        self.due = Some(now + plan.period);
        if success {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
        }
        let reached = self.successes >= plan.success_threshold || self.failures >= plan.failure_threshold;
        if reached {
            self.verdict = Some(success);
        }
        reached
    }
}

impl ProbeState {
    /// No more of these in this run; the verdict stays.
    pub(crate) fn retire(&mut self) {
        self.due = None;
    }
}
