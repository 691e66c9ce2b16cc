//! The custom resources that are served at a moment. Whoever asks gets a snapshot; it is made anew when a definition has
//! changed in the store, which is looked at whenever somebody asks, so that what was written is served at once.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pal_custom::{Definition, Version};
use pal_patch::apply::Schema;
use pal_resources::discovery::version_rank;
use pal_resources::resource::{Custom, Subresource};
use pal_resources::{Resource, ResourceRef, ResourceVersion, resource};
use pal_store::{Entry, Key, Revision, Snapshot, Store, WatchError, Watcher};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::definition::is_definition;
use super::kind::{Compiled, Kind};
use crate::held::drain;
use crate::object::Object;
use crate::registry::Registry;
use crate::stored::Stored;

const PREFIX: &str = "customresourcedefinitions.apiextensions.k8s.io/";
const VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/// What discovery tells of a resource whose definition is being deleted.
const LAST_VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "watch"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];

/// The custom resources that are served at one moment.
#[derive(Debug, Default)]
pub struct Definitions {
    /// One for each served version, by group, then from the most to the least stable version, then by name.
    resources: Vec<ResourceRef>,
    number: u64,
    everything: OnceLock<Vec<ResourceRef>>,
}

impl Definitions {
    /// What is built in, then the custom resources: all that discovery tells.
    pub fn everything(&self) -> &[ResourceRef] {
        self.everything.get_or_init(|| resource::builtin().iter().chain(&self.resources).cloned().collect())
    }

    /// The custom resource with that group, version and plural.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<ResourceRef> {
        self.resources.iter().find(|r| r.plural == plural && r.group == group && r.version == version).cloned()
    }

    /// The custom resource whose objects have that group, version and kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<ResourceRef> {
        self.resources.iter().find(|r| r.kind == kind && r.group == group && r.version == version).cloned()
    }

    /// The first served version of a custom resource: which one does not matter for what is done to whole objects.
    pub fn any_version(&self, group: &str, plural: &str) -> Option<ResourceRef> {
        self.resources.iter().find(|r| r.plural == plural && r.group == group).cloned()
    }

    /// All of them, one for each served version, in the order of discovery.
    pub fn resources(&self) -> &[ResourceRef] {
        &self.resources
    }

    /// Each custom resource once, whatever its versions are.
    pub fn each(&self) -> impl Iterator<Item = &ResourceRef> {
        let resources = &self.resources;
        let first = |resource: &ResourceRef| {
            resources.iter().find(|other| other.group == resource.group && other.plural == resource.plural)
        };
        resources.iter().filter(move |resource| first(resource).is_some_and(|found| Arc::ptr_eq(found, resource)))
    }

    /// Whether any custom resource is of that group.
    pub fn has_group(&self, group: &str) -> bool {
        self.resources.iter().any(|resource| resource.group == group)
    }

    /// Differs from that of every other snapshot that this server makes.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Registry {
    /// The custom resources that are served by what this server has applied.
    pub fn definitions(&self) -> Arc<Definitions> {
        self.shared.definitions.fresh(&self.shared.store)
    }

    /// Keeps the definitions up to date while nobody asks, so that watches of what is no longer served end. Runs until the
    /// store closes.
    pub async fn follow_definitions(&self) {
        loop {
            let applied = self.shared.store.applied().revision();
            self.definitions();
            if !has_changed(&self.shared.store, PREFIX, applied).await {
                return;
            }
        }
    }

    /// If a CustomResourceDefinition was created, waits until this server serves it or knows that its names are another's, so
    /// that who created it can use it when told so. No longer than `limit`: the controllers may be elsewhere, or nowhere.
    pub async fn settle(&self, resource: &Resource, created: &Object, limit: Duration) {
        // What only was tried has no version.
        if !is_definition(resource) || created.version() == ResourceVersion(0) {
            return;
        }
        let store = &self.shared.store;
        let prefix = format!("{PREFIX}{}", created.name());
        let key = Key::new(prefix.clone());
        let settled = async {
            loop {
                let snapshot = store.applied();
                if snapshot.get(&key).and_then(|entry| Found::read(entry)).is_none_or(|found| found.is_settled()) {
                    return;
                }
                if !has_changed(store, &prefix, snapshot.revision()).await {
                    return;
                }
            }
        };
        // Who is not told in time finds out as with any other server.
        let _ = tokio::time::timeout(limit, settled).await;
    }
}

/// Waits until something may have changed below a prefix since a revision. False when the store has closed instead.
async fn has_changed(store: &Store, prefix: &str, since: Revision) -> bool {
    let told = match store.watch(prefix, since) {
        // What is told matters not: whoever waits looks at everything.
        Ok(mut watcher) => watcher.next().await.map(drop),
        Err(error) => Err(error),
    };
    match told {
        Ok(()) => true,
        Err(WatchError::Closed) => false,
        // The history has just been passed.
        Err(_) => {
            tokio::task::yield_now().await;
            true
        }
    }
}

/// Keeps the snapshot of a registry.
#[derive(Default)]
pub(crate) struct Keeper(Mutex<State>);

#[derive(Default)]
struct State {
    current: Arc<Definitions>,
    /// Where the store stood at the last look.
    seen: Option<Revision>,
    watcher: Option<Watcher>,
    /// What was compiled, by the definition's key, with its uid and generation.
    compiled: HashMap<Key, (String, i64, Arc<Compiled>)>,
    /// The versions that are served, by the definition's uid and the version's name.
    served: BTreeMap<(String, String), Serving>,
}

/// What ends the watches of a version.
#[derive(Clone, Default)]
struct Serving {
    /// What the definition says, see [`Found::says`].
    said: u64,
    /// See [`Kind::replaced`].
    replaced: CancellationToken,
    /// See [`Kind::retired`].
    retired: CancellationToken,
}

impl Serving {
    /// How the version is served by what the definition says now.
    fn by(&self, said: u64) -> Self {
        if self.said == said {
            return self.clone();
        }
        self.replaced.cancel();
        Self { said, replaced: CancellationToken::new(), retired: self.retired.clone() }
    }
}

impl Keeper {
    fn fresh(&self, store: &Store) -> Arc<Definitions> {
        let applied = store.applied();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.seen == Some(applied.revision()) {
            return state.current.clone();
        }
        let unchanged = state.watcher.as_mut().is_some_and(|watcher| !drain(watcher));
        // Another may have looked at a later state while this one waited.
        let snapshot = store.applied();
        state.seen = Some(snapshot.revision());
        if !unchanged {
            state.watcher = store.watch(PREFIX, snapshot.revision()).ok();
            state.renew(&snapshot);
        }
        state.current.clone()
    }
}

impl State {
    fn renew(&mut self, snapshot: &Snapshot) {
        let mut served = BTreeMap::new();
        let mut known = HashMap::new();
        let mut resources = Vec::new();
        for entry in snapshot.range(PREFIX, None) {
            let Some(found) = Found::read(entry) else { continue };
            let Some(compiled) = self.compile(entry.key(), &found) else { continue };
            known.insert(entry.key().clone(), (found.uid.clone(), found.generation, compiled.clone()));
            if found.is_served() {
                let said = found.says();
                for (at, version) in compiled.definition.versions().iter().enumerate().filter(|(_, v)| v.served) {
                    let place = (found.uid.clone(), version.name.clone());
                    let serving = self.served.get(&place).cloned().unwrap_or_default().by(said);
                    served.insert(place, serving.clone());
                    let kind = Kind {
                        compiled: compiled.clone(),
                        at,
                        key: entry.key().clone(),
                        revision: entry.modified(),
                        terminating: found.deleting,
                        retired: serving.retired,
                        replaced: serving.replaced,
                    };
                    resources.push(Arc::new(described(&compiled.definition, version, &found, kind)));
                }
            }
        }
        for (place, serving) in std::mem::replace(&mut self.served, served) {
            if !self.served.contains_key(&place) {
                serving.retired.cancel();
            }
        }
        self.compiled = known;
        resources.sort_by(|a: &ResourceRef, b: &ResourceRef| {
            let rank = |r: &ResourceRef| (version_rank(&r.version), r.version.to_string());
            (&a.group, rank(a), &a.plural).cmp(&(&b.group, rank(b), &b.plural))
        });
        self.current =
            Arc::new(Definitions { resources, number: self.current.number + 1, everything: OnceLock::new() });
    }

    /// The compiled definition: the one that is known, if its spec is the same.
    fn compile(&self, key: &Key, found: &Found) -> Option<Arc<Compiled>> {
        if let Some((uid, generation, compiled)) = self.compiled.get(key)
            && (uid, *generation) == (&found.uid, found.generation)
        {
            return Some(compiled.clone());
        }
        let definition = match Definition::compile(&found.object) {
            Ok(definition) => definition,
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                tracing::error!(key = key.as_str(), errors = errors.join(", "), "a stored definition is not served");
                return None;
            }
        };
        let versions = found.object["spec"]["versions"].as_array();
        let schema_of = |version: &Version| {
            let own = versions.and_then(|all| all.iter().find(|one| one["name"] == version.name.as_str()));
            own.map_or_else(
                || Schema::of_resource(&Value::Null),
                |own| Schema::of_resource(&own["schema"]["openAPIV3Schema"]),
            )
        };
        let api_version = |version: &Version| format!("{}/{}", definition.group(), version.name);
        let shapes = definition.versions().iter().map(|version| (api_version(version), schema_of(version))).collect();
        let stored_as = definition.storage().map(api_version)?;
        Some(Arc::new(Compiled { shapes, stored_as, definition }))
    }
}

/// A stored definition, as far as serving it is concerned.
struct Found {
    object: Value,
    uid: String,
    generation: i64,
    deleting: bool,
}

impl Found {
    fn read(entry: &Entry) -> Option<Self> {
        let object = Stored::read(entry.value()).ok()?.value;
        let metadata = &object["metadata"];
        Some(Self {
            uid: metadata["uid"].as_str().unwrap_or_default().to_owned(),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            deleting: metadata["deletionTimestamp"].is_string(),
            object,
        })
    }

    /// All that decides on what is made of objects, hashed.
    fn says(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for part in [&self.object["spec"], &self.object["status"]["acceptedNames"]] {
            part.to_string().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether its names were found to be its own at any time.
    fn is_served(&self) -> bool {
        self.established().any(|condition| condition["status"] == "True")
    }

    /// Whether its names have been looked at, or never will be.
    fn is_settled(&self) -> bool {
        self.deleting || self.established().next().is_some()
    }

    fn established(&self) -> impl Iterator<Item = &Value> {
        let conditions = self.object["status"]["conditions"].as_array().into_iter().flatten();
        conditions.filter(|condition| condition["type"] == "Established")
    }
}

/// What routes, discovery and messages follow from.
fn described(definition: &Definition, version: &Version, found: &Found, kind: Kind) -> Resource {
    let accepted = &found.object["status"]["acceptedNames"];
    let names = definition.names();
    let name = |field: &str, wanted: &str| {
        accepted[field].as_str().filter(|name| !name.is_empty()).unwrap_or(wanted).to_owned()
    };
    let list = |field: &str| {
        let names = accepted[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(|name| Cow::Owned(name.to_owned())).collect::<Vec<Cow<'static, str>>>()
    };
    let kind_name = name("kind", &names.kind);
    let own = |name: &'static str| Subresource {
        name: name.into(),
        group: definition.group().to_owned().into(),
        version: version.name.clone().into(),
        kind: kind_name.clone().into(),
        verbs: GET_PATCH_UPDATE.into(),
    };
    let mut subresources = Vec::new();
    if version.has_status() {
        subresources.push(own("status"));
    }
    if version.scale().is_some() {
        let scale =
            Subresource { group: "autoscaling".into(), version: "v1".into(), kind: "Scale".into(), ..own("scale") };
        subresources.push(scale);
    }
    Resource {
        group: definition.group().to_owned().into(),
        version: version.name.clone().into(),
        plural: names.plural.clone().into(),
        singular: name("singular", &names.singular).into(),
        namespaced: definition.namespaced(),
        short_names: list("shortNames").into(),
        categories: list("categories").into(),
        verbs: if kind.terminating { LAST_VERBS.into() } else { VERBS.into() },
        subresources: subresources.into(),
        custom: Some(Custom::new(Arc::new(kind))),
        kind: kind_name.into(),
    }
}
