//! DaemonSets: one pod on every node that takes it.

mod fit;
mod update;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{Node, Pod};
use pal_resources::selector::LabelSelector;
use serde_json::{Value, json};

use crate::action::Plan;
use crate::members::{Owner, count, says_the_same};
use crate::object::{annotation, created, is_deleting, name};
use crate::pods::{Availability, availability, is_active, is_finished, is_ready};
use crate::revision::{self, GENERATION, HASH, Revision};

use fit::Fit;

const COMPONENT: &str = "daemonset-controller";
/// Pods that one look creates or deletes at most.
const BURST: usize = 250;

/// Everything that a DaemonSet's reconcile looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub set: &'a DaemonSet,
    /// The pods of its namespace that it controls, and those that nobody controls.
    pub pods: &'a [Arc<Pod>],
    /// Likewise its revisions.
    pub revisions: &'a [Arc<ControllerRevision>],
    pub nodes: &'a [Arc<Node>],
}

/// Brings a pod to each node that takes it, moves a rollout on, and the status to what there is.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let set = view.set;
    let Some(spec) = &set.spec else { return plan };
    // A selector that was accepted can be read.
    let Ok(selector) = LabelSelector::from_object(&spec.selector) else { return plan };
    let owner = Owner::of(set, COMPONENT);
    let pods = owner.claimed(&selector, view.pods, |_| true, &mut plan);
    if is_deleting(&set.metadata) {
        return plan;
    }
    let revisions = owner.claimed(&selector, view.revisions, |_| true, &mut plan);
    let template_labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let revision = revision::of(&owner, &spec.template, &revisions, &json!(template_labels), &mut plan);
    let look = Look { spec, owner, revision, now, places: Place::all(spec, view.nodes, &pods) };
    look.pods(&mut plan);
    look.status(set, &mut plan);
    let is_live = |revision: &ControllerRevision| {
        let hash = revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH));
        name(&revision.metadata) == look.revision.name
            || pods.iter().any(|pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)) == hash)
    };
    revision::clean(&revisions, is_live, spec.revision_history_limit.unwrap_or(10), &mut plan);
    plan
}

/// A node, and the set's pods there, the oldest first.
struct Place<'a> {
    node: &'a str,
    fit: Fit,
    pods: Vec<&'a Arc<Pod>>,
}

impl<'a> Place<'a> {
    fn all(spec: &DaemonSetSpec, nodes: &'a [Arc<Node>], pods: &[&'a Arc<Pod>]) -> Vec<Self> {
        let wanted = fit::wanted(spec);
        let mut by_node: BTreeMap<&str, Vec<&'a Arc<Pod>>> = BTreeMap::new();
        for pod in pods {
            if let Some(node) = fit::node_of(pod) {
                by_node.entry(node).or_default().push(pod);
            }
        }
        let mut places: Vec<Self> = nodes
            .iter()
            .map(|node| {
                let name = name(&node.metadata);
                let pods = by_node.remove(name).unwrap_or_default();
                Place { node: name, fit: Fit::of(&wanted, node), pods }
            })
            .collect();
        // Nodes that are gone take nothing, and what is bound to them is the node controller's business.
        places.extend(by_node.into_iter().map(|(node, pods)| Place {
            node,
            fit: Fit::Never,
            pods: pods.into_iter().filter(|pod| crate::pods::node(pod).is_none()).collect(),
        }));
        for place in &mut places {
            place.pods.sort_by_key(|pod| (crate::pods::node(pod).is_none(), created(&pod.metadata)));
        }
        places
    }
}

struct Look<'a> {
    spec: &'a DaemonSetSpec,
    owner: Owner<'a>,
    revision: Revision,
    now: Timestamp,
    places: Vec<Place<'a>>,
}

impl<'a> Look<'a> {
    fn pods(&self, plan: &mut Plan) {
        let (mut nodes, mut surplus) = (Vec::new(), Vec::new());
        for place in &self.places {
            let (over, live): (Vec<_>, Vec<_>) = place.pods.iter().copied().partition(|pod| is_finished(pod));
            let going = |pod: &&Arc<Pod>| is_deleting(&pod.metadata);
            surplus.extend(over.iter().copied().filter(|pod| !going(pod)));
            match place.fit {
                // The next comes when what ended or goes is gone.
                Fit::Runs if over.is_empty() && live.is_empty() => nodes.push(place.node),
                Fit::Never => surplus.extend(live.into_iter().filter(|pod| !going(pod))),
                Fit::Runs | Fit::Stays => {
                    let active = live.into_iter().filter(|pod| !going(pod));
                    surplus.extend(self.doubles(active.collect()));
                }
            }
        }
        let step = self.update();
        nodes.extend(step.nodes);
        surplus.extend(step.pods);
        plan.actions.extend(surplus.into_iter().take(BURST).map(|pod| self.owner.delete(pod)));
        plan.actions.extend(nodes.into_iter().take(BURST).map(|node| self.owner.create(self.pod(node))));
    }

    /// Pods of the same template on one node, but for the oldest.
    fn doubles(&self, active: Vec<&'a Arc<Pod>>) -> Vec<&'a Arc<Pod>> {
        let (new, old): (Vec<_>, Vec<_>) = active.into_iter().partition(|pod| self.is_new(pod));
        new.into_iter().skip(1).chain(old.into_iter().skip(1)).collect()
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)) == Some(&self.revision.hash)
    }

    fn pod(&self, node: &str) -> Value {
        let mut body = self.owner.pod_of(Some(&self.spec.template));
        body["metadata"]["labels"][HASH] = json!(self.revision.hash);
        if let Some(number) = annotation(self.owner.meta, GENERATION) {
            body["metadata"]["labels"]["pod-template-generation"] = json!(number);
        }
        let spec = json!(fit::wanted(self.spec));
        body["spec"] = spec;
        let term = json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] });
        body["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({ "nodeSelectorTerms": [term] });
        body
    }

    fn status(&self, set: &DaemonSet, plan: &mut Plan) {
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let (mut desired, mut current, mut misplaced) = (0, 0, 0);
        let (mut ready, mut available, mut updated) = (0, 0, 0);
        for place in &self.places {
            let scheduled = !place.pods.is_empty();
            if place.fit != Fit::Runs {
                misplaced += usize::from(scheduled);
                continue;
            }
            desired += 1;
            current += usize::from(scheduled);
            let mut active = place.pods.iter().filter(|pod| is_active(pod));
            // The newest of a node counts.
            let Some(pod) = active.clone().find(|pod| self.is_new(pod)).or_else(|| active.next()) else { continue };
            updated += usize::from(self.is_new(pod));
            ready += usize::from(is_ready(pod));
            match availability(pod, min_ready, self.now) {
                Availability::Available => available += 1,
                Availability::After(wait) => plan.look_again(wait),
                Availability::NotReady => {}
            }
        }
        let nonzero = |number: usize| (number > 0).then(|| count(number));
        let status = json!({
            "currentNumberScheduled": count(current),
            "desiredNumberScheduled": count(desired),
            "numberMisscheduled": count(misplaced),
            "numberReady": count(ready),
            "numberAvailable": nonzero(available),
            "numberUnavailable": nonzero(desired - available),
            "updatedNumberScheduled": nonzero(updated),
            "observedGeneration": set.metadata.generation,
        });
        if set.status.is_none() || !says_the_same(&json!(set.status), &status) {
            plan.push(self.owner.report(status));
        }
    }
}
