//! The controllers: what makes the cluster become what its objects say.
//!
//! Each kind's module decides: a pure `reconcile(view, now) -> Plan`, told nothing of what changed, only to look again.
//! `driver` is the one place that watches, queues and writes; it runs the scheduler too.
//!
//! | module | what it sees to |
//! |---|---|
//! | `deployment`, `replicaset` | rollouts and the number of pods |
//! | `daemonset`, `statefulset`, `job` | a pod on every node, pods with names of their own, pods that run to their end |
//! | `cronjob` | jobs that come due |
//! | `autoscaler` | as many pods as what they use asks for |
//! | `members`, `revision` | what these have in common: whose pods are whose, and the templates that there were |
//! | `endpointslice`, `endpoints` | which pods stand behind a Service, or what people say does |
//! | `service_address` | an object for each address of a Service |
//! | `service_block` | what Services get their addresses from |
//! | `namespace`, `service_account` | what namespaces have, and that they go with all that is in them |
//! | `account_token` | tokens of service accounts in Secrets |
//! | `garbage` | what owners leave behind |
//! | `node` | nodes that are lost, when that moves their pods, and the addresses of pods |
//! | `terminated` | that pods which have ended do not pile up |
//! | `csr` | certificates of nodes and users |
//! | `definition` | the names of custom resources, and that they go with their definitions |
//! | `api_service` | an APIService for each group and version of custom resources |
//! | `cluster_role` | roles that are put together from others |
//! | `disruption_budget` | how many pods may be evicted |
//! | `volume` | that claims get volumes, and volumes go with their claims |
//! | `storage_protection` | that claims and volumes in use stay |

pub mod account_token;
pub mod action;
pub mod api_service;
pub mod autoscaler;
pub mod cluster_role;
pub mod cronjob;
pub mod csr;
pub mod daemonset;
pub mod definition;
pub mod deployment;
pub mod disruption_budget;
pub mod endpoints;
pub mod endpointslice;
mod figures;
pub mod garbage;
mod hash;
pub mod job;
pub mod members;
pub mod namespace;
pub mod node;
pub mod object;
pub mod pods;
pub mod ports;
pub mod replicaset;
pub mod revision;
pub mod service_account;
pub mod service_address;
pub mod service_block;
pub mod statefulset;
pub mod storage_protection;
pub mod terminated;
pub mod volume;

mod driver;

#[cfg(test)]
mod world;

use std::sync::Arc;

use pal_registry::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use driver::MissingResource;
pub use figures::Figures;
pub use ports::{
    AccountToken, CertificateSigner, CsrSubject, NodeLiveness, PodMetrics, Timing, TokenSigner, VolumeDirectories,
};

/// What the controllers are given.
#[derive(Clone)]
pub struct Options {
    /// The cluster's root certificate, which every namespace gets as `kube-root-ca.crt`. Empty: none is published.
    pub root_ca_pem: String,
    pub liveness: Arc<dyn NodeLiveness>,
    pub signer: Arc<dyn CertificateSigner>,
    pub tokens: Arc<dyn TokenSigner>,
    pub metrics: Arc<dyn PodMetrics>,
    pub directories: Arc<dyn VolumeDirectories>,
    pub timing: Timing,
    /// Names and addresses that are the API's: no node may be called so, or have a serving certificate for one.
    pub reserved_addresses: Vec<String>,
    /// What is counted goes there.
    pub figures: Arc<Figures>,
}

/// The running controllers. Dropping them stops them too, without waiting.
pub struct Controllers {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
}

/// Starts the controllers and the scheduler. They run until [`Controllers::stop`], or until `stop` is cancelled.
pub fn start(registry: Registry, options: Options, stop: CancellationToken) -> Result<Controllers, MissingResource> {
    let tracker = TaskTracker::new();
    let stop = stop.child_token();
    let failed = CancellationToken::new();
    driver::start(registry, options, &driver::Tasks { tracker: &tracker, stop: &stop, failed: &failed })?;
    tracker.close();
    Ok(Controllers { tracker, stop, failed })
}

impl Controllers {
    /// Returns when a task of the controllers has ended that should not have. They no longer do their work then.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops all tasks and waits until they are gone.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tracker.wait().await;
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
