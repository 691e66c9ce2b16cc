//! A simulated machine: its disks, and the process that runs the real code on them.

use std::collections::BTreeMap;
use std::time::Duration;

use raft::eraftpb::ConfState;

use super::planted::Planted;
use super::process::Process;
use super::random::Random;
use super::stable::Stable;
use crate::core::FOUNDED_AT;
use crate::disk::Disk;
use crate::image::Image;
use crate::members::Change;
use crate::membership::{Member, ServerId};
use crate::memory_disk::MemoryDisk;
use crate::mvcc::State as Replicated;
use crate::point::Point;
use crate::segment;
use crate::view::View;

/// What a machine is doing.
pub(crate) enum State {
    /// Its process runs.
    Up(Box<Process>),
    /// It was switched off, or lost its power.
    Down,
    /// Its process refuses to start, for its log is damaged.
    Broken,
    /// It was removed from the cluster and switched off.
    Gone,
}

/// A machine.
pub(crate) struct Machine {
    pub id: u64,
    pub member: Member,
    pub disk: MemoryDisk,
    pub stable: Stable,
    pub state: State,
    /// Counts the starts of its process.
    pub life: u64,
    /// It was not there when the cluster was founded.
    pub joins: bool,
    pub was_member: bool,
    pub paused_until: u64,
    /// What its disk adds to the time that everything takes.
    pub slow: u64,
    pub random: Random,
    pub planted: Option<Planted>,
    /// When its process wakes next.
    pub woken: Option<u64>,
    /// Its clock showed the first of these at the second, and goes so many thousandths of its speed.
    clock: (u64, u64, u64),
    pub damaged: bool,
    disk_broken: bool,
}

impl Machine {
    /// The record of a server with this id.
    pub fn member(id: u64) -> Member {
        Member { id: ServerId(id), name: format!("s{id}"), address: format!("s{id}:1") }
    }

    fn new(member: Member, random: &mut Random, planted: Option<Planted>, joins: bool) -> Machine {
        let disk = MemoryDisk::default();
        Machine {
            id: member.id.0,
            member,
            stable: Stable::new(disk.clone()),
            disk,
            state: State::Down,
            life: 0,
            joins,
            was_member: !joins,
            paused_until: 0,
            slow: 0,
            random: random.fork(),
            planted,
            woken: None,
            clock: (0, 0, 1000),
            damaged: false,
            disk_broken: false,
        }
    }

    /// The machines of a cluster that was just founded.
    pub fn found(count: usize, random: &mut Random, planted: Option<Planted>) -> BTreeMap<u64, Machine> {
        let ids: Vec<u64> = (1..=count as u64).collect();
        let mut state = Replicated::default();
        state.pass(FOUNDED_AT, 1);
        ids.iter().for_each(|id| state.change_members(&Change::Add(Machine::member(*id))));
        let conf_state = ConfState { voters: ids.clone(), ..ConfState::default() };
        let image = Image { state, conf_state };
        let machine = |id: u64| {
            let machine = Machine::new(Machine::member(id), random, planted, false);
            machine.stable.found(&image);
            (id, machine)
        };
        ids.into_iter().map(machine).collect()
    }

    /// A machine with empty disks that is to join.
    pub fn joining(member: Member, random: &mut Random, planted: Option<Planted>) -> Machine {
        Machine::new(member, random, planted, true)
    }

    /// Whether this start of its process still runs.
    pub fn is_alive(&self, life: u64) -> bool {
        self.life == life && matches!(self.state, State::Up(_))
    }

    /// Whether it may run again.
    pub fn exists(&self) -> bool {
        matches!(self.state, State::Up(_) | State::Down)
    }

    /// Whether clients can reach it.
    pub fn serves(&self) -> bool {
        matches!(self.state, State::Up(_)) && self.was_member
    }

    pub fn process(&self) -> Option<&Process> {
        if let State::Up(process) = &self.state { Some(process) } else { None }
    }

    /// What its clients see.
    pub fn view(&self) -> Option<&View> {
        self.process().map(|process| &*process.view)
    }

    /// Where it stands in the log.
    pub fn point(&self) -> Option<Point> {
        self.process().map(Process::point)
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.process().is_some_and(|process| process.replica.core().leads())
    }

    /// What its own clock shows, which goes at its own speed.
    pub fn clock(&self, now: u64) -> Duration {
        let (shown, since, permille) = self.clock;
        Duration::from_nanos(shown + (now - since) * permille / 1000)
    }

    /// When its clock will show this.
    pub fn when(&self, shown: Duration) -> u64 {
        let (base, since, permille) = self.clock;
        let ahead = u64::try_from(shown.as_nanos()).unwrap_or(u64::MAX).saturating_sub(base);
        since + (ahead.saturating_mul(1000)).div_ceil(permille)
    }

    /// Sets how fast its clock goes: in thousandths.
    pub fn set_clock(&mut self, now: u64, permille: u64) {
        let shown = self.clock(now).as_nanos();
        self.clock = (u64::try_from(shown).unwrap_or(u64::MAX), now, permille);
    }

    /// Its process ends without warning.
    pub fn crash(&mut self) {
        self.state = State::Down;
        self.woken = None;
        // Often the whole page cache survives: only the process died.
        let share = [0, 500, 1000][self.random.index(3)];
        let random = &mut self.random;
        self.disk.crash(|| random.permille(share));
    }

    /// Lets it die in the middle of one of the next changes of its disks.
    pub fn light_fuse(&mut self, changes: u64) {
        if matches!(self.state, State::Up(_)) {
            self.disk.light_fuse(changes);
        }
    }

    /// Lets its disk refuse to flush.
    pub fn break_disk(&mut self) {
        self.disk_broken = true;
        self.disk.break_down();
    }

    /// Its disk works again. Whether its process has to be started again.
    pub fn mend(&mut self) -> bool {
        self.disk.repair();
        std::mem::take(&mut self.disk_broken)
    }

    /// Flips bits somewhere in its log, but not in what may be a torn write.
    pub fn flip(&mut self, random: &mut Random) {
        let Ok(segments) = self.disk.segments() else { return };
        for _ in 0..20 {
            let Some(segment) = random.pick(&segments).copied() else { return };
            let Ok(bytes) = self.disk.read(segment) else { return };
            let Ok(whole) = segment::scan(&bytes.clone().into(), segment) else { return };
            let (at, bit) = (random.within(0..whole.end) as usize, random.index(8));
            let mut flipped = bytes;
            flipped[at] ^= 1 << bit;
            let scan = segment::scan(&flipped.into(), segment);
            let is_last = segments.last() == Some(&segment);
            if scan.is_err() || !is_last && scan != Ok(whole) {
                self.disk.damage(segment, |bytes| bytes[at] ^= 1 << bit);
                self.damaged = true;
                return;
            }
        }
    }

    /// Whether its log was damaged: then it must not come up.
    pub fn was_damaged(&self) -> bool {
        self.damaged
    }

    /// Whether it may stop writing.
    pub fn may_fail(&self) -> bool {
        self.disk_broken || self.damaged
    }
}
