//! From WebAssembly to machine code, in a child process with limits or in this one.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::settings;
use crate::{Compile, EngineConfig, PrepareError};

/// How far a compiler's process is below the rest in priority.
const COMPILER_NICE: i32 = 10;

/// What a compiler's process may say at most, in bytes.
const MAX_REPORT_BYTES: u64 = 64 << 10;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// What the child gets on its first line of stdin; the component follows.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    output: PathBuf,
    memory_bytes: u64,
    fingerprint: String,
}

/// What the child says on stdout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Done,
    Refused(String),
    /// The child cannot do its work at all.
    Broken(String),
}

/// Compiles `component` into the file `output`.
pub(crate) async fn compile(
    config: &EngineConfig,
    engine: &wasmtime::Engine,
    component: Vec<u8>,
    output: &Path,
) -> Result<(), PrepareError> {
    match &config.compile {
        Compile::InProcess => in_process(engine.clone(), component, output.to_owned()).await,
        Compile::Child { exe } => {
            let order = Order {
                output: output.to_owned(),
                memory_bytes: config.compile_memory_bytes,
                fingerprint: settings::fingerprint(engine),
            };
            let work = in_child(exe, &order, &component);
            tokio::time::timeout(config.compile_timeout, work)
                .await
                .unwrap_or(Err(PrepareError::Timeout(config.compile_timeout)))
        }
    }
}

async fn in_process(engine: wasmtime::Engine, component: Vec<u8>, output: PathBuf) -> Result<(), PrepareError> {
    tokio::task::spawn_blocking(move || {
        let code =
            engine.precompile_component(&component).map_err(|e| PrepareError::CompileFailed(format!("{e:#}")))?;
        std::fs::write(&output, code).map_err(|e| PrepareError::Io(format!("compile cache: {e}")))
    })
    .await
    .unwrap_or_else(|e| Err(PrepareError::CompileFailed(e.to_string())))
}

async fn in_child(exe: &Path, order: &Order, component: &[u8]) -> Result<(), PrepareError> {
    let broken = |e: std::io::Error| PrepareError::Io(format!("compiler process: {e}"));
    // The child is killed when this future is dropped, as by the time limit.
    let mut child = Command::new(exe)
        .arg("compile-worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(broken)?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(PrepareError::Io("compiler process: no pipes".into()));
    };
    let feed = async {
        let mut line = serde_json::to_vec(order).map_err(std::io::Error::other)?;
        line.push(b'\n');
        stdin.write_all(&line).await?;
        stdin.write_all(component).await?;
        stdin.shutdown().await?;
        drop(stdin);
        Ok::<_, std::io::Error>(())
    };
    let mut said = Vec::new();
    let mut complaint = Vec::new();
    let mut out = stdout.take(MAX_REPORT_BYTES);
    let mut err = stderr.take(MAX_REPORT_BYTES);
    let (fed, heard, complained, status) =
        tokio::join!(feed, out.read_to_end(&mut said), err.read_to_end(&mut complaint), child.wait(),);
    let status = status.map_err(broken)?;
    // A child that dies does not read on; how it died says more than the broken pipe.
    match serde_json::from_slice::<Report>(&said) {
        Ok(Report::Done) if status.success() => {
            fed.map_err(broken)?;
            heard.map_err(broken)?;
            complained.map_err(broken)?;
            Ok(())
        }
        Ok(Report::Refused(why)) => Err(PrepareError::CompileFailed(why)),
        Ok(Report::Broken(why)) => Err(PrepareError::Io(format!("compiler process: {why}"))),
        Ok(Report::Done) | Err(_) => Err(died(status, &complaint, order.memory_bytes)),
    }
}

/// What it means that a child ended without a report.
fn died(status: ExitStatus, complaint: &[u8], memory_bytes: u64) -> PrepareError {
    let complaint = String::from_utf8_lossy(complaint);
    if complaint.contains("memory allocation of") || complaint.contains("Cannot allocate memory") {
        return PrepareError::TooLarge(format!("compiling it takes more than {} MiB of memory", memory_bytes >> 20));
    }
    if let Some(signal @ (SIGKILL | SIGTERM)) = status.signal() {
        // Somebody else ended it: the kernel out of memory, or a shutdown. It says nothing about the component.
        return PrepareError::Io(format!("the compiler was ended by signal {signal}"));
    }
    let last = complaint.lines().last().unwrap_or_default().trim();
    PrepareError::CompileFailed(format!("the compiler ended with {status}: {last}"))
}

/// What the hidden subcommand `compile-worker` runs: the other end of [`Compile::Child`].
pub fn compile_worker_main() -> ExitCode {
    let report = work();
    let done = matches!(report, Report::Done);
    let said =
        serde_json::to_string(&report).map(|text| writeln!(std::io::stdout(), "{text}").is_ok()).unwrap_or(false);
    if done && said { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work() -> Report {
    let mut stdin = BufReader::new(std::io::stdin().lock());
    let mut line = String::new();
    let order: Order = match stdin.read_line(&mut line) {
        Ok(_) => match serde_json::from_str(&line) {
            Ok(order) => order,
            Err(e) => return Report::Broken(format!("order: {e}")),
        },
        Err(e) => return Report::Broken(format!("stdin: {e}")),
    };
    if let Err(e) = limit_this_process(order.memory_bytes) {
        return Report::Broken(format!("limits: {e}"));
    }
    let mut component = Vec::new();
    if let Err(e) = stdin.read_to_end(&mut component) {
        return Report::Broken(format!("stdin: {e}"));
    }
    let engine = match wasmtime::Engine::new(&settings::code()) {
        Ok(engine) => engine,
        Err(e) => return Report::Broken(format!("{e:#}")),
    };
    if settings::fingerprint(&engine) != order.fingerprint {
        return Report::Broken("it is of another version than the node".into());
    }
    match engine.precompile_component(&component) {
        Ok(code) => match std::fs::write(&order.output, code) {
            Ok(()) => Report::Done,
            Err(e) => Report::Broken(format!("{}: {e}", order.output.display())),
        },
        Err(e) => Report::Refused(format!("{e:#}")),
    }
}

/// Before any other thread is started, so that all of them inherit it.
fn limit_this_process(memory_bytes: u64) -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};
    setpriority_process(None, COMPILER_NICE)?;
    let limit = Rlimit { current: Some(memory_bytes), maximum: Some(memory_bytes) };
    setrlimit(Resource::As, limit)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_the_compiler_died_is_told() {
        let aborted = ExitStatus::from_raw(6);
        assert_eq!(
            died(aborted, b"memory allocation of 4096 bytes failed\n", 64 << 20),
            PrepareError::TooLarge("compiling it takes more than 64 MiB of memory".into())
        );
        for signal in [SIGKILL, SIGTERM] {
            // Which is not remembered, so that it is tried again.
            assert!(matches!(died(ExitStatus::from_raw(signal), b"", 1), PrepareError::Io(_)));
        }
        let PrepareError::CompileFailed(why) = died(aborted, b"note\nthread panicked\n", 1) else {
            panic!("another error");
        };
        assert!(why.contains("thread panicked"), "{why}");
    }
}
