//! Runs the simulation of a cluster over many seeds.
//!
//! `cargo run -p pal-store --features simulation --example simulate -- --seeds 1000`

use std::process::ExitCode;
use std::time::Instant;

use pal_store::simulation::{Options, Planted, Summary, run};

const USAGE: &str =
    "simulate [--seeds N] [--from SEED] [--servers 3|5] [--millis N] [--planted BUG] [--betrayal] [--verbose]

  --seeds N      how many seeds (default 100)
  --from SEED    the first of them (default 0)
  --servers N    how many servers a cluster has (default: 5 for every third seed, else 3)
  --millis N     how long faults go on, in simulated time (default 5000)
  --planted BUG  a mistake that is to be found: ack-before-flush, skip-read-index, reuse-revision, skip-dedup,
                 forget-vote, long-lease
  --betrayal     nothing goes wrong but that servers leave a leader that counts on them
  --lines N      how many lines are told of what led to a failure (default 120)
  --verbose      a line for each seed";

struct Arguments {
    seeds: u64,
    from: u64,
    servers: Option<usize>,
    millis: Option<u64>,
    lines: Option<u64>,
    planted: Option<Planted>,
    betrayal: bool,
    verbose: bool,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seeds: 100,
        from: 0,
        servers: None,
        millis: None,
        lines: None,
        planted: None,
        betrayal: false,
        verbose: false,
    };
    while let Some(name) = given.next() {
        if name == "--verbose" {
            arguments.verbose = true;
            continue;
        }
        if name == "--betrayal" {
            arguments.betrayal = true;
            continue;
        }
        let value = given.next().ok_or_else(|| format!("{name}: its value is missing"))?;
        let number = || value.parse().map_err(|_| format!("{name}: {value:?} is not a number"));
        match name.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--lines" => arguments.lines = Some(number()?),
            "--millis" => arguments.millis = Some(number()?),
            "--servers" => {
                let servers = number()? as usize;
                if !matches!(servers, 3 | 5) {
                    return Err(format!("--servers: {servers} is neither 3 nor 5"));
                }
                arguments.servers = Some(servers);
            }
            "--planted" => arguments.planted = Some(value.parse()?),
            _ => return Err(format!("{name}: no such option")),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A panic in the simulated code is a finding and is told as such.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let mut total = Totals::default();
    for seed in arguments.from..arguments.from + arguments.seeds {
        let mut options = Options::of(seed);
        options.planted = arguments.planted;
        options.betrayal = arguments.betrayal;
        options.servers = arguments.servers.unwrap_or(options.servers);
        options.millis = arguments.millis.unwrap_or(options.millis);
        options.lines = arguments.lines.map_or(options.lines, |lines| lines as usize);
        match run(options) {
            Ok(summary) => {
                if arguments.verbose {
                    println!("{seed}: {summary:?}");
                }
                total.add(&summary);
            }
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} in {:.1} s: everything held", total.words(arguments.seeds), started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Totals {
    operations: usize,
    answered: usize,
    events: usize,
    revisions: u64,
    leaders: usize,
    changes: u64,
    installs: u64,
    undecided: usize,
    steps: u64,
}

impl Totals {
    fn add(&mut self, summary: &Summary) {
        self.operations += summary.operations.0;
        self.answered += summary.operations.1;
        self.events += summary.events;
        self.revisions += summary.revisions;
        self.leaders += summary.leaders;
        self.changes += summary.changes;
        self.installs += summary.installs;
        self.undecided += summary.undecided;
        self.steps += summary.steps;
    }

    fn words(&self, seeds: u64) -> String {
        let Totals { operations, answered, events, revisions, leaders, changes, installs, undecided, steps } = self;
        format!(
            "{seeds} seeds, {steps} steps, {operations} operations ({answered} answered), {revisions} revisions, \
             {events} watch events, {leaders} leaders, {changes} changes of members, {installs} installed states, {undecided} keys undecided"
        )
    }
}
