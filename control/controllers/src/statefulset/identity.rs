//! Who a pod of a StatefulSet is.

use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::Versioned;
use super::told::{self, Deed};
use crate::action::{Action, ResourceId, Target};
use crate::members::Owner;
use crate::object::{as_seen, name};
use crate::revision::HASH;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// The number of a pod of that set; `None` when its name is not one that the set gives.
pub(super) fn ordinal(set: &str, pod: &Pod) -> Option<i32> {
    let digits = name(&pod.metadata).strip_prefix(set)?.strip_prefix('-')?;
    let is_canonical = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_canonical)
}

/// The pod of that number and template.
pub(super) fn pod(owner: &Owner<'_>, spec: &StatefulSetSpec, version: &Versioned, ordinal: i32) -> Value {
    let mut body = owner.pod_of(Some(&version.template));
    let pod = pod_name(owner, ordinal);
    body["metadata"]["name"] = json!(pod);
    for (label, value) in labels(&pod, ordinal) {
        body["metadata"]["labels"][label] = json!(value);
    }
    body["metadata"]["labels"][HASH] = json!(version.name);
    body["spec"]["hostname"] = json!(pod);
    if let Some(service) = spec.service_name.as_deref().filter(|service| !service.is_empty()) {
        body["spec"]["subdomain"] = json!(service);
    }
    let templates = spec.volume_claim_templates.as_deref().unwrap_or_default();
    if !templates.is_empty() {
        let mut volumes = body["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        // What the set claims comes before what the template has under the same name.
        volumes.retain(|volume| !templates.iter().any(|template| volume["name"] == name(&template.metadata)));
        volumes.extend(templates.iter().map(|template| {
            let claim = claim_name(owner, template, ordinal);
            json!({ "name": name(&template.metadata), "persistentVolumeClaim": { "claimName": claim } })
        }));
        body["spec"]["volumes"] = json!(volumes);
    }
    body
}

/// The name of the pod of that number.
pub(super) fn pod_name(owner: &Owner<'_>, ordinal: i32) -> String {
    format!("{}-{ordinal}", name(owner.meta))
}

/// The labels by which a pod of the set can be chosen alone.
fn labels(pod: &str, ordinal: i32) -> [(&'static str, String); 2] {
    [(POD_NAME, pod.to_owned()), ("apps.kubernetes.io/pod-index", ordinal.to_string())]
}

/// The write that gives a pod its labels again, if somebody took away or changed the one with its name.
pub(super) fn mended(owner: &Owner<'_>, pod: &Pod, ordinal: i32) -> Option<Action> {
    let own = name(&pod.metadata);
    if pod.metadata.labels.as_ref().and_then(|labels| labels.get(POD_NAME)).is_some_and(|label| label == own) {
        return None;
    }
    let mut metadata = as_seen(&pod.metadata);
    metadata["labels"] =
        labels(own, ordinal).into_iter().map(|(label, value)| (label.to_owned(), json!(value))).collect();
    Some(Action::Patch {
        target: Target::of(pod),
        subresource: None,
        patch: json!({ "metadata": metadata }),
        announce: Some(told::pod(owner, Deed::Update, own)),
    })
}

/// The claims of that number that are missing.
pub(super) fn claims(
    owner: &Owner<'_>,
    spec: &StatefulSetSpec,
    ordinal: i32,
    owners: &[OwnerReference],
    is_missing: impl Fn(&str) -> bool,
) -> Vec<Action> {
    claim_names(owner, spec, ordinal)
        .filter(|(name, _)| is_missing(name))
        .map(|(name, template)| {
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
            Action::Create {
                resource: ResourceId::of::<PersistentVolumeClaim>(),
                namespace: owner.meta.namespace.clone(),
                body: json!({
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {
                        "name": name,
                        "namespace": owner.meta.namespace,
                        "labels": labels,
                        "annotations": template.metadata.annotations,
                        "ownerReferences": owners,
                    },
                    "spec": template.spec,
                }),
                announce: Some(told::claim(owner, &name, &pod_name(owner, ordinal))),
            }
        })
        .collect()
}

/// The claims of that number by their names, with what they are made from.
pub(super) fn claim_names<'a>(
    owner: &'a Owner<'_>,
    spec: &'a StatefulSetSpec,
    ordinal: i32,
) -> impl Iterator<Item = (String, &'a PersistentVolumeClaim)> {
    let templates = spec.volume_claim_templates.iter().flatten();
    templates.map(move |template| (claim_name(owner, template, ordinal), template))
}

fn claim_name(owner: &Owner<'_>, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", name(&template.metadata), name(owner.meta))
}
