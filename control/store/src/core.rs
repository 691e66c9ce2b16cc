//! One server's part in the cluster: the Raft node, its log and the state machine, moved on by whoever owns it.
//!
//! It has no thread, clock or socket: the driver calls it, and so can a simulation.

use std::collections::VecDeque;
use std::sync::Arc;

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message};
use raft::{RawNode, ReadOnlyOption, StateRole};
use tokio::sync::oneshot;

use crate::codec::decode_txn;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::history::Event;
use crate::image::Image;
use crate::log::{Log, Recovered};
use crate::members::Members;
use crate::mvcc::State;
use crate::persister::Dirty;
use crate::proposals::{Forward, Refusal};
use crate::slog_bridge;
use crate::snapshot::Snapshot;
use crate::storage::Tail;
use crate::txn::Outcome;
use crate::view::{Role, View};
use crate::watch::Hub;

/// Where a founded cluster's log begins: not at its first entry, so that a server that joins needs a snapshot, which also
/// tells it who the members are.
pub(crate) const FOUNDED_AT: u64 = 1;

/// Takes what is said to the other servers. It may lose it, but not hold up its caller.
pub(crate) trait Transport: Send + 'static {
    /// Sends raft's messages, each to the server that it names. None of them is a `MsgSnapshot`.
    fn send(&mut self, messages: Vec<Message>);

    /// Hands proposals to the leader.
    fn forward(&mut self, to: u64, proposals: Vec<Forward>);

    /// Tells a server which of its proposals were not taken.
    fn refuse(&mut self, to: u64, refusals: Vec<Refusal>);

    /// Sends a whole state, with raft's message for it, which is to be told what became of it.
    fn send_snapshot(&mut self, message: Message, image: Image);

    /// These are the members now: the others among them are to be reached, and nobody else.
    fn members(&mut self, members: &Members);
}

/// The transport of a server that is alone.
pub(crate) struct NoPeers;

impl Transport for NoPeers {
    fn send(&mut self, messages: Vec<Message>) {
        debug_assert!(messages.is_empty(), "a message to a server that does not exist");
    }

    fn forward(&mut self, _: u64, _: Vec<Forward>) {}

    fn refuse(&mut self, _: u64, _: Vec<Refusal>) {}

    fn send_snapshot(&mut self, _: Message, _: Image) {}

    fn members(&mut self, _: &Members) {}
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

struct Waiting {
    index: u64,
    term: u64,
    reply: Reply<Outcome>,
}

struct Read {
    context: u64,
    /// What must be applied before the answer, once the leader has said so.
    index: Option<u64>,
    reply: Reply<Snapshot>,
}

/// Everything that a core is made of.
pub(crate) struct Parts<D: Disk> {
    pub server: u64,
    pub log: Log<D>,
    pub recovered: Recovered,
    pub state: State,
    pub conf_state: ConfState,
    pub hub: Arc<Hub>,
    pub view: Arc<View>,
    pub transport: Box<dyn Transport>,
}

/// A server's Raft node with its log and state.
pub(crate) struct Core<D: Disk> {
    node: RawNode<Tail>,
    log: Log<D>,
    state: State,
    hub: Arc<Hub>,
    view: Arc<View>,
    transport: Box<dyn Transport>,
    /// Ascending by index.
    waiting: VecDeque<Waiting>,
    reads: Vec<Read>,
    next_read: u64,
    /// What was proposed and is not in the log yet.
    unwritten: (usize, usize),
    dirty: Dirty,
    events: Vec<Arc<Event>>,
    answers: Vec<(Reply<Outcome>, Outcome)>,
    published: u64,
}

impl<D: Disk> Core<D> {
    /// A node that goes on from what was on disk.
    pub fn new(parts: Parts<D>) -> Result<Core<D>, StoreError> {
        let Parts { server, log, recovered, state, conf_state, hub, view, transport } = parts;
        let applied = state.index();
        let mut hard_state = recovered.hard_state.unwrap_or_else(|| founding_state(applied, state.term()));
        // The commit index is written with the next record only, the applied state may be ahead of it.
        hard_state.commit = hard_state.commit.max(applied);
        let tail = Tail::new(hard_state, conf_state, applied, state.term(), recovered.entries);
        let config = raft::Config {
            id: server,
            applied,
            check_quorum: true,
            pre_vote: true,
            election_tick: 10,
            heartbeat_tick: 2,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            read_only_option: ReadOnlyOption::Safe,
            ..raft::Config::default()
        };
        let node = RawNode::new(&config, tail, &slog_bridge::logger()).map_err(failed)?;
        let published = state.index();
        Ok(Core {
            node,
            log,
            state,
            hub,
            view,
            transport,
            waiting: VecDeque::new(),
            reads: Vec::new(),
            next_read: 0,
            unwritten: (0, 0),
            dirty: Dirty::default(),
            events: Vec::new(),
            answers: Vec::new(),
            published,
        })
    }

    /// Whether this server is the only one of its cluster: time then plays no part.
    pub fn is_alone(&self) -> bool {
        self.node.store().is_alone()
    }

    /// Stands for election at once.
    pub fn campaign(&mut self) -> Result<(), StoreError> {
        self.node.campaign().map_err(failed)
    }

    /// Notes that a unit of time has passed.
    pub fn tick(&mut self) {
        self.node.tick();
    }

    /// Takes a message from another server.
    #[cfg_attr(not(test), expect(dead_code, reason = "peers come with the transport over TLS"))]
    pub fn step(&mut self, message: Message) {
        // Raft refuses what is stale or not for it; the sender finds out by itself.
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "a peer's message was refused");
        }
    }

    /// Takes a transaction's bytes. An error means that the log cannot be written any more.
    pub fn propose(&mut self, data: Vec<u8>, reply: Reply<Outcome>) -> Result<(), StoreError> {
        let (entries, bytes) = (self.unwritten.0 + 1, self.unwritten.1 + data.len());
        match self.log.reserve(entries, bytes) {
            Ok(()) => {}
            // Nothing was proposed, so this write can be refused and the next one tried.
            Err(error @ StoreError::Full { .. }) => {
                answer(reply, Err(error));
                return Ok(());
            }
            Err(error) => {
                answer(reply, Err(StoreError::Failed(error.to_string())));
                return Err(error);
            }
        }
        if self.node.propose(Vec::new(), data).is_err() {
            answer(reply, Err(StoreError::NoLeader));
            return Ok(());
        }
        self.unwritten = (entries, bytes);
        let (index, term) = (self.node.raft.raft_log.last_index(), self.node.raft.term);
        self.waiting.push_back(Waiting { index, term, reply });
        Ok(())
    }

    /// Answers with a snapshot that holds every write that was answered before now.
    pub fn read(&mut self, reply: Reply<Snapshot>) {
        self.reads.retain(|read| !read.reply.is_closed());
        if self.node.raft.leader_id == raft::INVALID_ID {
            answer(reply, Err(StoreError::NoLeader));
            return;
        }
        let context = self.next_read;
        self.next_read += 1;
        self.reads.push(Read { context, index: None, reply });
        self.node.read_index(context.to_le_bytes().to_vec());
    }

    /// Does everything that is due: writes the log, sends, applies, answers. After an error the log may not hold what
    /// raft believes, and the core must not be moved on.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        let mut result = Ok(());
        while result.is_ok() && self.node.has_ready() {
            result = self.settle_once();
        }
        self.publish();
        result
    }

    fn settle_once(&mut self) -> Result<(), StoreError> {
        let mut ready = self.node.ready();
        let role = ready.ss().map(|soft| soft.raft_state);
        self.send(ready.take_messages());
        if !ready.snapshot().is_empty() {
            return Err(StoreError::Failed("a snapshot came from a server that is no member".to_owned()));
        }
        self.note_reads(ready.take_read_states());
        self.apply(ready.take_committed_entries())?;
        let entries = ready.take_entries();
        if let Some(hard_state) = ready.hs() {
            self.node.mut_store().hard_state = hard_state.clone();
        }
        let hard_state = self.node.store().hard_state.clone();
        if ready.must_sync() {
            self.log.append(&hard_state, &entries)?;
            self.unwritten = (0, 0);
        } else {
            self.log.note(&hard_state);
        }
        self.node.mut_store().append(entries);
        self.send(ready.take_persisted_messages());
        let mut light = self.node.advance_append(ready);
        if let Some(commit) = light.commit_index() {
            self.node.mut_store().hard_state.commit = commit;
        }
        self.send(light.take_messages());
        self.apply(light.take_committed_entries())?;
        self.node.advance_apply();
        let applied = self.state.index();
        self.node.mut_store().forget(applied);
        if let Some(role) = role {
            self.note_role(role);
        }
        Ok(())
    }

    fn send(&mut self, messages: Vec<Message>) {
        if !messages.is_empty() {
            self.transport.send(messages);
        }
    }

    fn note_reads(&mut self, states: Vec<raft::ReadState>) {
        for state in states {
            let read = self.reads.iter_mut().find(|read| read.context.to_le_bytes() == *state.request_ctx);
            if let Some(read) = read {
                read.index = Some(state.index);
            }
        }
    }

    fn note_role(&mut self, role: StateRole) {
        let leads = role == StateRole::Leader;
        self.view.set_role(if leads { Role::Leader } else { Role::Follower });
        if !leads {
            for waiting in self.waiting.drain(..) {
                answer(waiting.reply, Err(StoreError::Unknown));
            }
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), StoreError> {
        for entry in entries {
            let (index, term) = (entry.index, entry.term);
            match entry.entry_type {
                EntryType::EntryNormal if entry.data.is_empty() => {
                    self.state.pass(index, term);
                }
                EntryType::EntryNormal => self.apply_txn(&entry)?,
                EntryType::EntryConfChange => {
                    let change = ConfChange::parse_from_bytes(&entry.data).map_err(failed)?;
                    let members = self.node.apply_conf_change(&change);
                    self.note_members(members, index, term)?;
                }
                EntryType::EntryConfChangeV2 => {
                    let change = ConfChangeV2::parse_from_bytes(&entry.data).map_err(failed)?;
                    let members = self.node.apply_conf_change(&change);
                    self.note_members(members, index, term)?;
                }
            }
        }
        Ok(())
    }

    fn apply_txn(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let txn = decode_txn(&entry.data)
            .map_err(|error| StoreError::Failed(format!("log entry {} makes no sense: {error}", entry.index)))?;
        let reply = self.waiter_of(entry.index, entry.term);
        if let Some(applied) = self.state.apply(txn, entry.index, entry.term) {
            applied.events.iter().for_each(|event| self.dirty.note(event));
            self.events.extend(applied.events);
            self.answers.extend(reply.map(|reply| (reply, applied.outcome)));
        }
        Ok(())
    }

    fn waiter_of(&mut self, index: u64, term: u64) -> Option<Reply<Outcome>> {
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.index <= index) {
            if (waiting.index, waiting.term) == (index, term) {
                return Some(waiting.reply);
            }
            // Another leader's entry took its place.
            answer(waiting.reply, Err(StoreError::Unknown));
        }
        None
    }

    fn note_members(&mut self, members: raft::Result<ConfState>, index: u64, term: u64) -> Result<(), StoreError> {
        self.node.mut_store().conf_state = members.map_err(failed)?;
        self.state.pass(index, term);
        Ok(())
    }

    /// Shows what was applied, to readers first, then to watchers, then to those who wait for an answer: whoever learns
    /// of a write can read it.
    fn publish(&mut self) {
        let leads = self.node.raft.state == StateRole::Leader && self.is_alone();
        self.view.set_sole_leader(leads && self.node.raft.commit_to_current_term());
        if self.state.index() > self.published {
            self.published = self.state.index();
            let old = self.view.show(self.state.snapshot());
            let grown = self.hub.push(&self.events, self.state.revision());
            for (reply, outcome) in self.answers.drain(..) {
                answer(reply, Ok(outcome));
            }
            grown.announce();
            self.events.clear();
            drop(old);
        }
        let applied = self.state.index();
        for read in self.reads.extract_if(.., |read| read.index.is_some_and(|index| index <= applied)) {
            answer(read.reply, Ok(self.state.snapshot()));
        }
    }

    /// Refuses everything that waits, and shows that nothing more is written.
    pub fn fail(&mut self, error: &StoreError) {
        self.view.set_failure(error.clone());
        self.abandon(error);
    }

    /// Refuses everything that waits.
    pub fn abandon(&mut self, error: &StoreError) {
        for waiting in self.waiting.drain(..) {
            answer(waiting.reply, Err(error.clone()));
        }
        for read in self.reads.drain(..) {
            answer(read.reply, Err(error.clone()));
        }
        self.view.set_role(Role::Follower);
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
}

impl<D: Disk> Drop for Core<D> {
    fn drop(&mut self) {
        self.view.set_sole_leader(false);
        self.hub.close();
    }
}

/// The voter's state before it ever wrote one.
pub(crate) fn founding_state(applied: u64, term: u64) -> HardState {
    HardState { term, commit: applied, ..HardState::default() }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    // Whoever asked may have gone.
    let _ = reply.send(result);
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
