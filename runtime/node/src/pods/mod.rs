//! The node's pods: one task each, which owns the pod's machine and carries its effects out.

mod claims;
mod effects;
pub(crate) mod env;
mod env_file;
pub(crate) mod fields;
pub(crate) mod host_ports;
mod launch;
mod manager;
mod records;
mod report;
mod reporting;
mod resize;
mod root;
pub(crate) mod services;
mod sources;
mod storage;
mod termination;
mod tokens;
mod user;
mod volumes;
mod worker;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::addresses::{Addresses, Block};
use crate::clock::Clock;
use crate::disk;
use crate::events::Recorder;
use crate::exec::Container;
use crate::local_volumes::LocalVolumes;
use crate::logs::LogStore;
use crate::runtime::Runtime;
pub(crate) use fields::Capacity;
pub(crate) use manager::Manager;
pub(crate) use records::Records;
pub(crate) use root::tell_sizes;

/// What all pods of the node share.
pub(crate) struct Shared {
    pub(crate) client: kube::Client,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) logs: Arc<LogStore>,
    pub(crate) addresses: Addresses,
    pub(crate) recorder: Recorder,
    pub(crate) records: Records,
    pub(crate) clock: Clock,
    pub(crate) host_ip: IpAddr,
    pub(crate) capacity: Capacity,
    /// What containers are told of Services.
    pub(crate) services: services::Services,
    pub(crate) host_ports: host_ports::HostPorts,
    /// The cluster's root certificate, PEM.
    pub(crate) root_ca: String,
    /// Below it, each pod's volumes by uid.
    pub(crate) volumes_dir: PathBuf,
    /// Volumes that outlive pods.
    pub(crate) local_volumes: Arc<LocalVolumes>,
    /// Where the node's blocks of addresses are kept.
    pub(crate) blocks_file: PathBuf,
    /// Status writes at a time.
    pub(crate) writes: Semaphore,
    /// How long what runs has when the agent stops.
    pub(crate) stop_grace: OnceLock<Duration>,
    /// Told when the node's own object is gone, or says that nothing is known of the node.
    pub(crate) unregistered: Notify,
    /// Told when the node does not offer what others have given it capacity for.
    pub(crate) unoffered: Notify,
}

impl Shared {
    /// The node has these blocks of addresses now.
    pub(crate) fn set_blocks(&self, blocks: &[Block]) {
        if !self.addresses.set_blocks(blocks.to_vec()) {
            return;
        }
        let texts: Vec<String> = blocks.iter().map(Block::to_string).collect();
        let kept = serde_json::to_vec(&texts).map_err(std::io::Error::other);
        if let Err(error) = kept.and_then(|text| disk::replace(&self.blocks_file, &text, 0o600)) {
            tracing::warn!(%error, "blocks of pod addresses not kept on disk");
        }
    }
}

/// What is wanted of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// As this object says.
    Object(Arc<Pod>),
    /// It is gone from the API.
    Gone,
}

/// A pod's task, from outside.
pub(crate) struct PodHandle {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    wanted: watch::Sender<Wanted>,
    /// The last status that the task made.
    status: Mutex<Option<Arc<PodStatus>>>,
    /// The address that the task holds for the pod.
    address: Mutex<Option<IpAddr>>,
    /// The containers that run, by their names.
    running: Mutex<HashMap<String, Arc<Container>>>,
    /// Ends the task and what it runs, and leaves the pod on disk.
    stop: CancellationToken,
}

impl PodHandle {
    pub(crate) fn status(&self) -> Option<Arc<PodStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The task holds this address from now on; returns the one before.
    fn hold(&self, address: Option<IpAddr>) -> Option<IpAddr> {
        std::mem::replace(&mut *self.address.lock().unwrap_or_else(PoisonError::into_inner), address)
    }

    /// The container of that name, if it runs.
    pub(crate) fn running(&self, name: &str) -> Option<Arc<Container>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The container runs from now on.
    fn enter(&self, container: Arc<Container>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(container.name.clone(), container);
    }

    /// The container's run is over, and what else runs in it.
    fn leave(&self, container: &Arc<Container>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(&container.name).is_some_and(|now| Arc::ptr_eq(now, container)) {
            running.remove(&container.name);
        }
        container.end();
    }

    fn set_status(&self, status: Arc<PodStatus>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::kubelet_for_tests;
