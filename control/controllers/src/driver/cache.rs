//! What the driver knows of the cluster: every object's references, and whole objects of the kinds that controllers
//! look at, parsed once for each version.
//!
//! What the driver itself writes is taken in at once, so that the next look at a key sees it; the watch then tells it
//! again, and is not listened to.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use pal_registry::custom::Definitions;
use pal_registry::{Made, Object};
use pal_resources::{ResourceRef, ResourceVersion, resource};

use super::contents::Contents;
use super::known::{Known, Uid, Whole};
use crate::action::{OwnerId, ResourceId, Target};
use crate::garbage::{self, Item, Owner, Presence};
use crate::namespace::Content;

/// Namespace (empty for objects of the cluster) and name.
pub(super) type Place = (String, String);
/// A resource by its position, and a place.
pub(super) type Address = (usize, Place);

/// Confirmed absences that are remembered; the registry is asked again for those that were forgotten.
const ABSENT_KEPT: usize = 10_000;

/// What became of an object.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) address: Address,
    pub(super) before: Option<Known>,
    pub(super) after: Option<Known>,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    /// What need not be parsed.
    made: Made,
    /// The custom resources that there are, for what owner references name.
    definitions: Arc<Definitions>,
    resources: Vec<ResourceRef>,
    ids: Vec<ResourceId>,
    /// By resource, namespace and name.
    objects: Vec<BTreeMap<String, BTreeMap<Box<str>, Known>>>,
    by_uid: HashMap<Uid, (usize, Object)>,
    /// By the uid of an owner.
    dependents: HashMap<String, HashSet<Address>>,
    /// The names of objects that nobody controls, by resource and namespace.
    free: HashMap<(usize, String), HashSet<Box<str>>>,
    /// Pods by the node to which they are bound.
    on_node: HashMap<String, HashSet<Place>>,
    contents: Contents,
    /// Up to which version each resource's watch has told its changes.
    told: Vec<ResourceVersion>,
    /// Own deletions that the watch has not told yet.
    gone: HashMap<Address, ResourceVersion>,
    /// Uids of owners that the registry does not have.
    absent: HashSet<String>,
}

impl Cache {
    pub(super) fn new(resources: &[ResourceRef], made: Made) -> Self {
        Self {
            made,
            ids: resources.iter().map(id).collect(),
            told: vec![ResourceVersion(0); resources.len()],
            objects: vec![BTreeMap::new(); resources.len()],
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
        self.objects.push(BTreeMap::new());
        self.resources.len() - 1
    }

    /// Forgets all objects of a resource that is no longer served.
    pub(super) fn drop_all(&mut self, resource: usize) -> Vec<Change> {
        self.gone.retain(|(of, _), _| *of != resource);
        let addresses: Vec<Address> = self.all(resource, None).map(|known| (resource, known.place())).collect();
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
            content.staying += usize::from(!known.is_deleting());
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
                && self.dependents.contains_key(before.uid())
            {
                // The kind may no longer be served when somebody asks for it.
                self.is_absent(before.uid().to_owned());
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
        let older = self.all(resource, None).filter(|known| known.version() <= version);
        let lost: Vec<Address> =
            older.map(|known| (resource, known.place())).filter(|address| !present.contains(address)).collect();
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
            if self.get(&address).is_some_and(|known| known.version() > version) {
                return None;
            }
            return self.remove(address);
        }
        self.insert(address, object)
    }

    fn insert(&mut self, address: Address, object: &Object) -> Option<Change> {
        let (resource, (namespace, name)) = &address;
        let homes = self.objects.get_mut(*resource)?;
        let home = match homes.get_mut(namespace) {
            Some(home) => home,
            None => homes.entry(namespace.clone()).or_default(),
        };
        // Most are new, and very many may be there: one look for the place.
        let (before, after) = match home.entry(name.as_str().into()) {
            Entry::Occupied(known) if object.version() <= known.get().version() => return None,
            Entry::Occupied(mut known) => {
                let after = Known::of(&self.resources[*resource], object, &self.made);
                (Some(known.insert(after.clone())), after)
            }
            Entry::Vacant(place) => {
                (None, place.insert(Known::of(&self.resources[*resource], object, &self.made)).clone())
            }
        };
        if let Some(before) = &before {
            self.unlink(&address, before);
        }
        self.link(&address, &after);
        Some(Change { address, before, after: Some(after) })
    }

    fn remove(&mut self, address: Address) -> Option<Change> {
        let (resource, (namespace, name)) = &address;
        let homes = self.objects.get_mut(*resource)?;
        let home = homes.get_mut(namespace)?;
        let before = home.remove(name.as_str())?;
        if home.is_empty() {
            homes.remove(namespace);
        }
        self.unlink(&address, &before);
        Some(Change { address, before: Some(before), after: None })
    }

    fn link(&mut self, address: &Address, known: &Known) {
        self.by_uid.insert(Uid::of(known.uid()), (address.0, known.object().clone()));
        for owner in known.owners() {
            self.dependents.entry(owner.uid.0.clone()).or_default().insert(address.clone());
        }
        let namespace = &address.1.0;
        if !known.owners().iter().any(|owner| owner.controller)
            && matches!(known.whole, Whole::Pod(_) | Whole::ReplicaSet(_) | Whole::Revision(_))
        {
            self.free.entry((address.0, namespace.clone())).or_default().insert(address.1.1.as_str().into());
        }
        if let Some(node) = known.whole.node() {
            self.on_node.entry(node.to_owned()).or_default().insert(address.1.clone());
        }
        if !namespace.is_empty() {
            self.contents.add(namespace, address.0, known.is_deleting());
        }
    }

    fn unlink(&mut self, address: &Address, known: &Known) {
        self.by_uid.remove(&Uid::of(known.uid()));
        for owner in known.owners() {
            if let Some(set) = self.dependents.get_mut(&owner.uid.0) {
                set.remove(address);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid.0);
                }
            }
        }
        let namespace = &address.1.0;
        let place = (address.0, namespace.clone());
        if let Some(set) = self.free.get_mut(&place) {
            set.remove(address.1.1.as_str());
            if set.is_empty() {
                self.free.remove(&place);
            }
        }
        if let Some(node) = known.whole.node()
            && let Some(set) = self.on_node.get_mut(node)
        {
            set.remove(&address.1);
            if set.is_empty() {
                self.on_node.remove(node);
            }
        }
        self.contents.remove(namespace, address.0, known.is_deleting());
    }

    /// The id of the resource at a position.
    pub(super) fn id(&self, position: usize) -> &ResourceId {
        &self.ids[position]
    }

    /// An object at a position as an action names it.
    pub(super) fn target(&self, position: usize, known: &Known) -> Target {
        Target {
            resource: self.ids[position].clone(),
            namespace: known.object().namespace().map(str::to_owned),
            name: known.name().to_owned(),
            uid: known.uid().to_owned(),
        }
    }

    /// An object at a position as the garbage collector sees it.
    pub(super) fn item(&self, position: usize, known: &Known) -> Item {
        let owner = |owner: &pal_registry::Owner| Owner {
            id: self.owner_id(known, owner),
            controller: owner.controller,
            blocks: owner.block_owner_deletion,
        };
        Item {
            target: self.target(position, known),
            kind: self.resources[position].kind.clone(),
            resource_version: known.version().to_string(),
            owners: known.owners().iter().map(owner).collect(),
            finalizers: known.finalizers().iter().map(|finalizer| finalizer.to_string()).collect(),
            deleting: known.is_deleting(),
        }
    }

    /// Whom an object means by an owner that it names.
    pub(super) fn owner_id(&self, known: &Known, owner: &pal_registry::Owner) -> OwnerId {
        let resource = self.owner_resource(&owner.api_version, &owner.kind);
        let home = resource.filter(|resource| resource.namespaced).and_then(|_| known.object().namespace());
        OwnerId {
            api_version: owner.api_version.to_string(),
            kind: owner.kind.to_string(),
            namespace: home.map(str::to_owned),
            name: owner.name.to_string(),
            uid: owner.uid.0.clone(),
        }
    }

    pub(super) fn get(&self, (resource, (namespace, name)): &Address) -> Option<&Known> {
        self.objects.get(*resource)?.get(namespace)?.get(name.as_str())
    }

    /// The object with that uid, and the position of its resource.
    pub(super) fn by_uid(&self, uid: &str) -> Option<(usize, &Known)> {
        let (position, object) = self.by_uid.get(&Uid::of(uid))?;
        let home = self.objects.get(*position)?.get(object.namespace().unwrap_or_default())?;
        Some((*position, home.get(object.name())?))
    }

    /// Everything of one resource, in one namespace or in all.
    pub(super) fn all(&self, resource: usize, namespace: Option<&str>) -> impl Iterator<Item = &Known> {
        let homes = self.objects.get(resource);
        let one = homes.zip(namespace).and_then(|(homes, namespace)| homes.get(namespace));
        let all = homes.filter(|_| namespace.is_none()).into_iter().flat_map(BTreeMap::values);
        one.into_iter().chain(all).flat_map(BTreeMap::values)
    }

    /// What that owner controls or owns otherwise, of one resource.
    pub(super) fn owned(&self, resource: usize, uid: &str) -> impl Iterator<Item = &Known> {
        let addresses = self.dependents.get(uid).into_iter().flatten();
        addresses.filter(move |(of, _)| *of == resource).filter_map(|address| self.get(address))
    }

    /// What nobody controls, of one resource in a namespace.
    pub(super) fn free(&self, resource: usize, namespace: &str) -> impl Iterator<Item = &Known> {
        let names = self.free.get(&(resource, namespace.to_owned())).into_iter().flatten();
        let home = self.objects.get(resource).and_then(|homes| homes.get(namespace));
        names.filter_map(move |name| home?.get(name))
    }

    /// What names that uid as an owner, each with the position of its resource.
    pub(super) fn dependents(&self, uid: &str) -> impl Iterator<Item = (usize, &Known)> {
        let addresses = self.dependents.get(uid).into_iter().flatten();
        addresses.filter_map(|address| Some((address.0, self.get(address)?)))
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
        self.contents.of(namespace).map(|(position, content)| (self.ids[position].clone(), content)).collect()
    }

    /// What is known of an owner.
    pub(super) fn presence(&self, owner: &OwnerId) -> Presence {
        match self.by_uid(&owner.uid) {
            // Where the reference looks for it, it is not: an owner lies in the namespace of what it owns.
            Some((_, known)) if is_elsewhere(owner, known.object()) => {
                let named = known.object().namespace() == owner.namespace.as_deref();
                if named { Presence::Absent } else { Presence::Elsewhere }
            }
            Some((_, known)) if known.is_deleting() && known.has_finalizer(garbage::FOREGROUND) => Presence::Waiting,
            Some(_) => Presence::Present,
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

/// Whether an object of the owner's uid lies in another namespace than the reference means, or is called otherwise.
fn is_elsewhere(owner: &OwnerId, object: &Object) -> bool {
    let place = (object.namespace(), object.name());
    owner.namespace.is_some() && place != (owner.namespace.as_deref(), owner.name.as_str())
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
