//! Ephemeral volumes: each gets a claim of its own, which goes with the pod.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use pal_resources::volumes::claim_of;
use pal_scheduler::volumes::Claim;
use serde_json::json;

use crate::action::{Action, Note, Plan, ResourceId, Severity, reference};
use crate::object::{controlled_by, is_deleting, name, namespace, uid};
use crate::pods::is_finished;

const COMPONENT: &str = "ephemeral_volume";

/// The volumes of a pod that have claims of their own.
pub fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter(|volume| volume.ephemeral.is_some())
}

/// Makes the claims of a pod that are missing. `claim` finds one of the pod's namespace.
pub fn reconcile<'a>(pod: &Pod, claim: impl Fn(&str) -> Option<&'a Claim>) -> Plan {
    let mut plan = Plan::idle();
    if is_deleting(&pod.metadata) || is_finished(pod) {
        return plan;
    }
    for volume in volumes(pod) {
        let Some(wanted) = claim_of(pod, volume) else { continue };
        match claim(&wanted) {
            None => plan.actions.extend(create(pod, volume, &wanted)),
            Some(claim) if claim.owner.as_deref() != Some(uid(&pod.metadata)) => {
                let (space, pod_name) = (namespace(&pod.metadata), name(&pod.metadata));
                plan.push(Action::Tell(Note {
                    about: reference(pod),
                    component: COMPONENT,
                    severity: Severity::Warning,
                    reason: "FailedBinding",
                    message: format!(
                        "ephemeral volume {}: PVC {space}/{wanted} was not created for pod {space}/{pod_name} (pod is not owner)",
                        volume.name
                    ),
                }));
            }
            Some(_) => {}
        }
    }
    plan
}

fn create(pod: &Pod, volume: &Volume, claim: &str) -> Option<Action> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
    let meta = template.metadata.clone().unwrap_or_default();
    Some(Action::Create {
        resource: ResourceId::of::<PersistentVolumeClaim>(),
        namespace: pod.metadata.namespace.clone(),
        body: json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": claim,
                "namespace": pod.metadata.namespace,
                "labels": meta.labels,
                "annotations": meta.annotations,
                "ownerReferences": [controlled_by::<Pod>(&pod.metadata)],
            },
            "spec": template.spec,
        }),
        announce: None,
    })
}
