//! What goes wrong, and when. Each run has its own selection of faults, so that rare ones meet often.

use std::collections::BTreeSet;

use super::MS;
use super::machine::State;
use super::network::{GOOD, Link};
use super::random::Random;
use super::world::{Event, World};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A process is ended in good order and started again.
    Restart,
    /// One machine loses its power and comes back.
    Crash,
    /// One dies in the middle of what it does to its disk.
    CrashMidway,
    /// All lose their power.
    Blackout,
    /// A process stands still.
    Pause,
    /// One server is cut off.
    Isolate,
    /// The servers are cut into two groups.
    Split,
    /// One direction is cut.
    OneWay,
    /// Two servers see each other only through others.
    Bridge,
    /// Everything is late, is lost, comes twice or overtakes.
    Weather,
    /// One server's links are slow.
    Slow,
    /// A disk, and with it a server, takes its time.
    Drag,
    /// A disk is full for a while.
    Full,
    /// A disk refuses to flush: the server stops writing until it is started again.
    Refuse,
    /// Bits of a log flip: that server must not come up any more.
    Flip,
    /// A clock goes faster or slower.
    Clock,
    /// The leader keeps a bare majority, of which the others are then started again while it is cut off.
    Betray,
}

const ALL: [Kind; 17] = [
    Kind::Restart,
    Kind::Crash,
    Kind::CrashMidway,
    Kind::Blackout,
    Kind::Pause,
    Kind::Isolate,
    Kind::Split,
    Kind::OneWay,
    Kind::Bridge,
    Kind::Weather,
    Kind::Slow,
    Kind::Drag,
    Kind::Full,
    Kind::Refuse,
    Kind::Flip,
    Kind::Clock,
    Kind::Betray,
];

/// The faults of one run.
pub(crate) struct Faults {
    random: Random,
    kinds: Vec<Kind>,
    /// How long it is quiet between two of them, at most.
    every: u64,
    /// How many servers there are meant to be.
    pub target: usize,
    /// Whether members come and go.
    pub moves: bool,
    /// Whether leaders are asked to hand over.
    pub transfers: bool,
    pub over: bool,
}

impl Faults {
    pub fn new(mut random: Random, target: usize) -> Faults {
        let kinds = ALL.into_iter().filter(|_| random.permille(400)).collect();
        let every = [150, 400, 900][random.index(3)] * MS;
        let (moves, transfers) = (random.permille(500), random.permille(400));
        Faults { random, kinds, every, target, moves, transfers, over: false }
    }

    /// Nothing else goes wrong.
    pub fn betray_only(&mut self) {
        self.kinds = vec![Kind::Betray];
        self.every = 1500 * MS;
        (self.moves, self.transfers) = (false, false);
    }

    /// In words.
    pub fn describe(&self) -> String {
        format!("faults {:?}, members change: {}, transfers: {}", self.kinds, self.moves, self.transfers)
    }

    /// Whether a machine dies while it installs a state, and after how many changes of its disks: the steps in between
    /// are few, so chance alone would seldom hit them.
    pub fn strikes_install(&mut self) -> Option<u64> {
        let strikes = !self.over && self.kinds.contains(&Kind::CrashMidway) && self.random.permille(400);
        strikes.then(|| self.random.within(0..6))
    }

    fn next_time(&mut self) -> u64 {
        self.random.within(10 * MS..self.every)
    }
}

type Step = Result<(), String>;

impl World {
    /// A fault, and when the next one comes.
    pub fn fault(&mut self) -> Step {
        if self.faults.over {
            return Ok(());
        }
        let again = self.now + self.faults.next_time();
        self.at(again, Event::Fault);
        let heals = self.faults.random.permille(300);
        let kinds = std::mem::take(&mut self.faults.kinds);
        let kind = self.faults.random.pick(&kinds).copied();
        self.faults.kinds = kinds;
        if heals {
            self.trace.note(self.now, &[20], || "the network heals".to_owned());
            self.network.heal();
            return Ok(());
        }
        let Some(kind) = kind else { return Ok(()) };
        let servers: Vec<u64> =
            self.machines.values().filter(|machine| machine.exists()).map(|machine| machine.id).collect();
        let Some(one) = self.faults.random.pick(&servers).copied() else { return Ok(()) };
        let other = self.faults.random.pick(&servers).copied().unwrap_or(one);
        self.trace.note(self.now, &[21, kind as u64, one, other], || format!("fault: {kind:?} {one} {other}"));
        match kind {
            Kind::Restart => self.at(self.now, Event::Restart(one)),
            Kind::Crash | Kind::CrashMidway | Kind::Blackout | Kind::Refuse | Kind::Flip => {
                self.strike(kind, one, &servers)
            }
            Kind::Isolate | Kind::Split | Kind::OneWay | Kind::Bridge => self.cut(kind, one, other, &servers),
            Kind::Weather => {
                let weather = self.weather();
                self.network.behave(weather);
            }
            Kind::Slow => {
                let delay = (10 * MS, self.faults.random.within(11..120) * MS);
                for server in servers {
                    self.network.special(one, server, Link { delay, ..GOOD });
                    self.network.special(server, one, Link { delay, ..GOOD });
                }
            }
            Kind::Drag => self.machine(one).slow = self.faults.random.within(0..100) * MS,
            Kind::Pause => {
                let until = self.now + self.faults.random.within(50 * MS..1800 * MS);
                self.machine(one).paused_until = until;
            }
            Kind::Full => {
                let is_full = self.faults.random.permille(600);
                let room = self.faults.random.within(0..2) as usize;
                let state_too = self.faults.random.permille(500);
                let machine = self.machine(one);
                machine.disk.limit(is_full.then_some(room));
                machine.stable.fill(is_full && state_too);
            }
            Kind::Betray => self.plot(&servers),
            Kind::Clock => {
                let permille = self.faults.random.within(850..1150);
                let now = self.now;
                self.machine(one).set_clock(now, permille);
            }
        }
        Ok(())
    }

    fn strike(&mut self, kind: Kind, one: u64, servers: &[u64]) {
        let now = self.now;
        match kind {
            Kind::CrashMidway => {
                let changes = self.faults.random.within(0..8);
                self.machine(one).light_fuse(changes);
            }
            Kind::Blackout => {
                for server in servers {
                    self.crash(*server);
                    let again = now + self.faults.random.within(10 * MS..500 * MS);
                    self.at(again, Event::Start(*server));
                }
            }
            Kind::Refuse => {
                self.machine(one).break_disk();
                let until = now + self.faults.random.within(300 * MS..2000 * MS);
                self.at(until, Event::Restart(one));
            }
            Kind::Flip if self.can_spare(one) => {
                self.crash(one);
                let mut random = self.faults.random.fork();
                self.machine(one).flip(&mut random);
                self.at(now + 50 * MS, Event::Start(one));
            }
            Kind::Flip => {}
            _ => {
                self.crash(one);
                let again = now + self.faults.random.within(10 * MS..2500 * MS);
                self.at(again, Event::Start(one));
            }
        }
    }

    fn cut(&mut self, kind: Kind, one: u64, other: u64, servers: &[u64]) {
        match kind {
            Kind::Isolate => {
                for server in servers.iter().filter(|server| **server != one) {
                    self.network.cut(one, *server);
                    self.network.cut(*server, one);
                }
            }
            Kind::Split => {
                let here: BTreeSet<u64> =
                    servers.iter().copied().filter(|_| self.faults.random.permille(500)).collect();
                for (from, to) in pairs(servers).filter(|(from, to)| here.contains(from) != here.contains(to)) {
                    self.network.cut(from, to);
                }
            }
            Kind::OneWay => self.network.cut(one, other),
            _ => {
                self.network.cut(one, other);
                self.network.cut(other, one);
            }
        }
    }

    /// Cuts the leader off from all but so many as it needs, and has those leave it later.
    fn plot(&mut self, servers: &[u64]) {
        let Some(leader) = servers.iter().copied().find(|server| self.machines[server].leads()) else { return };
        let mut others: Vec<u64> = servers.iter().copied().filter(|server| *server != leader).collect();
        let at = self.faults.random.index(others.len().max(1));
        others.rotate_left(at);
        let kept: Vec<u64> = others.drain(..servers.len() / 2).collect();
        for other in others {
            self.network.cut(leader, other);
            self.network.cut(other, leader);
        }
        let when = self.now + self.faults.random.within(350 * MS..800 * MS);
        self.at(when, Event::Betray { leader, kept });
    }

    /// Those who made up the leader's majority are started again, and hear no more of it.
    pub fn betray(&mut self, leader: u64, kept: &[u64]) {
        if self.faults.over {
            return;
        }
        self.trace.note(self.now, &[23, leader], || format!("{kept:?} leave {leader}"));
        let servers: Vec<u64> = self.machines.keys().copied().filter(|server| *server != leader).collect();
        for server in servers {
            self.network.cut(leader, server);
            self.network.cut(server, leader);
        }
        for server in kept {
            self.crash(*server);
            let again = self.now + self.faults.random.within(MS..15 * MS);
            self.at(again, Event::Start(*server));
        }
    }

    fn weather(&mut self) -> Link {
        let random = &mut self.faults.random;
        let mut sometimes = |most: u64| if random.permille(500) { random.within(1..most) } else { 0 };
        let (loss, twice, late) = (sometimes(200), sometimes(200), sometimes(200));
        let most = 1 + sometimes(30);
        Link { loss, twice, late, delay: (MS / 20, most * MS) }
    }

    /// Whether the cluster goes on if this server never comes back.
    fn can_spare(&self, server: u64) -> bool {
        let lost =
            self.machines.values().any(|machine| matches!(machine.state, State::Broken) || machine.was_damaged());
        !lost && self.can_lose(server)
    }

    /// Everything is well from now on.
    pub fn heal(&mut self) {
        let now = self.now;
        self.trace.note(now, &[22], || "everything heals".to_owned());
        self.faults.over = true;
        self.network.heal();
        let servers: Vec<u64> = self.machines.keys().copied().collect();
        for server in servers {
            let machine = self.machine(server);
            machine.paused_until = now;
            machine.slow = 0;
            machine.set_clock(now, 1000);
            machine.disk.limit(None);
            machine.stable.fill(false);
            let failed = machine.mend();
            if failed {
                self.crash(server);
            }
            self.at(now + MS, Event::Start(server));
        }
    }
}

fn pairs(servers: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    servers.iter().flat_map(|from| servers.iter().map(|to| (*from, *to)))
}
