//! The cluster as this program's client commands see it: requests, and which resources there are.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::AsyncBufRead;
use http::{Method, Request};
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use pal_image::{ClusterRegistry, RegistryClient, Urls};
use serde_json::Value;

use crate::args::ClientArgs;
use crate::error::CliError;
use crate::paths;

/// The header by which a list is asked for as a table (kubectl's).
pub const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// How long a request that is refused for now is repeated, and how often.
const REFUSED_LIMIT: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A connection to a cluster.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    config: kube::Config,
    kubeconfig: PathBuf,
    pub namespace: String,
}

/// A resource as discovery tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub listable: bool,
}

impl Resource {
    /// `deployment.apps`, as kubectl names objects of it.
    pub fn qualified_singular(&self) -> String {
        if self.group.is_empty() { self.singular.clone() } else { format!("{}.{}", self.singular, self.group) }
    }

    /// `apps/v1`
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of the collection, or of one object.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced
            && let Some(namespace) = namespace
        {
            path.push_str(&format!("/namespaces/{namespace}"));
        }
        path.push_str(&format!("/{}", self.plural));
        if let Some(name) = name {
            path.push_str(&format!("/{name}"));
        }
        path
    }
}

impl Api {
    /// Reads the kubeconfig that the arguments, the environment or the data directory name.
    pub async fn connect(args: &ClientArgs) -> Result<Self, CliError> {
        let mut api = match (&args.kubeconfig, std::env::var_os("KUBECONFIG")) {
            (Some(path), _) => Self::from_kubeconfig(path.clone()).await?,
            (None, Some(listed)) if !listed.is_empty() => Self::from_listed(&listed).await?,
            _ => {
                let dir = paths::data_dir(std::env::var_os("PAL_DATA_DIR").map(PathBuf::from).as_deref())?;
                Self::from_kubeconfig(paths::kubeconfig(&dir)).await?
            }
        };
        if let Some(namespace) = &args.namespace {
            api.namespace = namespace.clone();
        }
        Ok(api)
    }

    /// A connection as that kubeconfig says.
    pub async fn from_kubeconfig(path: PathBuf) -> Result<Self, CliError> {
        Self::from_files(std::slice::from_ref(&path), path.clone()).await
    }

    /// A connection as the kubeconfigs in `$KUBECONFIG` say together; of the same name, the first counts.
    async fn from_listed(listed: &OsStr) -> Result<Self, CliError> {
        let paths: Vec<PathBuf> = std::env::split_paths(listed).filter(|path| !path.as_os_str().is_empty()).collect();
        Self::from_files(&paths, PathBuf::from(listed)).await
    }

    async fn from_files(paths: &[PathBuf], path: PathBuf) -> Result<Self, CliError> {
        let broken = |error: &dyn std::fmt::Display| CliError::other(format!("{}: {error}", path.display()));
        let Some(kubeconfig) = merged(paths)? else {
            let message = format!(
                "there is no kubeconfig at {}: start a cluster with `pal up`, or name its kubeconfig with --kubeconfig or $KUBECONFIG",
                path.display()
            );
            return Err(CliError::Other(message));
        };
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| broken(&error))?;
        // It would go on for half an hour, and repeat what may have been done.
        config.default_retry = false;
        let client = kube::Client::try_from(config.clone()).map_err(|error| broken(&error))?;
        let namespace = config.default_namespace.clone();
        Ok(Self { client, config, kubeconfig: path, namespace })
    }

    /// The same cluster and user by way of another server.
    pub fn at(&self, url: &str) -> Result<Self, CliError> {
        let mut config = self.config.clone();
        config.cluster_url = url.parse().map_err(|error| CliError::other(format!("{url}: {error}")))?;
        let client = kube::Client::try_from(config.clone()).map_err(|error| self.explain(error))?;
        Ok(Self { client, config, ..self.clone() })
    }

    /// Where the cluster is.
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    /// The cluster's CA certificates, DER.
    pub fn roots(&self) -> &[Vec<u8>] {
        self.config.root_cert.as_deref().unwrap_or_default()
    }

    /// A client of the cluster's registry.
    pub fn registry(&self) -> Result<RegistryClient, CliError> {
        let tls = self.config.rustls_client_config().map_err(|error| self.explain(error))?;
        let cluster = ClusterRegistry { urls: Urls::fixed(vec![self.url()]), tls: tls.into(), bearer: None };
        RegistryClient::new(Some(cluster), Vec::new()).map_err(CliError::other)
    }

    /// A request whose answer is JSON. What was refused for now, and so was not done, is asked for again for a while: a
    /// cluster has no leader for a moment when one is lost.
    pub async fn json(&self, request: Request<Vec<u8>>) -> Result<Value, CliError> {
        let started = Instant::now();
        loop {
            let outcome = self.client.request(request.clone()).await.map_err(|error| self.explain(error));
            match outcome {
                Err(error) if matches!(error.code(), Some(429 | 503)) && started.elapsed() < REFUSED_LIMIT => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// A request whose answer streams.
    pub async fn stream(&self, request: Request<Vec<u8>>) -> Result<impl AsyncBufRead + use<>, CliError> {
        self.client.request_stream(request).await.map_err(|error| self.explain(error))
    }

    /// GET as JSON.
    pub async fn get(&self, path: &str) -> Result<Value, CliError> {
        self.json(request(Method::GET, path, &[], None)?).await
    }

    fn explain(&self, error: kube::Error) -> CliError {
        match error {
            kube::Error::Api(status) => {
                CliError::Api { code: status.code, reason: status.reason.clone(), message: status.message.clone() }
            }
            other => {
                let mut cause: &dyn std::error::Error = &other;
                while let Some(next) = cause.source() {
                    cause = next;
                }
                CliError::Unreachable { url: self.url(), why: cause.to_string(), kubeconfig: self.kubeconfig.clone() }
            }
        }
    }

    /// All resources that the cluster serves.
    pub async fn resources(&self) -> Result<Vec<Resource>, CliError> {
        let mut all = Vec::new();
        for path in ["/api", "/apis"] {
            let headers = [("accept", AGGREGATED)];
            all.extend(parse_discovery(&self.json(request(Method::GET, path, &headers, None)?).await?));
        }
        Ok(all)
    }

    /// The resource that a user's word means: plural, singular, short name or kind, with the group behind a dot or not.
    pub async fn resource(&self, word: &str) -> Result<Resource, CliError> {
        find(&self.resources().await?, word)
            .cloned()
            .ok_or_else(|| CliError::other(format!("the server doesn't have a resource type {word:?}")))
    }
}

/// What the files say together, where there are any; kubectl passes over those that are not there, too.
fn merged(paths: &[PathBuf]) -> Result<Option<Kubeconfig>, CliError> {
    let mut found: Option<Kubeconfig> = None;
    for path in paths.iter().filter(|path| path.exists()) {
        let broken = |error| CliError::other(format!("{}: {error}", path.display()));
        let next = Kubeconfig::read_from(path).map_err(broken)?;
        found = Some(match found {
            Some(first) => first.merge(next).map_err(broken)?,
            None => next,
        });
    }
    Ok(found)
}

/// The resource that a word means.
pub fn find<'a>(resources: &'a [Resource], word: &str) -> Option<&'a Resource> {
    let word = word.to_ascii_lowercase();
    let named = |resource: &&Resource| {
        let (name, group) = word.split_once('.').unwrap_or((&word, ""));
        let is = resource.plural == name
            || resource.singular == name
            || resource.kind.eq_ignore_ascii_case(name)
            || resource.short_names.iter().any(|short| short == name);
        is && (group.is_empty() || resource.group == group)
    };
    resources.iter().find(named)
}

/// Builds a request; `body` is sent as JSON unless a header says otherwise.
pub fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Request<Vec<u8>>, CliError> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let bytes = match body {
        Some(body) => {
            if !headers.iter().any(|(name, _)| *name == "content-type") {
                builder = builder.header("content-type", "application/json");
            }
            body.to_string().into_bytes()
        }
        None => Vec::new(),
    };
    builder.body(bytes).map_err(CliError::other)
}

/// A query string of these parameters.
pub fn query(parameters: &[(&str, String)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        query.append_pair(name, value);
    }
    let text = query.finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

fn parse_discovery(list: &Value) -> Vec<Resource> {
    let mut found = Vec::new();
    for group in array(&list["items"]) {
        let group_name = text(&group["metadata"]["name"]);
        let Some(version) = array(&group["versions"]).first() else { continue };
        for resource in array(&version["resources"]) {
            found.push(Resource {
                group: group_name.clone(),
                version: text(&version["version"]),
                plural: text(&resource["resource"]),
                singular: text(&resource["singularResource"]),
                kind: text(&resource["responseKind"]["kind"]),
                namespaced: resource["scope"] == "Namespaced",
                short_names: array(&resource["shortNames"]).iter().map(text).collect(),
                categories: array(&resource["categories"]).iter().map(text).collect(),
                listable: array(&resource["verbs"]).iter().any(|verb| verb == "list"),
            });
        }
    }
    found
}

/// The items of a JSON array; nothing where it is none.
pub fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a JSON string; empty where it is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_kubeconfigs_are_one_and_the_first_that_names_something_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, current: &str, clusters: &[(&str, &str)]| {
            let path = dir.path().join(name);
            let clusters: Vec<_> = clusters
                .iter()
                .map(|(name, server)| serde_json::json!({"name": name, "cluster": {"server": server}}))
                .collect();
            let config = serde_json::json!({
                "apiVersion": "v1", "kind": "Config", "clusters": clusters, "current-context": current});
            std::fs::write(&path, config.to_string()).unwrap();
            path
        };
        let first = file("first", "one", &[("a", "https://a:1")]);
        let second = file("second", "two", &[("a", "https://b:1"), ("b", "https://b:2")]);
        let missing = dir.path().join("missing");
        let check = |paths: &[&PathBuf], expected: Option<(&str, &[&str])>| {
            let paths: Vec<PathBuf> = paths.iter().map(|path| (*path).clone()).collect();
            let found = merged(&paths).unwrap().map(|config| {
                let servers: Vec<_> =
                    config.clusters.iter().filter_map(|named| named.cluster.clone()?.server).collect();
                (config.current_context.unwrap_or_default(), servers)
            });
            let found = found.as_ref().map(|(current, servers)| (current.as_str(), servers.as_slice()));
            let expected = expected.map(|(current, servers)| {
                (current, servers.iter().map(|server| (*server).to_owned()).collect::<Vec<_>>())
            });
            assert_eq!(found, expected.as_ref().map(|(current, servers)| (*current, servers.as_slice())));
        };
        check(&[&first], Some(("one", &["https://a:1"])));
        check(&[&missing, &first, &second], Some(("one", &["https://a:1", "https://b:2"])));
        check(&[&second, &first], Some(("two", &["https://b:1", "https://b:2"])));
        check(&[&missing], None);
        check(&[], None);
    }

    #[test]
    fn a_users_word_finds_its_resource() {
        let list = serde_json::json!({"items": [
            {"versions": [{"version": "v1", "resources": [
                {"resource": "pods", "singularResource": "pod", "responseKind": {"kind": "Pod"}, "scope": "Namespaced",
                 "shortNames": ["po"], "verbs": ["list"]}]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                {"resource": "deployments", "singularResource": "deployment", "responseKind": {"kind": "Deployment"},
                 "scope": "Namespaced", "shortNames": ["deploy"], "verbs": ["list"]}]}]}]});
        let resources = parse_discovery(&list);
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(find(&resources, word).map(|r| r.plural.as_str()), expected, "{word}");
        };
        check("po", Some("pods"));
        check("Pod", Some("pods"));
        check("deployments.apps", Some("deployments"));
        check("deploy", Some("deployments"));
        check("deploy.batch", None);
        check("nothing", None);
        assert_eq!(resources[1].path(Some("a"), Some("b")), "/apis/apps/v1/namespaces/a/deployments/b");
        assert_eq!(resources[1].qualified_singular(), "deployment.apps");
    }
}
