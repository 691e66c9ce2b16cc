//! Which pods there are: those on disk, and then those that the API says are bound to the node.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use pal_resources::admission::pod::MIRROR;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::worker::Worker;
use super::{PodHandle, Shared, Wanted};
use crate::disk;
use crate::error::NodeError;
use crate::watch::observe;

/// All pods of the node and their tasks.
pub(crate) struct Manager {
    shared: Arc<Shared>,
    /// By uid.
    pods: Mutex<HashMap<String, Arc<PodHandle>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Manager {
    /// Takes up the pods on disk, and removes what is left of others.
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Arc<Self>, NodeError> {
        let manager = Arc::new(Self {
            shared,
            pods: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        let dir = manager.shared.volumes_dir.clone();
        let pods = manager.shared.records.load().map_err(NodeError::io(&dir))?;
        let known: HashSet<String> = pods.iter().filter_map(|p| p.metadata.uid.clone()).collect();
        manager.shared.logs.sweep(|uid| known.contains(uid)).map_err(NodeError::io(&dir))?;
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|uid| !known.contains(uid)) {
                disk::remove_tree(&entry.path()).map_err(NodeError::io(entry.path()))?;
            }
        }
        for pod in pods {
            manager.apply(pod);
        }
        Ok(manager)
    }

    /// Follows the API until `cancel`.
    pub(crate) async fn follow(self: Arc<Self>, client: kube::Client, node: String, cancel: CancellationToken) {
        let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        // What a list that is under way has shown; afterwards the others are gone.
        let mut listed: HashSet<String> = HashSet::new();
        observe(Api::<Pod>::all(client), config, cancel, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(pod) => {
                listed.extend(pod.metadata.uid.clone());
                self.apply(pod);
            }
            Event::InitDone => self.forget_others(&listed),
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.gone(pod.metadata.uid.as_deref().unwrap_or_default()),
        })
        .await;
    }

    /// The pod of that name that is not gone.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodHandle>> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let mut named = pods.values().filter(|p| p.namespace == namespace && p.name == name);
        named.find(|p| *p.wanted.borrow() != Wanted::Gone).cloned()
    }

    /// The pods that are not gone, as the node sees them, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Pod> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = pods.values().filter_map(|handle| {
            let Wanted::Object(pod) = &*handle.wanted.borrow() else { return None };
            let status = handle.status().map(|status| (*status).clone()).or_else(|| pod.status.clone());
            Some(Pod { status, ..(**pod).clone() })
        });
        let mut all: Vec<Pod> = seen.collect();
        drop(pods);
        all.sort_by(|one, other| {
            (&one.metadata.namespace, &one.metadata.name).cmp(&(&other.metadata.namespace, &other.metadata.name))
        });
        all
    }

    /// How many pods there are.
    pub(crate) fn count(&self) -> usize {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends what runs, within the grace, and leaves the pods on disk.
    pub(crate) async fn stop(&self, grace: Duration) {
        // Only the first call's grace counts.
        let _ = self.shared.stop_grace.set(grace);
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace + Duration::from_secs(10), self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "pods did not end in time");
        }
    }

    pub(super) fn apply(self: &Arc<Self>, mut pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        // It shows what runs already. One that is being deleted has nothing to end and goes as any other.
        let is_mirror = pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR));
        if is_mirror && pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        pod.metadata.managed_fields = None;
        let pod = Arc::new(pod);
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = pods.get(&uid) {
            handle.wanted.send_if_modified(|wanted| {
                let news = match wanted {
                    Wanted::Object(old) => old.metadata.resource_version != pod.metadata.resource_version,
                    Wanted::Gone => false,
                };
                if news {
                    *wanted = Wanted::Object(pod);
                }
                news
            });
            return;
        }
        let (sender, receiver) = watch::channel(Wanted::Object(pod.clone()));
        let handle = Arc::new(PodHandle {
            uid: uid.clone(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            wanted: sender,
            status: Mutex::new(None),
            address: Mutex::new(None),
            running: Mutex::default(),
            stop: self.stop.child_token(),
        });
        let worker = Worker::new(self.shared.clone(), handle.clone(), receiver, pod);
        pods.insert(uid.clone(), handle.clone());
        let manager = self.clone();
        self.tasks.spawn(async move {
            // A handle without its worker would take news of the pod for ever and nobody would read them; without a
            // handle the next news make another worker.
            if AssertUnwindSafe(worker.run()).catch_unwind().await.is_err() {
                tracing::error!(namespace = handle.namespace, pod = handle.name, "the pod's task has panicked");
                // What it ran ended with it; nobody else gives the address back.
                if let Some(ip) = handle.hold(None) {
                    manager.shared.addresses.release(ip);
                }
            }
            manager.pods.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        });
    }

    pub(super) fn gone(&self, uid: &str) {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = pods.get(uid) {
            handle.wanted.send_replace(Wanted::Gone);
        }
    }

    pub(super) fn forget_others(&self, listed: &HashSet<String>) {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        for (uid, handle) in pods.iter() {
            if !listed.contains(uid) {
                handle.wanted.send_replace(Wanted::Gone);
            }
        }
    }
}
