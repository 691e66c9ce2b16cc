//! Everything that a server decides with its core: when to tick, to persist, to stage and to install.
//!
//! It has no thread and no clock: whoever owns it passes the time, and a simulation passes its own. Nothing in it is random
//! but what `Patience` draws from the seed in the core's parts, which takes the place of raft-rs's own generator: so a run is
//! a function of its seeds and of what is passed in.

mod parts;
mod persistence;

use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::Message;

use crate::core::{Core, Reply};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::image::Image;
use crate::members::Change;
use crate::membership::ServerId;
use crate::pending::Share;
use crate::snapshot::Snapshot;
use crate::txn::Outcome;

pub(crate) use parts::{Arrival, Keeper, Laziness};
use persistence::Persistence;

/// How long a leader that closes waits for another one.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

/// A state from the leader on its way to the disk.
struct Staging {
    message: Message,
    image: Image,
    reply: Reply<()>,
}

/// A core and what it needs done around it.
pub(crate) struct Replica<D: Disk, K: Keeper> {
    core: Core<D>,
    keeper: K,
    laziness: Laziness,
    tick: Duration,
    now: Duration,
    /// When the next tick is due; ticks pass only where there are peers.
    next_tick: Duration,
    persistence: Persistence,
    staging: Option<Staging>,
    /// Until when a leader that closes waits for another one.
    closing: Option<Duration>,
    /// Why nothing can be written any more.
    failed: Option<StoreError>,
}

impl<D: Disk, K: Keeper> Replica<D, K> {
    /// A replica whose stored state is the one that the core began with.
    pub fn new(core: Core<D>, keeper: K, laziness: Laziness, tick: Duration, persisted: u64) -> Replica<D, K> {
        Replica {
            core,
            keeper,
            laziness,
            tick,
            now: Duration::ZERO,
            next_tick: tick,
            persistence: Persistence::at(persisted),
            staging: None,
            closing: None,
            failed: None,
        }
    }

    /// Begins a pass: everything up to [`Replica::finish_pass`] happens at this time, counted from any moment.
    pub fn begin_pass(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.core.set_now(self.now);
    }

    /// Takes a transaction's bytes.
    pub fn propose(&mut self, data: Bytes, share: Option<Share>, reply: Reply<Outcome>) {
        match self.refusal() {
            Some(error) => drop(reply.send(Err(error))),
            None => self.core.propose(data, share, reply),
        }
    }

    /// Answers with a snapshot that holds every write that was answered, by any server, before now.
    pub fn read(&mut self, reply: Reply<Snapshot>) {
        match self.refusal() {
            Some(error) => drop(reply.send(Err(error))),
            None => self.core.read(reply),
        }
    }

    /// Takes a change of members, or of who leads.
    pub fn change(&mut self, change: Change, reply: Reply<()>) {
        match self.refusal() {
            Some(error) => drop(reply.send(Err(error))),
            None => self.core.change(change, reply),
        }
    }

    fn refusal(&self) -> Option<StoreError> {
        self.failed.clone().or_else(|| self.closing.map(|_| StoreError::Closed))
    }

    /// Takes what came from another server.
    pub fn arrive(&mut self, arrival: Arrival) {
        if let Some(error) = &self.failed {
            if let Arrival::Received { reply, .. } = arrival {
                drop(reply.send(Err(error.clone())));
            }
            return;
        }
        let taken = match arrival {
            Arrival::Messages(messages) => messages.into_iter().try_for_each(|message| self.core.step(message)),
            Arrival::Forwarded { from, proposals } => self.core.forwarded(from, proposals),
            Arrival::Refused { from, refusals } => {
                // Who led before is not asked any more.
                if self.core.leader() == Some(ServerId(from)) {
                    self.core.refused(refusals);
                }
                Ok(())
            }
            Arrival::Received { message, image, reply } => {
                self.receive(Staging { message: *message, image: *image, reply });
                Ok(())
            }
            Arrival::SnapshotSent { to, ok } => {
                self.core.snapshot_sent(to, ok);
                Ok(())
            }
            Arrival::Unreachable { to } => {
                self.core.unreachable(to);
                Ok(())
            }
            Arrival::Reachable { to } => {
                self.core.reachable(to);
                Ok(())
            }
            Arrival::Removed => {
                self.core.note_removed();
                Ok(())
            }
        };
        if let Err(error) = taken {
            self.fail(&error);
        }
    }

    /// Has a state staged if it is wanted, and no other one is on its way.
    fn receive(&mut self, staging: Staging) {
        if self.staging.is_some() {
            refuse(staging.reply, "another state is being installed");
        } else if !self.core.wants(&staging.message) {
            self.core.decline(staging.message);
            refuse(staging.reply, "the state is not wanted any more");
        } else {
            match self.keeper.stage(Box::new(staging.image.clone())) {
                Ok(()) => self.staging = Some(staging),
                Err(error) => drop(staging.reply.send(Err(error))),
            }
        }
    }

    /// Ends a pass: lets the time pass, at most one tick of it, and does everything that is due.
    pub fn finish_pass(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.tick().and_then(|()| self.core.settle())
        {
            self.fail(&error);
        }
        self.persist();
    }

    fn tick(&mut self) -> Result<(), StoreError> {
        if self.core.is_timeless() || self.now < self.next_tick {
            return Ok(());
        }
        // What came late is not made up for: a server that was held up must not think that the others were silent.
        self.next_tick = (self.next_tick + self.tick).max(self.now + self.tick / 2);
        self.core.tick()
    }

    /// When the next pass is due though nothing comes.
    pub fn due(&self) -> Option<Duration> {
        let tick = (!self.core.is_timeless() && self.failed.is_none()).then_some(self.next_tick);
        let persistence = &self.persistence;
        let persist =
            if persistence.is_writing || self.failed.is_some() { None } else { persistence.retry.or(persistence.turn) };
        tick.into_iter().chain(persist).chain(self.closing).min()
    }

    /// After a failed write or flush nobody knows what is on disk: no more is written, what was applied can be read.
    fn fail(&mut self, error: &StoreError) {
        tracing::error!(%error, "the store takes no more writes");
        let error = StoreError::Failed(error.to_string());
        self.core.fail(&error);
        if let Some(staging) = self.staging.take() {
            refuse(staging.reply, "the store has failed");
        }
        self.failed = Some(error);
    }

    /// Replaces this server's state by one that was staged, if it is still wanted.
    fn install(&mut self, staging: Staging, staged: Result<(), StoreError>) {
        let Staging { message, image, reply } = staging;
        if let Err(error) = staged {
            tracing::warn!(%error, "the leader's state could not be stored");
            self.keeper.discard();
            drop(reply.send(Err(error)));
            return;
        }
        // What raft had to do before may decide whether it wants the state.
        let mut done = self.core.settle();
        if done.is_ok() && !self.core.wants(&message) {
            self.keeper.discard();
            self.core.decline(message);
            refuse(reply, "the state is not wanted any more");
            return;
        }
        // Nothing may happen between these two: the log is reset in the second.
        let index = image.state.index();
        done = done.and_then(|()| self.keeper.adopt()).and_then(|()| self.core.install(message, image));
        match done {
            Ok(()) => {
                self.persistence.index = index;
                self.persistence.turn = None;
                self.persistence.retry = None;
                // Whoever sent it may have gone.
                let _ = reply.send(Ok(()));
            }
            Err(error) => {
                drop(reply.send(Err(error.clone())));
                self.fail(&error);
            }
        }
    }

    /// Takes no more requests, and has another server lead if this one does.
    pub fn close(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(self.now + HAND_OVER_LIMIT);
            self.core.give_up_lead();
        }
    }

    /// Whether a replica that closes may be left alone: what was asked of it is answered and it does not lead any more,
    /// nobody else is there, or it takes too long.
    pub fn may_end(&mut self) -> bool {
        let Some(limit) = self.closing else { return false };
        let is_over = self.failed.is_some() || self.core.is_alone() || self.now >= limit;
        is_over || !self.core.give_up_lead() && !self.core.is_waited_for()
    }

    /// Whether a batch is being written; its report is waited for before the end.
    pub fn is_writing(&self) -> bool {
        self.persistence.is_writing
    }

    /// The last step: marks the log's end.
    pub fn seal(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.core.log().seal()
        {
            tracing::warn!(%error, "the log's end could not be marked");
        }
    }

    /// The core, to be looked at.
    #[cfg(any(test, feature = "simulation"))]
    pub fn core(&self) -> &Core<D> {
        &self.core
    }

    /// Why nothing can be written any more.
    #[cfg(any(test, feature = "simulation"))]
    pub fn failure(&self) -> Option<&StoreError> {
        self.failed.as_ref()
    }
}

fn refuse(reply: Reply<()>, why: &str) {
    // Whoever sent the state may have gone.
    let _ = reply.send(Err(StoreError::Failed(why.to_owned())));
}
