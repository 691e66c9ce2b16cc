//! `pal`: the whole cluster in one program.
//!
//! This crate joins the two trees, `control` and `runtime`, and nothing depends on it. It reads arguments, starts what they
//! ask for, and stops it in order. What the parts do is theirs.

#![forbid(unsafe_code)]

mod api;
mod apply;
mod args;
mod bridge;
mod control_plane;
mod delete;
mod error;
mod get;
mod images;
mod inspect;
mod journal;
mod logs;
mod manifest;
mod mirror;
mod node;
mod out;
mod paths;
mod progress;
mod run;
mod running;
mod servers;
mod signals;
mod snapshot;
mod token;
mod up;
mod wait;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Args, Command};
use crate::error::CliError;
use crate::journal::{Journal, Keeper};

/// Objects of all ages lie side by side in a server's memory. glibc's allocator gives back too little of what goes: a million
/// objects took a third more with it, and a pod's creation a fifth more processor time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Of each thread. What clients send is read along how deep it is nested, up to a hundred levels; an overflow would be the end.
const STACK_BYTES: usize = 8 * 1024 * 1024;

fn main() -> ExitCode {
    let args = Args::read();
    // The compiler process comes before all else: it has a memory limit and wants nothing of what follows.
    if matches!(args.command, Command::CompileWorker) {
        return pal_engine::compile_worker_main();
    }
    let (journal, keeper) = journal::journal();
    start_tracing(&args.log, journal.clone());
    raise_file_limit();
    // Several TLS libraries' worth of defaults could meet in one process; this is the one they all use.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(dispatch(args, journal, keeper));
    // Nothing that still runs in the background may hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) | Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(args: Args, journal: Journal, keeper: Keeper) -> Result<(), CliError> {
    let client = &args.client;
    match args.command {
        Command::Up(command) => up::run(command, journal, keeper).await,
        Command::Server(command) => servers::run(client, command).await,
        Command::Agent(command) => node::run(command).await,
        Command::Token(command) => token::run(client, command).await,
        Command::Snapshot(command) => snapshot::run(client, command).await,
        Command::Run(command) => run::run(client, command).await,
        Command::Apply(command) => apply::run(client, command).await,
        Command::Get(command) => get::run(client, command).await,
        Command::Logs(command) => logs::run(client, command).await,
        Command::Delete(command) => delete::run(client, command).await,
        Command::Inspect(command) => inspect::run(command).await,
        Command::Version(command) => get::version(client, command).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "pal", &mut script);
            out::bytes(&script)
        }
        Command::CompileWorker => Ok(()),
    }
}

fn start_tracing(filter: &str, journal: Journal) {
    use std::io::IsTerminal;
    // It reports as errors what its callers tell in words of their own.
    const QUIET: &str = "kube_client::client::builder=off";
    let filter = tracing_subscriber::EnvFilter::try_new(format!("{QUIET},{filter}"))
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{QUIET},warn")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(journal)
        .init();
}

/// Takes as many open files as the user may have: connections and logs are files, and the usual limit is 1,024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}
