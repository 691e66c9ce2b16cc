//! Moving the core on: from what waits to what is on disk, sent, applied and answered.

#[cfg(any(test, feature = "simulation"))]
use raft::StateRole;
use raft::eraftpb::{Entry, HardState};

#[cfg(any(test, feature = "simulation"))]
use super::Planted;
use super::{Core, Seen};
use crate::disk::Disk;
use crate::error::StoreError;

impl<D: Disk> Core<D> {
    /// Does everything that is due: proposes, writes the log, sends, applies, answers. After an error the log may not hold
    /// what raft believes, and the core must not be moved on.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        let mut result = self.begin();
        while result.is_ok() && self.node.has_ready() {
            result = self.settle_once().and_then(|()| self.begin());
        }
        // Nothing is between raft and the log here.
        self.lead.written();
        self.publish();
        self.show_lease();
        self.show();
        result
    }

    /// Hands on what waits, as far as who leads allows it.
    fn begin(&mut self) -> Result<(), StoreError> {
        self.follow();
        self.tend();
        self.hand_out()?;
        if self.node.raft.leader_id != raft::INVALID_ID
            && let Some(context) = self.reads.ask(self.now)
        {
            self.node.read_index(context);
        }
        Ok(())
    }

    /// Looks whether raft's role, term or leader changed.
    fn follow(&mut self) {
        let raft = &self.node.raft;
        let seen = Seen { role: raft.state, term: raft.term, leader: raft.leader_id };
        if seen == self.seen {
            return;
        }
        let was = std::mem::replace(&mut self.seen, seen);
        if (was.term, was.leader) != (seen.term, seen.leader) {
            self.pending.start_over();
            self.lead.start_over();
            self.reads.ask_again(self.now);
            self.taken.clear();
            self.note_leader(seen.leader);
        }
        if (was.role, was.term) != (seen.role, seen.term) {
            self.draw_patience();
        }
        #[cfg(any(test, feature = "simulation"))]
        if self.planted == Some(Planted::ReuseRevision) && seen.role == StateRole::Leader && !self.is_alone() {
            self.state.rewind_revision();
        }
        self.view.set_leader(seen.leader);
        self.lead.look_again();
        self.show.look_again();
    }

    pub(super) fn draw_patience(&mut self) {
        let mut voters = self.node.store().conf_state.voters.clone();
        voters.sort_unstable();
        let rank = voters.iter().position(|voter| *voter == self.me()).unwrap_or(voters.len());
        self.patience.draw(self.node.raft.state, rank, voters.len().max(rank + 1));
    }

    fn settle_once(&mut self) -> Result<(), StoreError> {
        let mut ready = self.node.ready();
        self.send(ready.take_messages());
        if let Some(hard_state) = ready.hs() {
            self.node.mut_store().hard_state = hard_state.clone();
        }
        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            self.take_over(metadata.index, metadata.term)?;
        }
        self.reads.note(ready.take_read_states());
        self.apply(ready.take_committed_entries())?;
        let entries = ready.take_entries();
        if !entries.is_empty() {
            // Whose write a quorum holds need not wait until the next ones are on this disk too.
            self.publish();
        }
        let hard_state = self.node.store().hard_state.clone();
        if ready.must_sync() {
            self.append(&hard_state, &entries)?;
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
        let applied = (self.state.index(), self.state.term());
        let needed = self.needed();
        self.node.mut_store().forget(applied, needed);
        Ok(())
    }

    fn append(&mut self, hard_state: &HardState, entries: &[Entry]) -> Result<(), StoreError> {
        #[cfg(any(test, feature = "simulation"))]
        if self.planted == Some(Planted::AcknowledgeBeforeFlush) {
            let later = (hard_state.clone(), entries.to_vec());
            let (hard_state, entries) = std::mem::replace(&mut self.unflushed, later);
            return if entries.is_empty() { Ok(()) } else { self.log.append(&hard_state, &entries) };
        }
        self.log.append(hard_state, entries)
    }
}
