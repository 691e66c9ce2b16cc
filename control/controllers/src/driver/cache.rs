//! What the driver knows of the cluster: every object's references, and whole objects of the kinds that controllers
//! look at, parsed once for each version.
//!
//! What the driver itself writes is taken in at once, so that the next look at a key sees it; the watch then tells it
//! again, and is not listened to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ReplicationController, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::ClusterRole;
use pal_registry::Object;
use pal_registry::custom::Definitions;
use pal_resources::{ResourceRef, ResourceVersion, resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::action::{OwnerId, ResourceId, Target};
use crate::garbage::{self, Item, Owner, Presence};
use crate::namespace::Content;
use crate::service_account::ROOT_CA;

/// Namespace (empty for objects of the cluster) and name.
pub(super) type Place = (String, String);
/// A resource by its position, and a place.
pub(super) type Address = (usize, Place);

/// Confirmed absences that are remembered; the registry is asked again for those that were forgotten.
const ABSENT_KEPT: usize = 10_000;

/// A whole object of a kind that some controller looks at.
#[derive(Clone, Debug)]
pub(super) enum Whole {
    Pod(Arc<Pod>),
    ReplicaSet(Arc<ReplicaSet>),
    Deployment(Arc<Deployment>),
    Controller(Arc<ReplicationController>),
    DaemonSet(Arc<DaemonSet>),
    StatefulSet(Arc<StatefulSet>),
    Revision(Arc<ControllerRevision>),
    Job(Arc<Job>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Namespace(Arc<Namespace>),
    Node(Arc<Node>),
    Request(Arc<CertificateSigningRequest>),
    RootCa(Arc<ConfigMap>),
    ClusterRole(Arc<ClusterRole>),
    Definition(Arc<Value>),
    Volume {
        bound: bool,
    },
    /// Its references are all that matters.
    Other,
}

/// What is known of one object.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) version: ResourceVersion,
    pub(super) item: Arc<Item>,
    pub(super) whole: Whole,
}

/// What became of an object.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) address: Address,
    pub(super) before: Option<Known>,
    pub(super) after: Option<Known>,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The custom resources that there are, for what owner references name.
    definitions: Arc<Definitions>,
    resources: Vec<ResourceRef>,
    ids: Vec<ResourceId>,
    objects: BTreeMap<Address, Known>,
    by_uid: HashMap<String, Address>,
    /// By the uid of an owner.
    dependents: HashMap<String, HashSet<Address>>,
    /// Objects that nobody controls, by resource and namespace.
    free: HashMap<(usize, String), BTreeSet<Address>>,
    /// Pods by the node to which they are bound.
    on_node: HashMap<String, HashSet<Place>>,
    content: HashMap<String, BTreeMap<ResourceId, Content>>,
    /// Up to which version each resource's watch has told its changes.
    told: Vec<ResourceVersion>,
    /// Own deletions that the watch has not told yet.
    gone: HashMap<Address, ResourceVersion>,
    /// Uids of owners that the registry does not have.
    absent: HashSet<String>,
}

impl Cache {
    pub(super) fn new(resources: &[ResourceRef]) -> Self {
        Self {
            ids: resources.iter().map(id).collect(),
            told: vec![ResourceVersion(0); resources.len()],
            resources: resources.to_vec(),
            ..Self::default()
        }
    }

    /// The position of a resource: of one that was there before under the same name, the latest.
    pub(super) fn position(&self, id: &ResourceId) -> Option<usize> {
        self.ids.iter().rposition(|known| known == id)
    }

    /// Takes in which custom resources there are.
    pub(super) fn define(&mut self, definitions: Arc<Definitions>) {
        self.definitions = definitions;
    }

    /// Makes place for one more resource: its position.
    pub(super) fn add(&mut self, resource: &ResourceRef) -> usize {
        self.resources.push(resource.clone());
        self.ids.push(id(resource));
        self.told.push(ResourceVersion(0));
        self.resources.len() - 1
    }

    /// Forgets all objects of a resource that is no longer served.
    pub(super) fn drop_all(&mut self, resource: usize) -> Vec<Change> {
        self.gone.retain(|(of, _), _| *of != resource);
        let addresses: Vec<Address> = self
            .objects
            .range((resource, Place::default())..(resource + 1, Place::default()))
            .map(|(address, _)| address.clone())
            .collect();
        addresses.into_iter().filter_map(|address| self.remove(address)).collect()
    }

    /// How many objects there are of the custom resource whose definition has that name, and its id; `None` while they have
    /// not been listed.
    pub(super) fn instances(&self, definition: &str) -> Option<(&ResourceId, Content)> {
        let position = self.ids.iter().rposition(|known| known.to_string() == definition)?;
        if self.told[position] == ResourceVersion(0) {
            return None;
        }
        let mut content = Content::default();
        for known in self.all(position, None) {
            content.all += 1;
            content.staying += usize::from(!known.item.deleting);
        }
        Some((&self.ids[position], content))
    }

    /// Takes in what the watch tells.
    pub(super) fn told(&mut self, resource: usize, object: &Object, deleted: bool) -> Option<Change> {
        let version = object.version();
        if let Some(told) = self.told.get_mut(resource) {
            *told = version.max(*told);
        }
        let address = address(resource, object);
        if let Some(gone) = self.gone.get(&address) {
            let stale = version <= *gone;
            if version >= *gone {
                self.gone.remove(&address);
            }
            if stale {
                return None;
            }
        }
        if deleted {
            let change = self.remove(address)?;
            if let Some(before) = &change.before
                && self.dependents.contains_key(&before.item.target.uid)
            {
                // The kind may no longer be served when somebody asks for it.
                self.is_absent(before.item.target.uid.clone());
            }
            return Some(change);
        }
        self.insert(address, object)
    }

    /// Takes in all that there is of a resource.
    pub(super) fn told_all(&mut self, resource: usize, version: ResourceVersion, objects: &[Object]) -> Vec<Change> {
        if let Some(told) = self.told.get_mut(resource) {
            *told = version.max(*told);
        }
        let present: HashSet<Address> = objects.iter().map(|object| address(resource, object)).collect();
        let known = self.objects.range((resource, Place::default())..(resource + 1, Place::default()));
        let lost: Vec<Address> = known
            .filter(|(address, known)| known.version <= version && !present.contains(*address))
            .map(|(address, _)| address.clone())
            .collect();
        self.gone.retain(|(of, _), gone| *of != resource || *gone > version);
        let mut changes: Vec<Change> = lost.into_iter().filter_map(|address| self.remove(address)).collect();
        for object in objects {
            let address = address(resource, object);
            if !self.gone.contains_key(&address) {
                changes.extend(self.insert(address, object));
            }
        }
        changes
    }

    /// Takes in what the driver wrote, unless the watch has told of that already.
    pub(super) fn wrote(&mut self, resource: usize, object: &Object, gone: bool) -> Option<Change> {
        let version = object.version();
        if self.told.get(resource).is_none_or(|told| version <= *told) {
            return None;
        }
        let address = address(resource, object);
        // Two writes of ours may be heard of in the other order than they were made in.
        if self.gone.get(&address).is_some_and(|gone| version <= *gone) {
            return None;
        }
        if gone {
            self.gone.insert(address.clone(), version);
            if self.objects.get(&address).is_some_and(|known| known.version > version) {
                return None;
            }
            return self.remove(address);
        }
        self.insert(address, object)
    }

    fn insert(&mut self, address: Address, object: &Object) -> Option<Change> {
        let known = self.objects.get(&address);
        if known.is_some_and(|known| object.version() <= known.version) {
            return None;
        }
        let item = Arc::new(self.item(address.0, object));
        let whole = self.parse(address.0, object);
        let before = self.remove(address.clone()).and_then(|change| change.before);
        let after = Known { version: object.version(), item, whole };
        self.link(&address, &after);
        self.objects.insert(address.clone(), after.clone());
        Some(Change { address, before, after: Some(after) })
    }

    fn remove(&mut self, address: Address) -> Option<Change> {
        let before = self.objects.remove(&address)?;
        self.unlink(&address, &before);
        Some(Change { address, before: Some(before), after: None })
    }

    fn link(&mut self, address: &Address, known: &Known) {
        let item = &known.item;
        self.by_uid.insert(item.target.uid.clone(), address.clone());
        for owner in &item.owners {
            self.dependents.entry(owner.id.uid.clone()).or_default().insert(address.clone());
        }
        let namespace = &address.1.0;
        if !item.owners.iter().any(|owner| owner.controller)
            && matches!(known.whole, Whole::Pod(_) | Whole::ReplicaSet(_) | Whole::Revision(_))
        {
            self.free.entry((address.0, namespace.clone())).or_default().insert(address.clone());
        }
        if let Some(node) = node_of(&known.whole) {
            self.on_node.entry(node.to_owned()).or_default().insert(address.1.clone());
        }
        if !namespace.is_empty() {
            let content = self.content.entry(namespace.clone()).or_default();
            let content = content.entry(item.target.resource.clone()).or_default();
            content.all += 1;
            content.staying += usize::from(!item.deleting);
        }
    }

    fn unlink(&mut self, address: &Address, known: &Known) {
        let item = &known.item;
        self.by_uid.remove(&item.target.uid);
        for owner in &item.owners {
            if let Some(set) = self.dependents.get_mut(&owner.id.uid) {
                set.remove(address);
                if set.is_empty() {
                    self.dependents.remove(&owner.id.uid);
                }
            }
        }
        let namespace = &address.1.0;
        let place = (address.0, namespace.clone());
        if let Some(set) = self.free.get_mut(&place) {
            set.remove(address);
            if set.is_empty() {
                self.free.remove(&place);
            }
        }
        if let Some(node) = node_of(&known.whole)
            && let Some(set) = self.on_node.get_mut(node)
        {
            set.remove(&address.1);
            if set.is_empty() {
                self.on_node.remove(node);
            }
        }
        if let Some(content) = self.content.get_mut(namespace)
            && let Some(of) = content.get_mut(&item.target.resource)
        {
            of.all = of.all.saturating_sub(1);
            of.staying = of.staying.saturating_sub(usize::from(!item.deleting));
            if of.all == 0 {
                content.remove(&item.target.resource);
            }
            if content.is_empty() {
                self.content.remove(namespace);
            }
        }
    }

    fn item(&self, position: usize, object: &Object) -> Item {
        let index = object.index();
        let namespace = index.namespace.as_deref().map(str::to_owned);
        let owners = index
            .owners
            .iter()
            .map(|owner| Owner {
                id: OwnerId {
                    api_version: owner.api_version.to_string(),
                    kind: owner.kind.to_string(),
                    namespace: self
                        .owner_resource(&owner.api_version, &owner.kind)
                        .filter(|resource| resource.namespaced)
                        .and(namespace.clone()),
                    name: owner.name.to_string(),
                    uid: owner.uid.0.clone(),
                },
                controller: owner.controller,
                blocks: owner.block_owner_deletion,
            })
            .collect();
        Item {
            target: Target {
                resource: self.ids[position].clone(),
                namespace,
                name: index.name.to_string(),
                uid: index.uid.0.clone(),
            },
            resource_version: object.version().to_string(),
            owners,
            finalizers: index.finalizers.iter().map(|finalizer| finalizer.to_string()).collect(),
            deleting: index.deleting,
        }
    }

    fn parse(&self, position: usize, object: &Object) -> Whole {
        fn whole<K: DeserializeOwned>(object: &Object, make: fn(Arc<K>) -> Whole) -> Whole {
            match object.parse::<K>() {
                Ok(parsed) => make(Arc::new(parsed)),
                Err(status) => {
                    tracing::error!(name = object.name(), %status, "a stored object cannot be read");
                    Whole::Other
                }
            }
        }
        let resource = &self.resources[position];
        match (&*resource.group, &*resource.kind) {
            ("", "Pod") => whole(object, Whole::Pod),
            ("apps", "ReplicaSet") => whole(object, Whole::ReplicaSet),
            ("apps", "Deployment") => whole(object, Whole::Deployment),
            ("", "ReplicationController") => whole(object, Whole::Controller),
            ("apps", "DaemonSet") => whole(object, Whole::DaemonSet),
            ("apps", "StatefulSet") => whole(object, Whole::StatefulSet),
            ("apps", "ControllerRevision") => whole(object, Whole::Revision),
            ("batch", "Job") => whole(object, Whole::Job),
            ("", "Service") => whole(object, Whole::Service),
            ("discovery.k8s.io", "EndpointSlice") => whole(object, Whole::EndpointSlice),
            ("", "Namespace") => whole(object, Whole::Namespace),
            ("", "Node") => whole(object, Whole::Node),
            ("rbac.authorization.k8s.io", "ClusterRole") => whole(object, Whole::ClusterRole),
            ("certificates.k8s.io", "CertificateSigningRequest") => whole(object, Whole::Request),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => match object.value() {
                Ok(value) => Whole::Definition(Arc::new(value)),
                Err(status) => {
                    tracing::error!(name = object.name(), %status, "a stored definition cannot be read");
                    Whole::Other
                }
            },
            ("", "PersistentVolume") => {
                Whole::Volume { bound: object.value().is_ok_and(|volume| volume["status"]["phase"] == "Bound") }
            }
            ("", "ConfigMap") if object.name() == ROOT_CA => whole(object, Whole::RootCa),
            _ => Whole::Other,
        }
    }

    pub(super) fn get(&self, address: &Address) -> Option<&Known> {
        self.objects.get(address)
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<&Known> {
        self.objects.get(self.by_uid.get(uid)?)
    }

    /// Everything of one resource, in one namespace or in all.
    pub(super) fn all(&self, resource: usize, namespace: Option<&str>) -> impl Iterator<Item = &Known> {
        let start = (resource, (namespace.unwrap_or_default().to_owned(), String::new()));
        let namespace = namespace.map(str::to_owned);
        self.objects
            .range(start..)
            .take_while(move |((of, (home, _)), _)| {
                *of == resource && namespace.as_ref().is_none_or(|namespace| namespace == home)
            })
            .map(|(_, known)| known)
    }

    /// What that owner controls or owns otherwise, of one resource.
    pub(super) fn owned(&self, resource: usize, uid: &str) -> impl Iterator<Item = &Known> {
        let addresses = self.dependents.get(uid).into_iter().flatten();
        addresses.filter(move |(of, _)| *of == resource).filter_map(|address| self.objects.get(address))
    }

    /// What nobody controls, of one resource in a namespace.
    pub(super) fn free(&self, resource: usize, namespace: &str) -> impl Iterator<Item = &Known> {
        let addresses = self.free.get(&(resource, namespace.to_owned())).into_iter().flatten();
        addresses.filter_map(|address| self.objects.get(address))
    }

    /// What names that uid as an owner.
    pub(super) fn dependents(&self, uid: &str) -> impl Iterator<Item = &Known> {
        let addresses = self.dependents.get(uid).into_iter().flatten();
        addresses.filter_map(|address| self.objects.get(address))
    }

    /// How many objects name that uid as an owner.
    pub(super) fn dependents_count(&self, uid: &str) -> usize {
        self.dependents.get(uid).map_or(0, HashSet::len)
    }

    /// The places of the pods that are bound to a node.
    pub(super) fn pods_on(&self, node: &str) -> impl Iterator<Item = &Place> {
        self.on_node.get(node).into_iter().flatten()
    }

    /// What is in a namespace.
    pub(super) fn content(&self, namespace: &str) -> BTreeMap<ResourceId, Content> {
        self.content.get(namespace).cloned().unwrap_or_default()
    }

    /// What is known of an owner.
    pub(super) fn presence(&self, owner: &OwnerId) -> Presence {
        match self.by_uid(&owner.uid) {
            Some(known) => {
                let waits = known.item.finalizers.iter().any(|own| own == garbage::FOREGROUND);
                if known.item.deleting && waits { Presence::Waiting } else { Presence::Present }
            }
            None if self.absent.contains(&owner.uid) => Presence::Absent,
            None => match self.owner_resource(&owner.api_version, &owner.kind) {
                Some(resource) if !resource.namespaced || owner.namespace.is_some() => Presence::Unknown,
                // A kind that is not served here, or an owner in a namespace of an object in none: neither can be
                // asked for, and what can not be known is nobody's garbage.
                _ => Presence::Present,
            },
        }
    }

    /// The resource of a kind that an owner reference names, if it is one that can be stored.
    fn owner_resource(&self, api_version: &str, kind: &str) -> Option<ResourceRef> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = resource::by_kind(group, version, kind);
        let found = found.or_else(|| self.definitions.by_kind(group, version, kind));
        found.filter(|resource| resource.verbs.contains(&"get"))
    }

    /// Remembers that the registry has no object of that uid. Uids never come back.
    pub(super) fn is_absent(&mut self, uid: String) {
        if self.absent.len() >= ABSENT_KEPT {
            self.absent.clear();
        }
        self.absent.insert(uid);
    }
}

fn id(resource: &ResourceRef) -> ResourceId {
    ResourceId {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        plural: resource.plural.to_string(),
    }
}

fn address(resource: usize, object: &Object) -> Address {
    (resource, (object.namespace().unwrap_or_default().to_owned(), object.name().to_owned()))
}

fn node_of(whole: &Whole) -> Option<&str> {
    match whole {
        Whole::Pod(pod) => crate::pods::node(pod),
        _ => None,
    }
}
