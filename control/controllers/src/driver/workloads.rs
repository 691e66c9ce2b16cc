//! Looks at what controls pods: gathers the pods, and asks the reconcile of their kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pal_registry::budget_chooses;
use pal_resources::selector::LabelSelector;

use super::cache::{Cache, Place};
use super::key::Key;
use super::known::{Known, Whole};
use super::look::{Looker, Moment, whole};
use crate::action::{Action, Plan};
use crate::disruption_budget::Scale;
use crate::members::Owner;
use crate::object::{controller, uid};
use crate::{autoscaler, cronjob, daemonset, disruption_budget, job, replicaset, statefulset};

impl Looker {
    pub(super) fn replica_set(&mut self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let Some(set) = whole!(cache.get(&(self.at.replica_sets, place.clone())), ReplicaSet) else {
            return Plan::idle();
        };
        let pods = self.pods(cache, place, uid(&set.metadata));
        let owner = Owner::of(&*set, replicaset::COMPONENT);
        self.with_failure(Key::ReplicaSet(place.clone()), |failure| {
            replicaset::reconcile(&replicaset::View { set: &set, owner: &owner, pods: &pods, failure }, now.wall)
        })
    }

    pub(super) fn controller(&mut self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let Some(found) = whole!(cache.get(&(self.at.controllers, place.clone())), Controller) else {
            return Plan::idle();
        };
        let pods = self.pods(cache, place, uid(&found.metadata));
        self.with_failure(Key::Controller(place.clone()), |failure| {
            replicaset::controller::reconcile(&found, &pods, failure, now.wall)
        })
    }

    /// A plan that knows of the last failure; of none when nothing is to be created or deleted any more, so that nothing
    /// fails.
    fn with_failure(&mut self, key: Key, reconcile: impl Fn(Option<&replicaset::Failure>) -> Plan) -> Plan {
        let plan = reconcile(self.failures.get(&key));
        let tries = |action: &Action| matches!(action, Action::Create { .. } | Action::Delete { .. });
        if plan.actions.iter().any(tries) || self.failures.remove(&key).is_none() {
            return plan;
        }
        reconcile(None)
    }

    pub(super) fn daemon_set(&mut self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let Some(set) = whole!(cache.get(&(self.at.daemon_sets, place.clone())), DaemonSet) else {
            return Plan::idle();
        };
        let view = daemonset::View {
            set: &set,
            pods: &self.pods(cache, place, uid(&set.metadata)),
            revisions: &self.revisions(cache, place, uid(&set.metadata)),
            nodes: &self.nodes(cache),
        };
        let failures = self.daemon_failures.entry(place.clone()).or_default();
        daemonset::reconcile(&view, failures, now.wall)
    }

    pub(super) fn stateful_set(&self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let Some(set) = whole!(cache.get(&(self.at.stateful_sets, place.clone())), StatefulSet) else {
            return Plan::idle();
        };
        let claim = |claim: &str| Some(owned(cache.get(&(self.at.claims, (place.0.clone(), claim.to_owned())))?));
        let view = statefulset::View {
            set: &set,
            pods: &self.pods(cache, place, uid(&set.metadata)),
            revisions: &self.revisions(cache, place, uid(&set.metadata)),
            claim: &claim,
        };
        statefulset::reconcile(&view, now.wall)
    }

    pub(super) fn job(&self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let job = whole!(cache.get(&(self.at.jobs, place.clone())), Job);
        let of_another = |pod: &Arc<Pod>| {
            let owner = controller(&pod.metadata).filter(|owner| owner.kind == "Job" && owner.name == place.1);
            owner.is_some_and(|owner| job.as_ref().is_none_or(|job| uid(&job.metadata) != owner.uid))
        };
        // Nobody counts the pods of a job that is gone.
        let abandoned: Vec<Arc<Pod>> = cache
            .all(self.at.pods, Some(&place.0))
            .filter_map(|known| whole!(Some(known), Pod))
            .filter(of_another)
            .collect();
        let mut plan = match &job {
            Some(job) => {
                let pods = self.pods(cache, place, uid(&job.metadata));
                job::reconcile(&job::View { job, pods: &pods }, now.wall)
            }
            None => Plan::idle(),
        };
        plan.actions.splice(0..0, job::abandoned(&abandoned));
        plan
    }

    pub(super) fn cron_job(&self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let Some(found) = whole!(cache.get(&(self.at.cron_jobs, place.clone())), CronJob) else { return Plan::idle() };
        let owned = cache.owned(self.at.jobs, uid(&found.metadata)).filter_map(|known| whole!(Some(known), Job));
        let mut jobs: Vec<Arc<Job>> = owned
            .filter(|job| controller(&job.metadata).is_some_and(|owner| owner.uid == uid(&found.metadata)))
            .collect();
        jobs.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let taken = |job: &str| cache.get(&(self.at.jobs, (place.0.clone(), job.to_owned()))).is_some();
        cronjob::reconcile(&cronjob::View { cron_job: &found, jobs: &jobs, taken: &taken }, now.wall)
    }

    pub(super) fn autoscaler(&mut self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let known = cache.get(&(self.at.autoscalers, place.clone()));
        let Some(found) = whole!(known, Autoscaler) else { return Plan::idle() };
        let (measured, memory) = self.autoscalers.entry(place.clone()).or_default();
        let scale = measured.as_ref().and_then(|measured| measured.scale.as_ref().ok());
        let selector = scale.and_then(|scale| LabelSelector::parse(&scale.selector).ok());
        let none = BTreeMap::new();
        let chosen = |pod: &Arc<Pod>| {
            let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
            selector.as_ref().is_some_and(|selector| selector.matches(labels))
        };
        let pods = cache.all(self.at.pods, Some(&place.0)).filter_map(|known| whole!(Some(known), Pod));
        let pods: Vec<Arc<Pod>> = pods.filter(chosen).collect();
        let view = autoscaler::View { autoscaler: &found, measured: measured.as_ref(), pods: &pods };
        autoscaler::reconcile(&view, memory, now.wall)
    }

    pub(super) fn budget(&self, cache: &Cache, place: &Place, now: Moment) -> Plan {
        let Some(budget) = whole!(cache.get(&(self.at.budgets, place.clone())), Budget) else { return Plan::idle() };
        let pods: Vec<Arc<Pod>> = cache
            .all(self.at.pods, Some(&place.0))
            .filter_map(|known| whole!(Some(known), Pod))
            .filter(|pod| budget_chooses(&budget, pod))
            .collect();
        let scale = |owner: &OwnerReference| self.scale(cache, &place.0, owner);
        disruption_budget::reconcile(&disruption_budget::View { budget: &budget, pods: &pods, scale: &scale }, now.wall)
    }

    /// How many pods a controller wants: of a Deployment's set the Deployment while there is one, of what is not built in its
    /// Scale.
    fn scale(&self, cache: &Cache, namespace: &str, owner: &OwnerReference) -> Result<Option<Scale>, String> {
        let at = |position: usize| {
            let known = cache.get(&(position, (namespace.to_owned(), owner.name.clone())));
            known.filter(|known| known.uid() == owner.uid)
        };
        let found = match (owner.api_version.split('/').next(), owner.kind.as_str()) {
            (Some("apps"), "ReplicaSet") => whole!(at(self.at.replica_sets), ReplicaSet).map(|set| {
                let above = controller(&set.metadata)
                    .filter(|above| above.kind == "Deployment" && above.api_version.starts_with("apps/"))
                    .cloned();
                (above, set.spec.as_ref().and_then(|spec| spec.replicas))
            }),
            (Some("apps"), "Deployment") => whole!(at(self.at.deployments), Deployment)
                .map(|found| (None, found.spec.as_ref().and_then(|spec| spec.replicas))),
            (Some("apps"), "StatefulSet") => whole!(at(self.at.stateful_sets), StatefulSet)
                .map(|found| (None, found.spec.as_ref().and_then(|spec| spec.replicas))),
            (Some("v1"), "ReplicationController") => whole!(at(self.at.controllers), Controller)
                .map(|found| (None, found.spec.as_ref().and_then(|spec| spec.replicas))),
            _ => return self.scale_of(namespace, owner),
        };
        let Some((above, replicas)) = found else { return Ok(None) };
        let of_above = above.map(|above| self.scale(cache, namespace, &above)).transpose()?.flatten();
        Ok(of_above.or_else(|| Some(Scale { uid: owner.uid.clone(), replicas: replicas.unwrap_or(1) })))
    }

    /// What the scale subresource of a controller says.
    fn scale_of(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<Scale>, String> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let resource = self.registry.find_kind(group, version, &owner.kind);
        let resource = resource
            .ok_or_else(|| format!("no matches for kind {:?} in version {:?}", owner.kind, owner.api_version))?;
        if resource.subresource("scale").is_none() {
            return Err(format!("{} does not implement the scale subresource", resource.qualified()));
        }
        let home = resource.namespaced.then_some(namespace);
        let scale = self.registry.peek_scale(&resource, home, &owner.name).map_err(|status| status.message)?;
        let own = scale.filter(|scale| scale["metadata"]["uid"] == *owner.uid);
        Ok(own.map(|scale| Scale {
            uid: owner.uid.clone(),
            replicas: scale["spec"]["replicas"].as_i64().and_then(|count| i32::try_from(count).ok()).unwrap_or(0),
        }))
    }

    /// The pods of an owner, and those of its namespace that nobody controls.
    fn pods(&self, cache: &Cache, place: &Place, owner: &str) -> Vec<Arc<Pod>> {
        let owned = cache.owned(self.at.pods, owner);
        owned.chain(cache.free(self.at.pods, &place.0)).filter_map(|known| whole!(Some(known), Pod)).collect()
    }

    fn revisions(&self, cache: &Cache, place: &Place, owner: &str) -> Vec<Arc<ControllerRevision>> {
        let owned = cache.owned(self.at.revisions, owner);
        owned.chain(cache.free(self.at.revisions, &place.0)).filter_map(|known| whole!(Some(known), Revision)).collect()
    }
}

/// Which object that is, and whose.
fn owned(known: &Known) -> ObjectMeta {
    let owner = |owner: &pal_registry::Owner| OwnerReference {
        api_version: owner.api_version.to_string(),
        kind: owner.kind.to_string(),
        name: owner.name.to_string(),
        uid: owner.uid.0.to_string(),
        controller: owner.controller.then_some(true),
        block_owner_deletion: owner.block_owner_deletion.then_some(true),
    };
    ObjectMeta {
        name: Some(known.name().to_owned()),
        namespace: Some(known.namespace().to_owned()),
        uid: Some(known.uid().to_owned()),
        resource_version: Some(known.version().to_string()),
        owner_references: Some(known.owners().iter().map(owner).collect()),
        ..ObjectMeta::default()
    }
}
