//! The handle that everyone holds, and how a transaction is tried.

use std::sync::Arc;

use jiff::Timestamp;
use pal_resources::kinds::Env;
use pal_resources::status::StatusDetails;
use pal_resources::{Reason, Resource, Status, Uid};
use pal_store::{Entry, Guard, Memo, Op, Outcome, Revision, Store, StoreError, Txn};

use crate::config::Config;
use crate::custom::Keeper;
use crate::made::Made;
use crate::object::Index;
use crate::pages::Pages;
use crate::quota::Lines;
use crate::{names, wire};

/// How often a write is tried again because something it depends on was written in between. Each round someone else's
/// write succeeded, so this many in a row means a storm that the client should wait out.
pub(crate) const ATTEMPTS: usize = 64;

/// The cluster's objects. Cheap to clone; all clones are one registry.
#[derive(Clone)]
pub struct Registry {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub store: Store,
    pub config: Config,
    pub pages: Pages,
    pub lines: Lines,
    pub definitions: Keeper,
    pub made: Made,
}

/// What became of a transaction that the store accepted for trial.
pub(crate) enum Tried {
    Committed {
        revision: Revision,
        entries: Vec<Option<Arc<Entry>>>,
    },
    /// The guard at this position did not hold.
    Refused {
        guard: usize,
    },
}

impl Registry {
    /// A registry over that store.
    pub fn new(store: Store, config: Config) -> Self {
        let pages = Pages::new(config.continue_snapshots, config.continue_ttl);
        let (lines, definitions, made) = (Lines::default(), Keeper::default(), Made::default());
        Self { shared: Arc::new(Shared { store, config, pages, lines, definitions, made }) }
    }

    /// What the registry was told.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The store below, for readiness checks and figures.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// What was created here a moment ago, as its type.
    pub fn made(&self) -> &Made {
        &self.shared.made
    }

    /// Whether this server, which stood at `seen`, had not applied all that was answered by then. It has when this returns.
    /// An error when that cannot be known, as without a leader: nothing may be refused by what this server has then.
    pub(crate) async fn was_behind(&self, seen: Revision) -> Result<bool, Status> {
        if self.shared.store.is_sole() {
            return Ok(false);
        }
        let now = self.shared.store.consistent().await.map_err(|error| store_failure(&error))?;
        Ok(now.revision() > seen)
    }

    pub(crate) fn env(&self) -> Env {
        Env {
            now: Timestamp::now(),
            uid: Uid(names::random_uuid()),
            toleration_seconds: self.shared.config.toleration_seconds,
        }
    }

    pub(crate) async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<Tried, Status> {
        self.commit_known(guards, ops, None).await
    }

    /// The same; `index` is that of the object which the first operation writes, so that nobody has to parse it for that.
    pub(crate) async fn commit_known(
        &self,
        guards: Vec<Guard>,
        ops: Vec<Op>,
        index: Option<Index>,
    ) -> Result<Tried, Status> {
        let memo = index.map(|index| Box::new(index) as Memo);
        let outcome = self.shared.store.commit_with(Txn { guards, ops }, memo).await;
        match outcome.map_err(|error| store_failure(&error))? {
            Outcome::Committed { revision, entries } => Ok(Tried::Committed { revision, entries }),
            Outcome::Refused { guard, .. } => Ok(Tried::Refused { guard }),
        }
    }
}

/// A write lost every race.
pub(crate) fn contended(resource: &Resource, name: &str) -> Status {
    Status::conflict(resource, name, "the object is being modified by too many writers; please try again")
}

/// What clients are told when the store fails. What was certainly not done may be asked for again, and says so by a
/// `Retry-After`, which client libraries follow by themselves; where that is not known, it does not.
pub fn store_failure(error: &StoreError) -> Status {
    match error {
        StoreError::QueueFull => Status::too_many_requests("too many writes are waiting, please try again later", 1),
        StoreError::Closed => Status::unavailable("the server is shutting down"),
        StoreError::NoLeader => {
            let mut status = Status::unavailable(format!("{error}: too few of the cluster's servers answer"));
            status.details = Some(StatusDetails { retry_after_seconds: Some(1), ..StatusDetails::default() });
            status
        }
        StoreError::Unknown => Status::new(504, Reason::Timeout, format!("Timeout: request did not complete: {error}")),
        StoreError::Removed => Status::unavailable(error.to_string()),
        StoreError::TooLarge { limit, .. } => wire::too_large(*limit),
        other => Status::internal(other),
    }
}
