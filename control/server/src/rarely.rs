//! Waiting beside busy work for what hardly ever happens.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Passes a wake-up on to the task, and remembers that it came.
struct Bell {
    rung: AtomicBool,
    /// Stays when it was woken, so that a wake-up that is late takes nothing away from the next one.
    task: Mutex<Option<Waker>>,
}

impl Bell {
    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        // It is only ever replaced, so a panic elsewhere leaves it whole.
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.task().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Looks at something when a wake-up came from there, and not each time that the task runs: next to work that runs a hundred
/// times a second, a timer or a lock less on each round.
pub(crate) struct Attention {
    bell: Arc<Bell>,
    waker: Waker,
    /// Whom the bell wakes.
    task: Option<Waker>,
}

impl Attention {
    /// Looks the first time in any case.
    pub(crate) fn new() -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::default() });
        Self { waker: bell.clone().into(), bell, task: None }
    }

    /// What `look` says, if there is reason to look.
    pub(crate) fn poll<T>(&mut self, cx: &mut Context<'_>, look: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if self.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
            *self.bell.task() = Some(cx.waker().clone());
        } else if !self.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // First, so that what comes during the look is looked at again.
        self.bell.rung.swap(false, Ordering::AcqRel);
        let outcome = look(&mut Context::from_waker(&self.waker));
        if outcome.is_ready() {
            // Nobody wakes for what comes next before that was looked for.
            self.bell.rung.store(true, Ordering::Release);
        }
        outcome
    }
}

/// A future that is looked at when it was woken.
pub(crate) struct Rarely {
    attention: Attention,
    /// Until it is over.
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Rarely {
    pub(crate) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { attention: Attention::new(), future: Some(Box::pin(future)) }
    }

    /// Ready once the future is, and ever after.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = &mut self.future else { return Poll::Ready(()) };
        let outcome = self.attention.poll(cx, |cx| future.as_mut().poll(cx));
        if outcome.is_ready() {
            self.future = None;
        }
        outcome
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
pub(crate) mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};
    use tokio::task::JoinHandle;

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

    /// Answers each question, on another thread where there are several: where to ask, where the answers come, and the task,
    /// which ends when nobody can ask any more.
    pub(crate) fn echo() -> (mpsc::Sender<()>, mpsc::Receiver<()>, JoinHandle<()>) {
        let (questions, mut asked) = mpsc::channel(1);
        let (answer, answers) = mpsc::channel(1);
        let echo = tokio::spawn(async move {
            while asked.recv().await.is_some() {
                answer.send(()).await.expect("somebody who listens");
            }
        });
        (questions, answers, echo)
    }

    /// Each answer comes from another thread while the task looks for it, so that every order of the two is met.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_up_is_lost() {
        const TURNS: usize = 20_000;
        const LIMIT: Duration = Duration::from_secs(60);
        let (questions, mut answers, echo) = echo();
        let mut attention = Attention::new();
        for turn in 0..TURNS {
            questions.send(()).await.expect("an echo");
            let next = poll_fn(|cx| attention.poll(cx, |cx| answers.poll_recv(cx)));
            let next = tokio::time::timeout(LIMIT, next).await;
            next.unwrap_or_else(|_| panic!("the wake-up of turn {turn} was lost")).expect("an answer");
        }
        drop(questions);
        echo.await.expect("the echo");
    }
}
