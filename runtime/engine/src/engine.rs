//! The engine: wasmtime with its pool, the guests' threads and the ticker.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::{EngineConfig, EngineError, PrepareError, Program};

/// Compiles and runs components. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    config: Arc<EngineConfig>,
}

impl Engine {
    /// Reserves the pool, starts the guests' threads and the ticker, and opens the compile cache.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The settings that it was started with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Makes a program of the component or core module in the file `wasm`, whose content has the digest `digest`
    /// (`sha256:…`). Concurrent calls with one digest share the work.
    pub async fn prepare(&self, wasm: &Path, digest: &str) -> Result<Arc<Program>, PrepareError> {
        let _ = (wasm, digest);
        Err(PrepareError::NotWasm)
    }
}

/// What the hidden subcommand `compile-worker` runs: the other end of [`Compile::Child`](crate::Compile::Child).
pub fn compile_worker_main() -> ExitCode {
    ExitCode::FAILURE
}
