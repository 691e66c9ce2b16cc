//! Who a pod of a StatefulSet is.

use k8s_openapi::api::apps::v1::StatefulSetSpec;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use super::Versioned;
use crate::action::{Action, ResourceId};
use crate::members::Owner;
use crate::object::name;
use crate::revision::HASH;

/// The number of a pod of that set; `None` when its name is not one that the set gives.
pub(super) fn ordinal(set: &str, pod: &Pod) -> Option<i32> {
    let digits = name(&pod.metadata).strip_prefix(set)?.strip_prefix('-')?;
    let is_canonical = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| is_canonical)
}

/// The pod of that number and template.
pub(super) fn pod(owner: &Owner<'_>, spec: &StatefulSetSpec, version: &Versioned, ordinal: i32) -> Value {
    let mut body = owner.pod_of(Some(&version.template));
    let pod = format!("{}-{ordinal}", name(owner.meta));
    if let Some(metadata) = body["metadata"].as_object_mut() {
        metadata.remove("generateName");
    }
    body["metadata"]["name"] = json!(pod);
    body["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(pod);
    body["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
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
                announce: None,
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
