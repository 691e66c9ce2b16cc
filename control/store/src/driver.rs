//! The thread that owns the core: it takes what is waiting, has it written with one flush, and answers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use raft::eraftpb::Message;
use tokio::sync::watch;

use crate::core::{Core, Reply};
use crate::directory::Directory;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::image::Image;
use crate::members::Change;
use crate::persister::{Persisted, Persister};
use crate::proposals::{Forward, Refusal};
use crate::snapshot::Snapshot;
use crate::txn::Outcome;

/// One round takes no more than this from the queue, so that no answer waits for too large a write.
const ROUND_REQUESTS: usize = 1024;
const ROUND_BYTES: usize = 4 << 20;

/// Raft's unit of time. It passes only where there are peers.
const TICK: Duration = Duration::from_millis(100);

/// So many log entries that changed nothing may lie behind the stored state.
const IDLE_ENTRIES: u64 = 10_000;

/// At the end, no more than this is written to the stored state: replaying the log takes less time.
const QUICK_BYTES: usize = 4 << 20;

/// What the driver is asked.
pub(crate) enum Request {
    /// A transaction's bytes.
    Commit { data: Vec<u8>, reply: Reply<Outcome> },
    /// A snapshot that holds everything that was answered.
    Read { reply: Reply<Snapshot> },
    /// A change of members, or of who leads.
    Change { change: Change, reply: Reply<()> },
    /// The persister is done with its batch.
    Persisted(Persisted),
    /// Look at the flag that says to stop.
    Close,
}

/// What comes from the other servers.
pub(crate) enum Arrival {
    /// Raft's messages from another server, all of which name it as their sender.
    Messages(Vec<Message>),
    /// Proposals that another server hands to this one as the leader.
    Forwarded { from: u64, proposals: Vec<Forward> },
    /// What the leader did not take of this server's proposals.
    Refused { from: u64, refusals: Vec<Refusal> },
    /// A whole state that the leader sent, with raft's message for it. It is answered when it is installed, or refused
    /// because it is stale; the sender's [`Arrival::SnapshotSent`] waits for that.
    Received { message: Box<Message>, image: Box<Image>, reply: Reply<()> },
    /// What became of a whole state that was sent to this server.
    SnapshotSent { to: u64, ok: bool },
    /// A server cannot be reached: what was sent to it is lost.
    Unreachable { to: u64 },
    /// The others say that this server is no member any more.
    Removed,
}

/// When the applied state is written.
#[derive(Clone, Copy)]
pub(crate) struct Laziness {
    pub bytes: usize,
    pub after: Duration,
    /// How long it is left alone after it could not be written.
    pub retry: Duration,
}

/// What the thread owns.
pub(crate) struct Driver<D: Disk> {
    pub core: Core<D>,
    pub requests: Receiver<Request>,
    pub persister: Persister,
    pub laziness: Laziness,
    pub clock: Clock,
    /// The store is to be closed, or nobody has a handle to it any more.
    pub closing: Arc<AtomicBool>,
    /// Held until everything above is gone.
    pub _directory: Directory,
    /// Its end tells that all of this is gone.
    pub _running: watch::Sender<()>,
}

/// What happens when.
pub(crate) struct Clock {
    /// When the next tick is due.
    tick: Instant,
    /// Since when there is something to persist, or when to try again.
    persist: Option<Instant>,
    persisting: bool,
    /// The log entry at which the stored state stands.
    persisted: u64,
    /// Why nothing can be written any more.
    failed: Option<StoreError>,
}

impl Clock {
    /// A stored state at log entry `persisted`.
    pub fn new(persisted: u64) -> Clock {
        Clock { tick: Instant::now() + TICK, persist: None, persisting: false, persisted, failed: None }
    }
}

impl<D: Disk> Driver<D> {
    /// Works until the store is closed or all its handles are gone.
    pub fn run(mut self) {
        while self.round().is_continue() {}
        self.finish();
    }

    fn round(&mut self) -> ControlFlow<()> {
        let mut next = match self.wait() {
            Ok(Some(request)) => Some(request),
            Ok(None) => None,
            Err(()) => return ControlFlow::Break(()),
        };
        let (mut requests, mut bytes) = (0, 0);
        while let Some(request) = next.take() {
            requests += 1;
            if let Request::Commit { data, .. } = &request {
                bytes += data.len();
            }
            self.take(request);
            if requests < ROUND_REQUESTS && bytes < ROUND_BYTES {
                next = self.requests.try_recv().ok();
            }
        }
        self.settle();
        self.persist();
        if self.closing.load(Ordering::Acquire) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The next request; `None` when something else is due, an error when nobody can ask any more.
    fn wait(&mut self) -> Result<Option<Request>, ()> {
        let now = Instant::now();
        let persist = self.clock.persist.filter(|_| !self.clock.persisting);
        let tick = (!self.core.is_alone()).then_some(self.clock.tick);
        let Some(due) = persist.into_iter().chain(tick).min() else {
            return self.requests.recv().map(Some).map_err(|_| ());
        };
        let request = match self.requests.recv_timeout(due.saturating_duration_since(now)) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Err(()),
        };
        if tick.is_some_and(|tick| tick <= Instant::now()) {
            self.clock.tick = Instant::now() + TICK;
            self.core.tick();
        }
        Ok(request)
    }

    fn take(&mut self, request: Request) {
        match (request, &self.clock.failed) {
            // The flag that came with it is seen at the end of the round.
            (Request::Close, _) => {}
            (Request::Change { reply, .. }, _) => drop(reply.send(Err(StoreError::NoLeader))),
            (Request::Persisted(persisted), _) => self.note_persisted(persisted),
            (Request::Commit { reply, .. }, Some(error)) => drop(reply.send(Err(error.clone()))),
            (Request::Read { reply }, Some(error)) => drop(reply.send(Err(error.clone()))),
            (Request::Commit { data, reply }, None) => {
                if let Err(error) = self.core.propose(data, reply) {
                    self.fail(error);
                }
            }
            (Request::Read { reply }, None) => self.core.read(reply),
        }
    }

    fn settle(&mut self) {
        if self.clock.failed.is_none()
            && let Err(error) = self.core.settle()
        {
            self.fail(error);
        }
    }

    /// After a failed write or flush nobody knows what is on disk: no more is written, what was applied can be read.
    fn fail(&mut self, error: StoreError) {
        tracing::error!(%error, "the store takes no more writes");
        let error = StoreError::Failed(error.to_string());
        self.core.fail(&error);
        self.clock.failed = Some(error);
    }

    /// Hands what was applied to the persister when there is enough of it, or it is old enough.
    fn persist(&mut self) {
        let bytes = self.core.dirty().bytes();
        // Entries that changed nothing matter only in that the log cannot be cut before them.
        let behind = self.core.applied() - self.clock.persisted;
        let idle = self.clock.persist.is_none() && bytes == 0 && behind < IDLE_ENTRIES;
        if self.clock.persisting || idle {
            return;
        }
        let due = *self.clock.persist.get_or_insert_with(|| Instant::now() + self.laziness.after);
        if bytes >= self.laziness.bytes || due <= Instant::now() {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let image = self.core.image();
        let batch = Box::new(self.core.dirty().take(image));
        match self.persister.write(batch) {
            Ok(()) => {
                self.clock.persisting = true;
                self.clock.persist = None;
            }
            Err(batch) => {
                self.core.dirty().put_back(*batch);
                self.clock.persist = Some(Instant::now() + self.laziness.retry);
            }
        }
    }

    fn note_persisted(&mut self, persisted: Persisted) {
        self.clock.persisting = false;
        match persisted {
            Persisted::Done { index } => {
                self.clock.persisted = index;
                self.core.log().release(index);
            }
            Persisted::Failed { batch, error } => {
                tracing::warn!(%error, "the applied state could not be written; the log keeps what it lacks");
                self.core.dirty().put_back(*batch);
                self.clock.persist = Some(Instant::now() + self.laziness.retry);
            }
            Persisted::Staged(_) => {}
        }
    }

    /// Writes out what is applied, so that the next start has nothing to replay; when it is much, the log will do.
    fn finish(&mut self) {
        self.core.abandon(&StoreError::Closed);
        self.await_persister();
        if self.core.applied() > self.clock.persisted && self.core.dirty().bytes() < QUICK_BYTES {
            self.hand_over();
            self.await_persister();
        }
        if self.clock.failed.is_none()
            && let Err(error) = self.core.log().seal()
        {
            tracing::warn!(%error, "the log's end could not be marked");
        }
    }

    /// Until the persister's batch is done; what else is asked meanwhile comes too late.
    fn await_persister(&mut self) {
        while self.clock.persisting {
            match self.requests.recv() {
                Ok(Request::Persisted(persisted)) => self.note_persisted(persisted),
                Ok(Request::Commit { reply, .. }) => drop(reply.send(Err(StoreError::Closed))),
                Ok(Request::Read { reply }) => drop(reply.send(Err(StoreError::Closed))),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Tells the driver what became of a batch.
pub(crate) fn reporter(requests: SyncSender<Request>) -> impl Fn(Persisted) + Send {
    move |persisted| {
        // The driver waits for this before it goes.
        let _ = requests.send(Request::Persisted(persisted));
    }
}
