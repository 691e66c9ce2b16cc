//! StatefulSets: pods that are somebody, with a number, a name and claims of their own.

mod identity;
mod retention;
mod status;
mod step;
mod told;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pal_resources::selector::LabelSelector;
use serde_json::json;

use crate::action::Plan;
use crate::members::Owner;
use crate::object::{is_deleting, name};
use crate::pods::{Availability, availability};
use crate::revision::{self, HASH, SET_HASH};

const COMPONENT: &str = "statefulset-controller";

/// Everything that a StatefulSet's reconcile looks at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub set: &'a StatefulSet,
    /// The pods of its namespace that it controls, and those that nobody controls.
    pub pods: &'a [Arc<Pod>],
    /// Likewise its revisions.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// The claim of that name in the namespace: its name, uid, version and owners.
    pub claim: &'a dyn Fn(&str) -> Option<ObjectMeta>,
}

/// Moves the set one step on, and the status to what there is.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let set = view.set;
    let Some(spec) = &set.spec else { return plan };
    // A selector that was accepted can be read.
    let Ok(selector) = LabelSelector::from_object(&spec.selector) else { return plan };
    let owner = Owner::of(set, COMPONENT);
    let is_member = |pod: &Pod| identity::ordinal(name(&set.metadata), pod).is_some();
    let pods = owner.claimed(&selector, view.pods, is_member, &mut plan);
    if is_deleting(&set.metadata) {
        return plan;
    }
    let revisions = owner.claimed(&selector, view.revisions, |_| true, &mut plan);
    let labels = json!(spec.selector.match_labels.clone().unwrap_or_default());
    let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let wanted = revision::Wanted { labels, label: SET_HASH, collisions };
    let revision::Revision { name: update, collisions, .. } =
        revision::of(&owner, &spec.template, &revisions, wanted, &mut plan);
    let known = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
    let current = revisions.iter().find(|revision| Some(name(&revision.metadata)) == known);
    let current = match current.and_then(|known| Some((name(&known.metadata).to_owned(), revision::template(known)?))) {
        Some((name, template)) => Versioned { name, template },
        None => Versioned { name: update.clone(), template: spec.template.clone() },
    };
    let update = Versioned { name: update, template: spec.template.clone() };
    let members = Members::sort(name(&set.metadata), spec, &pods);
    let look = Look { set, spec, owner, current, update, collisions, members, now, claim: view.claim };
    // Pods that can not be made must not keep the status from saying so.
    look.status(&mut plan);
    look.retain(&mut plan);
    look.step(&mut plan);
    let is_live = |revision: &ControllerRevision| {
        let name = name(&revision.metadata);
        name == look.current.name || name == look.update.name || pods.iter().any(|pod| revision_of(pod) == Some(name))
    };
    revision::clean(&revisions, is_live, spec.revision_history_limit.unwrap_or(10), &mut plan);
    plan
}

/// A template and the name of its revision.
struct Versioned {
    name: String,
    template: PodTemplateSpec,
}

/// The pods by their numbers: those that the set asks for, and those that it no longer does.
struct Members<'a> {
    wanted: BTreeMap<i32, Option<&'a Arc<Pod>>>,
    condemned: BTreeMap<i32, &'a Arc<Pod>>,
}

impl<'a> Members<'a> {
    fn sort(set: &str, spec: &StatefulSetSpec, pods: &[&'a Arc<Pod>]) -> Self {
        let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
        let end = start.saturating_add(spec.replicas.unwrap_or(1).max(0));
        let mut members =
            Self { wanted: (start..end).map(|ordinal| (ordinal, None)).collect(), condemned: BTreeMap::new() };
        for pod in pods {
            let Some(ordinal) = identity::ordinal(set, pod) else { continue };
            match members.wanted.get_mut(&ordinal) {
                Some(place) => *place = Some(*pod),
                None => {
                    members.condemned.insert(ordinal, *pod);
                }
            }
        }
        members
    }

    fn all(&self) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.wanted.values().flatten().chain(self.condemned.values()).copied()
    }
}

struct Look<'a> {
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    owner: Owner<'a>,
    current: Versioned,
    update: Versioned,
    collisions: i32,
    members: Members<'a>,
    now: Timestamp,
    claim: &'a dyn Fn(&str) -> Option<ObjectMeta>,
}

impl Look<'_> {
    fn availability(&self, pod: &Pod) -> Availability {
        availability(pod, self.spec.min_ready_seconds.unwrap_or(0), self.now)
    }
}

/// The name of the revision that a pod is of.
fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(HASH).map(String::as_str)
}
