//! How many connections there are, and which give way when there are many.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// When it is crowded, what is of no use for this long ends: a connection without a request, or one that is not yet set up. So
/// long may wait who comes when all places are taken by such.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The places for connections.
pub(super) struct Crowd {
    most: usize,
    free: Arc<Semaphore>,
    crowded: watch::Sender<bool>,
}

/// A connection's place, which it has until this is dropped.
pub(super) struct Held {
    crowd: Arc<Crowd>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, free: Arc::new(Semaphore::new(most)), crowded: watch::Sender::new(false) })
    }

    /// Waits for a place.
    pub(super) async fn enter(self: &Arc<Self>) -> Held {
        // The semaphore is never closed.
        let permit = self.free.clone().acquire_owned().await.ok();
        self.look();
        Held { crowd: self.clone(), permit }
    }

    /// It is crowded from when three quarters of the places are taken until half of them are.
    fn look(&self) {
        let free = self.free.available_permits();
        self.crowded.send_if_modified(|crowded| {
            let now = free <= self.most / if *crowded { 2 } else { 4 };
            std::mem::replace(crowded, now) != now
        });
    }

    /// Returns when a connection should end for others: when it is crowded, and `unused` has come while it was.
    pub(super) fn gives_way<F, U>(&self, unused: U) -> impl Future<Output = ()> + Send + use<F, U>
    where
        F: Future<Output = ()> + Send,
        U: Fn() -> F + Send,
    {
        let mut felt = self.crowded.subscribe();
        async move {
            // The sender lives as long as there are connections.
            while felt.wait_for(|crowded| *crowded).await.is_ok() {
                tokio::select! {
                    () = unused() => return,
                    _ = felt.wait_for(|crowded| !*crowded) => {}
                }
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.crowd.look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_used_gives_way_while_it_is_crowded() {
        let crowd = Crowd::new(8);
        let mut used = std::pin::pin!(crowd.gives_way(std::future::pending));
        let mut unused = std::pin::pin!(crowd.gives_way(|| std::future::ready(())));
        assert!(futures::poll!(&mut used).is_pending() && futures::poll!(&mut unused).is_pending());
        let mut held = Vec::new();
        for taken in 1..=8 {
            held.push(crowd.enter().await);
            assert_eq!(*crowd.crowded.borrow(), taken >= 6, "{taken} of 8");
        }
        assert!(futures::poll!(&mut used).is_pending() && futures::poll!(&mut unused).is_ready());
        for taken in (0..8).rev() {
            held.pop();
            assert_eq!(*crowd.crowded.borrow(), taken >= 4, "{taken} of 8");
        }
        let mut unused = std::pin::pin!(crowd.gives_way(|| std::future::ready(())));
        assert!(futures::poll!(&mut unused).is_pending());
    }
}
