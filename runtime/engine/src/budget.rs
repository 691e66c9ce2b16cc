//! The memory that a workload's live instances share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use wasmtime::ResourceLimiter;

/// How much memory the live instances of one workload have, and how much they may have.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    freed: Notify,
}

impl Budget {
    /// A budget of `limit` bytes; `None` leaves the size of a memory as the only limit.
    pub(crate) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { limit: limit.unwrap_or(u64::MAX), used: AtomicU64::new(0), freed: Notify::new() })
    }

    /// Whether `bytes` could be taken now.
    fn fits(&self, bytes: u64) -> bool {
        self.used.load(Ordering::Relaxed).checked_add(bytes).is_some_and(|sum| sum <= self.limit)
    }

    /// Takes `bytes`, or nothing.
    fn take(&self, bytes: u64) -> bool {
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit)
            })
            .is_ok()
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            // Nobody gives back more than was taken, so this cannot wrap.
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            if self.limit != u64::MAX {
                self.freed.notify_waiters();
            }
        }
    }

    /// Waits until `bytes` fit. Another instance may be quicker to take them.
    pub(crate) async fn room_for(&self, bytes: u64) {
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

    #[cfg(test)]
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
}

impl Share {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held: 0, last: 0, denied: false }
    }

    /// Bytes that the instance has.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Whether the instance was denied memory at any time.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    fn grow(&mut self, current: usize, desired: usize, unit: u64, maximum: Option<usize>) -> bool {
        let bytes = (desired.saturating_sub(current) as u64).saturating_mul(unit);
        self.last = 0;
        if maximum.is_some_and(|maximum| desired > maximum) || !self.budget.take(bytes) {
            self.denied = true;
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
    use super::*;

    const PAGE: usize = 65_536;

    #[test]
    fn instances_share_one_budget_and_give_back_what_they_held() {
        let budget = Budget::new(Some(3 * PAGE as u64));
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
    fn a_growth_that_fails_later_or_is_beyond_the_maximum_takes_nothing() {
        let budget = Budget::new(None);
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
        let budget = Budget::new(Some(100));
        let mut share = Share::new(budget.clone());
        assert!(share.memory_growing(0, 80, None).unwrap());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.room_for(50).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(share);
        waiting.await.unwrap();
    }
}
