//! A process that runs the real code, and what is checked of it after every pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use raft::{GetEntriesContext, StateRole};

use super::client::BUCKETS;
use super::parcel::{Outbox, Parcel};
use super::stable::Stable;
use super::truth::{Look, Truth};
use crate::asking::Asking;
use crate::core::Reply;
use crate::driver::Request;
use crate::membership::ServerId;
use crate::memory_disk::MemoryDisk;
use crate::pending::Budget;
use crate::point::Point;
use crate::replica::{Arrival, Replica};
use crate::snapshot::Snapshot;
use crate::view::View;
use crate::watch::{Hub, Watcher};

/// A running process.
pub(crate) struct Process {
    pub replica: Replica<MemoryDisk, Stable>,
    pub outbox: Outbox,
    pub hub: Arc<Hub>,
    pub view: Arc<View>,
    pub arrivals: Vec<Arrival>,
    pub requests: Vec<Request>,
    pub budget: Arc<Budget>,
    /// Reads that ask the leader beside the driver, and what servers asked and answered that way.
    pub asking: Asking,
    pub questions: Vec<(u64, Parcel)>,
    /// Followers of all events, one for each bucket.
    pub probes: Vec<Watcher>,
    /// It was asked to end.
    pub closing: bool,
    /// What was checked of its log and its commits.
    pub checked: Checked,
    /// What was noted last.
    pub noted: [u64; 8],
}

/// What was checked already.
#[derive(Default)]
pub(crate) struct Checked {
    commit: u64,
    applied: u64,
    term: u64,
    led: bool,
    terms: BTreeMap<u64, u64>,
    /// The revision that it showed.
    shown: Option<u64>,
}

impl Checked {
    /// Of a process that begins with this entry applied.
    pub fn from(applied: u64) -> Checked {
        Checked { applied, ..Checked::default() }
    }
}

impl Process {
    /// Whether it refuses what this server sends, for it was removed.
    pub fn refuses(&self, from: u64) -> bool {
        self.replica.core().state().members().is_removed(ServerId(from))
    }

    /// What threads beside the driver's do with a read. Returned when it is the driver's turn.
    pub fn read_quickly(&mut self, reply: Reply<Snapshot>, me: u64, clock: Duration) -> Option<Reply<Snapshot>> {
        if let Some(index) = self.view.leased(|| clock) {
            self.view.when_applied(index, reply);
            return None;
        }
        let Some(leader) = self.view.leader().filter(|leader| *leader != me) else { return Some(reply) };
        self.asking.add(reply);
        self.ask_on(leader, clock);
        None
    }

    fn ask_on(&mut self, leader: u64, clock: Duration) {
        if let Some(number) = self.asking.ask(leader, clock) {
            self.outbox.put(leader, Parcel::Ask(number));
        }
    }

    /// What threads beside the driver's do with other servers' questions and answers.
    pub fn take_questions(&mut self, me: u64, clock: Duration) {
        for (from, parcel) in std::mem::take(&mut self.questions) {
            match parcel {
                Parcel::Ask(number) => self.outbox.put(from, Parcel::Told(number, self.view.leased(|| clock))),
                Parcel::Told(number, index) => {
                    let reads = self.asking.told(from, number);
                    if let Some(leader) = self.view.leader().filter(|leader| *leader != me) {
                        self.ask_on(leader, clock);
                    }
                    for reply in reads {
                        match index {
                            Some(index) => self.view.when_applied(index, reply),
                            None => self.requests.push(Request::Read { reply }),
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Where it stands. The order in which raft lists the members says nothing.
    pub fn point(&self) -> Point {
        let mut point = self.replica.core().image().point();
        let conf = &mut point.conf_state;
        for ids in [&mut conf.voters, &mut conf.learners, &mut conf.voters_outgoing, &mut conf.learners_next] {
            ids.sort_unstable();
        }
        point
    }

    pub fn look(&self, server: u64) -> Look {
        let raft = &self.replica.core().node().raft;
        let log = &raft.raft_log;
        Look {
            server,
            term: raft.term,
            vote: raft.vote,
            leads: raft.state == StateRole::Leader,
            commit: log.committed,
            log: (log.first_index(), log.last_index()),
        }
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        self.replica.core().node().raft.raft_log.term(index).ok()
    }

    /// Holds what it looks like after a pass against what is known.
    pub fn check(&mut self, server: u64, truth: &mut Truth) -> Result<(), String> {
        if self.replica.failure().is_some() {
            // What raft believes is on no disk, and was said to nobody. What was applied is still shown.
            return self.check_shown(server, truth);
        }
        let look = self.look(server);
        let was = Checked { terms: std::mem::take(&mut self.checked.terms), ..self.checked };
        if look.commit < was.commit || look.term < was.term {
            let (term, commit) = (was.term, was.commit);
            return Err(format!("server {server} went back from term {term}, commit {commit} to {look:?}"));
        }
        truth.look(&look)?;
        self.checked.terms = self.check_entries(&look, was.terms, truth)?;
        for index in was.commit.max(look.log.0.saturating_sub(1)) + 1..=look.commit {
            if let Some(term) = self.term_of(index) {
                truth.commit(&look, index, term)?;
            }
        }
        if look.leads && !(was.led && was.term == look.term) {
            truth.complete(&look, |index| self.term_of(index))?;
        }
        self.check_state(server, was.applied, truth)?;
        (self.checked.commit, self.checked.term, self.checked.led) = (look.commit, look.term, look.leads);
        Ok(())
    }

    /// The entries that are new since the last look; `terms` are those of the entries that are known.
    fn check_entries(
        &self,
        look: &Look,
        mut terms: BTreeMap<u64, u64>,
        truth: &mut Truth,
    ) -> Result<BTreeMap<u64, u64>, String> {
        let (first, last) = look.log;
        terms.split_off(&(last + 1));
        let mut terms = terms.split_off(&first);
        let log = &self.replica.core().node().raft.raft_log;
        // Where an entry is known, all before it are.
        let known = (first..=last).rev().find(|index| terms.get(index).copied() == self.term_of(*index));
        let from = known.map_or(first, |known| known + 1);
        if from > last {
            return Ok(terms);
        }
        let context = GetEntriesContext::empty(false);
        let entries = log.slice(from, last + 1, None, context).map_err(|error| error.to_string())?;
        for entry in entries {
            let bytes = [&entry.context[..], &entry.data[..]].concat();
            let hash = u64::from(crc32fast::hash(&bytes)) << 2 | entry.entry_type as u64;
            // Behind a state that was installed the term is that of the state.
            let before = self.term_of(entry.index - 1).unwrap_or(0);
            truth.entry(look.server, (entry.index, entry.term), hash, before)?;
            terms.insert(entry.index, entry.term);
        }
        Ok(terms)
    }

    fn check_state(&mut self, server: u64, applied: u64, truth: &mut Truth) -> Result<(), String> {
        let state = self.replica.core().state();
        let (index, revision) = (state.index(), state.revision());
        if index < applied {
            return Err(format!("server {server} went back from applied entry {applied} to {index}"));
        }
        self.checked.applied = index;
        if revision != self.view.snapshot().revision() {
            return Err(format!("server {server} shows another revision than {revision}, where it is"));
        }
        self.check_shown(server, truth)?;
        if applied == index { Ok(()) } else { truth.point(server, self.point()) }
    }

    fn check_shown(&mut self, server: u64, truth: &mut Truth) -> Result<(), String> {
        for (probe, bucket) in self.probes.iter_mut().zip(BUCKETS) {
            loop {
                match probe.try_next() {
                    Ok(Some(event)) => truth.event(server, &event)?,
                    Ok(None) => break,
                    // A state was installed, or more was replayed than the history holds.
                    Err(_) => match self.hub.watch(bucket, self.view.snapshot().revision()) {
                        Ok(anew) => *probe = anew,
                        Err(_) => break,
                    },
                }
            }
        }
        let snapshot = self.view.snapshot();
        let revision = snapshot.revision().0;
        if self.checked.shown.replace(revision) == Some(revision) {
            return Ok(());
        }
        truth.snapshot(server, &snapshot)
    }
}
