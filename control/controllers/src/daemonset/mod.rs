//! DaemonSets: one pod on every node that takes it.

mod failed;
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

use crate::action::{Action, Note, Plan, Severity, Target};
use crate::members::{Owner, count, says_the_same};
use crate::object::{annotation, as_seen, created, is_deleting, name, namespace};
use crate::pods::{Availability, availability, is_finished, is_ready, phase};
use crate::revision::{self, GENERATION, HASH, Revision};

pub use failed::Failures;

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

/// Brings a pod to each node that takes it, moves a rollout on, and the status to what there is. `failures` is what earlier
/// looks at this set remember.
pub fn reconcile(view: &View<'_>, failures: &mut Failures, now: Timestamp) -> Plan {
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
    let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let revision = revision::of(
        &owner,
        &spec.template,
        &revisions,
        revision::Wanted { labels: json!(template_labels), label: HASH, collisions },
        &mut plan,
    );
    let twins = revision::twins(&revision, &spec.template, &revisions);
    if !twins.is_empty() {
        unite(&revision, &twins, &pods, &mut plan);
        return plan;
    }
    let look = Look { spec, owner, revision, now, places: Place::all(spec, view.nodes, &pods) };
    // Pods that can not be made must not keep the status from saying so.
    look.status(set, &mut plan);
    look.pods(failures, &mut plan);
    let is_live = |revision: &ControllerRevision| {
        let hash = revision.metadata.labels.as_ref().and_then(|labels| labels.get(HASH));
        name(&revision.metadata) == look.revision.name
            || pods.iter().any(|pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)) == hash)
    };
    revision::clean(&revisions, is_live, spec.revision_history_limit.unwrap_or(10), &mut plan);
    plan
}

/// Leaves one revision of several with one template: pods of the others become its own.
fn unite(revision: &Revision, twins: &[&Arc<ControllerRevision>], pods: &[&Arc<Pod>], plan: &mut Plan) {
    for twin in twins {
        let hash = twin.metadata.labels.as_ref().and_then(|labels| labels.get(HASH));
        let of_twin = |pod: &&&Arc<Pod>| {
            hash.is_some() && pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)) == hash
        };
        plan.actions.extend(pods.iter().filter(of_twin).map(|pod| {
            let mut metadata = as_seen(&pod.metadata);
            metadata["labels"] = json!({ HASH: revision.hash });
            let patch = json!({ "metadata": metadata });
            Action::Patch { target: Target::of(&***pod), subresource: None, patch, announce: None }
        }));
        let target = Target::of(&***twin);
        plan.push(Action::Delete { target, grace_seconds: None, propagation: None, announce: None });
    }
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
    fn pods(&self, failures: &mut Failures, plan: &mut Plan) {
        let (mut nodes, mut surplus) = (Vec::new(), Vec::new());
        for place in &self.places {
            let (over, live): (Vec<_>, Vec<_>) = place.pods.iter().copied().partition(|pod| is_finished(pod));
            let going = |pod: &&Arc<Pod>| is_deleting(&pod.metadata);
            surplus.extend(over.iter().copied().filter(|pod| !going(pod) && self.clears(place, pod, failures, plan)));
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

    /// Whether a pod that ended goes now, and tells of it. One that failed may well fail again: then it is left for a while.
    fn clears(&self, place: &Place<'_>, pod: &Pod, failures: &mut Failures, plan: &mut Plan) -> bool {
        if place.fit == Fit::Never {
            return true;
        }
        let has_failed = phase(pod) == "Failed";
        if has_failed && let Some(wait) = failures.wait(place.node, self.now) {
            plan.look_again(wait);
            return false;
        }
        let (ended, goal) = if has_failed { ("failed", "kill") } else { ("succeeded", "delete") };
        if has_failed {
            failures.note(place.node, self.now);
        }
        let meta = &pod.metadata;
        let (space, name, node) = (namespace(meta), name(meta), place.node);
        plan.push(Action::Tell(Note {
            about: self.owner.about.clone(),
            component: COMPONENT,
            severity: if has_failed { Severity::Warning } else { Severity::Normal },
            reason: if has_failed { "FailedDaemonPod" } else { "SucceededDaemonPod" },
            message: format!("Found {ended} daemon pod {space}/{name} on node {node}, will try to {goal} it"),
        }));
        true
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
            // While two are there the older one stands for the node.
            let gone = |pod: &&&Arc<Pod>| is_finished(pod) && is_deleting(&pod.metadata);
            let Some(pod) = place.pods.iter().find(|pod| !gone(pod)) else { continue };
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
            "collisionCount": Some(self.revision.collisions).filter(|collisions| *collisions > 0),
        });
        if set.status.is_none() || !says_the_same(&json!(set.status), &status) {
            plan.push(self.owner.report(status));
        }
    }
}
