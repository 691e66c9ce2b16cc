//! What committed entries and whole states do to the state machine, and how that is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protobuf::Message as _;
use raft::StateRole;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType, HardState, Message};

use super::{Core, Reply, failed};
use crate::codec::decode_txn;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::image::Image;
use crate::members::{Change, Members, is_in, is_settled};
use crate::membership::{Member, MemberStatus, Membership, Progress, ServerId, Standing};
use crate::pending::{Asker, Pending, Share};
use crate::proposals::Context;
use crate::txn::Outcome;
use crate::view::Role;

/// What is told when everybody can see it.
pub(super) enum Answer {
    Written { reply: Reply<Outcome>, outcome: Outcome, share: Option<Share> },
    Changed { reply: Reply<()>, result: Result<(), StoreError> },
}

impl Answer {
    fn give(self) {
        // Whoever asked may have gone.
        match self {
            Answer::Written { reply, outcome, share } => {
                // Whoever has the answer can ask for the next thing.
                drop(share);
                drop(reply.send(Ok(outcome)));
            }
            Answer::Changed { reply, result } => drop(reply.send(result)),
        }
    }

    pub(super) fn refuse(self, error: &StoreError) {
        match self {
            Answer::Written { reply, .. } => drop(reply.send(Err(error.clone()))),
            Answer::Changed { reply, .. } => drop(reply.send(Err(error.clone()))),
        }
    }
}

/// What was shown last.
#[derive(Default)]
pub(super) struct Shown {
    members: Option<Arc<Members>>,
    /// Whether something of the membership may have changed.
    is_due: bool,
    ticks: u32,
    /// When each of a leader's followers was last seen to be heard of.
    heard: BTreeMap<u64, Duration>,
}

/// A follower that was not heard of for so long is not active. raft forgets at every election timeout who was, until the
/// next heartbeat is answered.
const SILENCE: Duration = Duration::from_secs(1);

impl Shown {
    /// A leader shows its followers' progress now and then.
    pub fn tick(&mut self) {
        const EVERY: u32 = 10;
        self.ticks = (self.ticks + 1) % EVERY;
        self.is_due |= self.ticks == 0;
    }

    pub fn look_again(&mut self) {
        self.is_due = true;
    }
}

impl<D: Disk> Core<D> {
    pub(super) fn apply(&mut self, entries: Vec<Entry>) -> Result<(), StoreError> {
        for entry in entries {
            match entry.entry_type {
                EntryType::EntryNormal if !entry.data.is_empty() => self.apply_txn(&entry)?,
                EntryType::EntryNormal => self.apply_change(&entry, None)?,
                // No version ever proposed one.
                EntryType::EntryConfChange => return Err(nonsense(&entry, &"a change of an unknown kind")),
                EntryType::EntryConfChangeV2 => {
                    let change = ConfChangeV2::parse_from_bytes(&entry.data).map_err(failed)?;
                    self.apply_change(&entry, Some(change))?;
                }
            }
        }
        Ok(())
    }

    /// Notes whose entry it is. The second part is false when it was applied before.
    fn admit(&mut self, entry: &Entry) -> Result<(Option<Context>, bool), StoreError> {
        if entry.context.is_empty() {
            return Ok((None, true));
        }
        let context = Context::decode(&entry.context).map_err(|error| nonsense(entry, &error))?;
        let is_fresh = self.state.admit(&context, entry.index);
        #[cfg(any(test, feature = "simulation"))]
        let is_fresh = is_fresh || self.planted == Some(super::Planted::SkipDedup);
        self.taken.release(context.origin, context.seq);
        Ok((Some(context), is_fresh))
    }

    /// Takes out what an entry was proposed as, if it came from here.
    fn own(&mut self, context: Option<&Context>) -> Option<Pending> {
        let context = context.filter(|context| context.origin == self.pending.origin())?;
        self.pending.finish(context.seq)
    }

    fn apply_txn(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let (context, is_fresh) = self.admit(entry)?;
        if !is_fresh {
            self.state.pass(entry.index, entry.term);
            return Ok(());
        }
        let txn = decode_txn(&entry.data).map_err(|error| nonsense(entry, &error))?;
        let asker = self.own(context.as_ref()).map(|pending| pending.asker);
        if let Some(applied) = self.state.apply(txn, entry.index, entry.term) {
            applied.events.iter().for_each(|event| self.dirty.note(event));
            self.events.extend(applied.events);
            if let Some(Asker::Writer { reply, mut share }) = asker {
                if let Some(memo) = share.as_mut().and_then(|share| share.memo.take()) {
                    applied.outcome.keep(memo);
                }
                self.answers.push(Answer::Written { reply, outcome: applied.outcome, share });
            }
        }
        Ok(())
    }

    /// Applies an entry without a transaction: a change of members, of raft's own, or nothing.
    fn apply_change(&mut self, entry: &Entry, for_raft: Option<ConfChangeV2>) -> Result<(), StoreError> {
        let (context, is_fresh) = self.admit(entry)?;
        let result = if !is_fresh {
            Ok(())
        } else if let Some(change) = context.as_ref().and_then(|context| context.change.as_ref()) {
            let conf = self.node.store().conf_state.clone();
            let mut result = self.state.members().check(change, &conf);
            if result.is_ok() && !is_settled(change, self.state.members(), &conf) {
                result = match for_raft {
                    Some(for_raft) => self.apply_for_raft(&for_raft, entry.index)?,
                    None if change.for_raft(&conf).is_none() => Ok(()),
                    // It had been done when it was proposed, and was undone since.
                    None => Err(StoreError::Unknown),
                };
            }
            // Who goes is a member until the joint state is over, which may need its vote.
            if result.is_ok() && !self.is_leaving(change) {
                self.state.change_members(change);
            }
            result
        } else {
            for_raft.map_or(Ok(Ok(())), |for_raft| self.end_joint(&for_raft, entry.index))?
        };
        self.state.pass(entry.index, entry.term);
        self.show.look_again();
        if context.as_ref().and_then(|context| context.change.as_ref()).is_some_and(|change| self.is_leaving(change)) {
            return Ok(());
        }
        match self.own(context.as_ref()).map(|pending| pending.asker) {
            Some(Asker::Operator(reply)) => self.answers.push(Answer::Changed { reply, result }),
            _ => {
                if let Err(error) = result {
                    tracing::warn!(%error, index = entry.index, "a change of members was refused");
                }
            }
        }
        Ok(())
    }

    /// Whether this is the removal of a server whose vote counts still.
    fn is_leaving(&self, change: &Change) -> bool {
        matches!(change, Change::Remove(id) if self.node.store().conf_state.voters_outgoing.contains(&id.0))
    }

    /// Leaves the joint state: whose vote counted in it alone is a member no more.
    fn end_joint(&mut self, change: &ConfChangeV2, index: u64) -> Result<Result<(), StoreError>, StoreError> {
        let outgoing = self.node.store().conf_state.voters_outgoing.clone();
        let result = self.apply_for_raft(change, index)?;
        let conf = self.node.store().conf_state.clone();
        for id in outgoing.into_iter().filter(|id| !is_in(&conf, *id)) {
            let removal = Change::Remove(ServerId(id));
            self.state.change_members(&removal);
            let removed = self.askers(&removal).map(|reply| Answer::Changed { reply, result: Ok(()) });
            self.answers.extend(removed);
        }
        Ok(result)
    }

    /// Has raft apply a change, which it may refuse.
    fn apply_for_raft(&mut self, change: &ConfChangeV2, index: u64) -> Result<Result<(), StoreError>, StoreError> {
        // A start must not stand for election among the members of before: that this entry is committed must be known
        // then. Of other entries, what is known of the commit index may be lost.
        let hard_state = HardState { commit: index, ..self.node.store().hard_state.clone() };
        self.log.append_commit(&hard_state)?;
        // All servers have the same members here, so all of them refuse the same.
        let conf_state = match self.node.apply_conf_change(change) {
            Ok(conf_state) => conf_state,
            Err(error) => return Ok(Err(StoreError::Invalid(error.to_string()))),
        };
        self.node.mut_store().conf_state = conf_state;
        if !self.is_alone() {
            // Before anybody else can hear of the next write.
            self.view.set_sole_leader(false);
        }
        if self.leads() && !self.belongs() {
            // A predecessor had proposed it. Raft must not count on a leader that is no member.
            let raft = &mut self.node.raft;
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
            raft.msgs.clear();
        }
        self.lead.look_again();
        Ok(Ok(()))
    }

    /// Whether raft would replace this server's state by the one that this message stands for.
    pub fn wants(&self, message: &Message) -> bool {
        let raft = &self.node.raft;
        let metadata = message.get_snapshot().get_metadata();
        !self.cramped
            && message.term >= raft.term
            && metadata.index > raft.raft_log.committed
            && !raft.raft_log.match_term(metadata.index, metadata.term)
            && is_in(metadata.get_conf_state(), self.me())
    }

    /// Goes on from a state that the leader sent and that is the stored one already. After an error the core must not be
    /// moved on.
    pub fn install(&mut self, message: Message, image: Image) -> Result<(), StoreError> {
        self.arriving = Some(image);
        self.node.step(message).map_err(failed)?;
        self.settle()?;
        match self.arriving.take() {
            None => Ok(()),
            Some(_) => Err(StoreError::Failed("raft did not take a state that is stored already".to_owned())),
        }
    }

    /// Tells raft of a state that is not taken, so that its sender learns how far this server is.
    pub fn decline(&mut self, message: Message) {
        if self.cramped {
            return;
        }
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "a peer's state was refused");
        }
    }

    /// Replaces the state; raft has taken the message that came with it.
    pub(super) fn take_over(&mut self, index: u64, term: u64) -> Result<(), StoreError> {
        let image = self.arriving.take();
        let is_it = |image: &Image| (image.state.index(), image.state.term()) == (index, term);
        let Some(image) = image.filter(is_it) else {
            return Err(StoreError::Failed(format!("the state at entry {index} that raft takes is not there")));
        };
        let store = self.node.mut_store();
        store.reset(image.conf_state, index, term);
        let hard_state = store.hard_state.clone();
        self.log.reset(index, term, &hard_state)?;
        self.publish();
        self.state = image.state;
        self.dirty.clear();
        self.hub.reset(self.state.revision(), self.state.changed().iter());
        self.pending.expire_held(&self.state);
        self.lead.look_again();
        self.show.look_again();
        Ok(())
    }

    /// Shows what was applied, to readers first, then to watchers, then to those who wait for an answer: whoever learns
    /// of a write can read it.
    pub(super) fn publish(&mut self) {
        let leads = self.leads() && self.is_alone();
        self.view.set_sole_leader(leads && self.node.raft.commit_to_current_term() && !self.is_removed());
        if self.state.index() > self.published {
            self.published = self.state.index();
            let old = self.view.show(self.state.snapshot());
            let grown = self.hub.push(&self.events, self.state.revision());
            self.answers.drain(..).for_each(Answer::give);
            self.view.answer_awaiting();
            grown.announce();
            self.events.clear();
            drop(old);
        }
        let state = &self.state;
        self.reads.answer(state.index(), || state.snapshot());
    }

    /// Shows this server's role and the members, when they may have changed.
    pub(super) fn show(&mut self) {
        if !std::mem::take(&mut self.show.is_due) {
            return;
        }
        if self.is_removed() {
            // Who asked this server to go learns that it has gone.
            self.askers(&Change::Remove(self.record.id)).for_each(|reply| drop(reply.send(Ok(()))));
            self.abandon(&StoreError::Removed);
        }
        let members = self.state.members();
        if self.show.members.as_ref().is_none_or(|shown| !Arc::ptr_eq(shown, members)) {
            self.transport.members(members);
            self.show.members = Some(members.clone());
        }
        self.listen();
        self.view.set_membership(self.membership());
        self.view.set_role(self.role());
    }

    /// Notes which followers were heard of lately.
    fn listen(&mut self) {
        if !self.leads() {
            self.show.heard.clear();
            return;
        }
        let now = self.now;
        let active = self.node.raft.prs().iter().filter(|(_, progress)| progress.recent_active);
        self.show.heard.extend(active.map(|(id, _)| (*id, now)));
        self.show.heard.retain(|_, heard| *heard + SILENCE > now);
    }

    fn role(&self) -> Role {
        let conf = &self.node.store().conf_state;
        if self.is_removed() {
            Role::Removed
        } else if self.leads() {
            Role::Leader
        } else if conf.voters.contains(&self.me()) || conf.voters_outgoing.contains(&self.me()) {
            Role::Follower
        } else {
            Role::Learner
        }
    }

    fn membership(&self) -> Membership {
        let conf = &self.node.store().conf_state;
        let leader = self.leader();
        let all = [&conf.voters, &conf.learners, &conf.learners_next, &conf.voters_outgoing];
        let mut ids: Vec<u64> = all.into_iter().flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let raft = &self.node.raft;
        let progress = |id: u64| {
            if raft.state != StateRole::Leader {
                return None;
            }
            // What this server itself holds is not waited for.
            let matched = if id == self.me() { raft.raft_log.last_index() } else { raft.prs().get(id)?.matched };
            Some(Progress { matched, active: id == self.me() || self.show.heard.contains_key(&id) })
        };
        let status = |id: u64| {
            let unknown = || Member { id: ServerId(id), ..Member::default() };
            MemberStatus {
                member: self.state.members().get(ServerId(id)).cloned().unwrap_or_else(unknown),
                standing: if [&conf.voters, &conf.voters_outgoing].iter().any(|voters| voters.contains(&id)) {
                    Standing::Voter
                } else {
                    Standing::Learner
                },
                leads: leader == Some(ServerId(id)),
                progress: progress(id),
            }
        };
        Membership {
            me: self.record.id,
            leader,
            members: ids.into_iter().map(status).collect(),
            applied: self.state.index(),
            revision: self.state.revision(),
        }
    }
}

fn nonsense(entry: &Entry, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Failed(format!("log entry {} makes no sense: {error}", entry.index))
}
