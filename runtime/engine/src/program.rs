//! A component that is ready to be instantiated.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::command;
use crate::engine::Engine;
use crate::service;
use crate::workload::{Guest, Workload};
use crate::{InstanceSpec, ProgramKind, Running, Service, StartError};

/// Handles of the host's (open files among them) that a command may have at a time.
const MAX_COMMAND_HANDLES: usize = 4096;

/// The same for an instance that handles one request.
const MAX_REQUEST_HANDLES: usize = 512;

/// A component, compiled and with its imports linked.
pub struct Program {
    engine: Engine,
    kind: ProgramKind,
    digest: String,
    /// How many slots of the pool an instance takes.
    slots: u32,
    pre: Pre,
    /// The entry point of a service that has one beside.
    run: Option<Pre>,
    /// The memory that an instance has before anything is called, once one has been made.
    initial_bytes: AtomicU64,
}

/// What instances are made of, with the exports looked up.
pub(crate) enum Pre {
    CommandP2(wasmtime_wasi::p2::bindings::CommandPre<Guest>),
    CommandP3(wasmtime_wasi::p3::bindings::CommandPre<Guest>),
    ServiceP2(wasmtime_wasi_http::p2::bindings::ProxyPre<Guest>),
    ServiceP3(wasmtime_wasi_http::p3::bindings::ServicePre<Guest>),
}

impl Program {
    pub(crate) fn new(
        engine: Engine,
        kind: ProgramKind,
        digest: String,
        slots: u32,
        pre: Pre,
        run: Option<Pre>,
    ) -> Self {
        Self { engine, kind, digest, slots, pre, run, initial_bytes: AtomicU64::new(0) }
    }

    /// How it is run.
    pub fn kind(&self) -> ProgramKind {
        self.kind
    }

    /// The digest of the file that it was made from.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many slots of the pool an instance takes.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) fn pre(&self) -> &Pre {
        &self.pre
    }

    /// What is called to run it from start to exit.
    pub(crate) fn entry(&self) -> &Pre {
        self.run.as_ref().unwrap_or(&self.pre)
    }

    pub(crate) fn initial_bytes(&self) -> u64 {
        self.initial_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_initial_bytes(&self, bytes: u64) {
        self.initial_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Starts a command on the guests' threads, or a service that exports `wasi:cli/run` too, as a command. Toolchains leave
    /// that in services where it does nothing: the caller knows that it is meant.
    pub async fn run(self: &std::sync::Arc<Self>, spec: InstanceSpec) -> Result<Running, StartError> {
        if self.kind != ProgramKind::Command && self.run.is_none() {
            return Err(self.wrong_kind(ProgramKind::Command));
        }
        let workload = Workload::new(self.engine.clone(), spec, MAX_COMMAND_HANDLES)?;
        command::start(self.clone(), workload)
    }

    /// Makes a service, after one instance was made on trial and dropped.
    pub async fn serve(self: &std::sync::Arc<Self>, spec: InstanceSpec) -> Result<Service, StartError> {
        if !matches!(self.kind, ProgramKind::HttpService { .. }) {
            return Err(StartError::WrongKind { found: self.kind.noun(), wanted: "an HTTP service" });
        }
        let workload = Workload::new(self.engine.clone(), spec, MAX_REQUEST_HANDLES)?;
        service::start(self.clone(), workload).await
    }

    fn wrong_kind(&self, wanted: ProgramKind) -> StartError {
        StartError::WrongKind { found: self.kind.noun(), wanted: wanted.noun() }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("kind", &self.kind).field("digest", &self.digest).finish_non_exhaustive()
    }
}
