//! The ReplicaSet of a deployment's template: found, numbered, or made.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

use super::budget::Budget;
use super::member::{Member, Members, scaled, size_annotations};
use super::status::Report;
use super::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION, REVISION_HISTORY, TEMPLATE_HASH, View, rolling};
use crate::action::{Action, Plan, ResourceId, Target};
use crate::hash;
use crate::object::{annotation, controlled_by, name, same_object};

/// Annotations of a deployment that say nothing of its sets.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

/// Whether two templates are the same but for the label that tells them apart.
pub(super) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    fn labels(template: &PodTemplateSpec) -> impl Iterator<Item = (&String, &String)> {
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        labels.into_iter().flatten().filter(|(key, _)| *key != TEMPLATE_HASH)
    }
    fn annotations(template: &PodTemplateSpec) -> impl Iterator<Item = (&String, &String)> {
        template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref()).into_iter().flatten()
    }
    labels(a).eq(labels(b)) && annotations(a).eq(annotations(b)) && a.spec == b.spec
}

/// Brings the annotations of the new set, if there is one, and the deployment's revision up to date.
pub(super) fn number_known(
    deployment: &Deployment,
    members: &mut Members<'_>,
    report: &mut Report<'_>,
    plan: &mut Plan,
) {
    let next = next_revision(members);
    let Some(new) = &mut members.new else { return };
    let Some(set) = new.set else { return };
    let copied = copied_annotations(deployment);
    new.annotations.extend(copied);
    let current = new.annotation(REVISION).map(str::to_owned);
    let revision = new.revision().max(next);
    if revision > new.revision() || current.is_none() {
        new.annotations.insert(REVISION.to_owned(), revision.to_string());
        if let Some(current) = current {
            // The set was new before: an undo, whose former numbers are kept.
            let history = new
                .annotation(REVISION_HISTORY)
                .map_or_else(|| current.clone(), |history| format!("{history},{current}"));
            new.annotations.insert(REVISION_HISTORY.to_owned(), history);
        }
    }
    let min_ready = |seconds: Option<i32>| seconds.unwrap_or(0);
    let wanted = min_ready(deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds));
    if min_ready(set.spec.as_ref().and_then(|spec| spec.min_ready_seconds)) != wanted {
        new.min_ready_seconds = Some(wanted);
    }
    report.found(&new.name);
    number_deployment(deployment, revision, plan);
}

/// Makes the set of the deployment's template. False when its name is taken, which the next look's name is not.
pub(super) fn make<'a>(
    view: &View<'_>,
    budget: &Budget,
    members: &mut Members<'a>,
    report: &mut Report<'_>,
    plan: &mut Plan,
) -> bool {
    let deployment = view.deployment;
    let Some(spec) = &deployment.spec else { return false };
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = hash::of(&spec.template, collisions);
    let set_name = format!("{}-{hash}", name(&deployment.metadata));
    if (view.taken)(&set_name) {
        report.collided();
        return false;
    }
    let revision = next_revision(members);
    let replicas = if budget.recreate { budget.replicas } else { rolling::grown(budget, members.replicas(), 0) };
    let mut annotations = copied_annotations(deployment);
    annotations.insert(REVISION.to_owned(), revision.to_string());
    annotations.extend(size_annotations(budget).map(|(key, value)| (key.to_owned(), value)));
    let body = set_body(deployment, &set_name, &hash, replicas, &annotations);
    plan.push(Action::Create {
        resource: ResourceId::of::<ReplicaSet>(),
        namespace: deployment.metadata.namespace.clone(),
        body,
        announce: (replicas > 0).then(|| scaled(deployment, &set_name, 0, replicas)),
    });
    report.made(&set_name);
    number_deployment(deployment, revision, plan);
    members.new = Some(Member::made(set_name, replicas));
    true
}

fn set_body(
    deployment: &Deployment,
    set_name: &str,
    hash: &str,
    replicas: i32,
    annotations: &BTreeMap<String, String>,
) -> Value {
    let spec = deployment.spec.clone().unwrap_or_default();
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(TEMPLATE_HASH.to_owned(), hash.to_owned());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(TEMPLATE_HASH.to_owned(), hash.to_owned());
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": set_name,
            "namespace": deployment.metadata.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [controlled_by::<Deployment>(&deployment.metadata)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.min_ready_seconds.filter(|seconds| *seconds != 0),
            "selector": selector,
            "template": template,
        },
    })
}

fn next_revision(members: &Members<'_>) -> i64 {
    members.old.iter().map(Member::revision).max().unwrap_or(0) + 1
}

fn copied_annotations(deployment: &Deployment) -> BTreeMap<String, String> {
    let annotations = deployment.metadata.annotations.iter().flatten();
    annotations
        .filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn number_deployment(deployment: &Deployment, revision: i64, plan: &mut Plan) {
    let revision = revision.to_string();
    if annotation(&deployment.metadata, REVISION) == Some(revision.as_str()) {
        return;
    }
    let target = Target::of(deployment);
    let mut metadata = same_object(&target);
    metadata["annotations"] = json!({ REVISION: revision });
    // By way of the status it makes no new generation.
    let patch = json!({ "metadata": metadata });
    plan.push(Action::Patch { target, subresource: Some("status"), patch, announce: None });
}
