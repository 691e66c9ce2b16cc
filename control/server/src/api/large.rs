//! Requests with large bodies, which take time to read and to judge: a few at once, and beside all others.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Larger bodies are not read in passing. Nearly all objects are smaller.
const LARGE: usize = 64 * 1024;

/// Places for requests with large bodies: as many as there are processors. A body of three megabytes can become some hundred
/// megabytes of values, and a second of work.
pub(super) struct Places(Semaphore);

/// Whether a request has a large body, and its place then.
#[derive(Default)]
pub(super) struct Place<'a>(Mutex<Option<SemaphorePermit<'a>>>);

impl Default for Places {
    fn default() -> Self {
        Self(Semaphore::new(available_parallelism().map_or(2, usize::from)))
    }
}

impl<'a> Place<'a> {
    /// Waits for a place where the body is large; the request has it until it ends.
    pub(super) async fn take(&self, places: &'a Places, body: usize) {
        if body < LARGE {
            return;
        }
        // The semaphore is never closed.
        let Ok(place) = places.0.acquire().await else { return };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        // What follows is work: it begins where `beside` looks again.
        tokio::task::yield_now().await;
    }

    fn is_taken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Does the work; as soon as there is a place for a large body, in such a way that the thread's other tasks go on
    /// elsewhere meanwhile.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let threads = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
            if self.is_taken() && threads() {
                tokio::task::block_in_place(|| work.as_mut().poll(cx))
            } else {
                work.as_mut().poll(cx)
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn large_bodies_leave_the_thread_to_others_and_wait_for_a_place() {
        let (places, place, other) = (Places(Semaphore::new(1)), Place::default(), Place::default());
        place
            .beside(async {
                place.take(&places, LARGE).await;
                // Runs on the only worker while this one is kept busy.
                let (done, wait) = std::sync::mpsc::channel();
                tokio::spawn(async move { done.send(()) });
                wait.recv_timeout(std::time::Duration::from_secs(30)).expect("the other task ran");
            })
            .await;
        let waiting = other.take(&places, LARGE);
        let mut waiting = pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        Place::default().take(&places, LARGE - 1).await;
        drop(place);
        waiting.await;
        assert!(other.is_taken());
    }
}
