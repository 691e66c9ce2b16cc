//! ControllerRevisions: the templates that a set had, numbered, so that pods can be told by theirs and a set be undone.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

use crate::action::{Action, Plan, ResourceId, Target};
use crate::hash;
use crate::members::Owner;
use crate::object::{name, same_object};

/// The label that tells the pods and the revision of one template from those of another.
pub const HASH: &str = "controller-revision-hash";
/// The label that tells the revisions of a StatefulSet; its pods have a revision's name.
pub const SET_HASH: &str = "controller.kubernetes.io/hash";
/// The annotation of a DaemonSet that numbers its templates, from before there were revisions.
pub const GENERATION: &str = "deprecated.daemonset.template.generation";

/// The revision of a set's present template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub name: String,
    pub hash: String,
    /// How often another template had the hash that this one would have had, ever.
    pub collisions: i32,
}

/// What a revision that is made is made with.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub labels: Value,
    /// The label that says the template's hash.
    pub label: &'static str,
    /// How many collisions the owner knows of.
    pub collisions: i32,
}

/// Finds the revision of a template among those of the owner, makes it the newest, or makes it.
pub fn of(
    owner: &Owner<'_>,
    template: &PodTemplateSpec,
    owned: &[&Arc<ControllerRevision>],
    wanted: Wanted,
    plan: &mut Plan,
) -> Revision {
    let Wanted { mut labels, label, collisions } = wanted;
    let data = data(template);
    let newest = owned.iter().map(|revision| revision.revision).max().unwrap_or(0);
    if let Some(known) = owned.iter().filter(|revision| is(revision, &data)).max_by_key(|known| known.revision) {
        if known.revision < newest {
            let target = Target::of(&***known);
            let patch = json!({ "metadata": same_object(&target), "revision": newest + 1 });
            plan.push(Action::Patch { target, subresource: None, patch, announce: None });
        }
        let name = name(&known.metadata).to_owned();
        let hash = known.metadata.labels.as_ref().and_then(|labels| labels.get(label)).cloned();
        let hash = hash.unwrap_or_else(|| name.rsplit('-').next().unwrap_or_default().to_owned());
        return Revision { name, hash, collisions };
    }
    let named = |collisions| {
        let hash = hash::of(template, collisions);
        Revision { name: format!("{}-{hash}", name(owner.meta)), hash, collisions }
    };
    let is_free = |revision: &Revision| !owned.iter().any(|known| name(&known.metadata) == revision.name);
    let made = (collisions..i32::MAX).map(named).find(is_free).unwrap_or_else(|| named(i32::MAX));
    labels[label] = json!(made.hash);
    plan.push(Action::Create {
        resource: ResourceId::of::<ControllerRevision>(),
        namespace: owner.meta.namespace.clone(),
        body: json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": made.name,
                "namespace": owner.meta.namespace,
                "labels": labels,
                // `kubectl rollout history` tells by them why a template was changed.
                "annotations": owner.meta.annotations,
                "ownerReferences": [owner.reference()],
            },
            "data": data,
            "revision": newest + 1,
        }),
        announce: None,
    });
    made
}

/// Other revisions that keep the same template as that one.
pub fn twins<'a>(
    revision: &Revision,
    template: &PodTemplateSpec,
    owned: &[&'a Arc<ControllerRevision>],
) -> Vec<&'a Arc<ControllerRevision>> {
    let data = data(template);
    owned.iter().copied().filter(|known| is(known, &data) && name(&known.metadata) != revision.name).collect()
}

/// The template that a revision keeps.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0["spec"]["template"].clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Deletes the oldest of those that no pod is of, but for as many as are to be kept.
pub fn clean(
    owned: &[&Arc<ControllerRevision>],
    is_live: impl Fn(&ControllerRevision) -> bool,
    keep: i32,
    plan: &mut Plan,
) {
    let mut old: Vec<&&Arc<ControllerRevision>> = owned.iter().filter(|revision| !is_live(revision)).collect();
    old.sort_by_key(|revision| revision.revision);
    let surplus = old.len().saturating_sub(usize::try_from(keep).unwrap_or(0));
    plan.actions.extend(old.into_iter().take(surplus).map(|revision| Action::Delete {
        target: Target::of(&***revision),
        grace_seconds: None,
        propagation: None,
        announce: None,
    }));
}

/// A template as `kubectl rollout undo` patches it back. It is written in the order of its names: there are clients that compare
/// the bytes.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = json!(template);
    template["$patch"] = json!("replace");
    json!({ "spec": { "template": template } })
}

fn is(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.as_ref().is_some_and(|known| known.0 == *data)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;

    use super::*;

    #[test]
    fn a_revision_says_why_its_template_was_wanted() {
        let set = json!({
            "metadata": {"name": "s", "namespace": "a", "annotations": {"kubernetes.io/change-cause": "because"}},
            "spec": {"serviceName": "s", "selector": {}, "template": {}},
        });
        let set: StatefulSet = serde_json::from_value(set).unwrap();
        let mut plan = Plan::idle();
        let wanted = Wanted { labels: json!({}), label: HASH, collisions: 0 };
        of(&Owner::of(&set, "test"), &PodTemplateSpec::default(), &[], wanted, &mut plan);
        let [Action::Create { body, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        assert_eq!(body["metadata"]["annotations"], json!({"kubernetes.io/change-cause": "because"}));
    }

    #[test]
    fn a_template_is_kept_in_the_order_of_its_names() {
        let template = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}, "metadata": {"labels": {"b": "c", "a": "b"}}});
        let text = data(&serde_json::from_value(template).unwrap()).to_string();
        let expected = r#"{"$patch":"replace","metadata":{"labels":{"a":"b","b":"c"}},"spec":{"containers":[{"image":"i","name":"c"}]}}"#;
        assert_eq!(text, format!(r#"{{"spec":{{"template":{expected}}}}}"#));
    }
}
