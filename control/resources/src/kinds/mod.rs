//! What each kind defaults to, refuses and keeps: the decisions that a write of an object runs through.
//!
//! Objects come in and go out as JSON values; decisions are made on k8s-openapi's types.

mod admission_policy;
mod aggregation;
mod apps;
mod autoscaling;
mod batch;
mod certificate;
mod cluster;
mod config;
mod drivers;
mod endpoint_slice;
mod endpoints;
mod errors;
mod event;
mod fields;
mod job_policies;
mod job_status;
mod kind;
mod legacy;
mod loose;
mod meta;
pub mod names;
mod networking;
pub(crate) mod optional;
mod other;
mod pod;
mod policy;
mod quotas;
mod ranges;
mod rbac;
mod registration;
mod scale;
mod service;
mod service_rules;
mod status_rules;
mod storage;
pub mod untyped;
mod volume_rules;
pub mod warnings;
mod workload;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, NetworkPolicy};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment};
use serde_json::Value;

use crate::{Resource, Status, Uid};

use loose::Loose;

pub use fields::{field_labels, selectable, unselectable};
pub use kind::Created;
pub use scale::{apply_scale, scale_of};

/// Everything that a decision may know beside the object.
#[derive(Clone, Debug)]
pub struct Env {
    /// The time of the write.
    pub now: Timestamp,
    /// A fresh uid, for an object that is created.
    pub uid: Uid,
    /// How long a pod tolerates a node that is not ready or not reachable, unless it says.
    pub toleration_seconds: i64,
}

/// Calls a function for the type that a resource's kind has.
macro_rules! by_kind {
    ($resource:expr, $function:ident($($argument:expr),*)) => {
        match (&*$resource.group, &*$resource.kind) {
            ("", "Pod") => kind::$function::<Pod>($($argument),*),
            ("", "Service") => kind::$function::<Service>($($argument),*),
            ("", "ConfigMap") => kind::$function::<ConfigMap>($($argument),*),
            ("", "Secret") => kind::$function::<Secret>($($argument),*),
            ("", "Namespace") => kind::$function::<Namespace>($($argument),*),
            ("", "Node") => kind::$function::<Node>($($argument),*),
            ("", "ServiceAccount") => kind::$function::<ServiceAccount>($($argument),*),
            ("", "Event") => kind::$function::<Event>($($argument),*),
            ("apps", "Deployment") => kind::$function::<Deployment>($($argument),*),
            ("apps", "ReplicaSet") => kind::$function::<ReplicaSet>($($argument),*),
            ("", "Endpoints") => kind::$function::<Endpoints>($($argument),*),
            ("", "LimitRange") => kind::$function::<LimitRange>($($argument),*),
            ("", "PersistentVolume") => kind::$function::<PersistentVolume>($($argument),*),
            ("", "PersistentVolumeClaim") => kind::$function::<PersistentVolumeClaim>($($argument),*),
            ("", "PodTemplate") => kind::$function::<PodTemplate>($($argument),*),
            ("", "ReplicationController") => kind::$function::<ReplicationController>($($argument),*),
            ("", "ResourceQuota") => kind::$function::<ResourceQuota>($($argument),*),
            ("apps", "ControllerRevision") => kind::$function::<ControllerRevision>($($argument),*),
            ("apps", "DaemonSet") => kind::$function::<DaemonSet>($($argument),*),
            ("apps", "StatefulSet") => kind::$function::<StatefulSet>($($argument),*),
            ("autoscaling", "HorizontalPodAutoscaler") => kind::$function::<HorizontalPodAutoscaler>($($argument),*),
            ("batch", "CronJob") => kind::$function::<CronJob>($($argument),*),
            ("batch", "Job") => kind::$function::<Job>($($argument),*),
            ("networking.k8s.io", "Ingress") => kind::$function::<Ingress>($($argument),*),
            ("networking.k8s.io", "IngressClass") => kind::$function::<IngressClass>($($argument),*),
            ("networking.k8s.io", "IPAddress") => kind::$function::<Loose<ranges::IpAddress>>($($argument),*),
            ("networking.k8s.io", "ServiceCIDR") => kind::$function::<Loose<ranges::ServiceCidr>>($($argument),*),
            ("networking.k8s.io", "NetworkPolicy") => kind::$function::<NetworkPolicy>($($argument),*),
            ("node.k8s.io", "RuntimeClass") => kind::$function::<RuntimeClass>($($argument),*),
            ("policy", "PodDisruptionBudget") => kind::$function::<PodDisruptionBudget>($($argument),*),
            ("scheduling.k8s.io", "PriorityClass") => kind::$function::<PriorityClass>($($argument),*),
            ("storage.k8s.io", "CSIDriver") => kind::$function::<CSIDriver>($($argument),*),
            ("storage.k8s.io", "CSINode") => kind::$function::<CSINode>($($argument),*),
            ("storage.k8s.io", "CSIStorageCapacity") => kind::$function::<CSIStorageCapacity>($($argument),*),
            ("storage.k8s.io", "StorageClass") => kind::$function::<StorageClass>($($argument),*),
            ("storage.k8s.io", "VolumeAttachment") => kind::$function::<VolumeAttachment>($($argument),*),
            ("storage.k8s.io", "VolumeAttributesClass") => {
                kind::$function::<Loose<ranges::AttributesClass>>($($argument),*)
            }
            ("coordination.k8s.io", "Lease") => kind::$function::<Lease>($($argument),*),
            ("discovery.k8s.io", "EndpointSlice") => {
                kind::$function::<EndpointSlice>($($argument),*)
            }
            ("certificates.k8s.io", "CertificateSigningRequest") => {
                kind::$function::<CertificateSigningRequest>($($argument),*)
            }
            ("rbac.authorization.k8s.io", "Role") => kind::$function::<Role>($($argument),*),
            ("rbac.authorization.k8s.io", "ClusterRole") => {
                kind::$function::<ClusterRole>($($argument),*)
            }
            ("rbac.authorization.k8s.io", "RoleBinding") => {
                kind::$function::<RoleBinding>($($argument),*)
            }
            ("rbac.authorization.k8s.io", "ClusterRoleBinding") => {
                kind::$function::<ClusterRoleBinding>($($argument),*)
            }
            ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
                kind::$function::<Loose<admission_policy::Mutating>>($($argument),*)
            }
            ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => {
                kind::$function::<Loose<admission_policy::MutatingBinding>>($($argument),*)
            }
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
                kind::$function::<Loose<registration::Mutating>>($($argument),*)
            }
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
                kind::$function::<Loose<registration::Validating>>($($argument),*)
            }
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
                kind::$function::<Loose<admission_policy::Validating>>($($argument),*)
            }
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
                kind::$function::<Loose<admission_policy::ValidatingBinding>>($($argument),*)
            }
            ("apiregistration.k8s.io", "APIService") => kind::$function::<Loose<aggregation::ApiService>>($($argument),*),
            ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
                kind::$function::<Loose<aggregation::FlowSchema>>($($argument),*)
            }
            ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
                kind::$function::<Loose<aggregation::PriorityLevel>>($($argument),*)
            }
            _ => kind::$function::<other::Other>($($argument),*),
        }
    };
}

/// The object as it is stored when a client creates it: what clients may not set is reset, what they left out is
/// defaulted, `metadata` gets its uid, creation time and generation, and the whole is validated.
///
/// `generateName` is resolved by the caller before, and `metadata.namespace` is filled in from the path.
pub fn create(resource: &Resource, object: Value, env: &Env) -> Result<Value, Status> {
    create_typed(resource, object, env).map(|created| created.value)
}

/// [`create`], and the object as its type where that is handed on.
pub fn create_typed(resource: &Resource, object: Value, env: &Env) -> Result<Created, Status> {
    if !resource.verbs.contains(&"get") {
        // A review is answered and not stored: it has no name.
        return Ok(Created { value: object, typed: None });
    }
    by_kind!(resource, create(resource, object, env))
}

/// The object with what clients left out, as policies see it before it is written. What cannot be read stays as it is.
pub fn fill(resource: &Resource, object: Value) -> Value {
    by_kind!(resource, fill(object))
}

/// The object as it is stored when a client replaces `old`, or writes one of its subresources: `status`; for a
/// namespace also `finalize`; for a certificate signing request also `approval`; for a pod also `binding`, which may
/// set the node.
///
/// What may not change is kept, the generation goes up when what is wanted changed, and the whole is validated.
pub fn update(
    resource: &Resource,
    subresource: Option<&str>,
    old: &Value,
    new: Value,
    env: &Env,
) -> Result<Value, Status> {
    by_kind!(resource, update(resource, subresource, old, new, env))
}

/// Whether what the resource's objects own stays when they are deleted by somebody who says nothing about it: clients of
/// these two have relied on it since before there was garbage collection.
pub fn orphans(resource: &Resource) -> bool {
    matches!((&*resource.group, &*resource.plural), ("", "replicationcontrollers") | ("batch", "jobs"))
}

/// The grace period in seconds that a delete of the object gets unless it names one; `None`: it goes at once.
///
/// A pod that no node runs, or that has ended, needs none.
pub fn default_grace(resource: &Resource, object: &Value) -> Option<i64> {
    if !resource.group.is_empty() || resource.kind != "Pod" {
        return None;
    }
    let on_node = object["spec"]["nodeName"].as_str().is_some_and(|name| !name.is_empty());
    let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !on_node || ended {
        return Some(0);
    }
    let period = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(0);
    // A negative period is treated as a second, as ever.
    Some(if period < 0 { 1 } else { period })
}
