//! What is looked at as one, and which changes of objects concern which looks.

mod addresses;
mod pods;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;

use super::cache::{Address, Cache, Change, Place};
use super::known::{Known, Whole};
use super::positions::Positions;
use super::queue::Named;
use super::services::zone;
use crate::account_token::ACCOUNT;
use crate::garbage::{FOREGROUND, ORPHAN, Presence};
use crate::node::pod::concerns_pods;
use crate::object::{annotation, controller};
use crate::{api_service, endpoints, endpointslice};

pub(super) use pods::selects;
use pods::{owner_key, pod};

/// One look's subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    ReplicaSet(Place),
    Deployment(Place),
    /// A ReplicationController.
    Controller(Place),
    DaemonSet(Place),
    StatefulSet(Place),
    Job(Place),
    CronJob(Place),
    /// A HorizontalPodAutoscaler.
    Autoscaler(Place),
    /// A Service's endpoints.
    Service(Place),
    /// The IPAddresses of a Service.
    Addresses(Place),
    /// An IPAddress.
    Address(String),
    /// A ServiceCIDR.
    Block(String),
    /// The Endpoints of that name, and what mirrors them.
    Endpoints(Place),
    Namespace(String),
    /// A Secret with a token of a service account.
    AccountToken(Place),
    /// What a namespace has by itself.
    Accounts(String),
    Node(String),
    /// The address blocks of all nodes.
    Blocks,
    /// A pod and the node it is bound to.
    Pod(Place),
    /// An object, by its uid, and its owners.
    Garbage(String),
    Request(String),
    /// The roles that are put together from others.
    Roles,
    /// What of a namespace's quotas is used.
    Quotas(String),
    /// A CustomResourceDefinition.
    Definition(String),
    /// The APIService of that name, and the definitions that want it.
    ApiService(String),
    /// A PersistentVolumeClaim, and who uses it.
    Claim(Place),
    Volume(String),
    /// The claims of a pod's ephemeral volumes.
    Ephemeral(Place),
    /// A PodDisruptionBudget.
    Budget(Place),
    /// Old Events.
    Events,
    /// Pods that have ended.
    Terminated,
}

impl Named for Key {
    /// As Kubernetes calls the controller's queue, where it has one.
    fn name(&self) -> &'static str {
        match self {
            Self::ReplicaSet(_) => "replicaset",
            Self::Deployment(_) => "deployment",
            Self::Controller(_) => "replicationmanager",
            Self::DaemonSet(_) => "daemonset",
            Self::StatefulSet(_) => "statefulset",
            Self::Job(_) => "job",
            Self::CronJob(_) => "cronjob",
            Self::Autoscaler(_) => "horizontalpodautoscaler",
            Self::Service(_) => "endpoint_slice",
            Self::Addresses(_) | Self::Address(_) => "ipallocator_repair_controller",
            Self::Block(_) => "service-cidr-controller",
            Self::Endpoints(_) => "endpoint",
            Self::Namespace(_) => "namespace",
            Self::Accounts(_) => "serviceaccount",
            Self::AccountToken(_) => "serviceaccount_tokens_secret",
            Self::Node(_) => "node_lifecycle_controller",
            Self::Blocks => "node_ipam",
            Self::Pod(_) => "node_lifecycle_controller_pods",
            Self::Garbage(_) => "garbage_collector_attempt_to_delete",
            Self::Request(_) => "certificate",
            Self::Roles => "ClusterRoleAggregator",
            Self::Quotas(_) => "resourcequota_primary",
            Self::Definition(_) => "crd_naming_condition_controller",
            Self::ApiService(_) => "crd_autoregistration_controller",
            Self::Claim(_) => "claims",
            Self::Volume(_) => "volumes",
            Self::Ephemeral(_) => "ephemeral_volume",
            Self::Budget(_) => "disruption",
            Self::Events => "events",
            Self::Terminated => "pod_garbage_collector",
        }
    }
}

/// What is mostly a controller's own write is looked at after that; somebody else's is mended soon enough.
const MEND: Duration = Duration::from_millis(500);

/// A wanted look, and how long it can wait for others of its kind to join it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) within: Duration,
}

fn now(key: Key) -> Wanted {
    Wanted { key, within: Duration::ZERO }
}

/// The looks that a change calls for.
pub(super) fn wanted(cache: &Cache, at: &Positions, change: &Change) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let place = &change.address.1;
    let either = change.after.as_ref().or(change.before.as_ref());
    match either.map(|known| &known.whole) {
        Some(Whole::Pod(_)) => pod(cache, at, change, &mut wanted),
        Some(Whole::ReplicaSet(_)) => {
            wanted.push(now(Key::ReplicaSet(place.clone())));
            owners(cache, at, change, &mut wanted);
        }
        Some(Whole::Deployment(_)) => wanted.push(now(Key::Deployment(place.clone()))),
        Some(Whole::Controller(_)) => wanted.push(now(Key::Controller(place.clone()))),
        Some(Whole::DaemonSet(_)) => wanted.push(now(Key::DaemonSet(place.clone()))),
        Some(Whole::StatefulSet(_)) => wanted.push(now(Key::StatefulSet(place.clone()))),
        Some(Whole::Job(job)) => {
            wanted.push(now(Key::Job(place.clone())));
            let owner = controller(&job.metadata).and_then(|owner| owner_key(owner, &place.0));
            wanted.extend(owner.map(now));
        }
        Some(Whole::CronJob(_)) => wanted.push(now(Key::CronJob(place.clone()))),
        Some(Whole::Autoscaler(_)) => wanted.push(now(Key::Autoscaler(place.clone()))),
        Some(Whole::Revision(revision)) => {
            let owner = controller(&revision.metadata).and_then(|owner| owner_key(owner, &place.0));
            // Mostly it is the set's own write.
            wanted.extend(owner.map(|key| Wanted { key, within: Duration::from_millis(500) }));
        }
        Some(Whole::Service(_)) => {
            wanted.push(now(Key::Service(place.clone())));
            wanted.push(now(Key::Endpoints(place.clone())));
            addresses::service(change, &mut wanted);
        }
        Some(Whole::Address(_)) => {
            addresses::address(change, &mut wanted);
            addresses::ending(cache, at, &mut wanted);
        }
        Some(Whole::Block(_)) => {
            wanted.push(now(Key::Block(place.1.clone())));
            addresses::ending(cache, at, &mut wanted);
        }
        Some(Whole::Endpoints(endpoints)) => {
            let labels = endpoints.metadata.labels.as_ref();
            let own = labels.is_some_and(|labels| labels.contains_key(endpoints::MANAGED_BY));
            wanted.push(Wanted { key: Key::Endpoints(place.clone()), within: if own { MEND } else { Duration::ZERO } });
        }
        Some(Whole::EndpointSlice(slice)) => {
            let label = |key| slice.metadata.labels.as_ref().and_then(|labels| labels.get(key));
            let mirrors = label(endpointslice::MANAGED_BY).is_some_and(|by| by == endpoints::MIRRORER);
            let key = if mirrors { Key::Endpoints } else { Key::Service };
            let service = label(endpointslice::SERVICE_NAME).map(|service| (place.0.clone(), service.clone()));
            wanted.extend(service.map(|service| Wanted { key: key(service), within: MEND }));
        }
        Some(Whole::Namespace(_)) => {
            wanted.push(now(Key::Namespace(place.1.clone())));
            wanted.push(now(Key::Accounts(place.1.clone())));
        }
        Some(Whole::Node(_)) => node(cache, at, change, &mut wanted),
        Some(Whole::Request(_)) => wanted.push(now(Key::Request(place.1.clone()))),
        Some(Whole::ClusterRole(_)) => {
            // Many come together: at the first start all the defaults.
            wanted.push(Wanted { key: Key::Roles, within: Duration::from_millis(5) });
        }
        Some(Whole::Definition(_)) => definitions(cache, at, change, &mut wanted),
        Some(Whole::RootCa(_)) => wanted.push(now(Key::Accounts(place.0.clone()))),
        Some(Whole::AccountToken(_)) => wanted.push(now(Key::AccountToken(place.clone()))),
        Some(Whole::Other) if change.address.0 == at.service_accounts => {
            if change.after.is_none() {
                wanted.push(now(Key::Accounts(place.0.clone())));
            }
            if change.before.is_none() || change.after.is_none() {
                let secrets = cache.all(at.secrets, Some(&place.0));
                let tokens = secrets.filter(|known| match &known.whole {
                    Whole::AccountToken(secret) => annotation(&secret.metadata, ACCOUNT) == Some(&place.1),
                    _ => false,
                });
                wanted.extend(tokens.map(|known| now(Key::AccountToken(known.place()))));
            }
        }
        Some(Whole::Other) if change.address.0 == at.api_services => {
            wanted.push(Wanted { key: Key::ApiService(place.1.clone()), within: MEND });
        }
        Some(Whole::Budget(_)) => wanted.push(now(Key::Budget(place.clone()))),
        Some(Whole::Claim(_)) => storage::claim(cache, at, change, &mut wanted),
        Some(Whole::Volume(_)) => storage::volume(cache, at, change, &mut wanted),
        Some(Whole::StorageClass(_)) => storage::class(cache, at, &mut wanted),
        Some(Whole::Other) | None => {}
    }
    content(cache, at, change, &mut wanted);
    quotas(cache, at, change, &mut wanted);
    garbage(cache, change, &mut wanted);
    wanted
}

/// A definition, and those that want names which it held or holds.
fn definitions(cache: &Cache, at: &Positions, change: &Change, wanted: &mut Vec<Wanted>) {
    let name = &change.address.1.1;
    wanted.push(now(Key::Definition(name.clone())));
    for known in [&change.before, &change.after].into_iter().flatten() {
        if let Whole::Definition(definition) = &known.whole {
            wanted.extend(api_service::names(definition).map(|name| now(Key::ApiService(name))));
        }
    }
    let group = |name: &str| name.split_once('.').map(|(_, group)| group.to_owned());
    let others = cache.all(at.definitions, None).map(Known::name);
    let others = others.filter(|other| *other != name && group(other) == group(name));
    wanted.extend(
        others.map(|other| Wanted { key: Key::Definition(other.to_owned()), within: Duration::from_millis(5) }),
    );
}

/// A namespace, or a definition, that is being emptied is looked at when something of it has gone.
fn content(cache: &Cache, at: &Positions, change: &Change, wanted: &mut Vec<Wanted>) {
    let namespace = &change.address.1.0;
    if change.before.is_some() && change.after.is_none() {
        let name = cache.id(change.address.0).to_string();
        let definition: Address = (at.definitions, (String::new(), name.clone()));
        if cache.get(&definition).is_some_and(|known| known.is_deleting()) {
            wanted.push(Wanted { key: Key::Definition(name), within: Duration::from_millis(10) });
        }
    }
    if change.after.is_some() || namespace.is_empty() {
        return;
    }
    let home: Address = (at.namespaces, (String::new(), namespace.clone()));
    if cache.get(&home).is_some_and(|known| known.is_deleting()) {
        wanted.push(Wanted { key: Key::Namespace(namespace.clone()), within: Duration::from_millis(10) });
    }
}

/// Where there are quotas, all that comes, changes and goes is counted, together with what happens at the same time.
fn quotas(cache: &Cache, at: &Positions, change: &Change, wanted: &mut Vec<Wanted>) {
    let namespace = &change.address.1.0;
    let own = change.address.0 == at.resource_quotas;
    if !namespace.is_empty() && (own || cache.all(at.resource_quotas, Some(namespace)).next().is_some()) {
        wanted.push(Wanted { key: Key::Quotas(namespace.clone()), within: Duration::from_millis(10) });
    }
}

fn garbage(cache: &Cache, change: &Change, wanted: &mut Vec<Wanted>) {
    let want = |known: &Known| now(Key::Garbage(known.uid().to_owned()));
    match (&change.before, &change.after) {
        (before, Some(after)) => {
            if is_suspect(cache, after) {
                wanted.push(want(after));
            }
            if let Some(before) = before.as_ref().filter(|before| before.owners() != after.owners()) {
                // What waited for it may wait no longer.
                let owners = before.owners().iter().filter_map(|owner| cache.by_uid(&owner.uid.0));
                wanted.extend(owners.filter(|(_, known)| known.is_deleting()).map(|(_, known)| want(known)));
            }
            // An owner that waits for what it owns: those are looked at, not only it.
            if after.is_deleting() && after.has_finalizer(FOREGROUND) {
                wanted.extend(cache.dependents(after.uid()).map(|(_, known)| want(known)));
            }
        }
        (Some(before), None) => {
            wanted.extend(cache.dependents(before.uid()).map(|(_, known)| want(known)));
            let owners = before.owners().iter().filter_map(|owner| cache.by_uid(&owner.uid.0));
            wanted.extend(owners.filter(|(_, known)| known.is_deleting()).map(|(_, known)| want(known)));
        }
        (None, None) => {}
    }
}

/// Whether the collector has anything to do with an object.
fn is_suspect(cache: &Cache, known: &Known) -> bool {
    if known.is_deleting() {
        return known.has_finalizer(FOREGROUND) || known.has_finalizer(ORPHAN);
    }
    known.owners().iter().any(|owner| cache.presence(&cache.owner_id(known, owner)) != Presence::Present)
}

fn owners(cache: &Cache, at: &Positions, change: &Change, wanted: &mut Vec<Wanted>) {
    let namespace = &change.address.1.0;
    for known in [&change.before, &change.after].into_iter().flatten() {
        let Whole::ReplicaSet(set) = &known.whole else { continue };
        let key = match controller(&set.metadata) {
            Some(owner) if owner.kind == "Deployment" => (namespace.clone(), owner.name.clone()),
            Some(_) => continue,
            None => {
                // Any deployment of the namespace may want it.
                let deployments = cache.all(at.deployments, Some(namespace));
                wanted.extend(deployments.map(|known| now(Key::Deployment(known.place()))));
                continue;
            }
        };
        let within = Duration::from_millis(2);
        wanted.push(Wanted { key: Key::Deployment(key), within });
    }
}

fn node(cache: &Cache, at: &Positions, change: &Change, wanted: &mut Vec<Wanted>) {
    let name = &change.address.1.1;
    let (before, after) = (node_of(&change.before), node_of(&change.after));
    if after.is_some() {
        wanted.push(now(Key::Node(name.clone())));
    }
    if daemon_facts(before.as_deref()) != daemon_facts(after.as_deref()) {
        let sets = cache.all(at.daemon_sets, None);
        let within = Duration::from_millis(10);
        wanted.extend(sets.map(|known| Wanted { key: Key::DaemonSet(known.place()), within }));
    }
    if let Some(after) = &after
        && before.as_deref().and_then(zone) != zone(after)
    {
        pods::services_on(cache, at, name, wanted);
    }
    // A node that goes leaves its block to one that waits for it.
    if before.is_none() || after.is_none() {
        wanted.push(now(Key::Blocks));
    }
    if after.as_ref().is_none_or(|after| concerns_pods(before.as_deref(), after)) {
        wanted.extend(cache.pods_on(name).map(|place| now(Key::Pod(place.clone()))));
    }
}

/// The node that an object is.
pub(super) fn node_of(known: &Option<Known>) -> Option<Arc<Node>> {
    match &known.as_ref()?.whole {
        Whole::Node(node) => Some(node.clone()),
        _ => None,
    }
}

/// What of a node DaemonSets look at.
fn daemon_facts(node: Option<&Node>) -> Option<impl PartialEq + use<'_>> {
    let node = node?;
    Some((node.metadata.labels.as_ref(), node.spec.as_ref().and_then(|spec| spec.taints.as_ref())))
}

/// How long a look at that many objects waits for more to change: short for few, and for many not so short that every
/// change of one costs a look at all.
fn window(objects: usize) -> Duration {
    Duration::from_micros(250).saturating_mul(u32::try_from(objects.min(4000)).unwrap_or(4000))
}
