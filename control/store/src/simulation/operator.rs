//! The operator: adds, removes and replaces members, and asks leaders to hand over.

use tokio::sync::oneshot;

use super::MS;
use super::machine::{Machine, State};
use super::world::{Event, World};
use crate::driver::Request;
use crate::error::StoreError;
use crate::members::Change;
use crate::membership::ServerId;
use crate::point::Point;

/// A change under way.
pub(crate) struct Asked {
    change: Change,
    server: u64,
    reply: oneshot::Receiver<Result<(), StoreError>>,
    until: u64,
}

/// What the operator knows.
#[derive(Default)]
pub(crate) struct Operator {
    asked: Option<Asked>,
    /// Servers whose removal was asked for, whatever became of it.
    leaving: Vec<u64>,
    /// How many changes came through.
    pub changes: u64,
}

impl World {
    /// Looks after the members, and again later.
    pub fn operate(&mut self) {
        let again = self.now + self.random.within(100 * MS..600 * MS);
        self.at(again, Event::Operate);
        self.retire();
        if self.hear_operator() {
            return;
        }
        let Some(point) = self.newest_point() else { return };
        let Some(change) = self.wanted(&point) else { return };
        let up: Vec<u64> =
            self.machines.values().filter(|machine| machine.serves()).map(|machine| machine.id).collect();
        let Some(server) = self.random.pick(&up).copied() else { return };
        self.trace.note(self.now, &[30, server], || format!("the operator asks {server} for {change:?}"));
        if let Change::Add(member) = &change
            && !self.machines.contains_key(&member.id.0)
        {
            let machine = Machine::joining(member.clone(), &mut self.random, self.options.planted);
            self.machines.insert(member.id.0, machine);
            self.at(self.now + MS, Event::Start(member.id.0));
        }
        if let Change::Remove(id) = &change {
            self.operator.leaving.push(id.0);
        }
        let (reply, answer) = oneshot::channel();
        let until = self.now + 12_000 * MS;
        self.operator.asked = Some(Asked { change: change.clone(), server, reply: answer, until });
        self.request(server, Request::Change { change, reply });
    }

    /// Whether a change is still under way.
    fn hear_operator(&mut self) -> bool {
        let Some(asked) = &mut self.operator.asked else { return false };
        let told = match asked.reply.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) if self.now < asked.until => return true,
            Ok(told) => told.map_err(|error| error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        };
        self.trace
            .note(self.now, &[31, asked.server, u64::from(told.is_ok())], || format!("{:?}: {told:?}", asked.change));
        self.operator.changes += u64::from(told.is_ok());
        self.operator.asked = None;
        false
    }

    /// What should change now.
    fn wanted(&mut self, point: &Point) -> Option<Change> {
        let members: Vec<u64> = point.members.iter().map(|member| member.id.0).collect();
        let broken = members.iter().copied().find(|id| matches!(self.machines[id].state, State::Broken));
        if let Some(broken) = broken.filter(|id| self.can_lose(*id)) {
            return Some(Change::Remove(ServerId(broken)));
        }
        let settled = self.faults.over;
        // A server that was started to join and is no member yet was not asked for, or the answer was lost.
        let waiting = self.machines.values().find(|machine| machine.joins && !machine.was_member && machine.exists());
        if let Some(machine) = waiting.filter(|machine| !members.contains(&machine.id)) {
            return Some(Change::Add(machine.member.clone()));
        }
        let healthy = members.iter().filter(|id| !self.operator.leaving.contains(id)).count();
        if healthy < self.faults.target {
            let id = self.machines.keys().next_back().map_or(1, |id| id + 1);
            return Some(Change::Add(Machine::member(id)));
        }
        if settled {
            return None;
        }
        let one = self.random.pick(&members).copied()?;
        match self.random.within(0..10) {
            0..3 if self.faults.transfers => Some(Change::Lead(ServerId(one))),
            3..6 if self.faults.moves && self.can_lose(one) => Some(Change::Remove(ServerId(one))),
            6 if self.faults.moves && members.len() < self.faults.target + 2 && self.machines.len() < 12 => {
                let id = self.machines.keys().next_back().map_or(1, |id| id + 1);
                Some(Change::Add(Machine::member(id)))
            }
            _ => None,
        }
    }

    /// Whether the cluster goes on without this server, and without all that may leave it.
    pub fn can_lose(&self, server: u64) -> bool {
        let Some(point) = self.newest_point() else { return false };
        let conf = &point.conf_state;
        if !conf.voters_outgoing.is_empty() {
            return false;
        }
        // What was asked before everything was well is over by then, done or not.
        let over = self.faults.over && self.operator.asked.is_none();
        let stays = |id: &&u64| **id != server && (over || !self.operator.leaving.contains(id));
        let voters: Vec<u64> = conf.voters.iter().filter(stays).copied().collect();
        let is_well =
            |machine: &Machine| !matches!(machine.state, State::Broken | State::Gone) && !machine.was_damaged();
        let well = voters.iter().filter(|id| is_well(&self.machines[id])).count();
        // Neither the present voters nor those that are left may lack a majority.
        well >= 2 && 2 * well > voters.len() && 2 * well > conf.voters.len()
    }

    /// Removed servers are switched off some time later.
    fn retire(&mut self) {
        let Some(point) = self.newest_point() else { return };
        let gone: Vec<u64> =
            self.machines.values().filter(|machine| machine.exists()).map(|machine| machine.id).collect();
        for server in gone.into_iter().filter(|server| point.members.is_removed(ServerId(*server))) {
            if self.random.permille(150) {
                self.trace.note(self.now, &[32, server], || format!("{server} is switched off for good"));
                self.crash(server);
                self.machine(server).state = State::Gone;
            }
        }
        for member in point.members.iter() {
            self.machine(member.id.0).was_member = true;
        }
    }

    /// The state of the server that has applied most.
    pub fn newest_point(&self) -> Option<Point> {
        let points = self.machines.values().filter_map(Machine::point);
        points.max_by_key(|point| point.index)
    }
}
