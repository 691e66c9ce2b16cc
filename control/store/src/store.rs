//! The store as its users see it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::ConfState;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::asking::QUICK;
use crate::codec::encode_txn;
pub(crate) use crate::config::{Identity, Start, StoreConfig, Timing};
use crate::core::{Core, FOUNDED_AT, Parts, founding_state};
use crate::directory::Directory;
use crate::disk::Disk;
use crate::driver::{Arrival, Driver, Pace, Request, reporter};
use crate::entry::Memo;
use crate::error::{StoreError, WatchError};
use crate::files::Files;
use crate::history::Limits;
use crate::inbox::{self, Inbox, NotTaken};
use crate::key::Revision;
use crate::lease::Clock;
use crate::log::{Base, Log};
use crate::members::Change;
use crate::membership::{Member, Membership, ServerId};
use crate::mvcc::State;
use crate::peer::{self, Links, Peer, PeerError, Peers, PeersConfig};
use crate::pending::Budget;
use crate::persister::{Persister, StateDisk};
use crate::replica::{Laziness, Replica};
use crate::snapshot::Snapshot;
use crate::stored_state::{Loaded, StoredState};
use crate::txn::{Outcome, Txn};
use crate::view::{Role, View};
use crate::watch::{Hub, Watcher};

/// How long a consistent read may wait for the driver, which itself says sooner that nobody leads.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// The least that the configured sizes can be.
const LEAST_SEGMENT_BYTES: u64 = 64 << 10;

/// What may wait of what the other servers send.
const ARRIVALS: inbox::Room = inbox::Room { requests: 0, arrivals: 4096, arrival_bytes: 64 << 20 };

/// A handle to the store. When the last one is dropped, the store is closed; [`Store::close`] also waits for that.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    inbox: Arc<Inbox<Request, Arrival>>,
    budget: Arc<Budget>,
    view: Arc<View>,
    hub: Arc<Hub>,
    peers: Arc<Peers>,
    identity: Identity,
    running: watch::Receiver<()>,
    max_txn_bytes: usize,
}

impl Store {
    /// Opens the store, which no other process may have open. Everything that was ever acknowledged is there when this
    /// returns.
    pub async fn open(config: StoreConfig) -> Result<Store, StoreError> {
        let dir = config.dir.clone();
        let (opened, result) = oneshot::channel();
        let runtime = Handle::current();
        let thread = move || match runtime.block_on(async { open(&config) }) {
            Ok((driver, shared)) => {
                // If nobody waits any more, dropping the handle closes the store.
                let _ = opened.send(Ok(Store(Arc::new(shared))));
                driver.run();
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        std::thread::Builder::new()
            .name("store-driver".to_owned())
            .spawn(thread)
            .map_err(|error| StoreError::io(&dir, &error))?;
        result.await.map_err(|_| StoreError::Closed)?
    }

    /// Hands a valid transaction's bytes in. `memo` is kept with the first entry that it puts.
    pub(crate) fn submit(&self, data: Bytes, memo: Option<Memo>) -> Result<Receipt, StoreError> {
        let (size, limit) = (data.len(), self.0.max_txn_bytes);
        if size > limit {
            return Err(StoreError::TooLarge { size, limit });
        }
        let mut share = self.0.budget.take(size)?;
        share.memo = memo;
        let (reply, outcome) = oneshot::channel();
        self.ask(Request::Commit { data, share, reply })?;
        Ok(Receipt(outcome))
    }

    /// Carries out a transaction. It is durable when this returns. Dropping the future does not take the write back.
    pub async fn commit(&self, txn: Txn) -> Result<Outcome, StoreError> {
        self.commit_with(txn, None).await
    }

    /// The same; `memo` is kept with the first entry that the transaction puts, before anybody sees that, so that nobody has
    /// to derive it (see [`Entry::memo`](crate::Entry::memo)).
    pub async fn commit_with(&self, txn: Txn, memo: Option<Memo>) -> Result<Outcome, StoreError> {
        txn.validate()?;
        self.submit(encode_txn(&txn).into(), memo)?.outcome().await
    }

    /// What this server has applied.
    pub fn applied(&self) -> Snapshot {
        self.0.view.snapshot()
    }

    /// Whether this server leads and is alone: what it has applied is then all that was ever acknowledged.
    pub fn is_sole(&self) -> bool {
        self.0.view.is_sole_leader()
    }

    /// A snapshot that holds every write that was acknowledged, by any server, before this was called.
    pub async fn consistent(&self) -> Result<Snapshot, StoreError> {
        if self.0.view.is_sole_leader() {
            // Writes are shown before they are acknowledged, and nobody else can acknowledge one.
            return Ok(self.applied());
        }
        if self.role() == Role::Removed {
            return Err(StoreError::Removed);
        }
        match self.quickly().await {
            Some(snapshot) => Ok(snapshot),
            None => self.read_index().await,
        }
    }

    /// Tries without the driver: by this server's own lease, or by the leader's.
    async fn quickly(&self) -> Option<Snapshot> {
        let Shared { peers, view, .. } = &*self.0;
        let answer = match peers.leased() {
            Some(index) => {
                let snapshot = view.snapshot();
                if snapshot.index() >= index {
                    return Some(snapshot);
                }
                let (reply, answer) = oneshot::channel();
                view.when_applied(index, reply);
                answer
            }
            None => peers.ask()?,
        };
        tokio::time::timeout(QUICK, answer).await.ok()?.ok()?.ok()
    }

    /// Asks the leader how far this server must have applied.
    pub(crate) async fn read_index(&self) -> Result<Snapshot, StoreError> {
        let (reply, snapshot) = oneshot::channel();
        self.ask(Request::Read { reply })?;
        match tokio::time::timeout(READ_LIMIT, snapshot).await {
            Ok(answer) => answer.map_err(|_| StoreError::Closed)?,
            Err(_) => Err(StoreError::NoLeader),
        }
    }

    /// Follows the changes of keys that begin with `prefix`, which lies within one bucket, from behind revision `after`.
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watcher, WatchError> {
        self.0.hub.watch(prefix, after)
    }

    /// Refuses further writes, ends the watches, writes everything out and lets go of the directory.
    pub async fn close(&self) {
        self.0.ask_to_close();
        self.stopped().await;
    }

    /// Returns when the store's thread has ended, by `close` or because it could not go on.
    pub async fn stopped(&self) {
        // It never changes; it ends with the driver.
        let _ = self.0.running.clone().changed().await;
        self.0.peers.ended().await;
    }

    /// Who this server is.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// This server's part in the cluster.
    pub fn role(&self) -> Role {
        self.0.view.role()
    }

    /// Follows this server's part in the cluster.
    pub fn roles(&self) -> watch::Receiver<Role> {
        self.0.view.roles()
    }

    /// The cluster as this server sees it.
    pub fn membership(&self) -> Membership {
        // The rest is renewed at intervals, this is at hand.
        Membership { revision: self.applied().revision(), ..self.0.view.membership() }
    }

    /// Serves a stream that `peer` opened, until it ends.
    pub async fn accept(
        &self,
        peer: Peer,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), PeerError> {
        peer::accept(self, &self.0.peers, peer, stream).await
    }

    /// Adds a server, which catches up and then votes, both by itself. It is known to all members when this returns,
    /// and caught up later. Adding a member again with the same record changes nothing.
    pub async fn add_member(&self, member: Member) -> Result<(), StoreError> {
        self.change(Change::Add(member)).await
    }

    /// Removes a server, which then stops serving and can never come back under its id.
    pub async fn remove_member(&self, id: ServerId) -> Result<(), StoreError> {
        self.change(Change::Remove(id)).await
    }

    /// Has another voter lead. It does when this returns.
    pub async fn transfer_leader(&self, to: ServerId) -> Result<(), StoreError> {
        self.change(Change::Lead(to)).await
    }

    async fn change(&self, change: Change) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.ask(Request::Change { change, reply })?;
        done.await.map_err(|_| StoreError::Closed)?
    }

    /// Announces a write that is being made ready. Under load the writes before it wait a little for it, so that one flush
    /// serves more of them. It is announced until what this returns is dropped, at best when the write has been answered.
    pub fn announce(&self) -> Announced {
        Announced { _request: self.0.inbox.announce() }
    }

    /// Why the store takes no more writes, if it does not. A full disk is no such reason: it may pass.
    pub fn failure(&self) -> Option<StoreError> {
        self.0.view.failure()
    }

    fn ask(&self, request: Request) -> Result<(), StoreError> {
        let inbox = &self.0.inbox;
        let asked = match request {
            Request::Commit { .. } => inbox.ask_patiently(request),
            Request::Read { .. } | Request::Change { .. } | Request::Persisted(_) => inbox.ask(request),
        };
        asked.map_err(|refused| match refused {
            NotTaken::Full => StoreError::QueueFull,
            NotTaken::Ended => StoreError::Closed,
        })
    }
}

/// A write that was announced.
pub struct Announced {
    _request: inbox::Announced<Request, Arrival>,
}

/// A transaction that was handed in.
pub(crate) struct Receipt(oneshot::Receiver<Result<Outcome, StoreError>>);

impl Receipt {
    /// What became of it.
    pub async fn outcome(self) -> Result<Outcome, StoreError> {
        self.0.await.map_err(|_| StoreError::Closed)?
    }
}

impl Shared {
    fn ask_to_close(&self) {
        self.inbox.close();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.ask_to_close();
    }
}

/// Brings the store up from its directory.
fn open(config: &StoreConfig) -> Result<(Driver<Files>, Shared), StoreError> {
    let directory = Directory::open(&config.dir, &config.start)?;
    let mut stored = StoredState::open(&directory.state(), config.persist_bytes)?;
    let loaded = match stored.load()? {
        Some(loaded) => loaded,
        None if directory.joined => joining(),
        None => founded(directory.server),
    };
    let log_dir = directory.log();
    let files = Files::open(&log_dir).map_err(|error| StoreError::io(&log_dir, &error))?;
    let segments = files.segments().map_err(|error| StoreError::io(&log_dir, &error))?;
    directory.check_log(segments.len())?;
    assemble(config, directory, files, stored, loaded)
}

/// Puts the parts together and goes on from where the disks stand.
fn assemble<D: Disk>(
    config: &StoreConfig,
    directory: Directory,
    disk: D,
    stored: impl StateDisk,
    loaded: Loaded,
) -> Result<(Driver<D>, Shared), StoreError> {
    let Loaded { state, conf_state, installed } = loaded;
    let persisted = state.index();
    let base = Base { index: persisted, term: state.term(), installed };
    let server = ServerId(directory.server);
    let segment_bytes = config.segment_bytes.max(LEAST_SEGMENT_BYTES);
    let initial = if directory.joined { founding_state(0, 0) } else { founding_state(FOUNDED_AT, 1) };
    let (log, recovered) = Log::open(disk, segment_bytes, base, &initial)?;
    directory.note_log()?;
    let limits = Limits { events: config.history, bytes: config.history_bytes };
    let hub = Arc::new(Hub::new(limits, state.revision(), state.changed().iter()));
    let view = Arc::new(View::new(state.snapshot()));
    let identity = Identity { cluster: directory.cluster.clone(), server };
    let inbox = Arc::new(Inbox::new(inbox::Room { requests: config.queue.max(1), ..ARRIVALS }));
    let clock = Clock::start();
    let peers = Peers::new(PeersConfig {
        identity: identity.clone(),
        name: config.name.clone(),
        address: config.address.clone(),
        dialer: config.dialer.clone(),
        inbox: inbox.clone(),
        view: view.clone(),
        clock,
        runtime: Handle::current(),
    });
    let mut core = Core::new(Parts {
        record: Member { id: server, name: config.name.clone(), address: config.address.clone() },
        origin: rand::random(),
        seed: rand::random(),
        timing: config.timing,
        log,
        recovered,
        state,
        conf_state,
        hub: hub.clone(),
        view: view.clone(),
        transport: Box::new(Links(peers.clone())),
        #[cfg(any(test, feature = "simulation"))]
        planted: None,
    })?;
    // What is known to be committed may tell of other members.
    core.settle()?;
    if core.is_alone() {
        // Nobody else could win, and there is nothing to wait for; this also applies what the log holds.
        core.campaign()?;
        core.settle()?;
    }
    let persister = Persister::start(stored, reporter(inbox.clone()))
        .map_err(|error| StoreError::io(&directory.state(), &error))?;
    let laziness = Laziness { bytes: config.persist_bytes, after: config.persist_after, retry: config.persist_retry };
    let (end, running) = watch::channel(());
    let shared = Shared {
        inbox: inbox.clone(),
        budget: Budget::new(config.queue, config.queue_bytes),
        view,
        hub,
        peers,
        identity,
        running,
        max_txn_bytes: config.max_txn_bytes.min(peer::LARGEST_TXN),
    };
    let driver = Driver {
        pace: Pace::default(),
        replica: Replica::new(core, persister, laziness, config.timing.tick, persisted),
        inbox,
        clock,
        _directory: directory,
        _running: end,
    };
    Ok((driver, shared))
}

/// A server that knows nothing yet: the members of its cluster bring it up to date.
fn joining() -> Loaded {
    Loaded { state: State::default(), conf_state: ConfState::default(), installed: false }
}

/// A new cluster, of which this server is the only one.
fn founded(server: u64) -> Loaded {
    let mut state = State::default();
    state.pass(FOUNDED_AT, 1);
    Loaded { state, conf_state: ConfState { voters: vec![server], ..ConfState::default() }, installed: false }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "driver_tests.rs"]
mod driver_tests;
