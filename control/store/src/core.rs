//! One server's part in the cluster: the Raft node, its log and the state machine, moved on by whoever owns it.
//!
//! It has no thread, clock or socket: the replica calls it, and so can a simulation. What it does with proposals is in
//! `lead`, what it does with committed entries in `apply`, and how the two meet in `settle`.

mod apply;
mod lead;
mod lease;
mod parts;
mod send;
mod settle;
mod tend;

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(test, feature = "simulation"))]
use raft::eraftpb::{Entry, HardState};
use raft::eraftpb::{Message, MessageType};
use raft::{RawNode, ReadOnlyOption, SnapshotStatus, StateRole};

use crate::dirty::Dirty;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::history::Event;
use crate::image::Image;
use crate::lease::Vows;
use crate::log::Log;
use crate::members::is_in;
use crate::membership::{Member, ServerId};
use crate::mvcc::State;
use crate::patience::Patience;
use crate::pending::PendingProposals;
use crate::reads::Reads;
use crate::slog_bridge;
use crate::snapshot::Snapshot;
use crate::storage::Tail;
use crate::store::Timing;
use crate::taken::Taken;
use crate::view::View;
use crate::watch::Hub;

#[cfg(any(test, feature = "simulation"))]
pub(crate) use parts::Planted;
pub(crate) use parts::{FOUNDED_AT, Parts, Reply, Transport, founding_state};

/// A message with entries for another server holds about so many bytes, and so many may be on their way to it.
const MESSAGE_BYTES: u64 = 1 << 20;
const MESSAGES: usize = 256;

/// So long a request waits for somebody to lead: longer than an election takes, twice over.
pub(crate) const LEADERLESS: Duration = Duration::from_millis(2500);

/// Raft's role, term and leader as they were when they were looked at last.
#[derive(Clone, Copy, PartialEq)]
struct Seen {
    role: StateRole,
    term: u64,
    leader: u64,
}

/// A server's Raft node with its log and state.
pub(crate) struct Core<D: Disk> {
    record: Member,
    node: RawNode<Tail>,
    log: Log<D>,
    state: State,
    hub: Arc<Hub>,
    view: Arc<View>,
    transport: Box<dyn Transport>,
    timing: Timing,
    now: Duration,
    patience: Patience,
    seen: Seen,
    pending: PendingProposals,
    taken: Taken,
    reads: Reads,
    /// What the others have vowed to this server as the leader.
    vows: Vows,
    /// Until when this server may vote for nobody; unknown until it is told what time it is.
    bound: Option<Duration>,
    /// Since when nobody is known to lead.
    leaderless: Option<Duration>,
    lead: lead::Lead,
    /// A state from the leader that raft is about to take.
    arriving: Option<Image>,
    dirty: Dirty,
    events: Vec<Arc<Event>>,
    answers: Vec<apply::Answer>,
    published: u64,
    show: apply::Shown,
    /// The others say that this server is no member any more.
    removed: bool,
    /// The log has no room even for the voter's state: until it has, this server is as if it were cut off.
    cramped: bool,
    #[cfg(any(test, feature = "simulation"))]
    planted: Option<Planted>,
    #[cfg(any(test, feature = "simulation"))]
    unflushed: (HardState, Vec<Entry>),
}

impl<D: Disk> Core<D> {
    /// A node that goes on from what was on disk.
    pub fn new(parts: Parts<D>) -> Result<Core<D>, StoreError> {
        let Parts { record, origin, seed, timing, log, recovered, state, conf_state, hub, view, transport, .. } = parts;
        let applied = state.index();
        let mut hard_state = recovered.hard_state.unwrap_or_else(|| founding_state(applied, state.term()));
        // The commit index is written with the next record only, the applied state may be ahead of it.
        hard_state.commit = hard_state.commit.max(applied);
        let commit = hard_state.commit;
        let tail = Tail::new(record.id.0, hard_state, conf_state, applied, state.term(), recovered.entries);
        if tail.last() < commit {
            let last = tail.last();
            return Err(StoreError::Failed(format!(
                "the log ends at entry {last}, but {commit} are known to be committed: restore the data directory from \
                 a backup, or move it away and join anew"
            )));
        }
        let config = raft::Config {
            id: record.id.0,
            applied,
            check_quorum: true,
            pre_vote: true,
            election_tick: timing.election_ticks,
            heartbeat_tick: timing.heartbeat_ticks,
            // One value is left: `Patience` draws.
            min_election_tick: 2 * timing.election_ticks,
            max_election_tick: 2 * timing.election_ticks + 1,
            max_size_per_msg: MESSAGE_BYTES,
            max_inflight_msgs: MESSAGES,
            read_only_option: ReadOnlyOption::Safe,
            ..raft::Config::default()
        };
        let node = RawNode::new(&config, tail, &slog_bridge::logger()).map_err(failed)?;
        let seen = Seen { role: StateRole::Follower, term: 0, leader: raft::INVALID_ID };
        let mut core = Core {
            record,
            node,
            log,
            published: state.index(),
            state,
            hub,
            view,
            transport,
            timing,
            now: Duration::ZERO,
            patience: Patience::new(seed, timing.election_ticks),
            seen,
            pending: PendingProposals::new(origin),
            taken: Taken::default(),
            reads: Reads::new(origin),
            vows: Vows::default(),
            bound: None,
            leaderless: None,
            lead: lead::Lead::default(),
            arriving: None,
            dirty: Dirty::default(),
            events: Vec::new(),
            answers: Vec::new(),
            show: apply::Shown::default(),
            removed: false,
            cramped: false,
            #[cfg(any(test, feature = "simulation"))]
            planted: parts.planted,
            #[cfg(any(test, feature = "simulation"))]
            unflushed: (HardState::default(), Vec::new()),
        };
        core.draw_patience();
        core.lead.look_again();
        core.show.look_again();
        core.show();
        Ok(core)
    }

    fn me(&self) -> u64 {
        self.record.id.0
    }

    /// Whether this server is the only one of its cluster: time then plays no part.
    pub fn is_alone(&self) -> bool {
        self.node.store().is_alone()
    }

    /// Whether time plays no part: nobody else is there, and no change has to be tried again.
    pub fn is_timeless(&self) -> bool {
        self.is_alone() && !self.pending.has_change(|_| true)
    }

    /// Whether this server leads.
    pub fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Stands for election at once.
    pub fn campaign(&mut self) -> Result<(), StoreError> {
        self.node.campaign().map_err(failed)
    }

    /// What time it is, counted from any moment. It never goes back.
    pub fn set_now(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.begin_bound();
    }

    /// Notes that a unit of time has passed.
    pub fn tick(&mut self) -> Result<(), StoreError> {
        self.look_for_room()?;
        // Raft's clock can have this server stand for election, and its vote for itself must be noted.
        if !self.cramped {
            self.tick_raft();
        }
        self.note_leaderless();
        self.lead.unblock();
        self.pending.expire(self.now);
        self.reads.expire(self.now);
        const QUESTION_TICKS: u32 = 5;
        if let Some(since) = self.now.checked_sub(self.timing.tick * QUESTION_TICKS) {
            self.reads.ask_again(since);
        }
        self.show.tick();
        self.hand_on_overdue()
    }

    fn tick_raft(&mut self) {
        let raft = &mut self.node.raft;
        let waits = raft.state != StateRole::Leader && raft.promotable();
        if waits && raft.election_elapsed + 1 >= self.patience.ticks() {
            if self.may_vote() {
                let raft = &mut self.node.raft;
                raft.election_elapsed = raft.randomized_election_timeout();
                self.node.tick();
                self.draw_patience();
            }
        } else {
            self.node.tick();
        }
    }

    /// Looks whether what raft wants noted of a message or a tick would find room.
    fn look_for_room(&mut self) -> Result<(), StoreError> {
        self.cramped = match self.log.reserve_small() {
            Ok(()) => false,
            Err(StoreError::Full { .. }) => true,
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Takes a message from another server. Whole states go through [`Core::install`].
    pub fn step(&mut self, mut message: Message) -> Result<(), StoreError> {
        if !self.cramped {
            self.look_for_room()?;
        }
        if self.cramped || message.msg_type == MessageType::MsgSnapshot || !self.may_take(&message) {
            return Ok(());
        }
        self.note_vow(&mut message);
        let entries = &message.entries;
        if message.msg_type == MessageType::MsgAppend && !entries.is_empty() {
            let bytes = entries.iter().map(|entry| entry.data.len() + entry.context.len()).sum();
            match self.reserve(entries.len(), bytes) {
                Ok(()) => {}
                // As if it had been lost. It comes again, and heartbeats keep this server from standing meanwhile.
                Err(StoreError::Full { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // Raft refuses what is stale or not for it; the sender finds out by itself.
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "a peer's message was refused");
        }
        Ok(())
    }

    /// A server cannot be reached: what was sent to it is lost.
    pub fn unreachable(&mut self, to: u64) {
        self.node.report_unreachable(to);
    }

    /// A stream to a server was opened. What the leader was handed before may be lost: it is handed to it again, and what
    /// was not lost is known to it.
    pub fn reachable(&mut self, to: u64) {
        if self.node.raft.leader_id == to && !self.leads() {
            self.pending.start_over();
        }
    }

    /// What became of a whole state that was sent to a server.
    pub fn snapshot_sent(&mut self, to: u64, ok: bool) {
        self.node.report_snapshot(to, if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure });
    }

    /// The others say that this server is no member any more.
    pub fn note_removed(&mut self) {
        self.removed = true;
    }

    fn is_removed(&self) -> bool {
        self.removed || self.state.members().is_removed(self.record.id)
    }

    /// Answers with a snapshot that holds every write that was answered, by any server, before now.
    pub fn read(&mut self, reply: Reply<Snapshot>) {
        #[cfg(any(test, feature = "simulation"))]
        if self.planted == Some(Planted::SkipReadIndex) {
            let _ = reply.send(Ok(self.state.snapshot()));
            return;
        }
        if self.is_removed() {
            let _ = reply.send(Err(StoreError::Removed));
            return;
        }
        if self.is_leaderless() {
            let _ = reply.send(Err(StoreError::NoLeader));
            return;
        }
        self.reads.add(reply, self.now);
    }

    fn note_leaderless(&mut self) {
        let is_led = self.node.raft.leader_id != raft::INVALID_ID;
        self.leaderless = if is_led { None } else { self.leaderless.or(Some(self.now)) };
    }

    /// Whether nobody has led for so long that nobody is waited for any more.
    fn is_leaderless(&self) -> bool {
        self.node.raft.leader_id == raft::INVALID_ID
            && self.leaderless.is_some_and(|since| since + LEADERLESS <= self.now)
    }

    /// Refuses everything that waits, and shows that nothing more is written.
    pub fn fail(&mut self, error: &StoreError) {
        self.view.set_failure(error.clone());
        self.view.set_lease(None);
        self.abandon(error);
        self.view.set_role(crate::view::Role::Follower);
    }

    /// Refuses everything that waits.
    pub fn abandon(&mut self, error: &StoreError) {
        self.pending.abandon(error);
        self.answers.drain(..).for_each(|answer| answer.refuse(error));
        self.reads.refuse(error);
        self.view.refuse_awaiting(error);
    }

    /// Whether proposals of this server's users are not answered yet.
    pub fn is_waited_for(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The last log entry that was applied.
    pub fn applied(&self) -> u64 {
        self.state.index()
    }

    /// What is not in the stored state yet.
    pub fn dirty(&mut self) -> &mut Dirty {
        &mut self.dirty
    }

    /// The state as it is now.
    pub fn image(&self) -> Image {
        Image { state: self.state.clone(), conf_state: self.node.store().conf_state.clone() }
    }

    /// The log.
    pub fn log(&mut self) -> &mut Log<D> {
        &mut self.log
    }

    /// Who leads, as far as this server knows.
    pub fn leader(&self) -> Option<ServerId> {
        Some(ServerId(self.node.raft.leader_id)).filter(|leader| leader.0 != raft::INVALID_ID)
    }

    /// Whether raft has this server among its members.
    fn belongs(&self) -> bool {
        is_in(&self.node.store().conf_state, self.me())
    }
}

/// What a simulation looks at to see that the servers agree.
#[cfg(any(test, feature = "simulation"))]
impl<D: Disk> Core<D> {
    /// Raft's node.
    pub fn node(&self) -> &RawNode<Tail> {
        &self.node
    }

    /// Keeps more or less of the log for others, so that they need whole states more or less often.
    pub fn retain(&mut self, retention: crate::storage::Retention) {
        self.node.mut_store().retain(retention);
    }

    /// The applied state.
    pub fn state(&self) -> &State {
        &self.state
    }
}

impl<D: Disk> Drop for Core<D> {
    fn drop(&mut self) {
        self.view.set_sole_leader(false);
        self.view.set_lease(None);
        self.hub.close();
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
