//! The audit log: who asked for what, and what became of it, as Kubernetes has it (`audit.k8s.io/v1`).
//!
//! `policy` says what of a request is told, `event` how that is told, `log` keeps it in files. A [`Trail`] goes with a request
//! from its arrival to the end of its answer. Without a policy there is none of it.

mod event;
mod log;
pub(crate) mod policy;
mod trail;

use std::path::PathBuf;
use std::sync::Arc;

use crate::ServerError;

pub(crate) use self::policy::{Asked, Object};
pub(crate) use self::trail::{ID, Trail, id_of};

use self::log::Log;
use self::policy::Policy;

/// What is told, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// A `Policy` of `audit.k8s.io/v1`.
    pub policy_file: PathBuf,
    /// `-` is the standard output.
    pub log_path: PathBuf,
    /// A file that grows beyond this is put aside, in MiB; 0 is 100.
    pub max_size_mib: u64,
    /// How many files are kept that were put aside; 0 keeps all.
    pub max_backups: usize,
    /// For how many days; 0 keeps them for ever.
    pub max_age_days: u64,
}

/// What tells of requests.
pub(crate) struct Auditor {
    policy: Policy,
    log: Log,
}

impl Auditor {
    /// Reads the policy and opens the log.
    pub(crate) fn open(config: &AuditConfig) -> Result<Arc<Self>, ServerError> {
        let path = &config.policy_file;
        let wrong = |path: &PathBuf, why: String| ServerError::File { path: path.clone(), why };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(path, error.to_string()))?;
        let policy = Policy::parse(&text).map_err(|why| wrong(path, why))?;
        let log = Log::open(config).map_err(|error| wrong(&config.log_path, error.to_string()))?;
        Ok(Arc::new(Self { policy, log }))
    }

    /// Waits, within a limit, until all that was told is written.
    pub(crate) async fn flush(&self) {
        self.log.flush().await;
    }
}
