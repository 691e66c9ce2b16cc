//! One run of the simulation, from the seed to the verdict.

use std::fmt;
use std::panic::AssertUnwindSafe;

use pal_checker::{Call, Found, Limits, Operation, Outcome, Returned, Sequence};

use super::MS;
use super::machine::State;
use super::planted::Planted;
use super::truth::value_of;
use super::world::World;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What everything is drawn from.
    pub seed: u64,
    /// How many servers the cluster has at first: 3 or 5.
    pub servers: usize,
    /// A mistake to be found.
    pub planted: Option<Planted>,
    /// Whether nothing goes wrong but that servers leave a leader that counts on them.
    pub betrayal: bool,
    /// How long faults go on, in milliseconds of simulated time.
    pub millis: u64,
    /// So many of the last things that happened are told of a failure.
    pub lines: usize,
}

impl Options {
    /// The usual run of a seed.
    pub fn of(seed: u64) -> Options {
        let servers = if seed.is_multiple_of(3) { 5 } else { 3 };
        Options { seed, servers, planted: None, betrayal: false, millis: 5000, lines: 120 }
    }
}

/// A run in which everything held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The same for every run of the same options.
    pub hash: u64,
    /// Events of the simulated world.
    pub steps: u64,
    /// What clients asked, and how much of it was answered.
    pub operations: (usize, usize),
    /// Commits that changed something.
    pub revisions: u64,
    /// Terms in which somebody led.
    pub leaders: usize,
    /// Events that watchers saw.
    pub events: usize,
    /// Changes of members that came through.
    pub changes: u64,
    /// Whole states that were installed.
    pub installs: u64,
    /// Keys for which the search for an order was given up.
    pub undecided: usize,
}

/// A run in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was run.
    pub options: Options,
    /// What did not hold.
    pub why: String,
    /// Which faults there were.
    pub faults: String,
    /// The end of what happened.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, servers, planted, .. } = self.options;
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {seed}, {servers} servers, {}", self.faults)?;
        writeln!(f, "{}", self.why)?;
        write!(f, "again: cargo run -p pal-store --features simulation --example simulate -- ")?;
        write!(f, "--seeds 1 --from {seed} --servers {servers} --millis {}", self.options.millis)?;
        if self.options.betrayal {
            write!(f, " --betrayal")?;
        }
        match planted {
            Some(planted) => write!(f, " --planted {planted}"),
            None => Ok(()),
        }
    }
}

/// Runs a seed; when it fails, again with a readable trace.
pub fn run(options: Options) -> Result<Summary, Box<Failure>> {
    match attempt(options, 0) {
        Ok(summary) => Ok(summary),
        Err(_) => match attempt(options, options.lines) {
            Ok(_) => Err(Box::new(Failure {
                options,
                why: "it failed, but not when it was run again: something is not drawn from the seed".to_owned(),
                faults: String::new(),
                trace: Vec::new(),
            })),
            Err(failure) => Err(failure),
        },
    }
}

fn attempt(options: Options, lines: usize) -> Result<Summary, Box<Failure>> {
    let mut world = World::new(options, lines);
    // What a process panics with is a finding like any other.
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| world.whole()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    });
    let faults = world.faults.describe();
    result.map_err(|why| Box::new(Failure { options, why, faults, trace: world.trace.lines() }))
}

/// How long the cluster has to come to rest when everything is well again.
const REST: u64 = 25_000 * MS;

/// How much work the search for an order of the operations on one key may be.
const SEARCH_STEPS: u64 = 300_000;

impl World {
    fn whole(&mut self) -> Result<Summary, String> {
        self.run_until(self.options.millis * MS)?;
        self.heal();
        self.run_until(self.now + 1000 * MS)?;
        self.busy = false;
        let until = self.now + REST;
        let answered = loop {
            self.run_until(self.now + 50 * MS)?;
            match self.unrest() {
                None => break self.last_reads()?,
                Some(why) if self.now >= until => {
                    return Err(format!("everything is well, but it does not rest: {why}"));
                }
                Some(_) => {}
            }
        };
        self.judge(answered)
    }

    /// Why the cluster has not come to rest.
    fn unrest(&self) -> Option<String> {
        if let Some(client) = self.clients.iter().find(|client| client.waiting.is_some()) {
            return Some(format!("client {} waits for an answer", client.id));
        }
        let Some(newest) = self.newest_point() else { return Some("no server runs".to_owned()) };
        let members: Vec<u64> = newest.members.iter().map(|member| member.id.0).collect();
        let leaders = members.iter().filter(|id| self.machines[id].leads()).count();
        if leaders != 1 {
            return Some(format!("{leaders} of {members:?} lead"));
        }
        if !newest.conf_state.learners.is_empty() || !newest.conf_state.voters_outgoing.is_empty() {
            return Some(format!("the members are still changing: {:?}", newest.conf_state));
        }
        if members.len() < self.faults.target {
            return Some(format!("only {members:?} are members"));
        }
        for id in members {
            let machine = &self.machines[&id];
            match machine.point() {
                Some(point) if point == newest => {}
                Some(point) => return Some(format!("{id} stands at {}, another at {}", point.index, newest.index)),
                None if matches!(machine.state, State::Broken) => {
                    return Some(format!("{id} is lost and still a member"));
                }
                None => return Some(format!("{id} does not run")),
            }
        }
        (newest.index < self.truth.last_committed()).then(|| "not all is applied".to_owned())
    }

    /// Every server shows the same in the end; what they show is one more read.
    fn last_reads(&mut self) -> Result<usize, String> {
        let answered = self.history.operations.iter().filter(|operation| operation.returned.is_some()).count();
        let keys: Vec<String> = super::client::KEYS.iter().map(|key| (*key).to_owned()).collect();
        let members: Vec<u64> =
            self.newest_point().iter().flat_map(|point| point.members.iter()).map(|m| m.id.0).collect();
        let views: Vec<_> = members.iter().filter_map(|id| Some((*id, self.machines.get(id)?.view()?))).collect();
        for (server, view) in views {
            let snapshot = view.snapshot();
            let found = |key: &String| {
                let entry = snapshot.get(key);
                entry.map(|entry| Found { value: value_of(entry), modified: Some(entry.modified().0) })
            };
            let outcome =
                Outcome::Read { found: keys.iter().map(found).collect(), revision: Some(snapshot.revision().0) };
            self.history.operations.push(Operation {
                client: 0,
                server: server.to_string(),
                called: self.now,
                call: Call::Read { keys: keys.clone() },
                returned: Some(Returned { at: self.now + 1, outcome }),
            });
        }
        Ok(answered)
    }

    fn judge(&mut self, answered: usize) -> Result<Summary, String> {
        self.finish_watching();
        let history = self.history();
        let sequence = Sequence::complete(&history, self.truth.commits());
        let report = pal_checker::check_against(&history, &sequence, Limits { steps: SEARCH_STEPS });
        if !report.violations.is_empty() {
            return Err(report.to_string());
        }
        let events = history.watches.iter().flat_map(|watch| &watch.steps);
        Ok(Summary {
            hash: self.trace.hash(),
            steps: self.steps,
            operations: (history.operations.len(), answered),
            revisions: self.truth.revision(),
            leaders: self.truth.leaders(),
            events: events.filter(|step| matches!(step, pal_checker::Step::Event { .. })).count(),
            changes: self.operator.changes,
            installs: self.installs,
            undecided: report.undecided.len(),
        })
    }
}
