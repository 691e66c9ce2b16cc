//! The columns of each kind's table.

use super::Column;

pub(super) const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: "Name must be unique within a namespace.",
    priority: 0,
};

pub(super) const AGE: Column =
    text("Age", "CreationTimestamp is a timestamp representing the server time when this object was created.");

pub(super) const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 0 }
}

pub(super) const fn number(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "integer", format: "", description, priority: 0 }
}

/// A column of `-o wide`.
pub(super) const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 1 }
}

pub(super) const POD: &[Column] = &[
    NAME,
    text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    text("Status", "The aggregate status of the containers in this pod."),
    text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    wide("IP", "The address of the pod in the cluster's network."),
    wide("Node", "The node that runs the pod."),
    wide("Nominated Node", "The node that may get the pod once others have left it."),
    wide("Readiness Gates", "How many of the pod's readiness gates are open."),
];

pub(super) const DEPLOYMENT: &[Column] = &[
    NAME,
    text("Ready", "Number of the pod with ready state"),
    text("Up-to-date", "Number of pods that have the wanted template."),
    text("Available", "Number of pods that have been ready for long enough."),
    AGE,
    wide("Containers", "Names of each container in the template."),
    wide("Images", "Images referenced by each container in the template."),
    wide("Selector", "Which pods are this deployment's."),
];

pub(super) const REPLICA_SET: &[Column] = &[
    NAME,
    number("Desired", "Number of pods wanted."),
    number("Current", "Number of pods there are."),
    number("Ready", "Number of pods that are ready."),
    AGE,
    wide("Containers", "Names of each container in the template."),
    wide("Images", "Images referenced by each container in the template."),
    wide("Selector", "Which pods are this replica set's."),
];

pub(super) const SERVICE: &[Column] = &[
    NAME,
    text("Type", "How the service is exposed."),
    text("Cluster-IP", "The address of the service in the cluster."),
    text("External-IP", "Addresses at which the service is reached from outside."),
    text("Port(s)", "The ports that the service exposes."),
    AGE,
    wide("Selector", "Which pods the service routes to."),
];

pub(super) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    text("AddressType", "The type of address carried by this slice."),
    text("Ports", "The ports of each endpoint in this slice."),
    text("Endpoints", "The addresses in this slice."),
    AGE,
];

pub(super) const NODE: &[Column] = &[
    NAME,
    text("Status", "The status of the node"),
    text("Roles", "The roles of the node"),
    AGE,
    text("Version", "The version that the node's agent reports."),
    wide("Internal-IP", "The node's address within the cluster."),
    wide("External-IP", "The node's address from outside."),
    wide("OS-Image", "The operating system that the node reports."),
    wide("Kernel-Version", "The kernel that the node reports."),
    wide("Container-Runtime", "What runs containers on the node."),
];

pub(super) const EVENT: &[Column] = &[
    text("Last Seen", "The time at which the most recent occurrence of this event was recorded."),
    text("Type", "Type of this event (Normal, Warning)."),
    text("Reason", "Why the event came about, in one word."),
    text("Object", "The object that this event is about."),
    wide("Subobject", "The part of the object."),
    wide("Source", "The component reporting this event."),
    text("Message", "What happened, for people to read."),
    wide("First Seen", "The time at which the event was first recorded."),
    wide("Count", "The number of times this event has occurred."),
    Column { priority: 1, ..NAME },
];

pub(super) const NAMESPACE: &[Column] = &[NAME, text("Status", "The status of the namespace"), AGE];

pub(super) const CONFIG_MAP: &[Column] = &[NAME, text("Data", "How many keys there are."), AGE];

pub(super) const SECRET: &[Column] =
    &[NAME, text("Type", "What the secret is for."), text("Data", "How many keys there are."), AGE];

pub(super) const SERVICE_ACCOUNT: &[Column] =
    &[NAME, text("Secrets", "How many secrets the account's pods may use."), AGE];

pub(super) const LEASE: &[Column] = &[NAME, text("Holder", "Who holds the lease."), AGE];

pub(super) const SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    text("SignerName", "Who is asked to sign."),
    text("Requestor", "Who asks."),
    text("RequestedDuration", "How long the certificate shall be valid."),
    text("Condition", "What became of the request."),
];

pub(super) const BINDING: &[Column] = &[
    NAME,
    text("Role", "The role that is granted."),
    AGE,
    wide("Users", "Users in the binding"),
    wide("Groups", "Groups in the binding"),
    wide("ServiceAccounts", "ServiceAccounts in the binding"),
];

pub(super) const SCALE: &[Column] =
    &[NAME, number("Desired", "Number of pods wanted."), number("Available", "Number of pods there are."), AGE];

pub(super) const COMPONENT_STATUS: &[Column] = &[
    NAME,
    text("Status", "Whether the component is healthy."),
    text("Message", "What the component says of itself."),
    text("Error", "What keeps the component from being healthy."),
];

pub(super) const OTHER: &[Column] =
    &[NAME, Column { format: "date", ..text("Created At", "When the object was created.") }];
