//! Objects as rows of a table: what `kubectl get` prints, cell by cell as kube-apiserver fills them.

mod access;
mod columns;
mod duration;
mod network;
mod node;
mod plain;
mod pod;
mod row;
mod workload;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::Resource;

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
    (printer(resource).cells)(object, Clock::At(now))
}

/// The same row for any time: reads the object once for all the times that it is shown.
pub fn row(resource: &Resource, object: &Value) -> Row {
    Row::new(&(printer(resource).cells)(object, Clock::Later))
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
        ("", "Event") => of(columns::EVENT, plain::event),
        ("", "Namespace") => of(columns::NAMESPACE, plain::namespace),
        ("", "ComponentStatus") => of(columns::COMPONENT_STATUS, plain::component_status),
        ("", "ConfigMap") => of(columns::CONFIG_MAP, plain::config_map),
        ("", "Secret") => of(columns::SECRET, plain::secret),
        ("", "ServiceAccount") => of(columns::SERVICE_ACCOUNT, plain::service_account),
        ("coordination.k8s.io", "Lease") => of(columns::LEASE, plain::lease),
        ("certificates.k8s.io", "CertificateSigningRequest") => of(columns::SIGNING_REQUEST, plain::signing_request),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => of(columns::BINDING, plain::binding),
        ("autoscaling", "Scale") => of(columns::SCALE, workload::scale),
        _ => of(columns::OTHER, plain::other),
    }
}
