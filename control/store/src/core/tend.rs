//! What a server does about the members without being asked, and about who leads.

use bytes::Bytes;
use raft::eraftpb::ConfChangeV2;
use raft::{ProgressState, StateRole};

use super::{Core, Reply};
use crate::disk::Disk;
use crate::members::Change;
use crate::membership::ServerId;
use crate::pending::Asker;

/// A server that lacks so many entries or fewer has caught up: it gets them while it is made a voter.
const CAUGHT_UP: u64 = 256;

impl<D: Disk> Core<D> {
    /// Answers those who wanted this server to lead.
    pub(super) fn note_leader(&mut self, leader: u64) {
        // Whoever asked may have gone.
        self.askers(&Change::Lead(ServerId(leader))).for_each(|reply| drop(reply.send(Ok(()))));
    }

    /// Takes out those who wait for this change.
    pub(super) fn askers(&mut self, change: &Change) -> impl Iterator<Item = Reply<()>> + use<D> {
        let waiting = self.pending.finish_where(|_, pending| pending.change.as_ref() == Some(change));
        waiting.into_iter().filter_map(|pending| match pending.asker {
            Asker::Operator(reply) => Some(reply),
            Asker::Writer { .. } | Asker::Itself => None,
        })
    }

    /// Does what nobody asked for: sees that this server's record is right and, as the leader, that a joint state ends and
    /// that those who have caught up get a vote.
    pub(super) fn tend(&mut self) {
        if !std::mem::take(&mut self.lead.is_due) || self.is_removed() {
            return;
        }
        let raft = &self.node.raft;
        let leads = raft.state == StateRole::Leader;
        if leads && !raft.commit_to_current_term() {
            self.lead.is_due = true;
            return;
        }
        self.tend_record();
        if !leads || self.node.raft.has_pending_conf() {
            return;
        }
        let conf = self.node.store().conf_state.clone();
        if conf.voters_outgoing.is_empty() {
            self.promote(&conf.learners);
        } else if conf.voters.contains(&self.me()) {
            let _ = self.node.propose_conf_change(Vec::new(), ConfChangeV2::default());
        } else {
            self.give_up_lead();
        }
    }

    fn tend_record(&mut self) {
        let record = &self.record;
        let (members, conf) = (self.state.members(), &self.node.store().conf_state);
        let is_blank = record.name.is_empty() && record.address.is_empty();
        let is_wrong = members.get(record.id) != Some(record);
        if is_blank || !is_wrong || !self.belongs() || self.pending.has_change(|c| matches!(c, Change::Update(_))) {
            return;
        }
        let change = Change::Update(record.clone());
        match members.check(&change, conf) {
            Ok(()) => self.pending.add(Bytes::new(), Some(change), Asker::Itself, self.now),
            Err(error) if !self.lead.complained => {
                self.lead.complained = true;
                tracing::error!(%error, "this server cannot be known as it is configured");
            }
            Err(_) => {}
        }
    }

    fn promote(&mut self, learners: &[u64]) {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        let caught_up = learners.iter().find(|learner| {
            raft.prs().get(**learner).is_some_and(|progress| {
                // What it has acknowledged counts, also while raft probes it: nothing may be left to send.
                progress.matched > 0
                    && progress.state != ProgressState::Snapshot
                    && progress.recent_active
                    && progress.matched + CAUGHT_UP >= last
            })
        });
        let Some(change) = caught_up.map(|learner| Change::Promote(ServerId(*learner))) else { return };
        if !self.pending.has_change(|pending| *pending == change) {
            self.pending.add(Bytes::new(), Some(change), Asker::Itself, self.now);
        }
    }

    /// Has the voter lead that is closest behind this one. False when there is none, or this server does not lead.
    pub fn give_up_lead(&mut self) -> bool {
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader {
            return false;
        }
        if raft.lead_transferee.is_some() {
            return true;
        }
        let me = self.me();
        let voters = self.node.store().conf_state.voters.iter().filter(|voter| **voter != me);
        let closest = voters.max_by_key(|voter| {
            let progress = raft.prs().get(**voter);
            progress.map(|progress| (progress.recent_active, progress.matched))
        });
        let Some(closest) = closest.copied() else { return false };
        self.node.transfer_leader(closest);
        true
    }
}
