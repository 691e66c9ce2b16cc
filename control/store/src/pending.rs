//! The proposals of this server's own users, until it has applied them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::core::{LEADERLESS, Reply};
use crate::entry::Memo;
use crate::error::StoreError;
use crate::members::Change;
use crate::mvcc::State;
use crate::proposals::{Context, Why};
use crate::txn::Outcome;

/// After so long a proposal's outcome is not waited for any more.
const LIMIT: Duration = Duration::from_secs(10);

/// A proposal that another server was given is given to it again after so long, then after twice as long, and so on.
const PATIENCE: Duration = Duration::from_millis(500);
const MOST_DOUBLINGS: u32 = 3;

/// How many writes may wait, and how many bytes of them.
pub(crate) struct Budget {
    writes: AtomicUsize,
    bytes: AtomicUsize,
    most_writes: usize,
    most_bytes: usize,
}

impl Budget {
    pub fn new(most_writes: usize, most_bytes: usize) -> Arc<Budget> {
        let (writes, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Budget { writes, bytes, most_writes, most_bytes })
    }

    /// A write's share; one write may always wait, however large.
    pub fn take(self: &Arc<Budget>, bytes: usize) -> Result<Share, StoreError> {
        let share = Share { budget: self.clone(), bytes, memo: None };
        let writes = self.writes.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if writes > 0 && (writes >= self.most_writes || before + bytes > self.most_bytes) {
            return Err(StoreError::QueueFull);
        }
        Ok(share)
    }
}

/// A waiting write's share of what may wait. It is given back when the write is answered, whether or not anybody still
/// waits for the answer.
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
    /// What the writer made of the first value that it puts, to be kept with that.
    pub memo: Option<Memo>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.writes.fetch_sub(1, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Who waits for what became of a proposal.
pub(crate) enum Asker {
    /// The writer of a transaction.
    Writer { reply: Reply<Outcome>, share: Option<Share> },
    /// Whoever wants the members changed, or the leader.
    Operator(Reply<()>),
    /// Nobody: this server proposed it by itself.
    Itself,
}

impl Asker {
    /// Says that it did not happen, or that nobody knows.
    pub fn refuse(self, error: StoreError) {
        // Whoever asked may have gone.
        match self {
            Asker::Writer { reply, share } => {
                drop(share);
                drop(reply.send(Err(error)));
            }
            Asker::Operator(reply) => drop(reply.send(Err(error))),
            Asker::Itself => tracing::debug!(%error, "a proposal of this server's own came to nothing"),
        }
    }
}

/// A proposal that is not applied yet.
pub(crate) struct Pending {
    pub data: Bytes,
    pub change: Option<Change>,
    pub asker: Asker,
    deadline: Duration,
    /// How often it was handed to a leader, how often to the present one, and when last.
    tries: u32,
    recent: u32,
    handed: Duration,
    /// This server leads and could not propose it yet.
    is_put_off: bool,
}

impl Pending {
    /// Whether it was handed to one leader only, once.
    pub fn is_first_try(&self) -> bool {
        self.tries <= 1
    }

    fn is_over(&self) -> StoreError {
        match &self.change {
            _ if self.tries == 0 => StoreError::NoLeader,
            Some(Change::Lead(id)) => {
                StoreError::CannotLead { id: *id, why: "it did not take over in time".to_owned() }
            }
            _ => StoreError::Unknown,
        }
    }
}

/// The proposals by their numbers.
pub(crate) struct PendingProposals {
    origin: u64,
    /// The number of the first slot: all below are finished.
    low: u64,
    slots: VecDeque<Option<Pending>>,
    /// Those from here on were not handed to the present leader yet.
    fresh: u64,
}

impl PendingProposals {
    pub fn new(origin: u64) -> PendingProposals {
        PendingProposals { origin, low: 0, slots: VecDeque::new(), fresh: 0 }
    }

    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// Adds a proposal, to be handed to whoever leads.
    pub fn add(&mut self, data: Bytes, change: Option<Change>, asker: Asker, now: Duration) {
        let deadline = now + LIMIT;
        self.slots.push_back(Some(Pending {
            data,
            change,
            asker,
            deadline,
            tries: 0,
            recent: 0,
            handed: Duration::ZERO,
            is_put_off: false,
        }));
    }

    /// Whether some were not handed to the present leader yet.
    pub fn has_fresh(&self) -> bool {
        self.fresh < self.end()
    }

    fn end(&self) -> u64 {
        self.low + self.slots.len() as u64
    }

    /// There is another leader, or none: all are handed on again.
    pub fn start_over(&mut self) {
        self.fresh = self.low;
        self.slots.iter_mut().flatten().for_each(|pending| pending.recent = 0);
    }

    /// Those from `seq` on were not taken.
    pub fn step_back(&mut self, seq: u64) {
        self.fresh = self.fresh.min(seq.max(self.low));
    }

    /// The next one that the present leader was not given, noted as handed to it now.
    pub fn next_fresh(&mut self, now: Duration) -> Option<(Context, &Pending)> {
        while self.has_fresh() {
            let seq = self.fresh;
            self.fresh += 1;
            if self.get(seq).is_some() {
                return self.hand(seq, now);
            }
        }
        None
    }

    /// Notes that this one is handed to the leader now.
    pub fn hand(&mut self, seq: u64, now: Duration) -> Option<(Context, &Pending)> {
        let (origin, low) = (self.origin, self.low);
        let pending = self.slots.get_mut(usize::try_from(seq.checked_sub(low)?).ok()?)?.as_mut()?;
        pending.tries += 1;
        pending.recent += 1;
        pending.handed = now;
        pending.is_put_off = false;
        let context = Context { origin, seq, low, change: pending.change.clone() };
        Some((context, pending))
    }

    /// This one could not be proposed yet, and is handed on again at the next look.
    pub fn put_off(&mut self, seq: u64) {
        let place = seq.checked_sub(self.low).and_then(|place| usize::try_from(place).ok());
        if let Some(Some(pending)) = place.and_then(|place| self.slots.get_mut(place)) {
            pending.is_put_off = true;
        }
    }

    /// The numbers of those that were handed on long enough ago to be handed on again.
    pub fn overdue(&self, now: Duration) -> Vec<u64> {
        let handed = self.slots.iter().zip(self.low..self.fresh);
        handed
            .filter(|(slot, _)| {
                slot.as_ref().is_some_and(|pending| {
                    let doublings = pending.recent.saturating_sub(1).min(MOST_DOUBLINGS);
                    pending.is_put_off || now >= pending.handed + PATIENCE * 2u32.pow(doublings)
                })
            })
            .map(|(_, seq)| seq)
            .collect()
    }

    pub fn get(&self, seq: u64) -> Option<&Pending> {
        self.slots.get(usize::try_from(seq.checked_sub(self.low)?).ok()?)?.as_ref()
    }

    /// Whether a change is on its way for which this holds.
    pub fn has_change(&self, wanted: impl Fn(&Change) -> bool) -> bool {
        self.slots.iter().flatten().any(|pending| pending.change.as_ref().is_some_and(&wanted))
    }

    /// Takes out one that is finished.
    pub fn finish(&mut self, seq: u64) -> Option<Pending> {
        let pending = self.slots.get_mut(usize::try_from(seq.checked_sub(self.low)?).ok()?)?.take();
        self.trim();
        pending
    }

    fn trim(&mut self) {
        while self.slots.pop_front_if(|slot| slot.is_none()).is_some() {
            self.low += 1;
        }
        self.fresh = self.fresh.max(self.low);
    }

    /// Takes out those for which this holds.
    pub fn finish_where(&mut self, mut is_finished: impl FnMut(u64, &Pending) -> bool) -> Vec<Pending> {
        let mut finished = Vec::new();
        for (seq, slot) in (self.low..).zip(&mut self.slots) {
            if slot.as_ref().is_some_and(|pending| is_finished(seq, pending)) {
                finished.extend(slot.take());
            }
        }
        self.trim();
        finished
    }

    /// Tells those whose time is up that nobody knows what becomes of them, and those that nobody took that nobody leads.
    pub fn expire(&mut self, now: Duration) {
        self.expire_unhanded(now);
        // Deadlines ascend, so most of the time one look is enough.
        let first = self.slots.iter().flatten().next();
        if first.is_none_or(|first| first.deadline > now) {
            return;
        }
        for pending in self.finish_where(|_, pending| pending.deadline <= now) {
            let error = pending.is_over();
            pending.asker.refuse(error);
        }
    }

    fn expire_unhanded(&mut self, now: Duration) {
        // What was never handed on lies at the end, the oldest of it first.
        let is_late = |pending: &Pending| pending.tries == 0 && pending.deadline <= now + (LIMIT - LEADERLESS);
        if !self.slots.range(self.handed_on()..).flatten().next().is_some_and(is_late) {
            return;
        }
        for pending in self.finish_where(|_, pending| is_late(pending)) {
            let error = pending.is_over();
            pending.asker.refuse(error);
        }
    }

    /// Those before this place were handed to some leader, or are gone.
    fn handed_on(&self) -> usize {
        self.slots.iter().rposition(|slot| slot.as_ref().is_some_and(|p| p.tries > 0)).map_or(0, |last| last + 1)
    }

    /// The state was replaced by another server's: what became of those that it holds cannot be told any more.
    pub fn expire_held(&mut self, state: &State) {
        let origin = self.origin;
        for pending in self.finish_where(|seq, _| state.holds(origin, seq)) {
            pending.asker.refuse(StoreError::Unknown);
        }
    }

    /// The leader did not take one. At the first try that is the answer; a later one may come too late for an earlier
    /// one that was taken.
    pub fn refused(&mut self, seq: u64, why: Why, full: impl FnOnce() -> StoreError) {
        if !self.get(seq).is_some_and(Pending::is_first_try) {
            return;
        }
        let error = match why {
            Why::Full => full(),
            Why::QueueFull => StoreError::QueueFull,
            Why::NotLeader | Why::Refused => return,
        };
        if let Some(pending) = self.finish(seq) {
            pending.asker.refuse(error);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Refuses all. Whether one that was handed on is applied nobody knows.
    pub fn abandon(&mut self, error: &StoreError) {
        let is_end = matches!(error, StoreError::Closed | StoreError::Removed);
        for pending in self.finish_where(|_, _| true) {
            let unknown = is_end && pending.tries > 0 && pending.change.is_none();
            pending.asker.refuse(if unknown { StoreError::Unknown } else { error.clone() });
        }
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
