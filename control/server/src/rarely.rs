//! Waiting beside busy work for what hardly ever happens.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

/// A future that is looked at when it was woken, and not each time that the task which waits for it runs: next to work that
/// runs a hundred times a second, a timer and a lock less on each round.
pub(crate) struct Rarely(FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Rarely {
    pub(crate) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let only = FuturesUnordered::new();
        only.push(Box::pin(future) as Pin<Box<dyn Future<Output = ()> + Send>>);
        Self(only)
    }

    /// Ready once the future is, and ever after.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_next_unpin(cx).map(|_| ())
    }
}

/// What the work comes to, or `None` when the end came first.
pub(crate) async fn unless<T>(
    end: impl Future<Output = ()> + Send + 'static,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (mut end, mut work) = (Rarely::new(end), pin!(work));
    poll_fn(|cx| match end.poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(Some),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_was_not_woken_is_not_looked_at_and_what_has_ended_stays_so() {
        let (sender, receiver) = oneshot::channel::<()>();
        let looks = Arc::new(AtomicUsize::new(0));
        let mut receiver = Box::pin(receiver);
        let counted = looks.clone();
        let mut rarely = Rarely::new(poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            receiver.as_mut().poll(cx).map(|_| ())
        }));
        for _ in 0..10 {
            assert!(futures::poll!(poll_fn(|cx| rarely.poll(cx))).is_pending());
        }
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        drop(sender);
        poll_fn(|cx| rarely.poll(cx)).await;
        assert!(futures::poll!(poll_fn(|cx| rarely.poll(cx))).is_ready());
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }
}
