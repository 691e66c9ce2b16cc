//! What readers see without asking the driver.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use crate::error::StoreError;
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
}

impl View {
    pub fn new(snapshot: Snapshot) -> View {
        View {
            snapshot: RwLock::new(snapshot),
            role: watch::Sender::new(Role::Follower),
            sole_leader: AtomicBool::new(false),
            failure: RwLock::new(None),
            membership: RwLock::default(),
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
