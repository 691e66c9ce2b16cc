//! The lease: what this server vows as a follower, and what it makes of the others' vows as the leader.

use std::time::Duration;

use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

use super::Core;
#[cfg(any(test, feature = "simulation"))]
use super::Planted;
use crate::disk::Disk;
use crate::lease::{Granted, asks_for_a_vote, is_leaders, stamp, take_stamp, trust, vow};

impl<D: Disk> Core<D> {
    /// Notes, when it is told for the first time what time it is, that it may have vowed something before it was started.
    pub(super) fn begin_bound(&mut self) {
        #[cfg(test)]
        if self.planted == Some(Planted::ForgetVow) {
            self.bound.get_or_insert(self.now);
        }
        self.bound.get_or_insert(self.now + vow(&self.timing));
    }

    /// Whether it has vowed to nobody, so that it may vote and stand. The only voter needs not wait for itself.
    pub(super) fn may_vote(&self) -> bool {
        self.bound.is_some_and(|bound| bound <= self.now) || self.is_alone()
    }

    /// Notes what a message from the leader binds this server to. False for one that asks for a vote that was vowed not to
    /// be given; but a leader that hands over says itself that others may vote.
    pub(super) fn may_take(&mut self, message: &Message) -> bool {
        if is_leaders(message.msg_type) && message.term >= self.node.raft.term {
            self.bound = Some(self.now + vow(&self.timing));
        }
        !asks_for_a_vote(message.msg_type) || self.may_vote() || message.context == raft::CAMPAIGN_TRANSFER
    }

    /// Takes out of a heartbeat's answer when the heartbeat was sent.
    pub(super) fn note_vow(&mut self, message: &mut Message) {
        if message.msg_type == MessageType::MsgHeartbeatResponse
            && let Some(sent) = take_stamp(&mut message.context)
            && message.term == self.node.raft.term
        {
            self.vows.of(message.term).answered(message.from, sent);
        }
    }

    /// Notes what these messages mean for the lease, before they are sent.
    pub(super) fn vouch(&mut self, messages: &mut [Message]) {
        for message in messages {
            match message.msg_type {
                MessageType::MsgHeartbeat => message.context = stamp(&message.context, self.now),
                MessageType::MsgTimeoutNow => self.vows.of(message.term).give_away(),
                _ => {}
            }
        }
        self.show_lease();
    }

    /// Shows how far everything is committed that was ever answered, for as long as nobody but this server can lead.
    pub(super) fn show_lease(&mut self) {
        let until = self.lease_until();
        self.view.set_lease(until.map(|until| Granted { index: self.node.raft.raft_log.committed, until }));
    }

    fn lease_until(&mut self) -> Option<Duration> {
        let (term, me, now) = (self.node.raft.term, self.me(), self.now);
        if self.node.raft.state != StateRole::Leader || self.is_removed() {
            return None;
        }
        let raft = &self.node.raft;
        if !raft.commit_to_current_term() || raft.has_pending_conf() || raft.lead_transferee.is_some() {
            return None;
        }
        let since = self.vows.of(term).since(&self.node.store().conf_state, me, now)?;
        #[cfg(any(test, feature = "simulation"))]
        if self.planted == Some(Planted::LongLease) {
            const LONG: Duration = Duration::from_secs(5);
            return Some(since + LONG);
        }
        Some(since + trust(&self.timing))
    }
}
