//! The engine: wasmtime with its pool, the guests' threads and the ticker.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::WasiFilesystem;
use wasmtime_wasi::{p2::bindings as p2, p3::bindings as p3};

use crate::budget::Budget;
use crate::cache::Cache;
use crate::hooks::elsewhere;
use crate::prepare::Programs;
use crate::settings;
use crate::ticker::{Alive, Ticker};
use crate::workload::Guest;
use crate::{EngineConfig, EngineError, OutboundError, PrepareError, Program};

/// Compiles and runs components. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: EngineConfig,
    wasm: wasmtime::Engine,
    linker: Linker<Guest>,
    cache: Cache,
    programs: Programs,
    compiling: Semaphore,
    room: Arc<Semaphore>,
    memory: Arc<Budget>,
    ticker: Ticker,
    guests: GuestThreads,
    /// The runtime that the engine was made in; the guests' connections are driven there.
    io: Option<Handle>,
}

impl Engine {
    /// Reserves the pool, starts the guests' threads and the ticker, and opens the compile cache.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let slots = settings::slots(config.max_instances, settings::max_map_count());
        let wasm = pool_or_on_demand(&config, slots)?;
        let cache_error = |source| EngineError::Cache { path: config.cache_dir.clone(), source };
        let cache = Cache::open(&config.cache_dir, &settings::fingerprint(&wasm)).map_err(cache_error)?;
        let linker = link(&wasm).map_err(|e| EngineError::Wasmtime(format!("{e:#}")))?;
        let inner = Inner {
            linker,
            cache,
            programs: Programs::default(),
            compiling: Semaphore::new(config.parallel_compiles.max(1)),
            room: Arc::new(Semaphore::new(slots as usize)),
            memory: Budget::node(config.memory_budget_bytes),
            ticker: Ticker::start(&wasm).map_err(EngineError::Threads)?,
            guests: GuestThreads::start(&config).map_err(EngineError::Threads)?,
            io: Handle::try_current().ok(),
            wasm,
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The settings that it was started with.
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// Makes a program of the component or core module in the file `wasm`, whose content has the digest `digest`
    /// (`sha256:…`). Concurrent calls with one digest share the work, and so do programs that are still in use.
    pub async fn prepare(&self, wasm: &Path, digest: &str) -> Result<Arc<Program>, PrepareError> {
        self.inner.programs.prepare(self, wasm, digest).await
    }

    pub(crate) fn wasm(&self) -> &wasmtime::Engine {
        &self.inner.wasm
    }

    pub(crate) fn linker(&self) -> &Linker<Guest> {
        &self.inner.linker
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.inner.cache
    }

    /// One permit for each compilation that may run.
    pub(crate) fn compiling(&self) -> &Semaphore {
        &self.inner.compiling
    }

    /// One permit for each instance that may be alive.
    pub(crate) fn room(&self) -> &Arc<Semaphore> {
        &self.inner.room
    }

    /// The memory that all instances share.
    pub(crate) fn memory(&self) -> &Arc<Budget> {
        &self.inner.memory
    }

    pub(crate) fn alive(&self) -> Alive {
        self.inner.ticker.alive()
    }

    /// The guests' threads.
    pub(crate) fn guests(&self) -> &Handle {
        &self.inner.guests.handle
    }

    /// Runs a guest's outgoing request on the node's own threads.
    pub(crate) fn on_io<T, F>(&self, future: F) -> impl Future<Output = Result<T, OutboundError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, OutboundError>> + Send + 'static,
    {
        elsewhere(self.inner.io.clone(), future)
    }
}

/// wasmtime with a pool, or without one where so much address space cannot be had.
fn pool_or_on_demand(config: &EngineConfig, slots: u32) -> Result<wasmtime::Engine, EngineError> {
    match wasmtime::Engine::new(&settings::pooled(config, slots)) {
        Ok(engine) => Ok(engine),
        Err(why) => {
            tracing::warn!(error = %format!("{why:#}"), slots, "no pool for instances, each is mapped by itself");
            wasmtime::Engine::new(&settings::code()).map_err(|e| EngineError::Wasmtime(format!("{e:#}")))
        }
    }
}

/// Links all host interfaces once; every program is linked against the result.
fn link(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    // The mounts are in a context of their own.
    linker.allow_shadowing(true);
    p2::filesystem::preopens::add_to_linker::<Guest, WasiFilesystem>(&mut linker, Guest::preopens)?;
    p3::filesystem::preopens::add_to_linker::<Guest, WasiFilesystem>(&mut linker, Guest::preopens)?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// A runtime of their own for the guests, on threads of a lower priority.
struct GuestThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl GuestThreads {
    fn start(config: &EngineConfig) -> io::Result<Self> {
        let nice = config.nice;
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.workers.max(1))
            .max_blocking_threads(64)
            .thread_name("pal-guest")
            .enable_all()
            .on_thread_start(move || lower_priority(nice))
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for GuestThreads {
    /// The last reference may go anywhere, also on a thread that must not block.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// On Linux the priority is a thread's own.
fn lower_priority(nice: i32) {
    let thread = rustix::thread::gettid();
    if let Err(e) = rustix::process::setpriority_process(Some(thread), nice) {
        tracing::debug!(error = %e, "a guests' thread keeps its priority");
    }
}
