//! Directories of nodes that are volumes: made with the volume, and removed before it.

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume};
use serde_json::{Value, json};

use super::execute::{Executor, Failed, Outcome};
use crate::action::{Action, Announce, Note, ResourceId, Severity, Words};

const COMPONENT: &str = "palinurus.dev/local";

impl Executor {
    /// Has a node make a directory, and then makes the volume that it is.
    pub(super) async fn provision(
        &self,
        node: &str,
        mut volume: Value,
        claim: ObjectReference,
        outcome: &mut Outcome,
    ) -> Result<(), Failed> {
        let name = volume["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match self.directories.make(node, &name).await {
            Ok(path) => volume["spec"]["local"] = json!({ "path": path }),
            Err(why) => {
                let class = volume["spec"]["storageClassName"].as_str().unwrap_or_default();
                let message = format!("failed to provision volume with StorageClass {class:?}: {why}");
                self.told(claim, "ProvisioningFailed", message);
                return Err(Failed::Directory(why));
            }
        }
        let done = Words {
            severity: Severity::Normal,
            reason: "ProvisioningSucceeded",
            text: format!("Successfully provisioned volume {name}"),
            with_detail: false,
        };
        let announce = Announce { about: claim, component: COMPONENT, done: Some(done), failed: None };
        let resource = ResourceId::of::<PersistentVolume>();
        let create = Action::Create { resource, namespace: None, body: volume, announce: Some(announce) };
        // What it makes is one object, and not again a directory.
        Box::pin(self.one(create, outcome)).await
    }

    pub(super) async fn remove_directory(
        &self,
        node: &str,
        volume: &str,
        about: ObjectReference,
    ) -> Result<(), Failed> {
        self.directories.remove(node, volume).await.map_err(|why| {
            self.told(about, "VolumeFailedDelete", why.clone());
            Failed::Directory(why)
        })
    }

    fn told(&self, about: ObjectReference, reason: &'static str, message: String) {
        self.recorder.tell(Note { about, component: COMPONENT, severity: Severity::Warning, reason, message });
    }
}
