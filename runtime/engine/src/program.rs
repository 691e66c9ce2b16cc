//! A component that is ready to be instantiated.

use crate::{InstanceSpec, ProgramKind, Running, Service, StartError};

/// A component, compiled and with its imports linked.
pub struct Program {
    kind: ProgramKind,
    digest: String,
}

impl Program {
    /// How it is run.
    pub fn kind(&self) -> ProgramKind {
        self.kind
    }

    /// The digest of the file that it was made from.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Starts a command on the guests' threads.
    pub async fn run(&self, spec: InstanceSpec) -> Result<Running, StartError> {
        let _ = spec;
        Err(StartError::Stopping)
    }

    /// Makes a service, after one instance was made on trial and dropped.
    pub async fn serve(&self, spec: InstanceSpec) -> Result<Service, StartError> {
        let _ = spec;
        Err(StartError::Stopping)
    }
}
