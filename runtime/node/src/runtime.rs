//! What the pods' tasks need of images, components and the network, as one interface: the real one is
//! [`crate::wasm`], tests have one of their own.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use pal_engine::{LogSink, Mount, Stdin};
use pal_image::Defaults;
use pal_lifecycle::{Exit, Image, ImageFailure, ProbeAction, StartFailure};
use pal_resources::host_port::HostPort;

use crate::exec::Place;

/// An artifact on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalImage {
    /// For the status.
    pub(crate) image: Image,
    /// Of the Wasm file.
    pub(crate) digest: String,
    pub(crate) path: PathBuf,
    /// What is run where the container does not say it.
    pub(crate) defaults: Option<Defaults>,
}

/// A container, ready to be started.
pub(crate) struct LaunchSpec {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    /// Bytes.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) request_timeout: Duration,
    pub(crate) ip: Ipv4Addr,
    /// Where an HTTP service is reached.
    pub(crate) ports: Vec<u16>,
    /// Ports of the node that lead there.
    pub(crate) host_ports: Vec<HostPort>,
    /// The ports that the pod's other containers serve on.
    pub(crate) claims: PortClaims,
    pub(crate) stdin: Stdin,
    pub(crate) terminal: bool,
    pub(crate) stdout: Arc<dyn LogSink>,
    pub(crate) stderr: Arc<dyn LogSink>,
}

/// A program that runs in a container beside the container's own.
pub(crate) struct Program {
    /// With its name first.
    pub(crate) args: Vec<String>,
    pub(crate) place: Place,
    pub(crate) stdin: Stdin,
    pub(crate) terminal: bool,
    pub(crate) stdout: Arc<dyn LogSink>,
    pub(crate) stderr: Arc<dyn LogSink>,
}

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecFailure {
    #[error("exec: {0:?}: executable file not found in $PATH")]
    NotFound(String),
    #[error(
        "exec: {0:?}: executable file not found in $PATH (the container is an HTTP service, which has no command of its own)"
    )]
    NoCommand(String),
    #[error("{0}")]
    Other(String),
}

/// Which container of a pod serves on which port; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortClaims(Arc<Mutex<HashMap<u16, Arc<str>>>>);

impl PortClaims {
    /// Claims the ports for a container, all or none. Who has one of them already is in the error.
    pub(crate) fn claim(&self, container: &str, ports: &[u16]) -> Result<PortClaim, String> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((port, other)) = ports.iter().find_map(|port| Some((port, taken.get(port)?))) {
            return Err(format!(
                "containers {other} and {container} both serve on port {port} of the pod: give each a containerPort of its own"
            ));
        }
        let owner: Arc<str> = container.into();
        taken.extend(ports.iter().map(|port| (*port, owner.clone())));
        Ok(PortClaim { all: self.clone(), owner })
    }
}

/// The ports of one run, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct PortClaim {
    all: PortClaims,
    owner: Arc<str>,
}

impl Drop for PortClaim {
    fn drop(&mut self) {
        let mut taken = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, owner| !Arc::ptr_eq(owner, &self.owner));
    }
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

    /// Starts a program in a container of that image: one of the tools, or the container's component with other arguments.
    async fn exec(&self, image: &LocalImage, program: Program) -> Result<Arc<dyn Workload>, ExecFailure>;

    /// Reaches the pod as a probe or a hook does. The status of the answer, where there is one; the caller judges it and
    /// limits the time.
    async fn reach(&self, ip: Ipv4Addr, action: &ProbeAction) -> Result<Option<StatusCode>, String>;
}

/// A container that runs.
#[async_trait]
pub(crate) trait Workload: Send + Sync {
    /// Whether it ends by itself; a service does not.
    fn ends(&self) -> bool;

    /// Whether it takes Ctrl-C from what it reads, as ETX, and deals with it.
    fn heeds_interrupts(&self) -> bool {
        false
    }

    /// Another memory limit in bytes from now on; refused with what it has, where that is more.
    fn set_memory_limit(&self, bytes: u64) -> Result<(), u64>;

    /// Waits until it has ended.
    async fn wait(&self) -> Exit;

    /// Ends it within the grace, and says how it ended. A service stays reachable for `notice`, which is part of the
    /// grace, so that others hear of the end before it comes. It may be called again with less.
    async fn stop(&self, notice: Duration, grace: Duration) -> Exit;
}

/// The exit code of what was asked to end (128 + SIGTERM).
pub(crate) const CANCELLED: i32 = 143;
/// Of what was interrupted (128 + SIGINT).
pub(crate) const INTERRUPTED: i32 = 130;
/// Of what was killed (128 + SIGKILL).
pub(crate) const KILLED: i32 = 137;
/// Of a trap (128 + SIGABRT), as wasmtime's own command line has it.
pub(crate) const TRAPPED: i32 = 134;

/// An end with that code.
pub(crate) fn exit(code: i32, message: impl Into<String>) -> Exit {
    Exit { code, out_of_memory: false, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_containers_until_it_ends() {
        let claims = PortClaims::default();
        let first = claims.claim("a", &[8080, 9090]).unwrap();
        let refused = claims.claim("b", &[80, 9090]).unwrap_err();
        assert!(refused.starts_with("containers a and b both serve on port 9090"), "{refused}");
        let other = claims.claim("b", &[80]).unwrap();
        drop(first);
        let again = claims.claim("a", &[8080]).unwrap();
        assert!(claims.claim("c", &[80]).is_err(), "what others have is not let go");
        drop((other, again));
        claims.claim("c", &[80, 8080]).unwrap();
    }
}
