//! The control plane among the pods. Where Kubernetes' server runs on a node, a mirror pod in `kube-system` shows it: an
//! object that stands for what runs there although nobody started it through the API, and clients look for it. `pal up`
//! shows its own process so, by one pod for each part that clients know as one. The node leaves mirror pods alone; they
//! have the process' log in common, which the node keeps.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use pal_controllers::pods::is_ready;
use pal_node::HostPod;
use pal_registry::{DeleteOptions, Registry, Typed, WatchEvent, WatchOptions};
use pal_resources::Status;
use pal_resources::admission::pod::MIRROR;
use pal_resources::selector::FieldSelector;
use serde_json::{Value, json};

const NAMESPACE: &str = "kube-system";
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);

/// A part of the process that has a pod.
#[derive(Clone, Copy)]
struct Part {
    /// What the pod's name begins with, and its container's.
    name: &'static str,
    /// The label that tells it, as other clusters have it.
    label: (&'static str, &'static str),
}

const PARTS: [Part; 2] = [
    Part { name: "palinurus", label: ("component", "kube-apiserver") },
    Part { name: "metrics-server", label: ("k8s-app", "metrics-server") },
];

/// What the pods show.
pub struct Shown {
    pub node: String,
    pub address: IpAddr,
    pub started: Timestamp,
}

impl Part {
    fn pod(self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }
}

/// The pods of a node's process, as the node knows them.
pub fn pods(node: &str) -> Vec<HostPod> {
    let pod =
        |part: Part| HostPod { namespace: NAMESPACE.to_owned(), name: part.pod(node), container: part.name.to_owned() };
    PARTS.map(pod).into()
}

impl Shown {
    /// The pod, without what it does.
    fn pod(&self, part: Part, node_uid: &str) -> Value {
        let image = format!("palinurus:{}", pal_server::VERSION);
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": part.pod(&self.node),
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/part-of": "palinurus", "tier": "control-plane", part.label.0: part.label.1},
                "annotations": {
                    MIRROR: node_uid,
                    "kubernetes.io/config.hash": node_uid,
                    "kubernetes.io/config.seen": self.started.to_string(),
                    "kubernetes.io/config.source": "file",
                },
                "ownerReferences":
                    [{"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": node_uid, "controller": true}],
            },
            "spec": {
                "nodeName": self.node,
                "hostNetwork": true,
                "priorityClassName": "system-node-critical",
                "tolerations": [{"effect": "NoExecute", "operator": "Exists"}],
                "containers": [{"name": part.name, "image": image, "imagePullPolicy": "IfNotPresent"}],
            },
        })
    }

    /// What the pod does, after that many earlier starts.
    fn status(&self, part: Part, restarts: i32) -> Value {
        let since = Timestamp::from_second(self.started.as_second()).unwrap_or(self.started).to_string();
        let image = format!("palinurus:{}", pal_server::VERSION);
        let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
        let conditions =
            conditions.map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": since.as_str()}));
        json!({
            "phase": "Running",
            "conditions": conditions,
            "hostIP": self.address,
            "hostIPs": [{"ip": self.address}],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": since,
            "containerStatuses": [{
                "name": part.name,
                "image": image,
                "imageID": "",
                "ready": true,
                "started": true,
                "restartCount": restarts,
                "state": {"running": {"startedAt": since}},
            }],
        })
    }
}

/// Shows the process for as long as it is waited for: a pod is made again when someone deletes it.
pub async fn keep(registry: &Registry, shown: &Shown) -> Infallible {
    let [first, second] = PARTS.map(|part| show(registry, shown, part));
    futures::join!(first, second).0
}

async fn show(registry: &Registry, shown: &Shown, part: Part) -> Infallible {
    let mirror = Mirror { pods: registry.client::<Pod>().by("kubelet"), name: part.pod(&shown.node), shown, part };
    loop {
        if let Err(status) = mirror.follow(registry).await {
            // The node may not have registered yet.
            tracing::debug!(%status, pod = mirror.name, "a part of the control plane is not shown");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A part's pod.
struct Mirror<'a> {
    pods: Typed<Pod>,
    name: String,
    shown: &'a Shown,
    part: Part,
}

impl Mirror<'_> {
    async fn follow(&self, registry: &Registry) -> Result<(), Status> {
        let node = registry.client::<Node>().get(None, &self.shown.node).await?;
        let uid = node.metadata.uid.unwrap_or_default();
        let restarts = match self.pods.find(Some(NAMESPACE), &self.name).await? {
            Some(before) => starts(&before),
            None => self.create(&uid).await?,
        };
        self.write(restarts).await?;
        let field = Some(FieldSelector::parse(&format!("metadata.name={}", self.name))?);
        let mut watch = self.pods.watch(Some(NAMESPACE), WatchOptions { field, ..WatchOptions::default() }).await?;
        while let Some(event) = watch.next().await {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let pod: Pod = object.parse()?;
                    if pod.metadata.deletion_timestamp.is_some() {
                        let at_once =
                            DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::system("kubelet") };
                        self.pods.delete(Some(NAMESPACE), &self.name, &at_once).await?;
                    } else if !is_ready(&pod) {
                        self.write(restarts).await?;
                    }
                }
                WatchEvent::Deleted(_) => {
                    // Who deleted it looks whether it is gone, and kubectl waits for ever if there is another by then.
                    tokio::time::sleep(AGAIN).await;
                    self.create(&uid).await?;
                }
                WatchEvent::Bookmark { .. } => {}
                WatchEvent::Error(status) => return Err(status),
            }
        }
        Ok(())
    }

    /// Makes the pod; no start was before.
    async fn create(&self, node_uid: &str) -> Result<i32, Status> {
        let pod: Pod = serde_json::from_value(self.shown.pod(self.part, node_uid)).map_err(Status::internal)?;
        self.pods.create(&pod).await.map(|_| 0)
    }

    async fn write(&self, restarts: i32) -> Result<(), Status> {
        let body = json!({"status": self.shown.status(self.part, restarts)});
        self.pods.patch_merge(Some("status"), Some(NAMESPACE), &self.name, body).await.map(drop)
    }
}

/// How often the process was started, by what the pod showed of it.
fn starts(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers.and_then(|containers| containers.first()).map_or(0, |container| container.restart_count + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_shows_a_process_that_runs_on_the_node() {
        let started = "2026-11-22T10:00:00.5Z".parse().expect("a time");
        let shown = Shown { node: "n1".into(), address: [10, 0, 0, 1].into(), started };
        let mut object = shown.pod(PARTS[0], "u-1");
        object["status"] = shown.status(PARTS[0], 2);
        let pod: Pod = serde_json::from_value(object).expect("a pod");
        assert_eq!(pod.metadata.name.as_deref(), Some("palinurus-n1"));
        let owner = &pod.metadata.owner_references.as_ref().expect("owners")[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Node", "u-1"));
        assert!(is_ready(&pod));
        assert_eq!(starts(&pod), 3);
        let status = pod.status.expect("a status");
        assert_eq!((status.host_ip.as_deref(), status.pod_ip.as_deref()), (Some("10.0.0.1"), Some("10.0.0.1")));
        assert_eq!(starts(&Pod::default()), 0);
        assert!(!is_ready(&Pod::default()));
    }
}
