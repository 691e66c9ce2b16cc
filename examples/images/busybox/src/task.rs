//! Many things at once in one instance: a component has no processes, so the stages of a pipe, jobs in the background and
//! timers are tasks that take turns.
//!
//! Whatever changes something that another task may wait for calls [`progress`]; when a round of all tasks made none,
//! all wait for the host.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Slot {
    work: Option<Work>,
    handle: Rc<State>,
}

#[derive(Default)]
struct State {
    status: Cell<Option<i32>>,
    killed: Cell<bool>,
}

thread_local! {
    static TASKS: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
    static WAITING: RefCell<Vec<Rc<Pollable>>> = const { RefCell::new(Vec::new()) };
    static PROGRESS: Cell<bool> = const { Cell::new(false) };
}

/// A task from outside. Dropping it changes nothing.
#[derive(Clone)]
pub struct Handle(Rc<State>);

impl Handle {
    /// Waits for its exit code.
    pub async fn wait(&self) -> i32 {
        poll_fn(|_| self.0.status.get().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Its exit code, if it has ended.
    pub fn status(&self) -> Option<i32> {
        self.0.status.get()
    }

    /// Ends it where it is, as a signal does.
    pub fn kill(&self, status: i32) {
        if self.0.status.get().is_none() {
            self.0.status.set(Some(status));
            self.0.killed.set(true);
            progress();
        }
    }
}

/// Starts a task.
pub fn spawn(work: impl Future<Output = i32> + 'static) -> Handle {
    let state = Rc::new(State::default());
    let handle = state.clone();
    let work = Box::pin(async move {
        let status = work.await;
        if handle.status.get().is_none() {
            handle.status.set(Some(status));
        }
    });
    TASKS.with_borrow_mut(|tasks| tasks.push(Slot { work: Some(work), handle: state.clone() }));
    progress();
    Handle(state)
}

/// Something changed that another task may wait for.
pub fn progress() {
    PROGRESS.set(true);
}

/// Lets the other tasks have a turn.
pub async fn pause() {
    let mut turned = false;
    poll_fn(|_| {
        if std::mem::replace(&mut turned, true) {
            return Poll::Ready(());
        }
        progress();
        Poll::Pending
    })
    .await
}

/// Waits for the host.
pub async fn ready(pollable: Pollable) {
    let pollable = Rc::new(pollable);
    poll_fn(|_| {
        if pollable.ready() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| waiting.push(pollable.clone()));
        Poll::Pending
    })
    .await
}

/// Waits that long; without end if there is no such moment.
pub async fn sleep(seconds: f64) {
    // The longest that is not told from without end: some hundred years.
    let nanos = (seconds.clamp(0.0, 3e9) * 1e9) as u64;
    ready(monotonic_clock::subscribe_duration(nanos)).await;
}

/// Runs `main` to its end; the other tasks end with it.
pub fn run(main: impl Future<Output = i32>) -> i32 {
    let mut main = pin!(main);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        PROGRESS.set(false);
        WAITING.with_borrow_mut(Vec::clear);
        if let Poll::Ready(status) = main.as_mut().poll(&mut context) {
            return status;
        }
        turn(&mut context);
        if PROGRESS.get() {
            continue;
        }
        let waiting = WAITING.take();
        if waiting.is_empty() {
            // Each task waits for another one. Nothing will come of it.
            return 1;
        }
        poll(&waiting.iter().map(|pollable| &**pollable).collect::<Vec<_>>());
    }
}

/// Gives each task a turn.
fn turn(context: &mut Context<'_>) {
    let count = TASKS.with_borrow(Vec::len);
    for i in 0..count {
        let Some((mut work, state)) =
            TASKS.with_borrow_mut(|tasks| Some((tasks[i].work.take()?, tasks[i].handle.clone())))
        else {
            continue;
        };
        if state.killed.get() || work.as_mut().poll(context).is_ready() {
            drop(work);
            progress();
        } else {
            TASKS.with_borrow_mut(|tasks| tasks[i].work = Some(work));
        }
    }
    TASKS.with_borrow_mut(|tasks| tasks.retain(|slot| slot.work.is_some()));
}
