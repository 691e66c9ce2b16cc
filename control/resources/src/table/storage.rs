//! The rows of volumes, their classes and drivers.

use serde_json::Value;

use super::Column;
use super::access::{age, items, name, text, text_or};
use super::columns::{AGE, NAME, text as column, wide};
use super::duration::Clock;

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const UNSET: &str = "<unset>";

pub(super) const CLAIM: &[Column] = &[
    NAME,
    column("Status", "Whether the claim has a volume."),
    column("Volume", "The volume that the claim has."),
    column("Capacity", "The size of the volume."),
    column("Access Modes", "How the volume may be mounted."),
    column("StorageClass", "The class of the claim."),
    column("VolumeAttributesClass", "The class of the volume's attributes."),
    AGE,
    wide("VolumeMode", "Whether the volume is a file system or a device."),
];

pub(super) fn claim(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let bound = !text(&spec["volumeName"]).is_empty();
    let (modes, size) = if bound {
        (access_modes(&status["accessModes"]), text(&status["capacity"]["storage"]))
    } else {
        (String::new(), "")
    };
    vec![
        name(object),
        phase(object).into(),
        text(&spec["volumeName"]).into(),
        size.into(),
        modes.into(),
        class(object).into(),
        text_or(&spec["volumeAttributesClassName"], UNSET).into(),
        age(object, now),
        text_or(&spec["volumeMode"], UNSET).into(),
    ]
}

pub(super) const VOLUME: &[Column] = &[
    NAME,
    column("Capacity", "The size of the volume."),
    column("Access Modes", "How the volume may be mounted."),
    column("Reclaim Policy", "What becomes of the volume when its claim is gone."),
    column("Status", "Whether a claim has the volume."),
    column("Claim", "The claim that has the volume."),
    column("StorageClass", "The class of the volume."),
    column("VolumeAttributesClass", "The class of the volume's attributes."),
    column("Reason", "Why the volume is in that state."),
    AGE,
    wide("VolumeMode", "Whether the volume is a file system or a device."),
];

pub(super) fn volume(object: &Value, now: Clock) -> Vec<Value> {
    let (spec, claim) = (&object["spec"], &object["spec"]["claimRef"]);
    let claimed =
        if claim.is_null() { String::new() } else { format!("{}/{}", text(&claim["namespace"]), text(&claim["name"])) };
    vec![
        name(object),
        text(&spec["capacity"]["storage"]).into(),
        access_modes(&spec["accessModes"]).into(),
        text(&spec["persistentVolumeReclaimPolicy"]).into(),
        phase(object).into(),
        claimed.into(),
        class(object).into(),
        text_or(&spec["volumeAttributesClassName"], UNSET).into(),
        text(&object["status"]["reason"]).into(),
        age(object, now),
        text_or(&spec["volumeMode"], UNSET).into(),
    ]
}

fn phase(object: &Value) -> &str {
    if object["metadata"]["deletionTimestamp"].is_null() { text(&object["status"]["phase"]) } else { "Terminating" }
}

fn class(object: &Value) -> &str {
    match text(&object["metadata"]["annotations"][CLASS]) {
        "" => text(&object["spec"]["storageClassName"]),
        class => class,
    }
}

/// In the order in which they are always told.
fn access_modes(modes: &Value) -> String {
    let known =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| items(modes).iter().any(|given| text(given) == mode);
    known.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub(super) const STORAGE_CLASS: &[Column] = &[
    NAME,
    column("Provisioner", "Who makes volumes of the class."),
    column("ReclaimPolicy", "What becomes of a volume when its claim is gone."),
    column("VolumeBindingMode", "When a claim gets its volume."),
    column("AllowVolumeExpansion", "Whether volumes of the class may grow."),
    AGE,
];

pub(super) fn storage_class(object: &Value, now: Clock) -> Vec<Value> {
    let default = text(&object["metadata"]["annotations"][DEFAULT_CLASS]) == "true";
    let shown = format!("{}{}", text(&object["metadata"]["name"]), if default { " (default)" } else { "" });
    vec![
        shown.into(),
        text(&object["provisioner"]).into(),
        text(&object["reclaimPolicy"]).into(),
        text(&object["volumeBindingMode"]).into(),
        (object["allowVolumeExpansion"] == true).into(),
        age(object, now),
    ]
}

pub(super) const ATTRIBUTES_CLASS: &[Column] = &[NAME, column("DriverName", "Whose volumes are changed by it."), AGE];

pub(super) fn attributes_class(object: &Value, now: Clock) -> Vec<Value> {
    vec![name(object), text(&object["driverName"]).into(), age(object, now)]
}

pub(super) const ATTACHMENT: &[Column] = &[
    Column { format: "name", ..NAME },
    column("Attacher", "Who attaches the volume."),
    column("PV", "The volume."),
    column("Node", "The node that it is attached to."),
    Column { kind: "boolean", ..column("Attached", "Whether it is attached.") },
    AGE,
];

pub(super) fn attachment(object: &Value, now: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        name(object),
        text(&spec["attacher"]).into(),
        text(&spec["source"]["persistentVolumeName"]).into(),
        text(&spec["nodeName"]).into(),
        (object["status"]["attached"] == true).into(),
        age(object, now),
    ]
}

pub(super) const DRIVER: &[Column] = &[
    NAME,
    Column { kind: "boolean", ..column("AttachRequired", "Whether volumes must be attached.") },
    Column { kind: "boolean", ..column("PodInfoOnMount", "Whether the driver is told of the pod.") },
    Column { kind: "boolean", ..column("StorageCapacity", "Whether the driver tells how much there is.") },
    column("TokenRequests", "The audiences of the tokens that the driver gets."),
    Column { kind: "boolean", ..column("RequiresRepublish", "Whether the driver is asked again from time to time.") },
    column("Modes", "What kinds of volumes the driver has."),
    AGE,
];

pub(super) fn driver(object: &Value, now: Clock) -> Vec<Value> {
    let spec = &object["spec"];
    let audiences: Vec<&str> = items(&spec["tokenRequests"]).iter().map(|request| text(&request["audience"])).collect();
    let modes: Vec<&str> = items(&spec["volumeLifecycleModes"]).iter().map(text).collect();
    let tokens = if audiences.is_empty() { UNSET.to_owned() } else { audiences.join(",") };
    vec![
        name(object),
        (spec["attachRequired"] == true).into(),
        (spec["podInfoOnMount"] == true).into(),
        (spec["storageCapacity"] == true).into(),
        tokens.into(),
        (spec["requiresRepublish"] == true).into(),
        modes.join(",").into(),
        age(object, now),
    ]
}

pub(super) const DRIVER_NODE: &[Column] =
    &[NAME, Column { kind: "integer", ..column("Drivers", "How many drivers the node has.") }, AGE];

pub(super) fn driver_node(object: &Value, now: Clock) -> Vec<Value> {
    vec![name(object), items(&object["spec"]["drivers"]).len().into(), age(object, now)]
}

pub(super) const CAPACITY: &[Column] =
    &[NAME, column("StorageClassName", "The class."), column("Capacity", "How much there is.")];

pub(super) fn capacity(object: &Value, _now: Clock) -> Vec<Value> {
    vec![name(object), text(&object["storageClassName"]).into(), text(&object["capacity"]).into()]
}
