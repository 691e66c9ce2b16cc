//! A key into a plan: gathers what its reconcile looks at, and asks it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::rbac::v1::ClusterRole;
use pal_custom::TakenNames;
use pal_registry::Registry;

use super::cache::{Cache, Place};
use super::key::Key;
use super::known::{Known, Whole};
use super::positions::Positions;
use crate::Options;
use crate::action::{Action, Plan, ResourceId};
use crate::api_service::MANAGED;
use crate::garbage::{self, Item};
use crate::namespace::Content;
use crate::node::disruption::{self, Disruption, State};
use crate::node::taints::Noticed;
use crate::node::{Life, cidr, life, lifecycle, pod as node_pod, ttl};
use crate::object::{annotation, is_deleting, name, uid};
use crate::{
    account_token, api_service, autoscaler, cluster_role, csr, daemonset, definition, deployment, job, namespace,
    replicaset, service_account, terminated,
};

/// What looks need beside the cache.
pub(super) struct Looker {
    pub(super) at: Positions,
    /// For the scales of controllers that are not built in.
    pub(super) registry: Registry,
    pub(super) options: Arc<Options>,
    /// When the controllers started to look.
    pub(super) started: Timestamp,
    /// Why pods of a set could not be created or deleted the last time.
    pub(super) failures: HashMap<Key, replicaset::Failure>,
    /// Nodes that pods name and that do not exist, and since when that is known.
    pub(super) missing: HashMap<String, Instant>,
    /// When namespaces that go were last written what they wait for.
    pub(super) said: HashMap<String, Instant>,
    /// What was found for autoscalers, and what is remembered of them.
    pub(super) autoscalers: HashMap<Place, (Option<autoscaler::Measured>, autoscaler::Memory)>,
    /// How often pods of DaemonSets failed.
    pub(super) daemon_failures: HashMap<Place, daemonset::Failures>,
    /// Whether nodes are gone in numbers.
    pub(super) disruption: Disruption,
    /// Since when nodes have taints that do not say it.
    pub(super) noticed: Noticed,
    /// A disruption has ended, and the pods that it kept have not been looked at yet.
    pub(super) resumed: bool,
}

/// One moment, on both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) monotonic: Instant,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { wall: Timestamp::now(), monotonic: Instant::now() }
    }
}

macro_rules! whole {
    ($known:expr, $kind:ident) => {
        match $known.map(|known: &Known| &known.whole) {
            Some(Whole::$kind(object)) => Some(object.clone()),
            _ => None,
        }
    };
}

pub(super) use whole;

impl Looker {
    pub(super) fn look(&mut self, cache: &Cache, key: &Key, now: Moment) -> Plan {
        match key {
            Key::ReplicaSet(place) => self.replica_set(cache, place, now),
            Key::Controller(place) => self.controller(cache, place, now),
            Key::Deployment(place) => self.deployment(cache, place, now),
            Key::DaemonSet(place) => self.daemon_set(cache, place, now),
            Key::StatefulSet(place) => self.stateful_set(cache, place, now),
            Key::Job(place) => self.job(cache, place, now),
            Key::CronJob(place) => self.cron_job(cache, place, now),
            Key::Autoscaler(place) => self.autoscaler(cache, place, now),
            Key::Budget(place) => self.budget(cache, place, now),
            Key::Service(place) => self.service(cache, place),
            Key::Endpoints(place) => self.endpoints(cache, place),
            Key::Addresses(place) => self.addresses(cache, place),
            Key::Address(name) => self.address(cache, name),
            Key::Block(name) => self.block(cache, name, now),
            Key::Namespace(name) => self.namespace(cache, name, now),
            Key::Accounts(name) => self.accounts(cache, name),
            Key::AccountToken(place) => self.account_token(cache, place, now),
            Key::Node(name) => self.node(cache, name, now),
            Key::Blocks => cidr::reconcile(&self.nodes(cache)),
            Key::Pod(place) => self.pod(cache, place, now),
            Key::Garbage(uid) => garbage_of(cache, uid),
            Key::Request(name) => self.request(cache, name, now),
            Key::Roles => self.roles(cache),
            Key::Quotas(namespace) => Plan::of(Action::CountQuotas { namespace: namespace.clone() }),
            Key::Definition(name) => self.definition(cache, name, now),
            Key::ApiService(name) => self.api_service(cache, name),
            Key::Claim(place) => self.claim(cache, place),
            Key::Volume(name) => self.volume(cache, name),
            Key::Ephemeral(place) => self.ephemeral(cache, place),
            // The registry knows which are old.
            Key::Events => Plan::idle(),
            Key::Terminated => terminated::reconcile(cache.all(self.at.pods, None).filter_map(pod_of)),
        }
    }

    fn deployment(&self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let known = cache.get(&(self.at.deployments, place.clone()));
        let Some(deployment) = whole!(known, Deployment) else { return Plan::idle() };
        let owned = cache.owned(self.at.replica_sets, uid(&deployment.metadata));
        let sets: Vec<Arc<ReplicaSet>> = owned
            .chain(cache.free(self.at.replica_sets, &place.0))
            .filter_map(|known| whole!(Some(known), ReplicaSet))
            .collect();
        let taken = |set: &str| cache.get(&(self.at.replica_sets, (place.0.clone(), set.to_owned()))).is_some();
        let view = deployment::View { deployment: &deployment, sets: &sets, taken: &taken };
        deployment::reconcile(&view, now.wall)
    }

    fn namespace(&mut self, cache: &Cache, name: &str, now: Moment) -> Plan {
        let known = cache.get(&(self.at.namespaces, (String::new(), name.to_owned())));
        let Some(namespace) = whole!(known, Namespace) else { return Plan::idle() };
        let deleting = is_deleting(&namespace.metadata);
        let said = self.said.get(name).map(|said| now.monotonic.saturating_duration_since(*said));
        let content = if deleting { namespace::in_turn(cache.content(name)) } else { BTreeMap::new() };
        let finalizers = finalizers(cache, name, &content);
        let view = namespace::View { namespace: &namespace, content: &content, finalizers: &finalizers, said };
        let plan = namespace::reconcile(&view, now.wall);
        if plan.actions.iter().any(|action| matches!(action, Action::Patch { .. })) {
            self.said.insert(name.to_owned(), now.monotonic);
        }
        plan
    }

    fn roles(&self, cache: &Cache) -> Plan {
        let roles = cache.all(self.at.cluster_roles, None);
        let roles: Vec<Arc<ClusterRole>> = roles.filter_map(|known| whole!(Some(known), ClusterRole)).collect();
        cluster_role::reconcile(&roles)
    }

    fn definition(&self, cache: &Cache, name: &str, now: Moment) -> Plan {
        let known = cache.get(&(self.at.definitions, (String::new(), name.to_owned())));
        let (Some(known), Some(value)) = (known, whole!(known, Definition)) else { return Plan::idle() };
        let others = cache.all(self.at.definitions, None).filter_map(|other| whole!(Some(other), Definition));
        let taken: Vec<TakenNames> = others
            .filter(|other| other["spec"]["group"] == value["spec"]["group"])
            .filter(|other| other["metadata"]["name"] != name)
            .map(|other| TakenNames::of(&other))
            .collect();
        let view = definition::View {
            target: &cache.target(self.at.definitions, known),
            definition: &value,
            taken: &taken,
            instances: cache.instances(name),
        };
        definition::reconcile(&view, now.wall)
    }

    fn api_service(&self, cache: &Cache, name: &str) -> Plan {
        let mut definitions = cache.all(self.at.definitions, None).filter_map(|known| whole!(Some(known), Definition));
        let served = definitions.any(|definition| api_service::names(&definition).any(|served| served == name));
        let known = cache.get(&(self.at.api_services, (String::new(), name.to_owned())));
        let known = known.map(|known| api_service::Known {
            target: cache.target(self.at.api_services, known),
            managed: known.object().index().sorted_labels().get(MANAGED.0).is_some_and(|it| it == MANAGED.1),
        });
        api_service::reconcile(&api_service::View { name, served, known })
    }

    fn accounts(&self, cache: &Cache, name: &str) -> Plan {
        let known = cache.get(&(self.at.namespaces, (String::new(), name.to_owned())));
        let Some(namespace) = whole!(known, Namespace) else { return Plan::idle() };
        let within = |resource, object: &str| cache.get(&(resource, (name.to_owned(), object.to_owned())));
        let map = whole!(within(self.at.config_maps, service_account::ROOT_CA), RootCa);
        service_account::reconcile(&service_account::View {
            namespace: &namespace,
            has_account: within(self.at.service_accounts, service_account::DEFAULT_ACCOUNT).is_some(),
            root_ca: map.as_deref(),
            root_ca_pem: &self.options.root_ca_pem,
        })
    }

    fn account_token(&self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let known = cache.get(&(self.at.secrets, place.clone()));
        let Some(secret) = whole!(known, AccountToken) else { return Plan::idle() };
        let account = annotation(&secret.metadata, account_token::ACCOUNT).unwrap_or_default();
        let account = cache.get(&(self.at.service_accounts, (place.0.clone(), account.to_owned())));
        let view = account_token::View {
            secret: &secret,
            account: account.map(Known::uid),
            root_ca_pem: &self.options.root_ca_pem,
        };
        account_token::reconcile(&view, now.wall)
    }

    /// Judges all nodes together.
    fn survey(&mut self, cache: &Cache, now: Moment) {
        let nodes = self.nodes(cache);
        let is_ready = |node: &&Arc<Node>| {
            let seen = self.last_seen(name(&node.metadata), now);
            disruption::is_ready(node, seen, self.started, &self.options.timing, now.wall)
        };
        let ready = nodes.iter().filter(is_ready).count();
        let before = self.disruption;
        self.resumed |= self.disruption.observe(ready, nodes.len() - ready, now.wall);
        match (before.state, self.disruption.state) {
            // Nodes that have not been ready yet are no trouble.
            (State::Normal, State::Partial | State::Full) if before.ready > 0 => {
                tracing::warn!(ready, of = nodes.len(), "most nodes are gone at once: their pods are left to them");
            }
            (State::Partial | State::Full, State::Normal) => {
                tracing::debug!(ready, of = nodes.len(), "enough nodes are ready: pods leave those that are gone");
            }
            _ => {}
        }
    }

    fn node(&mut self, cache: &Cache, name: &str, now: Moment) -> Plan {
        self.survey(cache, now);
        let node = self.find_node(cache, name);
        self.noticed.observe(name, node.as_deref(), now.wall);
        let Some(node) = node else { return Plan::idle() };
        let view = lifecycle::View {
            node: &node,
            last_seen: self.last_seen(name, now),
            started: self.started,
            resumed: self.disruption.resumed,
            timing: &self.options.timing,
        };
        let mut plan = lifecycle::reconcile(&view, now.wall);
        plan.actions.extend(ttl::annotate(&node, cache.all(self.at.nodes, None).count()));
        plan
    }

    fn pod(&mut self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let known = cache.get(&(self.at.pods, place.clone()));
        let Some(pod) = whole!(known, Pod) else { return Plan::idle() };
        let node_name = crate::pods::node(&pod);
        let node = node_name.and_then(|name| self.find_node(cache, name));
        let host = match (node_name, &node) {
            (None, _) => node_pod::Host::None,
            (Some(_), Some(node)) => node_pod::Host::Known(node),
            (Some(name), None) => {
                let since = *self.missing.entry(name.to_owned()).or_insert(now.monotonic);
                node_pod::Host::Missing(now.monotonic.saturating_duration_since(since))
            }
        };
        if node.is_some() {
            self.survey(cache, now);
        }
        let timing = &self.options.timing;
        let last_seen = node_name.and_then(|name| self.last_seen(name, now));
        let evictions = self.disruption.evictions(last_seen, self.started, timing);
        let noticed = &self.noticed;
        let view = node_pod::View { pod: &pod, host, started: self.started, evictions, noticed, timing };
        let mut plan = node_pod::reconcile(&view, now.wall);
        if job::is_orphan(&pod) {
            plan.actions.extend(job::abandoned([&pod]));
        }
        plan
    }

    fn request(&self, cache: &Cache, name: &str, now: Moment) -> Plan {
        let known = cache.get(&(self.at.requests, (String::new(), name.to_owned())));
        let Some(request) = whole!(known, Request) else { return Plan::idle() };
        let subject = self.options.signer.subject(&request.spec.request.0);
        let is_live = |name: &str| {
            self.find_node(cache, name).is_some_and(|node| {
                let seen = self.last_seen(name, now);
                let timing = &self.options.timing;
                seen.is_some() && life(&node, seen, self.started, timing, now.wall) != Life::Dead
            })
        };
        let view = csr::View {
            request: &request,
            subject: &subject,
            is_live: &is_live,
            reserved: &self.options.reserved_addresses,
            default_validity: self.options.timing.certificate_validity,
        };
        csr::reconcile(&view, now.wall)
    }

    fn last_seen(&self, node: &str, now: Moment) -> Option<Duration> {
        let seen = self.options.liveness.last_seen(node)?;
        Some(now.monotonic.saturating_duration_since(seen))
    }

    pub(super) fn find_node(&self, cache: &Cache, name: &str) -> Option<Arc<Node>> {
        whole!(cache.get(&(self.at.nodes, (String::new(), name.to_owned()))), Node)
    }

    /// All nodes, in the order of their names.
    pub(super) fn nodes(&self, cache: &Cache) -> Vec<Arc<Node>> {
        cache.all(self.at.nodes, None).filter_map(|known| whole!(Some(known), Node)).collect()
    }

    /// The names of all nodes.
    pub(super) fn node_names(&self, cache: &Cache) -> Vec<String> {
        self.nodes(cache).iter().map(|node| name(&node.metadata).to_owned()).collect()
    }
}

fn pod_of(known: &Known) -> Option<&Arc<Pod>> {
    match &known.whole {
        Whole::Pod(pod) => Some(pod),
        _ => None,
    }
}

/// How many objects of those resources in a namespace have each finalizer.
fn finalizers(cache: &Cache, namespace: &str, content: &BTreeMap<ResourceId, Content>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for position in content.keys().filter_map(|resource| cache.position(resource)) {
        for finalizer in cache.all(position, Some(namespace)).flat_map(Known::finalizers) {
            *counts.entry(finalizer.to_string()).or_default() += 1;
        }
    }
    counts
}

fn garbage_of(cache: &Cache, uid: &str) -> Plan {
    let Some((position, known)) = cache.by_uid(uid) else { return Plan::idle() };
    let dependents: Vec<Item> = cache.dependents(uid).map(|(position, known)| cache.item(position, known)).collect();
    let dependents: Vec<&Item> = dependents.iter().collect();
    garbage::reconcile(&garbage::View {
        item: &cache.item(position, known),
        presence: &|owner| cache.presence(owner),
        dependents: &dependents,
    })
}
