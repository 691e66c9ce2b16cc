//! What field selectors can ask for.

use serde_json::Value;

use crate::{Resource, Status};

/// A field's label, and where the object has it.
type Label = (&'static str, &'static [&'static str]);

const EVERY: &[Label] = &[("metadata.name", &["metadata", "name"]), ("metadata.namespace", &["metadata", "namespace"])];

const POD: &[Label] = &[
    ("spec.nodeName", &["spec", "nodeName"]),
    ("spec.host", &["spec", "nodeName"]),
    ("spec.restartPolicy", &["spec", "restartPolicy"]),
    ("spec.schedulerName", &["spec", "schedulerName"]),
    ("spec.serviceAccountName", &["spec", "serviceAccountName"]),
    ("spec.hostNetwork", &["spec", "hostNetwork"]),
    ("status.phase", &["status", "phase"]),
    ("status.podIP", &["status", "podIP"]),
    ("status.podIPs", &["status", "podIP"]),
    ("status.nominatedNodeName", &["status", "nominatedNodeName"]),
];

const EVENT: &[Label] = &[
    ("involvedObject.kind", &["involvedObject", "kind"]),
    ("involvedObject.namespace", &["involvedObject", "namespace"]),
    ("involvedObject.name", &["involvedObject", "name"]),
    ("involvedObject.uid", &["involvedObject", "uid"]),
    ("involvedObject.apiVersion", &["involvedObject", "apiVersion"]),
    ("involvedObject.resourceVersion", &["involvedObject", "resourceVersion"]),
    ("involvedObject.fieldPath", &["involvedObject", "fieldPath"]),
    ("reason", &["reason"]),
    ("reportingComponent", &["reportingComponent"]),
    ("source", &["source", "component"]),
    ("type", &["type"]),
];

const REGARDING: &[Label] = &[
    ("regarding.kind", &["regarding", "kind"]),
    ("regarding.namespace", &["regarding", "namespace"]),
    ("regarding.name", &["regarding", "name"]),
    ("regarding.uid", &["regarding", "uid"]),
    ("regarding.apiVersion", &["regarding", "apiVersion"]),
    ("regarding.resourceVersion", &["regarding", "resourceVersion"]),
    ("regarding.fieldPath", &["regarding", "fieldPath"]),
    ("reason", &["reason"]),
    ("reportingController", &["reportingController"]),
    ("type", &["type"]),
];

const SERVICE: &[Label] = &[("spec.clusterIP", &["spec", "clusterIP"]), ("spec.type", &["spec", "type"])];

fn labels_of(resource: &Resource) -> &'static [Label] {
    match (&*resource.group, &*resource.kind) {
        ("", "Pod") => POD,
        ("", "Event") => EVENT,
        ("events.k8s.io", "Event") => REGARDING,
        ("", "Namespace") => &[("status.phase", &["status", "phase"])],
        ("", "Node") => &[("spec.unschedulable", &["spec", "unschedulable"])],
        ("", "Secret") => &[("type", &["type"])],
        ("", "Service") => SERVICE,
        ("", "ReplicationController") => &[("status.replicas", &["status", "replicas"])],
        ("batch", "Job") => &[("status.successful", &["status", "succeeded"])],
        ("certificates.k8s.io", "CertificateSigningRequest") => &[("spec.signerName", &["spec", "signerName"])],
        _ => &[],
    }
}

/// The fields that field selectors can ask for, with this object's values.
pub fn field_labels(resource: &Resource, object: &Value) -> Vec<(&'static str, String)> {
    let every = EVERY.iter().filter(|(label, _)| resource.namespaced || *label != "metadata.namespace");
    every
        .chain(labels_of(resource))
        .map(|(label, path)| {
            let at = |path: &[&str]| path.iter().try_fold(object, |value, field| value.get(field));
            // An event of the newer kind names who reports it, and no source.
            let instead = || at(&["reportingComponent"]).filter(|_| *label == "source");
            (*label, text(label, at(path).or_else(instead)))
        })
        .collect()
}

fn text(label: &str, value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ if matches!(label, "spec.unschedulable" | "spec.hostNetwork") => "false".to_owned(),
        _ if matches!(label, "status.replicas" | "status.successful") => "0".to_owned(),
        _ => String::new(),
    }
}

/// Whether field selectors of that resource can ask for `field`.
pub fn selectable(resource: &Resource, field: &str) -> bool {
    match field {
        "metadata.name" => true,
        "metadata.namespace" => resource.namespaced || is_plain(resource),
        _ => labels_of(resource).iter().any(|(label, _)| *label == field),
    }
}

/// Whether objects of that resource can be selected by their place alone.
fn is_plain(resource: &Resource) -> bool {
    resource.custom.is_none() && labels_of(resource).is_empty()
}

/// The refusal of a field selector that asks for `field` of that resource. kube-apiserver has one wording for kinds
/// without fields of their own, one for Jobs and one for the others.
pub fn unselectable(resource: &Resource, field: &str) -> Status {
    Status::bad_request(match (&*resource.group, &*resource.kind) {
        _ if is_plain(resource) => {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        ("batch", "Job") => format!("field label {field:?} not supported for Job"),
        _ => format!("field label not supported: {field}"),
    })
}
