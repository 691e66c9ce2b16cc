//! What a pod may use of the node's disk: the limits of its containers and of its emptyDirs, and whether it keeps them.
//!
//! Nothing stops a write: as with kubelet it is looked at every few seconds, and a pod that is beyond a limit is ended.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pal_resources::quantity::Quantity;

use super::{PodHandle, Shared};

/// How often it is looked at what a pod uses that has limits.
pub(super) const MEASURE: Duration = Duration::from_secs(10);
/// The resource that containers limit.
const RESOURCE: &str = "ephemeral-storage";

/// What a pod may use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of each emptyDir that has a limit: its name, the limit as it is told, and in bytes.
    volumes: Vec<(String, String, u64)>,
    /// Of each container likewise.
    containers: Vec<(String, String, u64)>,
    /// All containers that there are.
    all: Vec<String>,
    /// The emptyDirs that are not meant to be in memory.
    on_disk: Vec<String>,
}

/// Where the pod's files are.
#[derive(Debug)]
pub(super) struct Places {
    /// The pod's own directory, with its volumes and what containers have of their own.
    pod: PathBuf,
    logs: PathBuf,
}

impl Places {
    pub(super) fn of(shared: &Shared, handle: &PodHandle) -> Self {
        let logs = shared.logs.pod_dir(&handle.namespace, &handle.name, &handle.uid);
        Self { pod: shared.volumes_dir.join(&handle.uid), logs }
    }

    fn volume(&self, name: &str) -> u64 {
        taken(&self.pod.join("volumes").join(name))
    }

    /// What the container wrote that is in no volume, and its log.
    fn container(&self, name: &str) -> u64 {
        taken(&self.pod.join("roots").join(name)).saturating_add(taken(&self.logs.join(name)))
    }
}

impl Limits {
    /// Those of a pod that has any.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let limit = |name: &str, text: &str| {
            let bytes = u64::try_from(text.parse::<Quantity>().ok()?.units()).ok().filter(|bytes| *bytes > 0)?;
            Some((name.to_owned(), text.to_owned(), bytes))
        };
        let dirs = || spec.volumes.iter().flatten().filter_map(|v| Some((&v.name, v.empty_dir.as_ref()?)));
        let volumes: Vec<_> = dirs().filter_map(|(name, dir)| limit(name, &dir.size_limit.as_ref()?.0)).collect();
        let containers: Vec<_> = spec
            .containers
            .iter()
            .filter_map(|c| limit(&c.name, &c.resources.as_ref()?.limits.as_ref()?.get(RESOURCE)?.0))
            .collect();
        let on_disk = dirs().filter(|(_, dir)| dir.medium.as_deref() != Some("Memory"));
        (!volumes.is_empty() || !containers.is_empty()).then(|| Self {
            volumes,
            containers,
            all: spec.containers.iter().map(|c| c.name.clone()).collect(),
            on_disk: on_disk.map(|(name, _)| name.clone()).collect(),
        })
    }

    /// Which limit the pod is beyond, in kubelet's words and in its order.
    pub(super) fn exceeded(&self, places: &Places) -> Option<String> {
        for (name, told, limit) in &self.volumes {
            if places.volume(name) > *limit {
                return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {told:?}. "));
            }
        }
        if self.containers.is_empty() {
            return None;
        }
        let own = self.all.iter().map(|name| places.container(name));
        let used: u64 = own.chain(self.on_disk.iter().map(|name| places.volume(name))).fold(0, u64::saturating_add);
        let total = self.containers.iter().fold(0, |sum: u64, (_, _, limit)| sum.saturating_add(*limit));
        if used > total {
            let total = Quantity::from_bytes(i64::try_from(total).unwrap_or(i64::MAX));
            return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {total}. "));
        }
        let beyond = self.containers.iter().find(|(name, _, limit)| places.container(name) > *limit);
        beyond.map(|(name, told, _)| format!("Container {name} exceeded its local ephemeral storage limit {told:?}. "))
    }
}

/// What the files below a directory take of the disk, in bytes. Links lead nowhere.
fn taken(dir: &Path) -> u64 {
    let mut sum: u64 = 0;
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        // What vanishes meanwhile takes nothing.
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            sum = sum.saturating_add(metadata.blocks().saturating_mul(512));
            if metadata.is_dir() {
                left.push(entry.path());
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_beyond_a_limit_is_told_of() {
        let limited = |limit: &str| json!({"limits": {"ephemeral-storage": limit}});
        let check = |volume: serde_json::Value, first: &str, files: &[(&str, usize)], expected: Option<&str>| {
            let containers =
                json!([{"name": "a", "resources": limited(first)}, {"name": "b", "resources": limited("1Mi")}]);
            let spec = json!({"volumes": [{"name": "v", "emptyDir": volume}], "containers": containers});
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            let dir = tempfile::tempdir().unwrap();
            for (path, kilobytes) in files {
                let file = dir.path().join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, vec![1; kilobytes * 1024]).unwrap();
            }
            let places = Places { pod: dir.path().join("pod"), logs: dir.path().join("logs") };
            assert_eq!(Limits::of(&pod).unwrap().exceeded(&places).as_deref(), expected, "{files:?}");
        };
        let total = Some("Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ");
        check(json!({}), "1Mi", &[], None);
        check(json!({}), "1Mi", &[("pod/roots/a/tmp/x", 900), ("pod/roots/b/tmp/x", 900)], None);
        check(json!({}), "1Mi", &[("pod/roots/a/tmp/x", 2100)], total);
        check(json!({}), "1Mi", &[("pod/volumes/v/deep/x", 2100)], total);
        check(json!({"medium": "Memory"}), "1Mi", &[("pod/volumes/v/x", 2100)], None);
        let a = Some("Container a exceeded its local ephemeral storage limit \"1Mi\". ");
        check(json!({}), "1Mi", &[("pod/roots/a/x", 800), ("logs/a/0.log", 400)], a);
        let volume = Some("Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
        check(json!({"sizeLimit": "1Mi"}), "8Mi", &[("pod/volumes/v/x", 1100)], volume);
        check(json!({"sizeLimit": "2Mi"}), "8Mi", &[("pod/volumes/v/x", 1100)], None);
    }

    #[test]
    fn who_has_no_limits_is_not_looked_at() {
        let check = |spec: serde_json::Value, expected: bool| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            assert_eq!(Limits::of(&pod).is_some(), expected, "{spec}");
        };
        check(json!({"containers": [{"name": "a"}]}), false);
        check(json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}), false);
        check(json!({"containers": [], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "0"}}]}), false);
        check(json!({"containers": [], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]}), true);
    }
}
