//! Objects as rows of a table: what `kubectl get` prints, cell by cell as kube-apiserver fills them.

mod access;
mod batch;
mod columns;
mod duration;
mod ingress;
mod network;
mod node;
mod plain;
mod pod;
mod policy;
mod registration;
mod row;
mod storage;
mod usage;
mod workload;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{Resource, forms};

use duration::Clock;
pub use duration::human_duration;
pub use row::Row;

/// One column (`TableColumnDefinition`). A priority above zero shows it under `-o wide` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub format: &'static str,
    pub description: &'static str,
    pub priority: i32,
}

/// How the rows of one kind are made.
struct Printer {
    columns: &'static [Column],
    cells: fn(&Value, Clock) -> Vec<Value>,
}

/// The columns of a resource's table.
pub fn columns(resource: &Resource) -> &'static [Column] {
    printer(resource).columns
}

/// The object's row: one cell for each column.
pub fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    (printer(resource).cells)(&stored(resource, object), Clock::At(now))
}

/// The same row for any time: reads the object once for all the times that it is shown.
pub fn row(resource: &Resource, object: &Value) -> Row {
    Row::new(&(printer(resource).cells)(&stored(resource, object), Clock::Later))
}

/// The object in the form that is stored: rows are made of that.
fn stored<'a>(resource: &Resource, object: &'a Value) -> Cow<'a, Value> {
    match forms::of(resource) {
        Some(form) => Cow::Owned(form.stored(object.clone())),
        None => Cow::Borrowed(object),
    }
}

fn printer(resource: &Resource) -> Printer {
    let of = |columns, cells| Printer { columns, cells };
    match (&*resource.group, &*resource.kind) {
        ("", "Pod") => of(columns::POD, pod::cells as fn(&Value, Clock) -> Vec<Value>),
        ("apps", "Deployment") => of(columns::DEPLOYMENT, workload::deployment),
        ("apps", "ReplicaSet") => of(columns::REPLICA_SET, workload::replica_set),
        ("", "Service") => of(columns::SERVICE, network::service),
        ("discovery.k8s.io", "EndpointSlice") => of(columns::ENDPOINT_SLICE, network::endpoint_slice),
        ("", "Node") => of(columns::NODE, node::cells),
        ("" | "events.k8s.io", "Event") => of(columns::EVENT, plain::event),
        ("", "Namespace") => of(columns::NAMESPACE, plain::namespace),
        ("", "ComponentStatus") => of(columns::COMPONENT_STATUS, plain::component_status),
        ("", "ConfigMap") => of(columns::CONFIG_MAP, plain::config_map),
        ("", "Secret") => of(columns::SECRET, plain::secret),
        ("", "ServiceAccount") => of(columns::SERVICE_ACCOUNT, plain::service_account),
        ("coordination.k8s.io", "Lease") => of(columns::LEASE, plain::lease),
        ("certificates.k8s.io", "CertificateSigningRequest") => of(columns::SIGNING_REQUEST, plain::signing_request),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => of(columns::BINDING, plain::binding),
        ("apps", "DaemonSet") => of(batch::DAEMON_SET, batch::daemon_set),
        ("apps", "StatefulSet") => of(batch::STATEFUL_SET, batch::stateful_set),
        ("apps", "ControllerRevision") => of(batch::REVISION, batch::revision),
        ("batch", "Job") => of(batch::JOB, batch::job),
        ("batch", "CronJob") => of(batch::CRON_JOB, batch::cron_job),
        ("", "ReplicationController") => of(batch::CONTROLLER, batch::replication_controller),
        ("", "PodTemplate") => of(batch::POD_TEMPLATE, batch::pod_template),
        ("policy", "PodDisruptionBudget") => of(policy::DISRUPTION_BUDGET, policy::disruption_budget),
        ("scheduling.k8s.io", "PriorityClass") => of(policy::PRIORITY_CLASS, policy::priority_class),
        ("node.k8s.io", "RuntimeClass") => of(policy::RUNTIME_CLASS, policy::runtime_class),
        ("", "ResourceQuota") => of(policy::RESOURCE_QUOTA, policy::resource_quota),
        ("autoscaling", "HorizontalPodAutoscaler") => of(policy::AUTOSCALER, policy::autoscaler),
        ("", "PersistentVolumeClaim") => of(storage::CLAIM, storage::claim),
        ("", "PersistentVolume") => of(storage::VOLUME, storage::volume),
        ("storage.k8s.io", "StorageClass") => of(storage::STORAGE_CLASS, storage::storage_class),
        ("storage.k8s.io", "VolumeAttachment") => of(storage::ATTACHMENT, storage::attachment),
        ("storage.k8s.io", "CSIDriver") => of(storage::DRIVER, storage::driver),
        ("storage.k8s.io", "CSINode") => of(storage::DRIVER_NODE, storage::driver_node),
        ("storage.k8s.io", "CSIStorageCapacity") => of(storage::CAPACITY, storage::capacity),
        ("storage.k8s.io", "VolumeAttributesClass") => of(storage::ATTRIBUTES_CLASS, storage::attributes_class),
        ("networking.k8s.io", "Ingress") => of(ingress::INGRESS, ingress::ingress),
        ("networking.k8s.io", "IngressClass") => of(ingress::INGRESS_CLASS, ingress::ingress_class),
        ("networking.k8s.io", "IPAddress") => of(ingress::IP_ADDRESS, ingress::ip_address),
        ("networking.k8s.io", "ServiceCIDR") => of(ingress::SERVICE_CIDR, ingress::service_cidr),
        ("networking.k8s.io", "NetworkPolicy") => of(ingress::NETWORK_POLICY, ingress::network_policy),
        ("", "Endpoints") => of(ingress::ENDPOINTS, ingress::endpoints),
        ("autoscaling", "Scale") => of(columns::SCALE, workload::scale),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
            of(registration::WEBHOOKS, registration::webhooks)
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            of(registration::MUTATING_POLICY, registration::mutating_policy)
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => of(registration::POLICY, registration::policy),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
            of(registration::POLICY_BINDING, registration::policy_binding)
        }
        ("apiregistration.k8s.io", "APIService") => of(registration::API_SERVICE, registration::api_service),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => of(registration::FLOW_SCHEMA, registration::flow_schema),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            of(registration::PRIORITY_LEVEL, registration::priority_level)
        }
        ("metrics.k8s.io", "NodeMetrics" | "PodMetrics") => of(usage::USAGE, usage::usage),
        _ => of(columns::OTHER, plain::other),
    }
}
