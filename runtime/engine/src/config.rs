//! What an [`Engine`](crate::Engine) is started with.

use std::path::PathBuf;
use std::time::Duration;

use crate::machine;

/// What a machine is taken to have that does not tell.
const UNKNOWN_MACHINE_BYTES: u64 = 2 << 30;

/// Where machine code is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compile {
    /// In this process, without bounds on its memory: for tests and tools.
    InProcess,
    /// In a child process that is `exe` with the one argument `compile-worker`, whose `main` calls
    /// [`compile_worker_main`](crate::compile_worker_main).
    Child {
        /// The program to start, usually `std::env::current_exe()`.
        exe: PathBuf,
    },
}

/// The settings of an [`Engine`](crate::Engine); `EngineConfig::new` has sensible ones.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The directory of the compile cache; it is created with mode 0700.
    pub cache_dir: PathBuf,
    /// How components are compiled.
    pub compile: Compile,
    /// Threads that run guests.
    pub workers: usize,
    /// How much lower than the rest of the process the guests' threads are scheduled (0 to 19).
    pub nice: i32,
    /// The most that one linear memory may grow to, in bytes. It is address space that is reserved for each slot of the
    /// pool, not memory that is used.
    pub max_memory_bytes: u64,
    /// Linear memory and tables that the live instances of all workloads together may have, in bytes. Three quarters of
    /// the machine's memory, or of what the process may use of it, unless told otherwise.
    pub memory_budget_bytes: u64,
    /// What one instance may have, in bytes, of a workload that names no limit of its own.
    pub unlimited_instance_bytes: u64,
    /// Live instances that the pool has slots for; fewer when the kernel's limit on mappings does not allow so many.
    pub max_instances: u32,
    /// Requests that one service handles at a time; further ones wait briefly.
    pub max_requests_per_service: usize,
    /// Compilations that run at a time.
    pub parallel_compiles: usize,
    /// How long one compilation may take.
    pub compile_timeout: Duration,
    /// How much memory one compilation may use, in bytes.
    pub compile_memory_bytes: u64,
    /// The largest component that is prepared, in bytes.
    pub max_component_bytes: u64,
}

impl EngineConfig {
    /// The defaults, for a cache in `cache_dir` and compilation as `compile` says.
    pub fn new(cache_dir: PathBuf, compile: Compile) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self {
            cache_dir,
            compile,
            workers: cores,
            nice: 3,
            max_memory_bytes: 4 << 30,
            memory_budget_bytes: machine::memory_bytes().unwrap_or(UNKNOWN_MACHINE_BYTES) / 4 * 3,
            unlimited_instance_bytes: 1 << 30,
            max_instances: 4096,
            max_requests_per_service: 1024,
            parallel_compiles: cores.div_ceil(2),
            compile_timeout: Duration::from_secs(120),
            compile_memory_bytes: 4 << 30,
            max_component_bytes: 128 << 20,
        }
    }
}
