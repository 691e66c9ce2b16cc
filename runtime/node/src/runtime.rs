//! What the pods' tasks need of images, components and the network, as one interface: the real one is
//! [`crate::wasm`], tests have one of their own.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pal_engine::Mount;
use pal_lifecycle::{Exit, Image, ImageFailure, ProbePlan, StartFailure};

use crate::logs::ContainerLog;

/// An artifact on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalImage {
    /// For the status.
    pub(crate) image: Image,
    /// Of the Wasm file.
    pub(crate) digest: String,
    pub(crate) path: PathBuf,
}

/// A container, ready to be started.
pub(crate) struct LaunchSpec {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    /// Bytes.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) request_timeout: Duration,
    pub(crate) ip: Ipv4Addr,
    /// Where an HTTP service is reached.
    pub(crate) ports: Vec<u16>,
    pub(crate) log: Arc<ContainerLog>,
}

/// Runs components.
#[async_trait]
pub(crate) trait Runtime: Send + Sync + 'static {
    /// The image, if it is on this node.
    async fn find_image(&self, reference: &str) -> Result<Option<LocalImage>, ImageFailure>;

    /// The image, brought here. With `or_local`, one that is here does when the registry cannot be asked.
    async fn pull_image(&self, reference: &str, or_local: bool) -> Result<LocalImage, ImageFailure>;

    /// Starts a container.
    async fn launch(&self, image: &LocalImage, spec: LaunchSpec) -> Result<Arc<dyn Workload>, StartFailure>;

    /// Probes once; the caller limits the time.
    async fn probe(&self, ip: Ipv4Addr, plan: &ProbePlan) -> Result<(), String>;
}

/// A container that runs.
#[async_trait]
pub(crate) trait Workload: Send + Sync {
    /// Whether it ends by itself; a service does not.
    fn ends(&self) -> bool;

    /// Waits until it has ended.
    async fn wait(&self) -> Exit;

    /// Ends it within the grace, and says how it ended. A service stays reachable for `notice`, which is part of the
    /// grace, so that others hear of the end before it comes. It may be called again with less.
    async fn stop(&self, notice: Duration, grace: Duration) -> Exit;
}

/// The exit code of what was asked to end (128 + SIGTERM).
pub(crate) const CANCELLED: i32 = 143;
/// Of what was killed (128 + SIGKILL).
pub(crate) const KILLED: i32 = 137;
/// Of a trap (128 + SIGABRT), as wasmtime's own command line has it.
pub(crate) const TRAPPED: i32 = 134;

/// An end with that code.
pub(crate) fn exit(code: i32, message: impl Into<String>) -> Exit {
    Exit { code, out_of_memory: false, message: message.into() }
}
