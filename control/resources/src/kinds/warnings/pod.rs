//! Pods and their templates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{expressions, fraction, items, label_message};

/// Annotations that fields have taken the place of.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

/// Kinds of volumes that there are no more.
const PLUGINS: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";

/// Of a volume, by its kind.
pub(super) fn plugins(path: impl Fn() -> String, volume: &Value, found: &mut Vec<String>) {
    for (name, message) in PLUGINS {
        // Few fields are set: to compare them all is less than to look each name up.
        if volume.as_object().is_some_and(|volume| volume.keys().any(|field| field == name)) {
            // Its path is spelled as in Kubernetes' own types.
            let name = if name == "storageos" { "storageOS" } else { name };
            found.push(format!("{}.{name}: {message}", path()));
        }
    }
}

/// Warns of a pod, or of a template at the path. Every pod that is created comes by here, nearly always for nothing: paths are
/// put together only for what is found.
pub(super) fn warn(path: &str, pod: &Value, found: &mut Vec<String>) {
    let inside = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let spec = &pod["spec"];
    let at = |field: &str| inside(&format!("spec.{field}"));
    for label in spec["nodeSelector"].as_object().into_iter().flat_map(|map| map.keys()) {
        if let Some(message) = label_message(label) {
            found.push(format!("{}: {message}", at(&format!("nodeSelector[{label}]"))));
        }
    }
    if !spec["affinity"].is_null() {
        node_affinity(&at("affinity.nodeAffinity"), &spec["affinity"]["nodeAffinity"], found);
    }
    for (i, constraint) in items(&spec["topologySpreadConstraints"]) {
        let path = at(&format!("topologySpreadConstraints[{i}]"));
        let key = constraint["topologyKey"].as_str().unwrap_or_default();
        if let Some(message) = label_message(key) {
            found.push(format!("{path}.topologyKey: {key} is {message}"));
        }
        no_selector(&path, constraint, found);
    }
    let annotations = pod["metadata"]["annotations"].as_object().filter(|annotations| !annotations.is_empty());
    let annotated = |name: &str| annotations.is_some_and(|annotations| annotations.contains_key(name));
    for (name, message) in ANNOTATIONS {
        if annotated(name) {
            found.push(format!("{}: {message}", inside(&format!("metadata.annotations[{name}]"))));
        }
    }
    for (i, volume) in items(&spec["volumes"]) {
        plugins(|| at(&format!("volumes[{i}]")), volume, found);
    }
    repeated(|| at("hostAliases"), &spec["hostAliases"], "ip", found);
    repeated(|| at("imagePullSecrets"), &spec["imagePullSecrets"], "name", found);
    for (i, secret) in items(&spec["imagePullSecrets"]) {
        if secret["name"].as_str().unwrap_or_default().is_empty() {
            found.push(format!("{}: invalid empty name \"\"", at(&format!("imagePullSecrets[{i}].name"))));
        }
    }
    bytes(|| at("overhead"), &spec["overhead"], found);
    if annotated("seccomp.security.alpha.kubernetes.io/pod") && unset(spec, "seccompProfile") {
        let name = "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]";
        found.push(format!("{}: {SECCOMP}", inside(name)));
    }
    for (list, i, container) in containers(spec) {
        if annotations.is_some() {
            container_annotations(path, &annotated, spec, container, found);
        }
        let resources = &container["resources"];
        for part in ["limits", "requests"] {
            bytes(|| at(&format!("{list}[{i}].resources.{part}")), &resources[part], found);
        }
        variables(|| at(&format!("{list}[{i}]")), container, found);
    }
    ports(|| at(""), spec, found);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let path = at("terminationGracePeriodSeconds");
        found.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    if !spec["affinity"].is_null() {
        pod_affinity(&at("affinity"), &spec["affinity"], found);
    }
}

fn unset(holder: &Value, field: &str) -> bool {
    holder["securityContext"][field].is_null()
}

/// Annotations for a container that fields have taken the place of.
fn container_annotations(
    path: &str,
    annotated: &impl Fn(&str) -> bool,
    spec: &Value,
    container: &Value,
    found: &mut Vec<String>,
) {
    let dot = if path.is_empty() { "" } else { "." };
    let name = container["name"].as_str().unwrap_or_default();
    let seccomp = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
    if unset(container, "seccompProfile") && annotated(&seccomp) {
        found.push(format!("{path}{dot}metadata.annotations[{seccomp}]: {SECCOMP}"));
    }
    let apparmor = format!("container.apparmor.security.beta.kubernetes.io/{name}");
    let without = unset(spec, "appArmorProfile") && unset(container, "appArmorProfile");
    if !path.is_empty() && without && annotated(&apparmor) {
        let place = format!("{path}.metadata.annotations[{apparmor}]");
        found.push(format!("{place}: deprecated since v1.30; use the \"appArmorProfile\" field instead"));
    }
}

/// Amounts that are counted in bytes.
fn bytes(path: impl Fn() -> String, amounts: &Value, found: &mut Vec<String>) {
    if amounts.is_null() {
        return;
    }
    for name in ["memory", "ephemeral-storage"] {
        fraction(&path, amounts, name, found);
    }
}

fn pod_affinity(path: &str, affinity: &Value, found: &mut Vec<String>) {
    for side in ["podAffinity", "podAntiAffinity"] {
        let (path, affinity) = (format!("{path}.{side}"), &affinity[side]);
        for (i, term) in items(&affinity[REQUIRED]) {
            no_selector(&format!("{path}.{REQUIRED}[{i}]"), term, found);
        }
        for (i, term) in items(&affinity[PREFERRED]) {
            no_selector(&format!("{path}.{PREFERRED}[{i}].podAffinityTerm"), &term["podAffinityTerm"], found);
        }
    }
}

fn no_selector(path: &str, term: &Value, found: &mut Vec<String>) {
    if term["labelSelector"].is_null() {
        found.push(format!("{path}.labelSelector: a null labelSelector results in matching no pod"));
    }
}

fn node_affinity(path: &str, affinity: &Value, found: &mut Vec<String>) {
    for (i, term) in items(&affinity[REQUIRED]["nodeSelectorTerms"]) {
        let path = format!("{path}.{REQUIRED}.nodeSelectorTerms[{i}].matchExpressions");
        expressions(&path, &term["matchExpressions"], found);
    }
    for (i, term) in items(&affinity[PREFERRED]) {
        let path = format!("{path}.{PREFERRED}[{i}].preference.matchExpressions");
        expressions(&path, &term["preference"]["matchExpressions"], found);
    }
}

/// Items of a list with a value that an earlier one has.
fn repeated(path: impl Fn() -> String, list: &Value, field: &str, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (i, item) in items(list) {
        let value = item[field].as_str().unwrap_or_default();
        if !seen.insert(value) {
            found.push(format!("{}[{i}].{field}: duplicate {field} {value:?}", path()));
        }
    }
}

/// All containers with their list and place in it: those that run first, first.
fn containers(spec: &Value) -> impl Iterator<Item = (&'static str, usize, &Value)> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(move |list| items(&spec[list]).map(move |(i, container)| (list, i, container)))
}

/// Variables that hide earlier ones of their name without building on them.
fn variables(path: impl Fn() -> String, container: &Value, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (i, variable) in items(&container["env"]) {
        let name = variable["name"].as_str().unwrap_or_default();
        if seen.insert(name) {
            continue;
        }
        let (value, own) = (variable["value"].as_str().unwrap_or_default(), format!("$({name})"));
        if !variable["valueFrom"].is_null() || value == own || !value.contains(&own) {
            found.push(format!(
                "{}.env[{i}]: hides previous definition of {name:?}, which may be dropped when using apply",
                path()
            ));
        }
    }
}

/// A port's place, and where on the node it is to be.
type Place<'a> = (String, i64, &'a str);

/// Ports of all containers that are said twice. The prefix ends with a dot.
fn ports(prefix: impl Fn() -> String, spec: &Value, found: &mut Vec<String>) {
    let mut all: BTreeMap<(i64, &str), Vec<Place<'_>>> = BTreeMap::new();
    for (list, at, container) in containers(spec) {
        for (i, port) in items(&container["ports"]) {
            let place = format!("{}{list}[{at}].ports[{i}]", prefix());
            let protocol = port["protocol"].as_str().unwrap_or_default();
            let (host_port, host) =
                (port["hostPort"].as_i64().unwrap_or(0), port["hostIP"].as_str().unwrap_or_default());
            let number = port["containerPort"].as_i64().unwrap_or(0);
            if !host.is_empty() && host_port == 0 {
                let name = port["name"].as_str().unwrap_or_default();
                found.push(format!(
                    "{place}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{number} \
                     Protocol:{protocol} HostIP:{host}}}"
                ));
            }
            let others = all.entry((number, protocol)).or_default();
            for (other, other_port, other_host) in &*others {
                let what = match (host_port == *other_port, host == *other_host) {
                    (true, true) => "duplicate",
                    _ if host_port == 0 || *other_port == 0 => "overlapping",
                    (true, false) if host.is_empty() != other_host.is_empty() => "dangerously ambiguous",
                    _ => continue,
                };
                found.push(format!("{place}: {what} port definition with {other}"));
            }
            others.push((place, host_port, host));
        }
    }
}
