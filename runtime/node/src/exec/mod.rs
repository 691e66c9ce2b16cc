//! Programs in containers that run: those that clients ask for, and those of probes and hooks.

mod container;
mod pipe;
mod terminal;
pub(crate) mod tools;

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use pal_engine::{LogSink, Stdin};
use pal_lifecycle::Exit;
use pal_resources::Status;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;

pub(crate) use container::{Asked, Container, Io, Place};
use pipe::{Kept, Pipe};
use terminal::{INTERRUPT, Terminal};

use crate::pods::{Manager, tell_sizes};
use crate::runtime::{INTERRUPTED, KILLED, Program, Runtime, exit};
use crate::streaming::{Exec, Session, Streams, Target, container_not_found, nothing_to_join};

/// How long a program of a probe or hook may take to be made ready, which may mean to be compiled.
const PREPARE_LIMIT: Duration = Duration::from_secs(120);
/// How long a client that has no more to say is told what the container says.
const LEAVE: Duration = Duration::from_secs(5);
/// Bytes that a program has not read of what is typed.
const TYPED: usize = 64 * 1024;

/// Runs programs in the node's containers.
pub(crate) struct PodExec {
    pub(crate) pods: Arc<Manager>,
    pub(crate) runtime: Arc<dyn Runtime>,
}

impl PodExec {
    fn find(&self, target: &Target) -> Option<Arc<Container>> {
        self.pods.find(&target.namespace, &target.pod)?.running(&target.container)
    }
}

#[async_trait]
impl Exec for PodExec {
    async fn exec(&self, target: &Target, command: Vec<String>) -> Result<Box<dyn Session>, Status> {
        if command.is_empty() {
            return Err(Status::bad_request("you must specify a command for the container"));
        }
        let container = self.find(target).ok_or_else(|| container_not_found(target))?;
        Ok(Box::new(Started { runtime: self.runtime.clone(), container, command }))
    }

    async fn attach(&self, target: &Target) -> Result<Box<dyn Session>, Status> {
        Ok(Box::new(Joined { container: self.find(target).ok_or_else(|| nothing_to_join(target))? }))
    }
}

/// A program for a client.
struct Started {
    runtime: Arc<dyn Runtime>,
    container: Arc<Container>,
    command: Vec<String>,
}

#[async_trait]
impl Session for Started {
    async fn run(self: Box<Self>, streams: Streams) -> Result<i32, String> {
        let _turn = self.container.turn()?;
        let terminal = streams.tty;
        let mut place = self.container.place.clone();
        if terminal {
            place.env.push(("TERM".to_owned(), "xterm".to_owned()));
            if let Some(size) = *streams.size.borrow() {
                place.env.push(("COLUMNS".to_owned(), size.width.to_string()));
                place.env.push(("LINES".to_owned(), size.height.to_string()));
            }
        }
        let mounts = place.mounts.clone();
        // A volume may be fuller by now.
        drop(tokio::task::spawn_blocking(move || tell_sizes(&mounts)).await);
        let Wires { stdin, stdout, stderr, pumps, typing, interrupted } = connect(streams);
        let program =
            Program { args: self.command, place, stdin, terminal, stdout: stdout.clone(), stderr: stderr.clone() };
        let workload = self.runtime.exec(&self.container.image, program).await.map_err(|why| {
            format!(
                "failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: \
                 unable to start container process: {why}: unknown"
            )
        })?;
        let work = async {
            let exit = tokio::select! {
                exit = workload.wait() => exit,
                () = self.container.ended() => {
                    workload.stop(Duration::ZERO, Duration::ZERO).await;
                    exit(KILLED, "")
                }
                () = interrupted.cancelled(), if !workload.heeds_interrupts() => {
                    workload.stop(Duration::ZERO, Duration::ZERO).await;
                    exit(INTERRUPTED, "")
                }
            };
            if !exit.message.is_empty() {
                stderr.write(format!("{}\n", exit.message).as_bytes());
            }
            stdout.end();
            stderr.end();
            exit.code
        };
        tokio::select! {
            (code, ()) = async { tokio::join!(work, pumps) } => Ok(code),
            never = typing => match never {},
        }
    }
}

/// A client that joins a container.
struct Joined {
    container: Arc<Container>,
}

#[async_trait]
impl Session for Joined {
    async fn run(self: Box<Self>, streams: Streams) -> Result<i32, String> {
        let io = self.container.io.clone();
        let (stdout, stderr) = outputs(streams.tty);
        io.join(&stdout, &stderr);
        let pumps = pumps(&stdout, &stderr, streams.stdout, streams.stderr);
        let typing = async {
            let asked = io.asked();
            if let Some(stdin) = streams.stdin
                && asked.stdin
            {
                let at_end = give_all(stdin, &self.container, streams.tty.then_some(&*stdout)).await;
                // A container whose stdin goes on lets its client go, who still sees what comes at once; with one that
                // ends too, the client sees all that comes of that.
                if at_end && (asked.tty || !asked.stdin_once) {
                    tokio::time::sleep(LEAVE).await;
                    stdout.end();
                    stderr.end();
                }
            }
            pending::<Infallible>().await
        };
        tokio::select! {
            () = pumps => Ok(0),
            never = typing => match never {},
        }
    }
}

/// Carries a client's stdin to a container. Whether that was all of it.
async fn give_all(mut from: impl AsyncRead + Unpin, container: &Container, screen: Option<&Pipe>) -> bool {
    let io = &container.io;
    let (mut keys, mut terminal) = (vec![0; 4096], Terminal::default());
    let mut at_end = true;
    while let Ok(count @ 1..) = from.read(&mut keys).await {
        let (given, over) = match screen {
            Some(screen) => {
                let mut typed = terminal.type_in(&keys[..count]);
                screen.put(&typed.shown);
                if !container.heeds_interrupts {
                    // The line is over, and nothing else is known to be.
                    typed.given.iter_mut().filter(|byte| **byte == INTERRUPT).for_each(|byte| *byte = b'\n');
                }
                (typed.given, typed.over)
            }
            None => (keys[..count].to_vec(), false),
        };
        if !io.give(&given).await || over {
            at_end = false;
            break;
        }
    }
    io.client_ended().await;
    at_end
}

/// A program's streams, and what carries them.
struct Wires {
    stdin: Stdin,
    stdout: Arc<Pipe>,
    stderr: Arc<Pipe>,
    /// Ends when both outputs have ended and all of them was written.
    pumps: BoxFuture<'static, ()>,
    typing: BoxFuture<'static, Infallible>,
    /// Somebody has typed Ctrl-C.
    interrupted: CancellationToken,
}

fn outputs(terminal: bool) -> (Arc<Pipe>, Arc<Pipe>) {
    let stdout = Arc::new(Pipe::new(terminal));
    // A terminal has one way out.
    let stderr = if terminal { stdout.clone() } else { Arc::new(Pipe::new(false)) };
    (stdout, stderr)
}

type Writer = Box<dyn tokio::io::AsyncWrite + Send + Sync + Unpin>;

fn pumps(stdout: &Arc<Pipe>, stderr: &Arc<Pipe>, out: Option<Writer>, err: Option<Writer>) -> BoxFuture<'static, ()> {
    let (stdout, stderr) = (stdout.clone(), stderr.clone());
    Box::pin(async move {
        if Arc::ptr_eq(&stdout, &stderr) {
            stdout.pump(out).await;
        } else {
            tokio::join!(stdout.pump(out), stderr.pump(err));
        }
    })
}

fn connect(streams: Streams) -> Wires {
    let (stdout, stderr) = outputs(streams.tty);
    let pumps = pumps(&stdout, &stderr, streams.stdout, streams.stderr);
    let interrupted = CancellationToken::new();
    let (stdin, typing): (Stdin, BoxFuture<'static, Infallible>) = match streams.stdin {
        None => (Stdin::default(), Box::pin(pending())),
        Some(reader) if !streams.tty => (Stdin::new(reader), Box::pin(pending())),
        Some(reader) => {
            let (writer, program) = tokio::io::duplex(TYPED);
            (Stdin::new(program), Box::pin(type_all(reader, writer, stdout.clone(), interrupted.clone())))
        }
    };
    Wires { stdin, stdout, stderr, pumps, typing, interrupted }
}

/// Carries keys to a program, and shows them.
async fn type_all(
    mut keys: impl AsyncRead + Unpin,
    program: DuplexStream,
    screen: Arc<Pipe>,
    interrupted: CancellationToken,
) -> Infallible {
    let (mut piece, mut terminal, mut program) = (vec![0; 4096], Terminal::default(), Some(program));
    while let Ok(count @ 1..) = keys.read(&mut piece).await {
        let Some(writer) = &mut program else { continue };
        let typed = terminal.type_in(&piece[..count]);
        screen.put(&typed.shown);
        if typed.interrupted {
            interrupted.cancel();
        }
        if writer.write_all(&typed.given).await.is_err() || typed.over {
            program = None;
        }
    }
    drop(program);
    pending().await
}

/// Runs a command of a probe or hook to its end: nothing, or what it printed when it failed.
pub(crate) async fn once(
    runtime: &Arc<dyn Runtime>,
    container: &Container,
    command: &[String],
    limit: Duration,
) -> Result<(), String> {
    let _turn = container.turn()?;
    let output = Arc::new(Kept::default());
    let program = Program {
        args: command.to_vec(),
        place: container.place.clone(),
        stdin: Stdin::default(),
        terminal: false,
        stdout: output.clone(),
        stderr: output.clone(),
    };
    let ready = tokio::time::timeout(PREPARE_LIMIT, runtime.exec(&container.image, program)).await;
    let workload = match ready {
        Ok(started) => started.map_err(|failure| failure.to_string())?,
        Err(_) => return Err("it was not made ready in time".to_owned()),
    };
    let Exit { code, message, .. } = match tokio::time::timeout(limit, workload.wait()).await {
        Ok(exit) => exit,
        Err(_) => {
            let seconds = limit.as_secs();
            return Err(format!("command timed out: {:?} timed out after {seconds}s", command.join(" ")));
        }
    };
    let printed = output.text();
    match (code, printed.is_empty()) {
        (0, _) => Ok(()),
        (_, false) => Err(printed),
        (code, true) if message.is_empty() => Err(format!("command {:?} exited with {code}", command.join(" "))),
        _ => Err(message),
    }
}
