//! What the tests run against: a registry, and short ways to say what is written.

use pal_registry::{
    Config, DeleteOptions, Deletion, Object, Patch, PatchKind, Read, Registry, Watch, WatchEvent, WriteOptions,
};
use pal_resources::codec::FieldValidation;
use pal_resources::{ResourceRef, Status, resource};
use pal_store::{Store, StoreConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A registry with the namespace `default` in it.
pub struct Cluster {
    pub registry: Registry,
    _dir: TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::with_history(config, 4096).await
    }

    pub async fn with_history(config: Config, history: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = StoreConfig { dir: dir.path().to_owned(), history, ..StoreConfig::default() };
        let store = Store::open(store).await.expect("the store opens");
        let cluster = Self { registry: Registry::new(store, config), _dir: dir };
        cluster.create("namespaces", json!({"metadata": {"name": "default"}})).await.expect("a namespace");
        cluster
    }

    /// Creates an object in the namespace that it names, `default` if it names none.
    pub async fn create(&self, plural: &str, body: Value) -> Result<Object, Status> {
        let namespace = body["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let resource = of(plural);
        let namespace = resource.namespaced.then_some(namespace.as_str());
        self.registry.create(&resource, namespace, body, &by_test()).await
    }

    pub async fn get(&self, plural: &str, name: &str) -> Result<Object, Status> {
        let resource = of(plural);
        self.registry.get(&resource, home(&resource), name, Read::Consistent).await
    }

    pub async fn value(&self, plural: &str, name: &str) -> Value {
        self.get(plural, name).await.expect("it exists").value().expect("it parses")
    }

    pub async fn update(&self, plural: &str, subresource: Option<&str>, body: Value) -> Result<Object, Status> {
        let resource = of(plural);
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.registry.update(&resource, subresource, home(&resource), &name, body, &by_test()).await
    }

    pub async fn merge(
        &self,
        plural: &str,
        subresource: Option<&str>,
        name: &str,
        body: Value,
    ) -> Result<Object, Status> {
        let resource = of(plural);
        let patch = Patch { kind: PatchKind::Merge, body, validation: FieldValidation::Strict, found: Vec::new() };
        let patched = self.registry.patch(&resource, subresource, home(&resource), name, &patch, &by_test()).await?;
        Ok(patched.object)
    }

    pub async fn delete(&self, plural: &str, name: &str, options: &DeleteOptions) -> Result<Deletion, Status> {
        let resource = of(plural);
        self.registry.delete(&resource, home(&resource), name, options).await
    }
}

fn home(resource: &ResourceRef) -> Option<&'static str> {
    resource.namespaced.then_some("default")
}

/// The built-in resource of that plural.
pub fn of(plural: &str) -> ResourceRef {
    let mut found = resource::builtin().iter().filter(|resource| resource.plural == plural);
    found.next().cloned().expect("a built-in resource")
}

pub fn by_test() -> WriteOptions {
    WriteOptions::system("test")
}

pub fn dry_run() -> WriteOptions {
    WriteOptions { dry_run: true, ..by_test() }
}

pub fn config_map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": data}})
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "pal.local/hello:1"}]}
    })
}

/// A short form of the next event: `ADDED a` with the object's name, `BOOKMARK end` for the end of the initial events.
pub async fn next(watch: &mut Watch) -> String {
    let limit = std::time::Duration::from_secs(10);
    match tokio::time::timeout(limit, watch.next()).await.expect("an event in time") {
        Some(event) => say(&event),
        None => "END".to_owned(),
    }
}

pub fn say(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Added(object) => format!("ADDED {}", object.name()),
        WatchEvent::Modified(object) => format!("MODIFIED {}", object.name()),
        WatchEvent::Deleted(object) => format!("DELETED {}", object.name()),
        WatchEvent::Bookmark { initial_events_end: true, .. } => "BOOKMARK end".to_owned(),
        WatchEvent::Bookmark { .. } => "BOOKMARK".to_owned(),
        WatchEvent::Error(status) => format!("ERROR {} {}", status.code, status.message),
    }
}
