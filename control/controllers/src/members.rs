//! What all controllers of pods do with them: telling which are theirs, making them of a template, and deleting them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::{ListableResource, Metadata, Resource};
use pal_resources::selector::LabelSelector;
use serde_json::{Value, json};

use crate::action::{Action, Announce, Plan, ResourceId, Severity, Target, Words, reference};
use crate::object::{Claim, adoption, claim, controlled_by, name, release};

/// Whoever controls pods, as pods, events and writes name it.
#[derive(Clone, Debug)]
pub struct Owner<'a> {
    pub meta: &'a ObjectMeta,
    pub target: Target,
    pub about: ObjectReference,
    reference: OwnerReference,
    /// Who tells of it in Events.
    pub component: &'static str,
    /// The finalizer that its objects carry.
    mark: Option<&'static str>,
}

impl<'a> Owner<'a> {
    /// That object.
    pub fn of<K>(object: &'a K, component: &'static str) -> Self
    where
        K: Resource + ListableResource + Metadata<Ty = ObjectMeta>,
    {
        let meta = object.metadata();
        let (target, about) = (Target::of(object), reference(object));
        Self { meta, target, about, reference: controlled_by::<K>(meta), component, mark: None }
    }

    /// With a finalizer that goes on what is taken and off what is released.
    pub fn marking(self, finalizer: &'static str) -> Self {
        Self { mark: Some(finalizer), ..self }
    }

    /// The objects that belong to the owner; takes and releases what its selector says. `worth_taking` says of what nobody
    /// controls whether the owner wants it.
    pub fn claimed<'b, K>(
        &self,
        selector: &LabelSelector,
        candidates: &'b [Arc<K>],
        worth_taking: impl Fn(&K) -> bool,
        plan: &mut Plan,
    ) -> Vec<&'b Arc<K>>
    where
        K: Resource + ListableResource + Metadata<Ty = ObjectMeta>,
    {
        let mut owned = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let meta = candidate.metadata();
            let none = BTreeMap::new();
            let selected = selector.matches(meta.labels.as_ref().unwrap_or(&none));
            let (mut patch, taken) = match claim(self.meta, selected, meta) {
                Claim::Keep => {
                    owned.push(candidate);
                    continue;
                }
                Claim::Ignore => continue,
                Claim::Adopt if !worth_taking(candidate) => continue,
                Claim::Adopt => {
                    owned.push(candidate);
                    (adoption(self.reference.clone(), meta), true)
                }
                Claim::Release => (release(self.meta, meta), false),
            };
            if let Some(mark) = self.mark {
                let others = meta.finalizers.iter().flatten().map(String::as_str).filter(|other| *other != mark);
                patch["metadata"]["finalizers"] = others.chain(taken.then_some(mark)).collect();
            }
            plan.push(Action::Patch { target: Target::of(&**candidate), subresource: None, patch, announce: None });
        }
        owned
    }

    /// A pod of a template, which the owner controls. It is named by the server after the owner, unless the caller does.
    pub fn pod_of(&self, template: Option<&PodTemplateSpec>) -> Value {
        let meta = template.and_then(|template| template.metadata.as_ref());
        let mut metadata = json!({
            "generateName": format!("{}-", name(self.meta)),
            "namespace": self.meta.namespace,
            "ownerReferences": [self.reference],
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

    /// Makes a pod and tells of it.
    pub fn create(&self, body: Value) -> Action {
        Action::Create {
            resource: ResourceId::of::<Pod>(),
            namespace: self.meta.namespace.clone(),
            body,
            announce: Some(self.announce("SuccessfulCreate", "Created pod", "FailedCreate", "Error creating")),
        }
    }

    /// Deletes a pod and tells of it.
    pub fn delete(&self, pod: &Pod) -> Action {
        Action::Delete {
            target: Target::of(pod),
            grace_seconds: None,
            propagation: None,
            announce: Some(self.announce("SuccessfulDelete", "Deleted pod", "FailedDelete", "Error deleting")),
        }
    }

    /// Writes to the owner's own status.
    pub fn report(&self, status: Value) -> Action {
        Action::Patch {
            patch: json!({ "metadata": { "uid": self.target.uid }, "status": status }),
            target: self.target.clone(),
            subresource: Some("status"),
            announce: None,
        }
    }

    /// The reference by which the owner controls what it makes.
    pub fn reference(&self) -> &OwnerReference {
        &self.reference
    }

    fn announce(&self, done: &'static str, done_text: &str, failed: &'static str, failed_text: &str) -> Announce {
        let words = |severity, reason, text: &str| Words { severity, reason, text: text.to_owned(), with_detail: true };
        Announce {
            about: self.about.clone(),
            component: self.component,
            done: Some(words(Severity::Normal, done, done_text)),
            failed: Some(words(Severity::Warning, failed, failed_text)),
        }
    }
}

/// A count as statuses have it.
pub fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Whether a status says what `wanted` says: zero, nothing and what is empty are alike in them.
pub fn says_the_same(current: &Value, wanted: &Value) -> bool {
    if let Value::Object(wanted) = wanted {
        return wanted.iter().all(|(key, wanted)| says_the_same(&current[key], wanted));
    }
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    current == wanted || is_empty(current) && is_empty(wanted)
}
