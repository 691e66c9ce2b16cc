//! Getting proposals into the log: handing them to the leader, or, as the leader, to raft.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType};

use super::{Core, Reply};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::members::{Change, is_settled};
use crate::membership::ServerId;
use crate::pending::{Asker, Share};
use crate::proposals::{Context, Forward, Refusal, Why};
use crate::txn::Outcome;

/// So many bytes are proposed at once, so that no answer waits for too large a write.
const BATCH_BYTES: usize = 4 << 20;

/// What a server does about proposals and, when it leads, about the members.
#[derive(Default)]
pub(super) struct Lead {
    /// Entries that are proposed all at once.
    batch: Vec<Entry>,
    /// Whose they are.
    batch_ids: Vec<(u64, u64)>,
    /// What was proposed or received and is not in the log yet: entries, bytes.
    unwritten: (usize, usize),
    /// Raft takes no proposals at the moment; tried again at the next tick.
    is_blocked: bool,
    /// Whether there may be something to do about the members.
    pub is_due: bool,
    /// When it was said last that the disk is full.
    told_of_full_disk: Option<Duration>,
    /// Whether it was said that this server's record cannot be what it should be.
    pub complained: bool,
}

impl Lead {
    pub fn written(&mut self) {
        self.unwritten = (0, 0);
    }

    pub fn unblock(&mut self) {
        self.is_blocked = false;
        self.is_due = true;
    }

    pub fn look_again(&mut self) {
        self.is_due = true;
        self.is_blocked = false;
    }

    /// There is another leader, or none: everything is handed on anew.
    pub fn start_over(&mut self) {
        self.batch.clear();
        self.batch_ids.clear();
    }
}

/// Why a change is not proposed.
enum NotProposed {
    /// It makes no sense.
    Never(StoreError),
    /// Something else comes first.
    NotYet,
}

impl<D: Disk> Core<D> {
    /// Takes a transaction's bytes.
    pub fn propose(&mut self, data: Bytes, share: Option<Share>, reply: Reply<Outcome>) {
        let asker = Asker::Writer { reply, share };
        if self.is_removed() {
            asker.refuse(StoreError::Removed);
        } else if self.is_leaderless() {
            asker.refuse(StoreError::NoLeader);
        } else {
            self.pending.add(data, None, asker, self.now);
        }
    }

    /// Takes a change of members or of who leads.
    pub fn change(&mut self, change: Change, reply: Reply<()>) {
        let asker = Asker::Operator(reply);
        if self.is_removed() {
            asker.refuse(StoreError::Removed);
            return;
        }
        let leads_already = matches!(&change, Change::Lead(id) if self.leader() == Some(*id));
        // A follower may know less than the leader: only the leader can refuse.
        let checked =
            if self.leads() { self.state.members().check(&change, &self.node.store().conf_state) } else { Ok(()) };
        match (checked, asker) {
            (Err(error), asker) => asker.refuse(error),
            (Ok(()), Asker::Operator(reply)) if leads_already => drop(reply.send(Ok(()))),
            (Ok(()), asker) => self.pending.add(Bytes::new(), Some(change), asker, self.now),
        }
    }

    /// Makes sure that the log has room for this, beside what is not written yet.
    pub(super) fn reserve(&mut self, entries: usize, bytes: usize) -> Result<(), StoreError> {
        let sum = (self.lead.unwritten.0 + entries, self.lead.unwritten.1 + bytes);
        // Each batch takes a little room of its own.
        const BATCH_ENTRIES: usize = 4;
        let room = self.log.reserve(sum.0 + BATCH_ENTRIES * (sum.1 / BATCH_BYTES), sum.1);
        if let Err(error @ StoreError::Full { .. }) = &room {
            self.tell_of_full_disk(error);
        }
        room?;
        self.lead.unwritten = sum;
        Ok(())
    }

    /// Says it now and then: what a follower does not take in nobody else is told of.
    fn tell_of_full_disk(&mut self, error: &StoreError) {
        const AGAIN: Duration = Duration::from_secs(60);
        if self.lead.told_of_full_disk.is_none_or(|told| told + AGAIN <= self.now) {
            self.lead.told_of_full_disk = Some(self.now);
            tracing::error!(%error, "this server takes in no writes until there is room");
        }
    }

    /// Hands what waits to the leader, or to raft if that is this server.
    pub(super) fn hand_out(&mut self) -> Result<(), StoreError> {
        let leader = self.node.raft.leader_id;
        if self.pending.has_fresh() && !self.lead.is_blocked && leader != raft::INVALID_ID {
            if self.leads() {
                self.propose_own()?;
            } else {
                let mut proposals = Vec::new();
                while let Some((context, pending)) = self.pending.next_fresh(self.now) {
                    proposals.push(Forward { context, data: pending.data.clone() });
                }
                if !proposals.is_empty() {
                    self.transport.forward(leader, proposals);
                }
            }
        }
        self.propose_batch();
        Ok(())
    }

    fn propose_own(&mut self) -> Result<(), StoreError> {
        while let Some((context, pending)) = self.pending.next_fresh(self.now) {
            let seq = context.seq;
            if context.change.is_some() {
                self.propose_own_change(&context)?;
                continue;
            }
            let (data, is_first) = (pending.data.clone(), pending.is_first_try());
            match self.enqueue(&context, data) {
                Ok(()) => {}
                // It was proposed nowhere, so it can be refused and the next one tried.
                Err(error @ StoreError::Full { .. }) if is_first => self.refuse_own(seq, error),
                Err(StoreError::Full { .. }) => {
                    self.lead.is_blocked = true;
                    self.pending.step_back(seq);
                    return Ok(());
                }
                Err(error) => {
                    self.refuse_own(seq, StoreError::Failed(error.to_string()));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn refuse_own(&mut self, seq: u64, error: StoreError) {
        if let Some(pending) = self.pending.finish(seq) {
            pending.asker.refuse(error);
        }
    }

    fn enqueue(&mut self, context: &Context, data: Bytes) -> Result<(), StoreError> {
        let encoded = context.encode();
        self.reserve(1, encoded.len() + data.len())?;
        self.lead.batch.push(Entry { context: encoded, data, ..Entry::default() });
        self.lead.batch_ids.push((context.origin, context.seq));
        Ok(())
    }

    /// Gives raft many entries at once, so that each peer gets them in one message. What is too much waits for the next
    /// time, which comes when these are written.
    fn propose_batch(&mut self) {
        if self.lead.batch.is_empty() {
            return;
        }
        let mut bytes = 0;
        let within = self.lead.batch.iter().take_while(|entry| {
            let is_first = bytes == 0;
            bytes += entry.data.len() + entry.context.len();
            is_first || bytes <= BATCH_BYTES
        });
        let count = within.count();
        let entries = self.lead.batch.drain(..count).collect();
        if self.propose_entries(entries) {
            self.lead.batch_ids.drain(..count);
            return;
        }
        // Somebody else is about to lead.
        self.lead.is_blocked = true;
        self.lead.batch.clear();
        for (origin, seq) in std::mem::take(&mut self.lead.batch_ids) {
            if origin == self.pending.origin() {
                self.pending.step_back(seq);
            } else {
                self.taken.release(origin, seq);
            }
        }
    }

    fn propose_entries(&mut self, entries: Vec<Entry>) -> bool {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.me();
        message.set_entries(entries.into());
        self.node.raft.step(message).is_ok()
    }

    fn propose_own_change(&mut self, context: &Context) -> Result<(), StoreError> {
        match self.propose_change(context) {
            Ok(()) => Ok(()),
            Err(NotProposed::NotYet) => {
                self.pending.put_off(context.seq);
                Ok(())
            }
            Err(NotProposed::Never(error @ StoreError::Failed(_))) => Err(error),
            Err(NotProposed::Never(error)) => {
                self.refuse_own(context.seq, error);
                Ok(())
            }
        }
    }

    /// Proposes a change of members, one at a time. What is not proposed yet is tried again by its origin.
    fn propose_change(&mut self, context: &Context) -> Result<(), NotProposed> {
        let Some(change) = &context.change else { return Ok(()) };
        let conf = self.node.store().conf_state.clone();
        self.state.members().check(change, &conf).map_err(NotProposed::Never)?;
        match change {
            Change::Lead(id) => {
                // Writes wait for the one that is to lead, which for one that does not answer would be in vain.
                if self.answers(id.0) {
                    self.node.transfer_leader(id.0);
                }
                return Err(NotProposed::NotYet);
            }
            Change::Remove(id) if id.0 == self.me() => {
                // A leader does not lead itself out: the next one does.
                self.give_up_lead();
                return Err(NotProposed::NotYet);
            }
            // With too few left that answer, the change would end everything: not even the joint state could be left.
            Change::Remove(id) if !self.could_spare(*id, &conf) => return Err(NotProposed::NotYet),
            _ => {}
        }
        let for_raft = change.for_raft(&conf).filter(|_| !is_settled(change, self.state.members(), &conf));
        let is_busy = self.node.raft.has_pending_conf() || !conf.voters_outgoing.is_empty();
        if is_busy && for_raft.is_some() || !self.node.raft.commit_to_current_term() {
            return Err(NotProposed::NotYet);
        }
        let mut entry = Entry { context: context.encode(), ..Entry::default() };
        if let Some(for_raft) = &for_raft {
            // Integers are written into memory, which cannot fail.
            entry.data = for_raft.write_to_bytes().unwrap_or_default().into();
            entry.set_entry_type(EntryType::EntryConfChangeV2);
        }
        self.reserve(1, entry.context.len() + entry.data.len()).map_err(NotProposed::Never)?;
        if !self.propose_entries(vec![entry]) {
            return Err(NotProposed::NotYet);
        }
        let raft = &self.node.raft;
        // Raft makes an empty entry of a change that it does not want now.
        let taken = for_raft.is_none() || raft.pending_conf_index == raft.raft_log.last_index();
        if taken { Ok(()) } else { Err(NotProposed::NotYet) }
    }

    /// Whether most of the voters that are left without this one were heard of lately.
    fn could_spare(&self, id: ServerId, conf: &ConfState) -> bool {
        let left: Vec<u64> = conf.voters.iter().copied().filter(|voter| *voter != id.0).collect();
        2 * left.iter().filter(|voter| self.answers(**voter)).count() > left.len()
    }

    /// Whether a voter was heard of lately.
    fn answers(&self, voter: u64) -> bool {
        voter == self.me() || self.node.raft.prs().get(voter).is_some_and(|peer| peer.recent_active)
    }

    /// Takes other servers' proposals as the leader.
    pub fn forwarded(&mut self, from: u64, proposals: Vec<Forward>) -> Result<(), StoreError> {
        let mut refusals = Vec::new();
        for Forward { context, data } in proposals {
            let (origin, seq) = (context.origin, context.seq);
            if let Some(why) = self.take_forwarded(context, data)? {
                refusals.push(Refusal { origin, seq, why });
            }
        }
        if !refusals.is_empty() {
            self.transport.refuse(from, refusals);
        }
        Ok(())
    }

    fn take_forwarded(&mut self, context: Context, data: Bytes) -> Result<Option<Why>, StoreError> {
        let (origin, seq) = (context.origin, context.seq);
        if !self.leads() || self.node.raft.lead_transferee.is_some() {
            return Ok(Some(Why::NotLeader));
        }
        if self.taken.holds(origin, seq) || self.state.holds(origin, seq) {
            return Ok(None);
        }
        if context.change.is_some() {
            return match self.propose_change(&context) {
                Ok(()) | Err(NotProposed::NotYet) => Ok(None),
                Err(NotProposed::Never(error @ StoreError::Failed(_))) => Err(error),
                Err(NotProposed::Never(StoreError::Full { .. })) => Ok(Some(Why::Full)),
                Err(NotProposed::Never(_)) => Ok(Some(Why::Refused)),
            };
        }
        if !self.taken.add(origin, seq, data.len()) {
            return Ok(Some(Why::QueueFull));
        }
        match self.enqueue(&context, data) {
            Ok(()) => Ok(None),
            Err(StoreError::Full { .. }) => {
                self.taken.release(origin, seq);
                Ok(Some(Why::Full))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the leader's word on what it did not take.
    pub fn refused(&mut self, refusals: Vec<Refusal>) {
        for Refusal { origin, seq, why } in refusals {
            if origin != self.pending.origin() {
                continue;
            }
            self.pending.refused(seq, why, || StoreError::Full { path: PathBuf::from("the leader's log") });
            let change = self.pending.get(seq).and_then(|pending| pending.change.clone());
            if let (Why::Refused, Some(change)) = (why, change)
                && let Err(error) = self.state.members().check(&change, &self.node.store().conf_state)
            {
                self.refuse_own(seq, error);
            }
        }
    }

    /// Hands on again what was handed on long ago: it may have been lost on the way.
    pub(super) fn hand_on_overdue(&mut self) -> Result<(), StoreError> {
        let leader = self.node.raft.leader_id;
        if leader == raft::INVALID_ID {
            return Ok(());
        }
        let mut proposals = Vec::new();
        for seq in self.pending.overdue(self.now) {
            // What this server has proposed as the leader is in its log; only changes may have to wait for each other.
            if self.leads() && self.pending.get(seq).is_none_or(|pending| pending.change.is_none()) {
                continue;
            }
            let Some((context, pending)) = self.pending.hand(seq, self.now) else { continue };
            let data = pending.data.clone();
            if self.leads() {
                self.propose_own_change(&context)?;
            } else {
                proposals.push(Forward { context, data });
            }
        }
        if !proposals.is_empty() {
            self.transport.forward(leader, proposals);
        }
        Ok(())
    }
}
