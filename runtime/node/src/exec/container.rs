//! A container that runs, as others see it who join it or run programs in it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use pal_engine::{Closed, LogSink, Mount, Stdin};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::pipe::Pipe;
use crate::logs::{ContainerLog, Stream};
use crate::runtime::LocalImage;

/// Programs that run in one container beside its own.
const PROGRAMS: usize = 32;
/// Bytes of stdin that a container has not read.
const STDIN: usize = 64 * 1024;
/// What is remembered of a line that is not whole, such as a prompt, in bytes.
const PROMPT: usize = 1024;

/// What programs in a container see.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// The pod's.
    pub(crate) ip: Ipv4Addr,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    /// Bytes, for each program.
    pub(crate) memory_limit: Option<u64>,
}

/// A run of a container.
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: LocalImage,
    pub(crate) place: Place,
    pub(crate) io: Arc<Io>,
    /// Its component takes Ctrl-C from what it reads.
    pub(crate) heeds_interrupts: bool,
    ended: CancellationToken,
    turns: Arc<Semaphore>,
}

impl Container {
    pub(crate) fn new(name: String, image: LocalImage, place: Place, io: Arc<Io>, heeds_interrupts: bool) -> Self {
        let turns = Arc::new(Semaphore::new(PROGRAMS));
        Self { name, image, place, io, heeds_interrupts, ended: CancellationToken::new(), turns }
    }

    /// The run is over, and with it what else runs in it.
    pub(crate) fn end(&self) {
        self.io.end();
        self.ended.cancel();
    }

    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Room for one more program.
    pub(crate) fn turn(&self) -> Result<OwnedSemaphorePermit, String> {
        let turn = self.turns.clone().try_acquire_owned();
        turn.map_err(|_| format!("{PROGRAMS} programs run in container {:?} already", self.name))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a container asks for of its streams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    /// There is something to be read from stdin: what clients type.
    pub(crate) stdin: bool,
    /// It ends with the first client that ends its own.
    pub(crate) stdin_once: bool,
    pub(crate) tty: bool,
}

/// A container's streams: all goes to the log, and to who has joined.
pub(crate) struct Io {
    log: Arc<ContainerLog>,
    asked: Asked,
    joined: Mutex<Joined>,
    stdin: tokio::sync::Mutex<Option<DuplexStream>>,
}

#[derive(Default)]
struct Joined {
    clients: Vec<[Weak<Pipe>; 2]>,
    /// Of a terminal, the line that is not whole.
    line: Vec<u8>,
    over: bool,
}

impl Io {
    /// The streams of a run, and what it reads.
    pub(crate) fn new(log: Arc<ContainerLog>, asked: Asked) -> (Arc<Self>, Stdin) {
        let (writer, stdin) = match asked.stdin {
            true => {
                let (writer, reader) = tokio::io::duplex(STDIN);
                (Some(writer), Stdin::new(reader))
            }
            false => (None, Stdin::default()),
        };
        let stdin_writer = tokio::sync::Mutex::new(writer);
        (Arc::new(Self { log, asked, joined: Mutex::default(), stdin: stdin_writer }), stdin)
    }

    pub(crate) fn asked(&self) -> Asked {
        self.asked
    }

    /// Where the container's output of that stream goes.
    pub(crate) fn sink(self: &Arc<Self>, stream: Stream) -> Arc<dyn LogSink> {
        Arc::new(Sink { io: self.clone(), log: self.log.sink(stream), stream })
    }

    /// All output from now on goes there too, and what is on a terminal's last line.
    pub(crate) fn join(&self, stdout: &Arc<Pipe>, stderr: &Arc<Pipe>) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if joined.over {
            stdout.end();
            stderr.end();
            return;
        }
        stdout.put(&joined.line);
        joined.clients.push([Arc::downgrade(stdout), Arc::downgrade(stderr)]);
    }

    /// Gives the container something to read. False if it reads no more.
    pub(crate) async fn give(&self, bytes: &[u8]) -> bool {
        let mut stdin = self.stdin.lock().await;
        let Some(writer) = stdin.as_mut() else { return false };
        let given = writer.write_all(bytes).await.is_ok();
        if !given {
            *stdin = None;
        }
        given
    }

    /// A client has ended its stdin.
    pub(crate) async fn client_ended(&self) {
        if self.asked.stdin_once {
            *self.stdin.lock().await = None;
        }
    }

    /// How many have joined and are still there.
    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.pipes(Stream::Stdout).len()
    }

    fn end(&self) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.over = true;
        for pipe in joined.clients.drain(..).flatten() {
            if let Some(pipe) = pipe.upgrade() {
                pipe.end();
            }
        }
    }

    /// Who has joined and is still there.
    fn pipes(&self, stream: Stream) -> Vec<Arc<Pipe>> {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.clients.retain(|client| client[0].strong_count() > 0);
        joined.clients.iter().filter_map(|client| client[stream as usize].upgrade()).collect()
    }

    fn remember(&self, bytes: &[u8]) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let from = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                joined.line.clear();
                end + 1
            }
            None => 0,
        };
        let room = PROMPT.saturating_sub(joined.line.len());
        let rest = &bytes[from..];
        joined.line.extend_from_slice(&rest[..rest.len().min(room)]);
    }
}

struct Sink {
    io: Arc<Io>,
    log: Arc<dyn LogSink>,
    stream: Stream,
}

impl LogSink for Sink {
    fn write(&self, bytes: &[u8]) {
        self.log.write(bytes);
        for pipe in self.io.pipes(self.stream) {
            pipe.write(bytes);
        }
        if self.io.asked.tty {
            self.io.remember(bytes);
        }
    }

    /// The slowest of who has joined; a client that is gone is waited for by nobody.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        match self.io.pipes(self.stream).iter().any(|pipe| pipe.poll_room(cx).is_pending()) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }
}
