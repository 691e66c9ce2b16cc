//! What a workload has used: the processor time of its guests, and the memory of its live instances.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::budget::Budget;

/// Counts for one workload, or for several together; their instances add to it as long as there are any.
#[derive(Debug, Default)]
pub struct Meter {
    cpu_nanos: AtomicU64,
    /// Of the workloads that it counts for: a container's own, and what is run in it beside.
    budgets: Mutex<Vec<Weak<Budget>>>,
}

impl Meter {
    /// Processor time that guests have used since the workload began, on the guests' threads.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// Bytes of linear memory and tables that live instances have now. A service that handles no request has none.
    pub fn memory_bytes(&self) -> u64 {
        let budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.iter().filter_map(Weak::upgrade).map(|budget| budget.used()).sum()
    }

    /// The memory of a workload is told too from now on.
    pub(crate) fn tell(&self, budget: &Arc<Budget>) {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.retain(|budget| budget.strong_count() > 0);
        budgets.push(Arc::downgrade(budget));
    }
}

/// The thread's own processor time: a guest that waits for a processor uses none.
fn now_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The same future, whose time is counted. Each time it is polled costs two looks at the clock, some 300 ns.
pub(crate) async fn metered<F: Future>(meter: Arc<Meter>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let began = now_nanos();
        let polled = future.as_mut().poll(cx);
        meter.cpu_nanos.fetch_add(now_nanos().saturating_sub(began), Ordering::Relaxed);
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_computed_is_counted() {
        let meter = Arc::new(Meter::default());
        let work = async {
            let began = now_nanos();
            while now_nanos() - began < 30_000_000 {
                std::hint::spin_loop();
            }
        };
        metered(meter.clone(), work).await;
        assert!(meter.cpu() >= Duration::from_millis(30), "{:?}", meter.cpu());
        assert_eq!(meter.memory_bytes(), 0);
    }
}
