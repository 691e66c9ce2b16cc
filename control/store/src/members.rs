//! Who belongs to the cluster, as the replicated state has it, and how that changes.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use crate::codec::{DecodeError, Reader, write_bytes, write_number};
use crate::error::StoreError;
use crate::membership::{Member, ServerId};

/// How many members a cluster may have.
pub(crate) const MEMBERS: usize = 7;

/// A change of who belongs to the cluster, or of what is known of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A server comes in, without a vote.
    Add(Member),
    /// One that has caught up gets its vote.
    Promote(ServerId),
    /// A server goes, and its id never comes back.
    Remove(ServerId),
    /// A server's name or address is another one.
    Update(Member),
    /// A server is to lead. This is asked of the leader only and never in the log.
    Lead(ServerId),
}

const ADD: u8 = 1;
const PROMOTE: u8 = 2;
const REMOVE: u8 = 3;
const UPDATE: u8 = 4;
const LEAD: u8 = 5;

impl Change {
    /// Appends the bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Change::Add(member) => {
                out.push(ADD);
                write_member(out, member);
            }
            Change::Update(member) => {
                out.push(UPDATE);
                write_member(out, member);
            }
            Change::Promote(id) => write_tagged(out, PROMOTE, *id),
            Change::Remove(id) => write_tagged(out, REMOVE, *id),
            Change::Lead(id) => write_tagged(out, LEAD, *id),
        }
    }

    /// What `write` wrote.
    pub fn read(reader: &mut Reader<'_>) -> Result<Change, DecodeError> {
        Ok(match reader.byte()? {
            ADD => Change::Add(read_member(reader)?),
            UPDATE => Change::Update(read_member(reader)?),
            PROMOTE => Change::Promote(ServerId(reader.number()?)),
            REMOVE => Change::Remove(ServerId(reader.number()?)),
            LEAD => Change::Lead(ServerId(reader.number()?)),
            _ => return reader.fail("a change of an unknown kind"),
        })
    }

    /// What raft is told; nothing when the change does not concern it.
    pub fn for_raft(&self, conf: &ConfState) -> Option<ConfChangeV2> {
        let (kind, id) = match self {
            Change::Add(member) => (ConfChangeType::AddLearnerNode, member.id),
            Change::Promote(id) => (ConfChangeType::AddNode, *id),
            Change::Remove(id) => (ConfChangeType::RemoveNode, *id),
            Change::Update(_) | Change::Lead(_) => return None,
        };
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = id.0;
        let mut change = ConfChangeV2::default();
        let votes = matches!(self, Change::Promote(_)) || conf.voters.contains(&id.0);
        // The leader ends the joint state by itself, and a new one does if this one cannot: raft's own way of leaving
        // it is lost with the leader.
        change.set_transition(if votes { ConfChangeTransition::Explicit } else { ConfChangeTransition::Auto });
        change.set_changes(vec![single].into());
        Some(change)
    }
}

fn write_tagged(out: &mut Vec<u8>, tag: u8, id: ServerId) {
    out.push(tag);
    write_number(out, id.0);
}

fn write_member(out: &mut Vec<u8>, member: &Member) {
    write_number(out, member.id.0);
    write_bytes(out, member.name.as_bytes());
    write_bytes(out, member.address.as_bytes());
}

fn read_member(reader: &mut Reader<'_>) -> Result<Member, DecodeError> {
    Ok(Member { id: ServerId(reader.number()?), name: reader.text()?.to_owned(), address: reader.text()?.to_owned() })
}

/// Whether raft knows this server, voting or not.
pub(crate) fn is_in(conf: &ConfState, id: u64) -> bool {
    [&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next].iter().any(|ids| ids.contains(&id))
}

/// Whether a change has been made already, so that there is nothing for raft to do.
pub(crate) fn is_settled(change: &Change, members: &Members, conf: &ConfState) -> bool {
    match change {
        Change::Add(member) => members.get(member.id).is_some() && is_in(conf, member.id.0),
        Change::Promote(id) => conf.voters.contains(&id.0),
        Change::Remove(_) => false,
        Change::Update(_) | Change::Lead(_) => true,
    }
}

/// The members and those that were. Part of the replicated state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    present: BTreeMap<ServerId, Member>,
    removed: BTreeSet<ServerId>,
}

impl Members {
    /// A member's record.
    pub fn get(&self, id: ServerId) -> Option<&Member> {
        self.present.get(&id)
    }

    /// All members, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.present.values()
    }

    /// Whether this server was a member and was removed.
    pub fn is_removed(&self, id: ServerId) -> bool {
        self.removed.contains(&id)
    }

    /// Why a change cannot happen. Every server decides the same when it applies it.
    pub fn check(&self, change: &Change, conf: &ConfState) -> Result<(), StoreError> {
        match change {
            Change::Add(member) => self.check_new(member),
            Change::Update(member) => self.check_update(member, conf),
            Change::Promote(id) if self.present.contains_key(id) => Ok(()),
            Change::Remove(id) if conf.voters == [id.0] => Err(StoreError::LastVoter(*id)),
            Change::Remove(id) if self.present.contains_key(id) || is_in(conf, id.0) => Ok(()),
            Change::Lead(id) if conf.voters.contains(&id.0) => Ok(()),
            Change::Lead(id) if self.present.contains_key(id) => {
                Err(StoreError::CannotLead { id: *id, why: "it has no vote until it has caught up".to_owned() })
            }
            Change::Promote(id) | Change::Remove(id) | Change::Lead(id) => Err(StoreError::NotMember(*id)),
        }
    }

    fn check_new(&self, member: &Member) -> Result<(), StoreError> {
        if member.id.0 == 0 {
            return Err(StoreError::Invalid("a server's id is 0".to_owned()));
        }
        if member.name.is_empty() || member.address.is_empty() {
            return Err(StoreError::Invalid(format!("server {}: its name or address is empty", member.id)));
        }
        if self.is_removed(member.id) {
            return Err(StoreError::Removed);
        }
        match self.get(member.id) {
            // A repetition changes nothing.
            Some(known) if known == member => return Ok(()),
            Some(known) => {
                return Err(StoreError::MemberExists { what: format!("the id {}", member.id), member: known.clone() });
            }
            None => {}
        }
        if self.present.len() >= MEMBERS {
            return Err(StoreError::TooManyMembers { limit: MEMBERS });
        }
        self.check_taken(member)
    }

    fn check_update(&self, member: &Member, conf: &ConfState) -> Result<(), StoreError> {
        if !is_in(conf, member.id.0) {
            return Err(StoreError::NotMember(member.id));
        }
        self.check_taken(member)
    }

    fn check_taken(&self, member: &Member) -> Result<(), StoreError> {
        for other in self.iter().filter(|other| other.id != member.id) {
            let what = if !member.name.is_empty() && other.name == member.name {
                format!("the name {:?}", member.name)
            } else if !member.address.is_empty() && other.address == member.address {
                format!("the address {}", member.address)
            } else {
                continue;
            };
            return Err(StoreError::MemberExists { what, member: other.clone() });
        }
        Ok(())
    }

    /// Notes a change that `check` let through.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Add(member) | Change::Update(member) => {
                self.present.insert(member.id, member.clone());
            }
            Change::Remove(id) => {
                self.present.remove(id);
                self.removed.insert(*id);
            }
            Change::Promote(_) | Change::Lead(_) => {}
        }
    }

    /// Appends the bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_number(out, self.present.len() as u64);
        self.iter().for_each(|member| write_member(out, member));
        write_number(out, self.removed.len() as u64);
        self.removed.iter().for_each(|id| write_number(out, id.0));
    }

    /// What `write` wrote.
    pub fn read(reader: &mut Reader<'_>) -> Result<Members, DecodeError> {
        let mut members = Members::default();
        for _ in 0..reader.number()? {
            let member = read_member(reader)?;
            members.present.insert(member.id, member);
        }
        for _ in 0..reader.number()? {
            members.removed.insert(ServerId(reader.number()?));
        }
        Ok(members)
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
