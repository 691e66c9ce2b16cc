//! The one thread that advances the epoch, so that guests let others run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// How long a guest computes before it has to yield.
const TICK: Duration = Duration::from_millis(10);

/// Ticks without a live instance after which the thread sleeps until there is one.
const IDLE_TICKS: u32 = 100;

struct Shared {
    live: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// Advances the epoch of an engine while instances are alive.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &wasmtime::Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            live: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let engine = engine.weak();
        let handle = thread::Builder::new().name("pal-ticker".into()).spawn({
            let shared = shared.clone();
            move || tick(&shared, || engine.upgrade().map(|engine| engine.increment_epoch()).is_some())
        })?;
        Ok(Self { shared, thread: handle.thread().clone(), handle: Some(handle) })
    }

    /// Counts an instance as alive until the guard is dropped.
    pub(crate) fn alive(&self) -> Alive {
        let shared = self.shared.clone();
        if shared.live.fetch_add(1, Ordering::SeqCst) == 0 && shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Alive(shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            // It ends within a tick; a panic in it has been printed.
            let _ = handle.join();
        }
    }
}

/// An instance is alive, and the epoch must go on.
pub(crate) struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(shared: &Shared, mut advance: impl FnMut() -> bool) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.live.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle > IDLE_TICKS {
            // Whoever raises `live` after this store sees it and unparks; whoever did before it is seen below.
            shared.parked.store(true, Ordering::SeqCst);
            if shared.live.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.parked.store(false, Ordering::SeqCst);
            idle = 0;
        }
        thread::park_timeout(TICK);
        if !advance() {
            return;
        }
    }
}
