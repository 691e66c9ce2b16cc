//! What the writer of a valid object is warned of: what is deprecated, does nothing, or does not what it seems to. The words
//! are kube-apiserver's.

mod pod;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{meta, names};
use crate::Resource;
use crate::quantity::Quantity;

const NODE_LABELS: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
];

/// Completions of an Indexed Job, and pods of it at a time, from which on its state may become too large.
const MANY_COMPLETIONS: i64 = 100_000;
const MANY_AT_A_TIME: i64 = 10_000;

/// Those that are new and could be anybody's, each once, in the order of their names.
fn finalizers(old: Option<&Value>, new: &Value, found: &mut Vec<String>) {
    let of = |object: &Value| -> BTreeSet<String> {
        let listed = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        listed.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let before = old.map(of).unwrap_or_default();
    let told = of(new)
        .into_iter()
        .filter(|name| !before.contains(name) && (name == "kubernetes" || !meta::is_attributed(name)));
    found.extend(told.map(|name| {
        format!(
            "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name including a path (/) to avoid \
             accidental conflicts with other finalizer writers"
        )
    }));
}

/// The warnings for an object that is created, or takes the place of an old one.
pub fn of(resource: &Resource, old: Option<&Value>, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if resource.custom.is_some() {
        finalizers(old, new, &mut found);
        return found;
    }
    let creates = old.is_none();
    // What is wanted has not changed: nobody is told again.
    let same = old.is_some_and(|old| old["metadata"]["generation"] == new["metadata"]["generation"]);
    match (&*resource.group, &*resource.kind) {
        ("", "Pod") if creates => {
            named_by(new, "the Pod's hostname", &mut found);
            pod::warn("", new, &mut found);
        }
        ("", "PodTemplate") => pod::warn("template", &new["template"], &mut found),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet") | ("", "ReplicationController")
            if !same =>
        {
            if creates && matches!(&*resource.kind, "Deployment" | "ReplicaSet" | "ReplicationController") {
                named_by(new, "Pod names and hostnames", &mut found);
            }
            pod::warn("spec.template", &new["spec"]["template"], &mut found);
            for (i, claim) in items(&new["spec"]["volumeClaimTemplates"]) {
                claim_spec(&format!("spec.volumeClaimTemplates[{i}].spec"), &claim["spec"], &mut found);
            }
        }
        ("batch", "Job") if !same => {
            if creates {
                named_by(new, "Pod names and hostnames", &mut found);
            }
            job_spec("spec", &new["spec"], &mut found);
        }
        ("batch", "CronJob") if !same => {
            if creates {
                named_by(new, "Pod names and hostnames", &mut found);
            }
            job_spec("spec.jobTemplate.spec", &new["spec"]["jobTemplate"]["spec"], &mut found);
        }
        ("", "Service") => service(new, &mut found),
        ("", "PersistentVolume") => volume(new, &mut found),
        ("", "PersistentVolumeClaim") => {
            class_annotation(new, &mut found);
            claim_spec("spec", &new["spec"], &mut found);
        }
        ("networking.k8s.io", "Ingress") if creates && annotation(new, "kubernetes.io/ingress.class") => found.push(
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
                .to_owned(),
        ),
        ("storage.k8s.io", "StorageClass") => {
            for (i, term) in items(&new["allowedTopologies"]) {
                expressions(
                    &format!("allowedTopologies[{i}].matchLabelExpressions"),
                    &term["matchLabelExpressions"],
                    &mut found,
                );
            }
        }
        _ => {}
    }
    found
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn annotation(object: &Value, name: &str) -> bool {
    object["metadata"]["annotations"].get(name).is_some()
}

/// The name becomes a part of names that may hold no dots.
fn named_by(object: &Value, used: &str, found: &mut Vec<String>) {
    let faults = names::dns1123_label(object["metadata"]["name"].as_str().unwrap_or_default());
    if !faults.is_empty() {
        found.push(format!(
            "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            faults.join(" ")
        ));
    }
}

fn label_message(label: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(known, _)| *known == label).map(|(_, message)| *message)
}

/// Expressions that choose nodes.
fn expressions(path: &str, list: &Value, found: &mut Vec<String>) {
    for (i, expression) in items(list) {
        let key = expression["key"].as_str().unwrap_or_default();
        if let Some(message) = label_message(key) {
            found.push(format!("{path}[{i}].key: {key} is {message}"));
        }
    }
}

/// An amount of bytes that is no whole number.
fn fraction(path: impl Fn() -> String, amounts: &Value, name: &str, found: &mut Vec<String>) {
    let Some(text) = amounts[name].as_str() else { return };
    if text.parse::<Quantity>().is_ok_and(|amount| !amount.is_whole()) {
        found.push(format!("{}[{name}]: fractional byte value {text:?} is invalid, must be an integer", path()));
    }
}

fn job_spec(path: &str, spec: &Value, found: &mut Vec<String>) {
    let number = |name: &str| spec[name].as_i64().unwrap_or(0);
    let large = number("completions") > MANY_COMPLETIONS && number("parallelism") > MANY_AT_A_TIME;
    if spec["completionMode"] == "Indexed" && large {
        found.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    pod::warn(&format!("{path}.template"), &spec["template"], found);
}

fn service(object: &Value, found: &mut Vec<String>) {
    let spec = &object["spec"];
    let has = |name: &str| match &spec[name] {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    let external = spec["type"] == "ExternalName";
    let headless = spec["type"] == "ClusterIP" && spec["clusterIP"] == "None";
    let mut say = |text: &str| found.push(text.to_owned());
    if annotation(object, "service.kubernetes.io/topology-aware-hints") {
        say("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use \
             service.kubernetes.io/topology-mode instead");
    }
    if headless {
        if has("loadBalancerIP") {
            say("spec.loadBalancerIP is ignored for headless services");
        }
        if has("externalIPs") {
            say("spec.externalIPs is ignored for headless services");
        }
        if spec["sessionAffinity"].as_str().is_some_and(|affinity| affinity != "None") {
            say("spec.SessionAffinity is ignored for headless services");
        }
    }
    if has("externalIPs") && !headless && !external {
        say("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    if external && has("externalIPs") {
        say("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if !external && has("externalName") {
        say("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if spec["trafficDistribution"] == "PreferClose" {
        say("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
}

fn class_annotation(object: &Value, found: &mut Vec<String>) {
    if annotation(object, "volume.beta.kubernetes.io/storage-class") {
        found.push(
            "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" \
             attribute instead"
                .to_owned(),
        );
    }
}

fn claim_spec(path: &str, spec: &Value, found: &mut Vec<String>) {
    for part in ["requests", "limits"] {
        fraction(|| format!("{path}.resources.{part}"), &spec["resources"][part], "storage", found);
    }
}

fn volume(object: &Value, found: &mut Vec<String>) {
    let spec = &object["spec"];
    class_annotation(object, found);
    for (i, term) in items(&spec["nodeAffinity"]["required"]["nodeSelectorTerms"]) {
        let path = format!("spec.nodeAffinity.required.nodeSelectorTerms[{i}].matchExpressions");
        expressions(&path, &term["matchExpressions"], found);
    }
    if spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        found.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach \
             is to use dynamic provisioning."
                .to_owned(),
        );
    }
    pod::plugins(|| "spec".to_owned(), spec, found);
}
