//! What an evaluation may cost.

/// Why an evaluation ended without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fail {
    /// The words of cel-go.
    Error(String),
    /// It would have cost more than it may.
    TooCostly,
}

impl Fail {
    pub(super) fn error(message: impl Into<String>) -> Self {
        Self::Error(message.into())
    }

    pub(super) fn no_overload() -> Self {
        Self::Error("no such overload".to_owned())
    }
}

/// So much work may one evaluation make, whatever it costs: it is bounded where a price says nothing of it.
const MOST_WORK: u64 = 2_000_000;

/// Counts what an evaluation costs, which is what cel-go and Kubernetes' libraries count, and how much work it makes.
#[derive(Debug)]
pub(super) struct Meter {
    spent: u64,
    limit: u64,
    work: u64,
}

impl Meter {
    pub(super) fn new(limit: u64) -> Self {
        Self { spent: 0, limit, work: 0 }
    }

    pub(super) fn spent(&self) -> u64 {
        self.spent
    }

    /// Takes the price of a step, before it is made.
    pub(super) fn pay(&mut self, price: usize) -> Result<(), Fail> {
        self.spent = self.spent.saturating_add(price as u64);
        if self.spent > self.limit { Err(Fail::TooCostly) } else { Ok(()) }
    }

    /// Counts work, before it is done.
    pub(super) fn charge(&mut self, steps: usize) -> Result<(), Fail> {
        self.work = self.work.saturating_add(steps as u64);
        if self.work > MOST_WORK { Err(Fail::TooCostly) } else { Ok(()) }
    }

    /// Walking over so many bytes of text.
    pub(super) fn charge_text(&mut self, bytes: usize) -> Result<(), Fail> {
        self.charge(bytes / 10 + 1)
    }

    /// Looking for a pattern of a length in a text.
    pub(super) fn charge_pattern(&mut self, bytes: usize, pattern: usize) -> Result<(), Fail> {
        self.charge((bytes / 10 + 1).saturating_mul(pattern / 4 + 1))
    }
}
