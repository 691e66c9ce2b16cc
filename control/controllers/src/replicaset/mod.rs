//! ReplicaSets: as many pods of one template as were asked for.

mod rank;
mod status;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use pal_resources::selector::LabelSelector;
use serde_json::{Value, json};

use crate::action::{Action, Announce, Plan, ResourceId, Severity, Target, Words, reference};
use crate::object::{Claim, adoption, claim, controlled_by, is_deleting, name, release};
use crate::pods::is_active;

/// Pods that one look creates or deletes at most.
const BURST: usize = 500;
const COMPONENT: &str = "replicaset-controller";

/// Everything that a ReplicaSet's reconcile looks at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub set: &'a ReplicaSet,
    /// The pods of its namespace that it controls, and those that nobody controls. What was written by earlier looks is
    /// in it: that, and one look at a time, is why no pod is created twice.
    pub pods: &'a [Arc<Pod>],
    /// Why the last creation or deletion failed, if it did.
    pub failure: Option<&'a Failure>,
}

/// Which kind of write failed, and in which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Create(String),
    Delete(String),
}

/// Brings the number of pods to what the set asks for, and its status to what there is.
pub fn reconcile(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::idle();
    let set = view.set;
    let Some(spec) = &set.spec else { return plan };
    // A selector that was accepted can be read.
    let Ok(selector) = LabelSelector::from_object(&spec.selector) else { return plan };
    let owned = claimed(set, &selector, view.pods, &mut plan);
    let active: Vec<&Arc<Pod>> = owned.iter().copied().filter(|pod| is_active(pod)).collect();
    // Writes are done in their order, and what failed may fail again: then the status comes first.
    if view.failure.is_some() {
        status::report(view, &owned, &active, now, &mut plan);
    }
    if !is_deleting(&set.metadata) {
        scale(set, &active, now, &mut plan);
    }
    if view.failure.is_none() {
        status::report(view, &owned, &active, now, &mut plan);
    }
    plan
}

/// The pods that belong to the set; takes and releases what its selector says.
fn claimed<'a>(set: &ReplicaSet, selector: &LabelSelector, pods: &'a [Arc<Pod>], plan: &mut Plan) -> Vec<&'a Arc<Pod>> {
    let mut owned = Vec::with_capacity(pods.len());
    for pod in pods {
        let selected = pod
            .metadata
            .labels
            .as_ref()
            .map_or_else(|| selector.matches(&std::collections::BTreeMap::new()), |labels| selector.matches(labels));
        let patch = match claim(&set.metadata, selected, &pod.metadata) {
            Claim::Keep => {
                owned.push(pod);
                continue;
            }
            Claim::Ignore => continue,
            // Finished pods are not worth taking.
            Claim::Adopt if !is_active(pod) => continue,
            Claim::Adopt => {
                owned.push(pod);
                adoption::<ReplicaSet>(&set.metadata, &pod.metadata)
            }
            Claim::Release => release(&set.metadata, &pod.metadata),
        };
        plan.push(Action::Patch { target: Target::of(&**pod), subresource: None, patch, announce: None });
    }
    owned
}

fn scale(set: &ReplicaSet, active: &[&Arc<Pod>], now: Timestamp, plan: &mut Plan) {
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST);
        let body = pod_of(set);
        plan.actions.extend((0..missing).map(|_| Action::Create {
            resource: ResourceId::of::<Pod>(),
            namespace: set.metadata.namespace.clone(),
            body: body.clone(),
            announce: Some(announce(set, "SuccessfulCreate", "Created pod", "FailedCreate", "Error creating")),
        }));
    } else if active.len() > wanted {
        let surplus = (active.len() - wanted).min(BURST);
        for pod in rank::victims(active, surplus, now) {
            plan.push(Action::Delete {
                target: Target::of(&**pod),
                grace_seconds: None,
                propagation: None,
                announce: Some(announce(set, "SuccessfulDelete", "Deleted pod", "FailedDelete", "Error deleting")),
            });
        }
    }
}

/// How many replicas are asked for; one when nothing is said.
pub(crate) fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

/// A pod of the set's template.
fn pod_of(set: &ReplicaSet) -> Value {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let meta = template.and_then(|template| template.metadata.as_ref());
    let mut metadata = json!({
        "generateName": format!("{}-", name(&set.metadata)),
        "namespace": set.metadata.namespace,
        "ownerReferences": [controlled_by::<ReplicaSet>(&set.metadata)],
    });
    if let Some(meta) = meta {
        if let Some(labels) = &meta.labels {
            metadata["labels"] = json!(labels);
        }
        if let Some(annotations) = &meta.annotations {
            metadata["annotations"] = json!(annotations);
        }
        if let Some(finalizers) = &meta.finalizers {
            metadata["finalizers"] = json!(finalizers);
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.and_then(|template| template.spec.as_ref()),
    })
}

fn announce(
    set: &ReplicaSet,
    done: &'static str,
    done_text: &str,
    failed: &'static str,
    failed_text: &str,
) -> Announce {
    let words = |severity, reason, text: &str| Words { severity, reason, text: text.to_owned(), with_detail: true };
    Announce {
        about: reference(set),
        component: COMPONENT,
        done: Some(words(Severity::Normal, done, done_text)),
        failed: Some(words(Severity::Warning, failed, failed_text)),
    }
}
