//! Work that wakes itself.
//!
//! hyper wakes its own task where an answer waits for the body of its request. A task that was woken while it ran goes to the end
//! of the queue, and another thread is woken to see to that; so each request with a body would cost a thread's wake-up, and
//! often a change of threads. Work in here is looked at again at once instead.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// The task waits.
const RESTS: u8 = 0;
/// The task runs.
const RUNS: u8 = 1;
/// The task runs and was woken since.
const RUNG: u8 = 2;
/// So often it is looked at before others of the queue have their turn.
const LOOKS: usize = 4;

/// Wakes the task if it waits, and remembers that it is to be looked at again if it runs.
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let before = self.state.compare_exchange(RUNS, RUNG, Ordering::AcqRel, Ordering::Acquire);
        if before == Err(RESTS) {
            self.task.wake();
        }
    }
}

/// A future that is looked at again when it was woken while it was looked at.
pub(crate) struct Again<F> {
    bell: Arc<Bell>,
    waker: Waker,
    future: F,
}

impl<F: Future + Unpin> Again<F> {
    pub(crate) fn new(future: F) -> Self {
        let bell = Arc::new(Bell { state: AtomicU8::new(RESTS), task: AtomicWaker::new() });
        Self { waker: bell.clone().into(), bell, future }
    }
}

impl<F: Future + Unpin> Future for Again<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { bell, waker, future } = &mut *self;
        // Before it may be woken, so that whoever finds it at rest finds whom to wake.
        bell.task.register(cx.waker());
        for _ in 0..LOOKS {
            bell.state.store(RUNS, Ordering::Release);
            if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(output);
            }
            if bell.state.compare_exchange(RUNS, RESTS, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        bell.state.store(RESTS, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;
    use crate::rarely::tests::echo;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Work that wakes itself so often before it waits: how often it is looked at, and how often its task is woken.
    fn looks_and_wakes(times: usize) -> (usize, usize) {
        let mut looks = 0;
        let woken = Arc::new(Woken::default());
        let work = poll_fn(|cx| {
            looks += 1;
            if looks <= times {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        let mut work = Again::new(work);
        assert!(Pin::new(&mut work).poll(&mut Context::from_waker(&woken.clone().into())).is_pending());
        drop(work);
        (looks, woken.0.load(Ordering::Relaxed))
    }

    #[test]
    fn what_wakes_itself_is_looked_at_again_and_leaves_others_their_turn() {
        let check = |times, expected| assert_eq!(looks_and_wakes(times), expected, "{times}");
        check(0, (1, 0));
        check(1, (2, 0));
        check(LOOKS - 1, (LOOKS, 0));
        check(LOOKS, (LOOKS, 1));
        check(100, (LOOKS, 1));
    }

    /// Each answer comes from another thread while the task looks for it, so that every order of the two is met.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_up_is_lost() {
        const TURNS: usize = 20_000;
        const LIMIT: Duration = Duration::from_secs(60);
        let (questions, mut answers, echo) = echo();
        let talk = Again::new(Box::pin(async {
            for turn in 0..TURNS {
                questions.send(()).await.expect("an echo");
                answers.recv().await.unwrap_or_else(|| panic!("turn {turn} has no answer"));
            }
        }));
        tokio::time::timeout(LIMIT, talk).await.expect("no wake-up is lost");
        drop(questions);
        echo.await.expect("the echo");
    }
}
