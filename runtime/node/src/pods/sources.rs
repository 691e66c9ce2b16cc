//! The ConfigMaps, Secrets and tokens that a pod refers to, fetched.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Secret, Volume};
use kube::api::Api;
use pal_resources::volumes::claim_of;

use super::claims;
use super::tokens::{self, TokenName};
use crate::disk;

/// What is referred to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SourceName {
    ConfigMap(String),
    Secret(String),
    /// A claim: where its volume is, for [`claims::found`].
    Claim(String),
    /// A token of the pod's account, which is the one entry [`TOKEN`].
    Token(TokenName),
}

/// The key of a token.
pub(crate) const TOKEN: &str = "token";
/// What every namespace has by this name is the cluster's root certificate, which the node has too: it need not be asked
/// for, nor waited for in a new namespace.
const ROOT_CA: &str = "kube-root-ca.crt";
const CA_KEY: &str = "ca.crt";

impl std::fmt::Display for SourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConfigMap(name) => write!(f, "configmap {name:?}"),
            Self::Secret(name) => write!(f, "secret {name:?}"),
            Self::Claim(name) => write!(f, "persistentvolumeclaim {name:?}"),
            Self::Token(name) => name.fmt(f),
        }
    }
}

/// Key and bytes.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// All that was fetched; those that do not exist are `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    data: BTreeMap<SourceName, Option<Data>>,
    /// When the first of the tokens is to be renewed.
    renew: Option<Timestamp>,
}

/// Where what is referred to comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) client: &'a kube::Client,
    pub(crate) namespace: &'a str,
    /// Where all that was fetched is kept for the time when no server answers.
    pub(crate) kept: &'a Path,
    /// The cluster's root certificate, PEM.
    pub(crate) root_ca: &'a str,
}

impl Sources {
    /// The content, or in words that there is none.
    pub(crate) fn get(&self, name: &SourceName) -> Result<&Data, String> {
        self.data.get(name).and_then(Option::as_ref).ok_or_else(|| format!("{name} not found"))
    }

    #[cfg(test)]
    pub(crate) fn with(mut self, name: SourceName, data: &[(&str, &str)]) -> Self {
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        self.data.insert(name, Some(data));
        self
    }

    /// When the first of the tokens is to be renewed.
    pub(crate) fn renew(&self) -> Option<Timestamp> {
        self.renew
    }

    /// Fetches what `names` says. What no server answers for is taken from what was kept; an error is what cannot be had
    /// from either.
    pub(crate) async fn fetch(origin: Origin<'_>, names: Vec<SourceName>) -> Result<Self, String> {
        let fetched = stream::iter(names).map(|name| async move {
            if let SourceName::Token(token) = &name {
                let held = tokens::get(origin.client, origin.namespace, token, origin.kept).await?;
                let data = Data::from([(TOKEN.to_owned(), held.text.into_bytes())]);
                return Ok::<_, String>((name, Some(data), Some(held.renew)));
            }
            let data = match ask(origin, &name).await {
                Ok(data) => {
                    keep(origin.kept, &name, data.as_ref()).map_err(|e| format!("{name} cannot be kept: {e}"))?;
                    data
                }
                Err(why) => Some(recall(origin.kept, &name).ok_or_else(|| format!("{name} cannot be read: {why}"))?),
            };
            Ok((name, data, None))
        });
        let mut fetched = fetched.buffered(4);
        let mut sources = Self::default();
        while let Some(one) = fetched.next().await {
            let (name, data, renew) = one?;
            sources.data.insert(name, data);
            sources.renew = [sources.renew, renew].into_iter().flatten().min();
        }
        Ok(sources)
    }
}

async fn ask(origin: Origin<'_>, name: &SourceName) -> Result<Option<Data>, String> {
    let Origin { client, namespace, root_ca, .. } = origin;
    let got = match name {
        SourceName::ConfigMap(n) if n == ROOT_CA => {
            return Ok(Some(Data::from([(CA_KEY.to_owned(), root_ca.as_bytes().to_vec())])));
        }
        SourceName::ConfigMap(n) => {
            let object = Api::namespaced(client.clone(), namespace).get_opt(n).await;
            object.map(|o| o.map(of_config_map))
        }
        SourceName::Secret(n) => {
            let object = Api::namespaced(client.clone(), namespace).get_opt(n).await;
            object.map(|o| o.map(of_secret))
        }
        SourceName::Claim(n) => claims::ask(client, namespace, n).await,
        // Tokens are had in another way.
        SourceName::Token(_) => Ok(None),
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
        SourceName::Claim(n) => dir.join(format!("claim-{n}.json")),
        SourceName::Token(_) => dir.join("token.json"),
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
    let mut names: Vec<SourceName> = volumes.iter().flat_map(|volume| of_volume(pod, volume)).collect();
    names.sort();
    names.dedup();
    names
}

/// Whether the pod's volumes show what may change at any time: objects, or labels and annotations. Tokens say themselves when
/// they are renewed, and the root certificate and the pod's own name and namespace stay as they are.
pub(crate) fn follow_objects(pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    let object = |name: &SourceName| match name {
        SourceName::ConfigMap(name) => name != ROOT_CA,
        SourceName::Secret(_) => true,
        SourceName::Claim(_) | SourceName::Token(_) => false,
    };
    let projected = volumes.iter().flat_map(|v| v.projected.iter().flat_map(|p| p.sources.iter().flatten()));
    let projected = projected.filter_map(|source| source.downward_api.as_ref()?.items.as_ref()).flatten();
    let own = volumes.iter().filter_map(|v| v.downward_api.as_ref()?.items.as_ref()).flatten();
    let mut fields = projected.chain(own).filter_map(|item| item.field_ref.as_ref());
    of_volumes(pod).iter().any(object)
        || fields.any(|field| {
            ["metadata.labels", "metadata.annotations"]
                .iter()
                .any(|field_path| field.field_path.starts_with(field_path))
        })
}

/// Whether the pod's volumes have to be looked at again at all.
pub(crate) fn may_change(pod: &Pod) -> bool {
    let stays = |name: &SourceName| matches!(name, SourceName::Claim(_));
    !of_volumes(pod).iter().all(stays) || follow_objects(pod)
}

fn of_volume(pod: &Pod, volume: &Volume) -> Vec<SourceName> {
    let mut names = Vec::new();
    if let Some(source) = &volume.config_map {
        names.push(SourceName::ConfigMap(source.name.clone()));
    }
    if let Some(name) = volume.secret.as_ref().and_then(|s| s.secret_name.clone()) {
        names.push(SourceName::Secret(name));
    }
    names.extend(claim_of(pod, volume).map(SourceName::Claim));
    for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        names.extend(source.config_map.as_ref().map(|s| SourceName::ConfigMap(s.name.clone())));
        names.extend(source.secret.as_ref().map(|s| SourceName::Secret(s.name.clone())));
        names.extend(source.service_account_token.as_ref().map(|s| SourceName::Token(TokenName::new(pod, s))));
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

/// The container's manifest; the plan has init containers first, and those that came later last.
pub(crate) fn container(spec: &PodSpec, index: usize) -> Option<Cow<'_, Container>> {
    let from_the_start = spec.init_containers.iter().flatten().chain(&spec.containers).map(Cow::Borrowed);
    let later = spec.ephemeral_containers.iter().flatten().map(|c| Cow::Owned(pal_lifecycle::as_container(c)));
    from_the_start.chain(later).nth(index)
}

/// The container that one which came later is to look into.
pub(crate) fn target<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a str> {
    let later = spec.ephemeral_containers.iter().flatten().find(|c| c.name == name)?;
    later.target_container_name.as_deref().filter(|target| !target.is_empty())
}
