//! What readers see without asking the driver.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::asking::Awaiting;
use crate::core::Reply;
use crate::error::StoreError;
use crate::lease::Granted;
use crate::membership::Membership;
use crate::snapshot::Snapshot;

/// The part of a server in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It orders the writes.
    Leader,
    /// It follows a leader, or looks for one.
    Follower,
    /// It is catching up, and follows from then on.
    Learner,
    /// It is no member any more: it serves nothing, and never will again.
    Removed,
}

/// What the driver shows.
pub(crate) struct View {
    snapshot: RwLock<Snapshot>,
    role: watch::Sender<Role>,
    /// This server leads and needs nobody's vote: what it has applied is everything that was ever answered.
    sole_leader: AtomicBool,
    failure: RwLock<Option<StoreError>>,
    membership: RwLock<Membership>,
    /// Who leads; 0 when nobody is known to.
    leader: AtomicU64,
    /// While this server leads: until when nobody else can.
    lease: Mutex<Option<Granted>>,
    /// Reads that wait until more is applied.
    awaiting: Mutex<Awaiting>,
}

impl View {
    pub fn new(snapshot: Snapshot) -> View {
        View {
            snapshot: RwLock::new(snapshot),
            role: watch::Sender::new(Role::Follower),
            sole_leader: AtomicBool::new(false),
            failure: RwLock::new(None),
            membership: RwLock::default(),
            leader: AtomicU64::new(raft::INVALID_ID),
            lease: Mutex::default(),
            awaiting: Mutex::default(),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows a newer snapshot. Returns the old one, so that nobody waits while it is taken apart.
    pub fn show(&self, snapshot: Snapshot) -> Snapshot {
        std::mem::replace(&mut *self.snapshot.write().unwrap_or_else(PoisonError::into_inner), snapshot)
    }

    pub fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Follows the role.
    pub fn roles(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    pub fn set_role(&self, role: Role) {
        // Who was removed stays so.
        self.role.send_if_modified(|known| {
            let changes = *known != role && *known != Role::Removed;
            if changes {
                *known = role;
            }
            changes
        });
    }

    /// The cluster as this server sees it.
    pub fn membership(&self) -> Membership {
        self.membership.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_membership(&self, membership: Membership) {
        *self.membership.write().unwrap_or_else(PoisonError::into_inner) = membership;
    }

    /// Who leads, as far as this server knows.
    pub fn leader(&self) -> Option<u64> {
        Some(self.leader.load(Ordering::Acquire)).filter(|leader| *leader != raft::INVALID_ID)
    }

    pub fn set_leader(&self, leader: u64) {
        self.leader.store(leader, Ordering::Release);
    }

    /// Shows until when nobody else can lead, or that this is not known. Whoever is told of what is committed behind the
    /// index that was shown must be told after this.
    pub fn set_lease(&self, lease: Option<Granted>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    /// The log entry at or before which everything lies that was answered before this was called, if this server leads and
    /// nobody else can. `clock` is looked at after the lease: what was seen of it may be old by then.
    pub fn leased(&self, clock: impl FnOnce() -> Duration) -> Option<u64> {
        let lease = *self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.filter(|lease| clock() < lease.until).map(|lease| lease.index)
    }

    /// Answers a read as soon as what it needs is applied.
    pub fn when_applied(&self, index: u64, reply: Reply<Snapshot>) {
        let snapshot = self.snapshot();
        if snapshot.index() < index {
            let mut awaiting = self.awaiting();
            // It may have been applied since, before the lock was taken; from now on it is looked for here.
            if self.snapshot().index() < index {
                awaiting.add(index, reply);
                return;
            }
        }
        // Whoever asked may have gone.
        let _ = reply.send(Ok(if snapshot.index() < index { self.snapshot() } else { snapshot }));
    }

    /// Answers the reads that need no more than what is shown.
    pub fn answer_awaiting(&self) {
        let snapshot = self.snapshot();
        let due = self.awaiting().take(snapshot.index());
        for reply in due {
            let _ = reply.send(Ok(snapshot.clone()));
        }
    }

    /// Refuses the reads that wait for more.
    pub fn refuse_awaiting(&self, error: &StoreError) {
        let all = self.awaiting().take(u64::MAX);
        for reply in all {
            let _ = reply.send(Err(error.clone()));
        }
    }

    fn awaiting(&self) -> MutexGuard<'_, Awaiting> {
        // Each change of it is one call.
        self.awaiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_sole_leader(&self) -> bool {
        self.sole_leader.load(Ordering::Acquire)
    }

    pub fn set_sole_leader(&self, is_sole_leader: bool) {
        self.sole_leader.store(is_sole_leader, Ordering::Release);
    }

    pub fn failure(&self) -> Option<StoreError> {
        self.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_failure(&self, error: StoreError) {
        *self.failure.write().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
