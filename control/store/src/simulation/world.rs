//! The world: one queue of what happens when, and everything that it happens to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use pal_checker::History;

use super::client::Client;
use super::delivery::Sending;
use super::machine::{Machine, State};
use super::network::Network;
use super::operator::Operator;
use super::parcel::Parcel;
use super::random::Random;
use super::trace::Trace;
use super::truth::Truth;
use super::watching::Watching;
use super::{MS, Options};
use crate::driver::Request;
use crate::error::StoreError;
use crate::replica::Arrival;

/// Something that will happen.
pub(crate) enum Event {
    /// A process has something to do, or its clock says so.
    Wake { server: u64, life: u64 },
    /// A parcel arrives.
    Arrive { from: u64, to: u64, parcel: Box<Parcel> },
    /// A process is told something by its own machine.
    Tell { server: u64, life: u64, arrival: Arrival },
    /// A disk has done what it was asked for.
    Done { server: u64, life: u64, job: u64 },
    /// A client looks for its answer, or asks.
    Client(usize),
    /// A watcher reads.
    Watch(usize),
    /// A machine starts again.
    Start(u64),
    /// A process is asked to end, and is started again.
    Restart(u64),
    /// A fault begins, or ends.
    Fault,
    /// Servers leave a leader that counts on them.
    Betray { leader: u64, kept: Vec<u64> },
    /// The operator looks after the members.
    Operate,
}

struct Due {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Everything.
pub(crate) struct World {
    pub options: Options,
    pub now: u64,
    pub random: Random,
    pub trace: Trace,
    pub network: Network,
    pub machines: BTreeMap<u64, Machine>,
    pub truth: Truth,
    pub history: History,
    pub clients: Vec<Client>,
    pub watchers: Vec<Watching>,
    pub faults: super::faults::Faults,
    /// Whether clients ask for more.
    pub busy: bool,
    queue: BinaryHeap<Reverse<Due>>,
    order: u64,
    pub sendings: Vec<Sending>,
    pub operator: Operator,
    /// What happened, for the summary.
    pub steps: u64,
    pub installs: u64,
}

type Step = Result<(), String>;

/// No run takes more: so many, and so many for each millisecond of faults.
const MOST_STEPS: (u64, u64) = (200_000, 80);

impl World {
    /// A cluster that was just founded, and its clients.
    pub fn new(options: Options, lines: usize) -> World {
        let mut random = Random::new(options.seed);
        let network = Network::new(random.fork());
        let mut faults = super::faults::Faults::new(random.fork(), options.servers);
        if options.betrayal {
            faults.betray_only();
        }
        let machines = Machine::found(options.servers, &mut random, options.planted);
        let servers: Vec<u64> = machines.keys().copied().collect();
        let count = 3 + random.index(4) as u64;
        let mut clients: Vec<Client> =
            (1..=count).map(|id| Client::new(id, random.fork(), servers[id as usize % servers.len()])).collect();
        clients.push(Client::reader(count + 1, random.fork(), servers[0]));
        let watchers = (0..4).map(|n| Watching::new(random.fork(), ["a/", "b/", "c/", "a/1"][n])).collect();
        let mut world = World {
            options,
            now: 0,
            random,
            trace: Trace::new(lines),
            network,
            machines,
            truth: Truth::default(),
            history: History::default(),
            clients,
            watchers,
            faults,
            busy: true,
            queue: BinaryHeap::new(),
            order: 0,
            sendings: Vec::new(),
            operator: Operator::default(),
            steps: 0,
            installs: 0,
        };
        servers.iter().for_each(|server| world.at(0, Event::Start(*server)));
        (0..world.clients.len()).for_each(|client| world.at(20 * MS, Event::Client(client)));
        (0..world.watchers.len()).for_each(|watcher| world.at(10 * MS, Event::Watch(watcher)));
        world.at(700 * MS, Event::Fault);
        world.at(900 * MS, Event::Operate);
        world
    }

    /// Lets something happen.
    pub fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Due { at, order: self.order, event }));
    }

    /// Lets the world go on until a time.
    pub fn run_until(&mut self, until: u64) -> Step {
        while self.queue.peek().is_some_and(|Reverse(due)| due.at <= until) {
            let Some(Reverse(due)) = self.queue.pop() else { break };
            self.now = self.now.max(due.at);
            self.steps += 1;
            let most = MOST_STEPS.0 + MOST_STEPS.1 * self.options.millis;
            if self.steps > most {
                let at = self.now / MS;
                return Err(format!("the time is {at} ms after {most} steps: something goes round in circles"));
            }
            self.happen(due.event)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Step {
        match event {
            Event::Wake { server, life } => self.wake(server, life)?,
            Event::Arrive { from, to, parcel } => self.arrive(from, to, *parcel),
            Event::Tell { server, life, arrival } => {
                if self.machines[&server].is_alive(life) {
                    self.hand_in(server, arrival);
                }
            }
            Event::Done { server, life, job } => self.job_done(server, life, job)?,
            Event::Client(client) => self.turn(client),
            Event::Watch(watcher) => self.watch(watcher),
            Event::Start(server) => self.start(server)?,
            Event::Restart(server) => self.restart(server),
            Event::Fault => self.fault()?,
            Event::Betray { leader, kept } => self.betray(leader, &kept),
            Event::Operate => self.operate(),
        }
        Ok(())
    }

    pub fn machine(&mut self, server: u64) -> &mut Machine {
        // Machines are never taken out of the map, and ids come from it.
        self.machines.get_mut(&server).expect("a machine of this world")
    }

    /// Starts a machine's process, if it can be.
    pub fn start(&mut self, server: u64) -> Step {
        let now = self.now;
        let machine = self.machine(server);
        if !matches!(machine.state, State::Down) {
            return Ok(());
        }
        let started = machine.start();
        let life = machine.life;
        match started {
            Ok(()) => {
                self.trace.note(now, &[1, server, life], || format!("{server} starts (life {life})"));
                self.rouse(server, now);
            }
            Err(why) => {
                self.trace.note(now, &[2, server], || format!("{server} does not start: {why}"));
                let machine = self.machine(server);
                if machine.was_damaged() && !why.to_string().contains("UNNOTICED") {
                    machine.state = State::Broken;
                } else if matches!(why, StoreError::Full { .. }) || machine.disk.is_dead() || machine.may_fail() {
                    machine.crash();
                    self.at(now + 200 * MS, Event::Start(server));
                } else {
                    return Err(format!("server {server} does not start, although nobody damaged its disk: {why}"));
                }
            }
        }
        Ok(())
    }

    /// A process is asked to end in good order; one that failed is ended at once.
    fn restart(&mut self, server: u64) {
        let now = self.now;
        if self.machine(server).mend() {
            self.crash(server);
            self.at(now + MS, Event::Start(server));
            return;
        }
        self.trace.note(now, &[12, server], || format!("{server} is asked to end"));
        self.machine(server).close();
        self.rouse(server, now);
    }

    /// A machine loses its power.
    pub fn crash(&mut self, server: u64) {
        let now = self.now;
        let machine = self.machine(server);
        if !matches!(machine.state, State::Up(_)) {
            return;
        }
        machine.crash();
        self.trace.note(now, &[3, server], || format!("{server} crashes"));
        self.forget_answers(server);
    }

    /// What a dead process had said to its users is lost.
    fn forget_answers(&mut self, server: u64) {
        let now = self.now;
        for client in 0..self.clients.len() {
            let waiting = self.clients[client].waiting.take_if(|waiting| waiting.server == server);
            if waiting.is_some() {
                self.at(now + MS, Event::Client(client));
            }
        }
        for watcher in self.watchers.iter_mut().filter(|watcher| watcher.server.is_some_and(|(on, _)| on == server)) {
            watcher.end();
        }
    }

    /// A process gets something from outside; it sees it when it wakes next.
    pub fn hand_in(&mut self, server: u64, arrival: Arrival) {
        let now = self.now;
        if self.machine(server).hand_in(arrival) {
            self.rouse(server, now);
        }
    }

    /// A process is asked something by another server, or answered, beside its driver.
    pub fn hand_in_question(&mut self, server: u64, from: u64, parcel: Parcel) {
        let now = self.now;
        if self.machine(server).hand_in_question(from, parcel) {
            self.rouse(server, now);
        }
    }

    /// Wakes a process soon, unless it is about to wake anyway.
    fn rouse(&mut self, server: u64, at: u64) {
        let machine = self.machine(server);
        if let Some((at, life)) = machine.rouse(at) {
            self.at(at, Event::Wake { server, life });
        }
    }

    fn wake(&mut self, server: u64, life: u64) -> Step {
        let now = self.now;
        let machine = self.machine(server);
        if !machine.is_alive(life) || !machine.is_due(now) {
            return Ok(());
        }
        if machine.paused_until > now {
            let at = machine.paused_until;
            self.rouse(server, at);
            return Ok(());
        }
        let failed = machine.pass(now);
        if self.machines[&server].disk.is_dead() {
            self.take_outbox(server);
            self.trace.note(now, &[4, server], || format!("{server} dies on the way"));
            self.crash(server);
            let again = now + self.random.within(20 * MS..1500 * MS);
            self.at(again, Event::Start(server));
            return Ok(());
        }
        if let Some(error) = failed {
            self.trace.note(now, &[5, server], || format!("{server} fails: {error}"));
            if !self.machines[&server].may_fail() {
                return Err(format!("server {server} failed, although its disk was well: {error}"));
            }
        }
        self.take_outbox(server);
        if self.machine(server).end_if_closed()? {
            self.trace.note(now, &[13, server], || format!("{server} has ended"));
            self.forget_answers(server);
            let again = now + self.random.within(20 * MS..800 * MS);
            self.at(again, Event::Start(server));
            return Ok(());
        }
        self.take_jobs(server);
        let machine = self.machines.get_mut(&server).expect("a machine of this world");
        machine.note(now, &mut self.trace);
        machine.check(&mut self.truth)?;
        self.poll_sendings();
        for client in 0..self.clients.len() {
            if self.clients[client].waiting.as_ref().is_some_and(|waiting| waiting.server == server) {
                self.hear(client);
            }
        }
        if let Some(due) = self.machine(server).due() {
            self.rouse(server, due);
        }
        Ok(())
    }

    fn take_jobs(&mut self, server: u64) {
        let life = self.machines[&server].life;
        let mut at = self.now;
        while let Some(job) = self.machines[&server].stable.next_job() {
            at += self.random.within(MS / 2..60 * MS);
            self.at(at, Event::Done { server, life, job });
        }
    }

    fn job_done(&mut self, server: u64, life: u64, job: u64) -> Step {
        let now = self.now;
        if !self.machines[&server].is_alive(life) {
            return Ok(());
        }
        self.trace.note(now, &[7, server], || format!("{server}: the state's disk is done"));
        if self.machine(server).job_done(job)? {
            self.rouse(server, now);
        } else {
            // The power went on the way.
            self.crash(server);
            self.at(now + 300 * MS, Event::Start(server));
        }
        Ok(())
    }

    /// A process is asked something by its own users.
    pub fn request(&mut self, server: u64, request: Request) {
        let now = self.now;
        if self.machine(server).request(request) {
            self.rouse(server, now);
        }
    }
}
