//! The errors of this crate.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The cache directory cannot be made or used.
    #[error("compile cache {}: {source}", path.display())]
    Cache {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// wasmtime refused its settings, or its pool could not be reserved.
    #[error("wasmtime: {0}")]
    Wasmtime(String),
    /// A thread could not be started.
    #[error("threads of the engine: {0}")]
    Threads(#[source] io::Error),
}

/// Why a file is not a program that can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The file is something else than WebAssembly.
    #[error("not WebAssembly: the file does not begin with \"\\0asm\"")]
    NotWasm,
    /// The file begins like WebAssembly and is broken or not valid.
    #[error("malformed WebAssembly: {0}")]
    Malformed(String),
    /// Imports that neither WASI as it is offered here nor anything else provides.
    #[error("nothing provides {}", .0.join(", "))]
    MissingImports(Vec<String>),
    /// Valid, but needs what is not built yet.
    #[error("{what} is not supported yet")]
    Unsupported {
        /// What it needs, as in "wasi:sockets/tcp@0.2.0".
        what: String,
    },
    /// The compiler refused it.
    #[error("compilation failed: {0}")]
    CompileFailed(String),
    /// The file is larger than what is accepted, or the compiler needed more memory than it may use.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The compiler took longer than it may.
    #[error("compilation took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    /// A file could not be read or written.
    #[error("{0}")]
    Io(String),
}

/// Why a program could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `run` wants a command and `serve` a service.
    #[error("the component is {found}, not {wanted}")]
    WrongKind {
        /// What it is.
        found: &'static str,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// A mount cannot be opened.
    #[error("mount {guest}: {}: {why}", host.display())]
    Mount {
        /// Where the guest would see it.
        guest: String,
        /// The directory on this machine.
        host: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The trial instance of a service trapped.
    #[error("{0}")]
    Trap(String),
    /// The trial instance needs more memory than the limit allows.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The trial instance did not come up in time.
    #[error("did not start within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The node runs as many instances as it can.
    #[error("no room for another instance: {0}")]
    NoRoom(String),
    /// The engine is shutting down.
    #[error("the engine is stopping")]
    Stopping,
}
