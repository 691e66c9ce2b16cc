//! The ConfigMaps and Secrets that a pod refers to, fetched.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Secret, Volume};
use kube::api::Api;

use crate::disk;

/// What is referred to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SourceName {
    ConfigMap(String),
    Secret(String),
}

impl std::fmt::Display for SourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConfigMap(name) => write!(f, "configmap {name:?}"),
            Self::Secret(name) => write!(f, "secret {name:?}"),
        }
    }
}

/// Key and bytes.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// All that was fetched; those that do not exist are `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(BTreeMap<SourceName, Option<Data>>);

impl Sources {
    /// The content, or in words that there is none.
    pub(crate) fn get(&self, name: &SourceName) -> Result<&Data, String> {
        self.0.get(name).and_then(Option::as_ref).ok_or_else(|| format!("{name} not found"))
    }

    #[cfg(test)]
    pub(crate) fn with(mut self, name: SourceName, data: &[(&str, &str)]) -> Self {
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        self.0.insert(name, Some(data));
        self
    }

    /// Fetches what `names` says. What no server answers for is taken from `kept`, where everything that was fetched is
    /// kept for that; an error is what cannot be had from either.
    pub(crate) async fn fetch(
        client: &kube::Client,
        namespace: &str,
        names: Vec<SourceName>,
        kept: &Path,
    ) -> Result<Self, String> {
        let fetched = stream::iter(names).map(|name| async move {
            let data = match ask(client, namespace, &name).await {
                Ok(data) => {
                    keep(kept, &name, data.as_ref()).map_err(|e| format!("{name} cannot be kept: {e}"))?;
                    data
                }
                Err(why) => Some(recall(kept, &name).ok_or_else(|| format!("{name} cannot be read: {why}"))?),
            };
            Ok::<_, String>((name, data))
        });
        let fetched: Vec<_> = fetched.buffered(4).collect().await;
        Ok(Self(fetched.into_iter().collect::<Result<_, _>>()?))
    }
}

async fn ask(client: &kube::Client, namespace: &str, name: &SourceName) -> Result<Option<Data>, String> {
    let got = match name {
        SourceName::ConfigMap(n) => {
            let object = Api::namespaced(client.clone(), namespace).get_opt(n).await;
            object.map(|o| o.map(of_config_map))
        }
        SourceName::Secret(n) => {
            let object = Api::namespaced(client.clone(), namespace).get_opt(n).await;
            object.map(|o| o.map(of_secret))
        }
    };
    got.map_err(|e| match &e {
        kube::Error::Api(status) => status.message.clone(),
        other => crate::join::root_cause(other),
    })
}

fn kept_file(dir: &Path, name: &SourceName) -> PathBuf {
    // Names of objects have no slashes.
    match name {
        SourceName::ConfigMap(n) => dir.join(format!("configmap-{n}.json")),
        SourceName::Secret(n) => dir.join(format!("secret-{n}.json")),
    }
}

fn keep(dir: &Path, name: &SourceName, data: Option<&Data>) -> io::Result<()> {
    let path = kept_file(dir, name);
    let Some(data) = data else {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    let texts: BTreeMap<&String, String> = data.iter().map(|(k, v)| (k, BASE64.encode(v))).collect();
    let content = serde_json::to_vec(&texts).map_err(io::Error::other)?;
    if fs::read(&path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    disk::private_dir(dir)?;
    disk::replace(&path, &content, 0o600)
}

fn recall(dir: &Path, name: &SourceName) -> Option<Data> {
    let texts: BTreeMap<String, String> = serde_json::from_slice(&fs::read(kept_file(dir, name)).ok()?).ok()?;
    texts.into_iter().map(|(k, v)| Some((k, BASE64.decode(v).ok()?))).collect()
}

fn of_config_map(object: ConfigMap) -> Data {
    let text = object.data.into_iter().flatten().map(|(k, v)| (k, v.into_bytes()));
    text.chain(object.binary_data.into_iter().flatten().map(|(k, v)| (k, v.0))).collect()
}

fn of_secret(object: Secret) -> Data {
    object.data.into_iter().flatten().map(|(k, v)| (k, v.0)).collect()
}

/// What the pod's volumes refer to.
pub(crate) fn of_volumes(pod: &Pod) -> Vec<SourceName> {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    let mut names: Vec<SourceName> = volumes.iter().flat_map(of_volume).collect();
    names.sort();
    names.dedup();
    names
}

fn of_volume(volume: &Volume) -> Vec<SourceName> {
    let mut names = Vec::new();
    if let Some(source) = &volume.config_map {
        names.push(SourceName::ConfigMap(source.name.clone()));
    }
    if let Some(name) = volume.secret.as_ref().and_then(|s| s.secret_name.clone()) {
        names.push(SourceName::Secret(name));
    }
    for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        names.extend(source.config_map.as_ref().map(|s| SourceName::ConfigMap(s.name.clone())));
        names.extend(source.secret.as_ref().map(|s| SourceName::Secret(s.name.clone())));
    }
    names
}

/// What the container's environment refers to.
pub(crate) fn of_env(container: &Container) -> Vec<SourceName> {
    let mut names = Vec::new();
    for from in container.env_from.iter().flatten() {
        names.extend(from.config_map_ref.as_ref().map(|r| SourceName::ConfigMap(r.name.clone())));
        names.extend(from.secret_ref.as_ref().map(|r| SourceName::Secret(r.name.clone())));
    }
    for from in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        names.extend(from.config_map_key_ref.as_ref().map(|r| SourceName::ConfigMap(r.name.clone())));
        names.extend(from.secret_key_ref.as_ref().map(|r| SourceName::Secret(r.name.clone())));
    }
    names.sort();
    names.dedup();
    names
}

/// The container's manifest; the plan has init containers first.
pub(crate) fn container(spec: &PodSpec, index: usize) -> Option<&Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers).nth(index)
}
