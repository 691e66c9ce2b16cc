//! The memory that a workload's live instances share, and all workloads of the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use wasmtime::ResourceLimiter;

/// How much memory live instances have, and how much they may have: those of one workload, or those of all.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: AtomicU64,
    /// What one instance may have.
    instance_limit: AtomicU64,
    used: AtomicU64,
    freed: Notify,
    /// Of all workloads; what is taken here is taken there as well.
    node: Option<Arc<Budget>>,
}

/// Whose budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exhausted {
    Workload,
    Node,
}

impl Budget {
    /// The budget of a node: `limit` bytes for all workloads.
    pub(crate) fn node(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(limit),
            instance_limit: AtomicU64::new(u64::MAX),
            used: AtomicU64::new(0),
            freed: Notify::new(),
            node: None,
        })
    }

    /// The budget of a workload: `limit` bytes for all of its instances or, without a limit, `unlimited_instance` bytes
    /// for each of them.
    pub(crate) fn workload(node: Arc<Self>, limit: Option<u64>, unlimited_instance: u64) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(limit.unwrap_or(u64::MAX)),
            instance_limit: AtomicU64::new(if limit.is_some() { u64::MAX } else { unlimited_instance }),
            used: AtomicU64::new(0),
            freed: Notify::new(),
            node: Some(node),
        })
    }

    /// Another limit for all instances from now on, unless they have more than that; then what they have is the error.
    pub(crate) fn set_limit(&self, limit: u64) -> Result<(), u64> {
        let used = self.used();
        if used > limit {
            return Err(used);
        }
        self.limit.store(limit, Ordering::Relaxed);
        self.instance_limit.store(u64::MAX, Ordering::Relaxed);
        self.freed.notify_waiters();
        Ok(())
    }

    fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Whether `bytes` could be taken now.
    fn fits(&self, bytes: u64) -> bool {
        self.used.load(Ordering::Relaxed).checked_add(bytes).is_some_and(|sum| sum <= self.limit())
    }

    /// Takes `bytes`, or nothing.
    fn take(&self, bytes: u64) -> Result<(), Exhausted> {
        let taken = self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.limit())
        });
        let Some(node) = &self.node else { return taken.map(drop).map_err(|_| Exhausted::Node) };
        taken.map_err(|_| Exhausted::Workload)?;
        node.take(bytes).inspect_err(|_| self.give_back_own(bytes))
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.give_back_own(bytes);
            if let Some(node) = &self.node {
                node.give_back_own(bytes);
            }
        }
    }

    fn give_back_own(&self, bytes: u64) {
        // Nobody gives back more than was taken, so this cannot wrap.
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if self.limit() != u64::MAX {
            self.freed.notify_waiters();
        }
    }

    /// Waits until `bytes` fit, until `deadline` at most. Another instance may be quicker to take them.
    pub(crate) async fn room_for(&self, bytes: u64, deadline: Instant) -> Result<(), Exhausted> {
        timeout_at(deadline, self.own_room_for(bytes)).await.map_err(|_| Exhausted::Workload)?;
        match &self.node {
            Some(node) => timeout_at(deadline, node.own_room_for(bytes)).await.map_err(|_| Exhausted::Node),
            None => Ok(()),
        }
    }

    async fn own_room_for(&self, bytes: u64) {
        loop {
            if self.fits(bytes) {
                return;
            }
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.fits(bytes) {
                return;
            }
            freed.await;
        }
    }

    /// Bytes that are taken now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// One instance's share of a [`Budget`], given back when it is dropped.
pub(crate) struct Share {
    budget: Arc<Budget>,
    held: u64,
    /// What the last growth took, to be given back if it fails after all.
    last: u64,
    denied: bool,
    /// The node's budget, not the workload's or the instance's, was what the last denial was for.
    node_was_full: bool,
}

impl Share {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held: 0, last: 0, denied: false, node_was_full: false }
    }

    /// Bytes that the instance has.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Whether the instance was denied memory at any time.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    /// Whether it was because all workloads of the node together have too much.
    pub(crate) fn node_was_full(&self) -> bool {
        self.node_was_full
    }

    fn grow(&mut self, current: usize, desired: usize, unit: u64, maximum: Option<usize>) -> bool {
        let bytes = (desired.saturating_sub(current) as u64).saturating_mul(unit);
        self.last = 0;
        let beyond = maximum.is_some_and(|maximum| desired > maximum)
            || self.held.saturating_add(bytes) > self.budget.instance_limit.load(Ordering::Relaxed);
        let taken = if beyond { Err(Exhausted::Workload) } else { self.budget.take(bytes) };
        if let Err(whose) = taken {
            (self.denied, self.node_was_full) = (true, whose == Exhausted::Node);
            return false;
        }
        self.held += bytes;
        self.last = bytes;
        true
    }

    fn undo(&mut self) {
        self.denied = true;
        self.held -= self.last;
        self.budget.give_back(std::mem::take(&mut self.last));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give_back(self.held);
    }
}

/// An element of a table is a pointer.
const ELEMENT_BYTES: u64 = size_of::<usize>() as u64;

impl ResourceLimiter for Share {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, 1, maximum))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, ELEMENT_BYTES, maximum))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PAGE: usize = 65_536;

    fn limited(bytes: u64) -> Arc<Budget> {
        Budget::workload(Budget::node(u64::MAX), Some(bytes), 0)
    }

    #[test]
    fn instances_share_one_budget_and_give_back_what_they_held() {
        let budget = limited(3 * PAGE as u64);
        let mut first = Share::new(budget.clone());
        let mut second = Share::new(budget.clone());
        assert!(first.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!second.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(second.denied() && !first.denied());
        assert!(second.memory_growing(0, PAGE, None).unwrap());
        assert_eq!(budget.used(), 3 * PAGE as u64);
        drop(first);
        assert_eq!(budget.used(), PAGE as u64);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn another_limit_holds_at_once_and_is_not_below_what_is_held() {
        let budget = limited(PAGE as u64);
        let mut share = Share::new(budget.clone());
        assert!(share.memory_growing(0, PAGE, None).unwrap());
        assert!(!share.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert_eq!(budget.set_limit(2 * PAGE as u64), Ok(()));
        assert!(share.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert_eq!(budget.set_limit(PAGE as u64), Err(2 * PAGE as u64));
        assert!(!share.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
    }

    #[test]
    fn a_growth_that_fails_later_or_is_beyond_the_maximum_takes_nothing() {
        let budget = Budget::workload(Budget::node(u64::MAX), None, u64::MAX);
        let mut share = Share::new(budget.clone());
        assert!(share.memory_growing(0, PAGE, Some(PAGE)).unwrap());
        assert!(!share.memory_growing(PAGE, 2 * PAGE, Some(PAGE)).unwrap());
        assert_eq!(budget.used(), PAGE as u64);
        assert!(share.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        share.memory_grow_failed(wasmtime::format_err!("no memory")).unwrap();
        assert_eq!((budget.used(), share.held()), (PAGE as u64, PAGE as u64));
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_when_an_instance_goes() {
        let budget = limited(100);
        let mut share = Share::new(budget.clone());
        assert!(share.memory_growing(0, 80, None).unwrap());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.room_for(50, Instant::now() + Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(share);
        waiting.await.unwrap().unwrap();
    }

    #[test]
    fn workloads_share_the_nodes_budget() {
        let node = Budget::node(3 * PAGE as u64);
        let of = |limit: Option<u64>| Share::new(Budget::workload(node.clone(), limit, u64::MAX));
        let (mut first, mut second) = (of(None), of(Some(2 * PAGE as u64)));
        assert!(first.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!second.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(second.node_was_full());
        assert_eq!(second.budget.used(), 0, "what the node has not is not taken from the workload");
        assert!(second.memory_growing(0, PAGE, None).unwrap());
        assert!(!second.memory_growing(PAGE, 3 * PAGE, None).unwrap());
        assert!(!second.node_was_full());
        drop(first);
        assert_eq!(node.used(), PAGE as u64);
        drop(second);
        assert_eq!(node.used(), 0);
    }

    #[test]
    fn an_instance_without_a_limit_has_one_all_the_same() {
        let node = Budget::node(u64::MAX);
        let budget = Budget::workload(node, None, 2 * PAGE as u64);
        let (mut first, mut second) = (Share::new(budget.clone()), Share::new(budget.clone()));
        assert!(first.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!first.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
        assert!(second.memory_growing(0, 2 * PAGE, None).unwrap());
        assert_eq!(budget.used(), 4 * PAGE as u64);
    }

    #[tokio::test]
    async fn who_waits_in_vain_is_told_whose_budget_it_was() {
        let soon = || Instant::now() + Duration::from_millis(10);
        assert_eq!(limited(100).room_for(200, soon()).await, Err(Exhausted::Workload));
        let node = Budget::node(100);
        assert_eq!(Budget::workload(node, Some(300), 0).room_for(200, soon()).await, Err(Exhausted::Node));
    }
}
