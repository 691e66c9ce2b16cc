//! A machine's process: how it starts, what it does when it is woken, how it ends.

use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::{ConfState, HardState};

use super::client::BUCKETS;
use super::machine::{Machine, State};
use super::parcel::{Outbox, Parcel};
use super::planted::Planted;
use super::process::{Checked, Process};
use super::random::Random;
use super::trace::Trace;
use super::truth::{Look, Truth};
use crate::asking::Asking;
use crate::core::{Core, FOUNDED_AT, Parts, founding_state};
use crate::driver::Request;
use crate::error::StoreError;
use crate::history::Limits;
use crate::log::{Base, Log};
use crate::mvcc::State as Replicated;
use crate::pending::{Budget, Share};
use crate::replica::{Arrival, Laziness, Replica};
use crate::storage::{Bounds, Retention};
use crate::store::Timing;
use crate::stored_state::Loaded;
use crate::view::View;
use crate::watch::Hub;

/// Small, so that all of them matter in a short run.
const SEGMENT_BYTES: u64 = 16 << 10;
const HISTORY: Limits = Limits { events: 40, bytes: 1 << 20 };

/// How much of the log is kept for others: so little that they often need whole states.
fn retention(random: &mut Random) -> Retention {
    let mut bounds = |most: u64| Bounds { entries: random.within(2..most) as usize, bytes: 64 << 10 };
    Retention { usual: bounds(60), slow: bounds(200), snapshot: bounds(400) }
}

impl Machine {
    /// Starts its process on what is on its disks.
    pub fn start(&mut self) -> Result<(), StoreError> {
        self.life += 1;
        self.woken = None;
        let empty = || Loaded { state: Replicated::default(), conf_state: ConfState::default(), installed: false };
        let joins = self.joins;
        let Loaded { state, conf_state, installed } = self.stable.load().unwrap_or_else(empty);
        let base = Base { index: state.index(), term: state.term(), installed };
        let initial = if joins { HardState::default() } else { founding_state(FOUNDED_AT, 1) };
        let (log, mut recovered) = Log::open(self.disk.clone(), SEGMENT_BYTES, base, &initial)?;
        if self.damaged {
            return Err(StoreError::Failed("THE DAMAGE WENT UNNOTICED".to_owned()));
        }
        if self.planted == Some(Planted::ForgetVote)
            && let Some(hard_state) = &mut recovered.hard_state
        {
            hard_state.vote = raft::INVALID_ID;
        }
        let hub = Arc::new(Hub::new(HISTORY, state.revision(), state.changed().iter()));
        let view = Arc::new(View::new(state.snapshot()));
        let watch = |bucket: &&str| hub.watch(bucket, state.revision());
        let probes = BUCKETS.iter().filter_map(|bucket| watch(bucket).ok()).collect();
        let outbox = Outbox::new(self.disk.clone());
        let applied = state.index();
        let timing = Timing::default();
        let parts = Parts {
            record: self.member.clone(),
            origin: self.random.next(),
            seed: self.random.next(),
            timing,
            log,
            recovered,
            state,
            conf_state,
            hub: hub.clone(),
            view: view.clone(),
            transport: Box::new(outbox.clone()),
            planted: self.planted.and_then(Planted::in_core),
        };
        let mut core = Core::new(parts)?;
        core.retain(retention(&mut self.random));
        let ms = |least: u64, most: u64, random: &mut Random| Duration::from_millis(random.within(least..most));
        let laziness = Laziness {
            bytes: 400 + self.random.index(3000),
            after: ms(50, 800, &mut self.random),
            retry: ms(50, 300, &mut self.random),
        };
        let replica = Replica::new(core, self.stable.clone(), laziness, timing.tick, applied);
        let checked = Checked::from(applied);
        let (arrivals, requests, budget) = (Vec::new(), Vec::new(), Budget::new(64, 1 << 20));
        let process = Process {
            replica,
            outbox,
            hub,
            view,
            arrivals,
            requests,
            budget,
            asking: Asking::default(),
            questions: Vec::new(),
            probes,
            closing: false,
            checked,
            noted: [0; 8],
        };
        self.state = State::Up(Box::new(process));
        Ok(())
    }

    fn running(&mut self) -> Option<&mut Process> {
        if let State::Up(process) = &mut self.state { Some(process) } else { None }
    }

    /// Gives its process something from outside. False when it is lost.
    pub fn hand_in(&mut self, arrival: Arrival) -> bool {
        /// Behind so much that waits, connections break.
        const ROOM: usize = 400;
        let Some(process) = self.running() else { return false };
        if process.arrivals.len() >= ROOM {
            return false;
        }
        process.arrivals.push(arrival);
        true
    }

    /// Gives its process a question or an answer that its driver has no part in. False when it is lost.
    pub fn hand_in_question(&mut self, from: u64, parcel: Parcel) -> bool {
        let Some(process) = self.running() else { return false };
        process.questions.push((from, parcel));
        true
    }

    /// A write's share of what may wait; `None` when its process does not run.
    pub fn share(&self, bytes: usize) -> Option<Result<Share, StoreError>> {
        self.process().map(|process| process.budget.take(bytes))
    }

    /// Asks its process. False when it does not run: then the request is dropped, and with it its answer.
    pub fn request(&mut self, request: Request) -> bool {
        let Some(process) = self.running() else { return false };
        process.requests.push(request);
        true
    }

    /// When its process is to be woken for something that is there at `at`, if that is earlier than it would be anyway.
    pub fn rouse(&mut self, at: u64) -> Option<(u64, u64)> {
        if self.woken.is_some_and(|woken| woken <= at) || !matches!(self.state, State::Up(_)) {
            return None;
        }
        // A thread does not run the moment it can.
        let at = at + self.random.within(1_000..300_000);
        self.woken = Some(at);
        Some((at, self.life))
    }

    /// Whether this is when its process was to be woken; it is awake then.
    pub fn is_due(&mut self, now: u64) -> bool {
        self.woken.take_if(|woken| *woken <= now).is_some()
    }

    /// Lets its process do everything that waits. Why it writes no more, when it stops doing so now.
    pub fn pass(&mut self, now: u64) -> Option<StoreError> {
        let clock = self.clock(now);
        let (me, skips) = (self.id, self.planted == Some(Planted::SkipReadIndex));
        let quick = !skips && self.random.permille(950);
        let process = self.running()?;
        let had_failed = process.replica.failure().is_some();
        // What other threads do, which know nothing of what the driver is about to take in.
        process.take_questions(me, clock);
        for request in std::mem::take(&mut process.requests) {
            let left = match request {
                Request::Read { reply } if quick => {
                    process.read_quickly(reply, me, clock).map(|reply| Request::Read { reply })
                }
                other => Some(other),
            };
            process.requests.extend(left);
        }
        process.replica.begin_pass(clock);
        for arrival in std::mem::take(&mut process.arrivals) {
            process.replica.arrive(arrival);
        }
        for request in std::mem::take(&mut process.requests) {
            match request {
                Request::Commit { data, share, reply } => process.replica.propose(data, Some(share), reply),
                Request::Read { reply } => process.replica.read(reply),
                Request::Change { change, reply } => process.replica.change(change, reply),
                Request::Persisted(persisted) => process.replica.persisted(persisted),
            }
        }
        process.replica.finish_pass();
        process.replica.failure().filter(|_| !had_failed).cloned()
    }

    /// What it sent.
    pub fn take_outbox(&mut self) -> Vec<(u64, Parcel)> {
        self.running().map_or_else(Vec::new, |process| process.outbox.take())
    }

    /// When its process wants to be woken though nothing comes.
    pub fn due(&self) -> Option<u64> {
        self.process().and_then(|process| process.replica.due()).map(|due| self.when(due))
    }

    /// Holds what it looks like after a pass against what is known.
    pub fn check(&mut self, truth: &mut Truth) -> Result<(), String> {
        let id = self.id;
        self.running().map_or(Ok(()), |process| process.check(id, truth))
    }

    /// Notes what it looks like after a pass.
    pub fn note(&mut self, now: u64, trace: &mut Trace) {
        let id = self.id;
        let Some(process) = self.running() else { return };
        let look = process.look(id);
        let state = process.replica.core().state();
        let (index, revision) = (state.index(), state.revision().0);
        let numbers = [11, id, look.term, look.vote, look.commit, look.log.1, index, revision];
        let is_same = std::mem::replace(&mut process.noted, numbers) == numbers;
        trace.note(now, &numbers, || {
            if is_same {
                return String::new();
            }
            let leader = process.replica.core().leader().map_or(0, |leader| leader.0);
            let raft = &process.replica.core().node().raft;
            let role = raft.state;
            let Look { server, term, vote, commit, log: (first, last), .. } = look;
            let applied = format!("applied {index} at revision {revision}");
            format!("   {server} {role:?} term {term} vote {vote} leader {leader} log {first}..{last} commit {commit} {applied}")
        });
    }

    /// The state's disk has done what it was asked for. False when the power went on the way.
    pub fn job_done(&mut self, job: u64) -> Result<bool, String> {
        let report = self.stable.finish(job)?;
        let is_done = report.is_some() || !self.disk.is_dead();
        if let (Some(report), Some(process)) = (report, self.running()) {
            process.requests.push(Request::Persisted(report));
        }
        Ok(is_done)
    }

    /// Asks its process to end in good order.
    pub fn close(&mut self) {
        if let Some(process) = self.running() {
            process.replica.close();
            process.closing = true;
        }
    }

    /// Ends its process if it was asked to and may. True when it did.
    pub fn end_if_closed(&mut self) -> Result<bool, String> {
        let stable = self.stable.clone();
        let Some(process) = self.running().filter(|process| process.closing) else { return Ok(false) };
        if !process.replica.may_end() {
            return Ok(false);
        }
        let mut is_writing = process.replica.is_writing() || process.replica.write_out();
        while is_writing {
            for report in stable.finish_all()? {
                process.replica.persisted(report);
            }
            process.replica.finish_pass();
            is_writing = process.replica.write_out();
        }
        process.replica.seal();
        self.state = State::Down;
        Ok(true)
    }
}
