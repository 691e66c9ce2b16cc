//! What a workload's instances are given, and how they end.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncRead;

use crate::{Meter, NoOutbound, Outbound};

/// Takes what a guest writes to stdout or stderr.
pub trait LogSink: Send + Sync {
    /// Takes bytes as the guest wrote them, in order, not cut at lines. It is called on the guests' threads and must not
    /// block for long.
    fn write(&self, bytes: &[u8]);

    /// Waits until the sink takes more; a guest that writes waits as long. A sink that does not say so takes all.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }
}

/// Nobody reads any more what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads any more what is written")]
pub struct Closed;

type Reader = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// What a guest reads from stdin; of several instances the first to ask has it, the others read nothing. The default has
/// nothing to read.
#[derive(Clone, Default)]
pub struct Stdin(Arc<Mutex<Option<Reader>>>);

impl Stdin {
    /// All that comes from a reader.
    pub fn new(reader: impl AsyncRead + Send + Sync + Unpin + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(reader)))))
    }

    pub(crate) fn take(&self) -> Option<Reader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A sink that forgets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl LogSink for Discard {
    fn write(&self, _bytes: &[u8]) {}
}

/// A directory of this machine that guests see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The directory here, which is opened once for all instances. A file is mounted by mounting its directory.
    pub host: PathBuf,
    /// The directory below it that guests see instead; empty for itself. Links on the way there are refused, as guests
    /// may have made them.
    pub sub_path: PathBuf,
    /// The absolute path that guests see it at.
    pub guest: String,
    /// Whether guests may only read.
    pub read_only: bool,
}

/// All that the instances of one workload may see and use.
#[derive(Clone)]
pub struct InstanceSpec {
    /// The arguments, the program's name first.
    pub args: Vec<String>,
    /// The environment, in order; of two with one name the last counts.
    pub env: Vec<(String, String)>,
    /// Directories.
    pub mounts: Vec<Mount>,
    /// What is read from stdin.
    pub stdin: Stdin,
    /// Whether guests are told that their streams are a terminal.
    pub terminal: bool,
    /// Where stdout goes.
    pub stdout: Arc<dyn LogSink>,
    /// Where stderr goes, and the messages of traps in requests.
    pub stderr: Arc<dyn LogSink>,
    /// Bytes of linear memory and tables that all live instances together may have; `None` for no
    /// limit but the engine's.
    pub memory_limit: Option<u64>,
    /// Where the guests' own requests go.
    pub outbound: Arc<dyn Outbound>,
    /// How long a request may take until its response's head is there, waiting for room included. The body that
    /// follows may stream for as long as it makes progress.
    pub request_timeout: Duration,
    /// What counts what the instances use.
    pub meter: Arc<Meter>,
    /// Requests that the workload handles at a time; `None` for the engine's default.
    pub max_requests: Option<usize>,
}

impl Default for InstanceSpec {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            stdin: Stdin::default(),
            terminal: false,
            stdout: Arc::new(Discard),
            stderr: Arc::new(Discard),
            memory_limit: None,
            outbound: Arc::new(NoOutbound),
            request_timeout: Duration::from_secs(30),
            meter: Arc::default(),
            max_requests: None,
        }
    }
}

impl fmt::Debug for InstanceSpec {
    /// Leaves the environment's values out: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("InstanceSpec")
            .field("args", &self.args)
            .field("env", &names)
            .field("mounts", &self.mounts)
            .field("memory_limit", &self.memory_limit)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It returned or called exit.
    Code(i32),
    /// It trapped; the message says why.
    Trap(String),
    /// It needed more memory than its limit allows.
    OutOfMemory,
    /// It was cancelled.
    Cancelled,
}
