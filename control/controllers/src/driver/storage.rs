//! Looks at claims, volumes and ephemeral volumes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use pal_resources::admission::storage::newest;
use pal_resources::volumes::{HOSTNAME, claims_of};
use pal_scheduler::volumes::{Claim, Class, Volume};

use super::cache::{Cache, Place};
use super::known::{Known, Whole};
use super::look::{Looker, whole};
use crate::action::Plan;
use crate::node::condition;
use crate::object::{self, name};
use crate::pods::is_finished;
use crate::storage_protection::{self, Kind, View};
use crate::volume::claim::Site;
use crate::volume::{claim, ephemeral, reclaim};

impl Looker {
    pub(super) fn claim(&self, cache: &Cache, place: &Place) -> Plan {
        let Some(known) = cache.get(&(self.at.claims, place.clone())) else { return Plan::idle() };
        let using = |pod: &Pod| storage_protection::claims(pod).any(|claim| claim == place.1);
        // Only of a claim that is to go it matters.
        let used = known.is_deleting() && self.pods_of(cache, &place.0).any(|pod| using(&pod));
        let (kind, item) = (Kind::Claim, cache.item(self.at.claims, known));
        let plan = storage_protection::reconcile(&View { kind, item: &item, used });
        let Some(found) = whole!(Some(known), Claim).filter(|_| plan.actions.is_empty()) else { return plan };
        let volumes: Vec<Arc<Volume>> =
            cache.all(self.at.volumes, None).filter_map(|known| whole!(Some(known), Volume)).collect();
        let class = (self.at.storage_classes, (String::new(), found.class_name().to_owned()));
        let class = whole!(cache.get(&class), StorageClass);
        let waits = !found.is_bound && class.as_ref().is_some_and(|class| class.waits);
        let waiting = if waits { self.waiting(cache, place) } else { Vec::new() };
        let default_class = if found.class.is_none() { self.default_class(cache) } else { None };
        claim::reconcile(&claim::View {
            claim: &found,
            volumes: &volumes,
            class: class.as_deref(),
            default_class: default_class.as_deref(),
            nodes: &if found.is_bound { Vec::new() } else { self.sites(cache) },
            waiting: &waiting,
        })
    }

    pub(super) fn volume(&self, cache: &Cache, name: &str) -> Plan {
        let Some(known) = cache.get(&(self.at.volumes, (String::new(), name.to_owned()))) else { return Plan::idle() };
        let Some(volume) = whole!(Some(known), Volume) else { return Plan::idle() };
        let item = cache.item(self.at.volumes, known);
        let used = volume.phase == "Bound";
        let plan = storage_protection::reconcile(&View { kind: Kind::Volume, item: &item, used });
        if !plan.actions.is_empty() {
            return plan;
        }
        let claim = volume.claim.as_ref().map(|claim| (claim.namespace.clone(), claim.name.clone()));
        let claim = claim.and_then(|place| whole!(cache.get(&(self.at.claims, place)), Claim));
        let has = |node: &Node| {
            let labels = node.metadata.labels.clone().unwrap_or_default();
            volume.affinity.is_some() && volume.is_reached_from(object::name(&node.metadata), &labels)
        };
        let nodes: Vec<String> = match claim {
            Some(_) => Vec::new(),
            None => self
                .nodes(cache)
                .iter()
                .filter(|node| has(node))
                .map(|node| object::name(&node.metadata).to_owned())
                .collect(),
        };
        reclaim::reconcile(&reclaim::View { volume: &volume, item: &item, claim: claim.as_deref(), nodes: &nodes })
    }

    pub(super) fn ephemeral(&self, cache: &Cache, place: &Place) -> Plan {
        let Some(pod) = whole!(cache.get(&(self.at.pods, place.clone())), Pod) else { return Plan::idle() };
        let claim = |name: &str| -> Option<&Claim> {
            match &cache.get(&(self.at.claims, (place.0.clone(), name.to_owned())))?.whole {
                Whole::Claim(claim) => Some(claim),
                _ => None,
            }
        };
        ephemeral::reconcile(&pod, claim)
    }

    fn pods_of<'a>(&self, cache: &'a Cache, namespace: &'a str) -> impl Iterator<Item = Arc<Pod>> + 'a {
        cache.all(self.at.pods, Some(namespace)).filter_map(|known| whole!(Some(known), Pod))
    }

    /// The pods that use a claim and have no node yet.
    fn waiting(&self, cache: &Cache, place: &Place) -> Vec<String> {
        let waits = |pod: &Arc<Pod>| {
            crate::pods::node(pod).is_none() && !is_finished(pod) && claims_of(pod).any(|claim| claim == place.1)
        };
        self.pods_of(cache, &place.0).filter(waits).map(|pod| name(&pod.metadata).to_owned()).collect()
    }

    fn default_class(&self, cache: &Cache) -> Option<String> {
        let classes = cache.all(self.at.storage_classes, None);
        let classes: Vec<Arc<Class>> = classes.filter_map(|known| whole!(Some(known), StorageClass)).collect();
        let defaults = classes.iter().filter(|class| class.is_default);
        newest(defaults.map(|class| (class.made.as_str(), class.name.as_str()))).map(str::to_owned)
    }

    fn sites(&self, cache: &Cache) -> Vec<Site> {
        let nodes = self.nodes(cache);
        let site = |node: &Arc<Node>| {
            let name = name(&node.metadata).to_owned();
            let hostname = node.metadata.labels.as_ref().and_then(|labels| labels.get(HOSTNAME)).cloned();
            let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
            let ready = condition(node, "Ready").is_some_and(|ready| ready.status == "True");
            Site { hostname: hostname.unwrap_or_else(|| name.clone()), node: name, is_open: ready && !cordoned }
        };
        nodes.iter().map(site).collect()
    }
}
