//! PodSecurity: the Pod Security Standards, in the versions that namespaces' labels name (`pod-security-admission`).
//!
//! All of it is evaluated, also what a Wasm sandbox has no use for: a manifest is judged here as it is elsewhere.

mod baseline;
mod checks;
mod restricted;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::{FieldError, FieldPath};

/// How much is allowed, the least first to be refused last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

const LEVELS: &[(&str, Level)] =
    &[("privileged", Level::Privileged), ("baseline", Level::Baseline), ("restricted", Level::Restricted)];

/// A level as a version of Kubernetes defines it; the minor version, `None` for the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    pub level: Level,
    pub minor: Option<u32>,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = LEVELS.iter().find(|(_, level)| *level == self.level).map_or("", |(name, _)| name);
        match self.minor {
            Some(minor) => write!(f, "{name}:v1.{minor}"),
            None => write!(f, "{name}:latest"),
        }
    }
}

const PRIVILEGED: Standard = Standard { level: Level::Privileged, minor: None };

/// What a namespace's labels ask of the pods in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub enforce: Standard,
    pub audit: Standard,
    pub warn: Standard,
}

/// What the labels begin with that say something to this admission.
const PREFIX: &str = "pod-security.kubernetes.io/";

/// Whether a namespace with labels of those keys asks anything of its pods.
pub fn is_asked<'a>(mut keys: impl Iterator<Item = &'a str>) -> bool {
    keys.any(|key| key.starts_with(PREFIX))
}

impl Policy {
    /// Reads labels. What cannot be read is taken for the strictest, and told.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> (Self, Vec<FieldError>) {
        if !is_asked(labels.keys().map(String::as_str)) {
            return (Self { enforce: PRIVILEGED, audit: PRIVILEGED, warn: PRIVILEGED }, Vec::new());
        }
        let mut errors = Vec::new();
        let mut read = |mode: &str| {
            let (level_label, version_label) = (format!("{PREFIX}{mode}"), format!("{PREFIX}{mode}-version"));
            let mut standard = PRIVILEGED;
            let mut given = false;
            let path = |label: &str| FieldPath::new("metadata").child("labels").key(label);
            if let Some(text) = labels.get(&level_label) {
                given = true;
                standard.level = match LEVELS.iter().find(|(name, _)| name == text) {
                    Some((_, level)) => *level,
                    None => {
                        let why = "must be one of privileged, baseline, restricted";
                        errors.push(FieldError::invalid(&path(&level_label), text.as_str(), why));
                        Level::Restricted
                    }
                };
            }
            if let Some(text) = labels.get(&version_label) {
                given = true;
                match version(text) {
                    Some(minor) => standard.minor = minor,
                    None => {
                        let why = "must be \"latest\" or \"v1.x\"";
                        errors.push(FieldError::invalid(&path(&version_label), text.as_str(), why));
                    }
                }
            }
            (standard, given)
        };
        let (enforce, enforced) = read("enforce");
        let (audit, _) = read("audit");
        let (mut warn, warned) = read("warn");
        // Who is going to be refused is warned, if nothing else is said.
        if enforced && !warned && enforce.level > warn.level {
            warn = enforce;
        }
        (Self { enforce, audit, warn }, errors)
    }
}

fn version(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let minor = text.strip_prefix("v1.")?;
    let plain = !minor.is_empty() && minor.bytes().all(|digit| digit.is_ascii_digit());
    (plain && (minor == "0" || !minor.starts_with('0'))).then(|| minor.parse().ok().map(Some)).flatten()
}

/// One thing that a standard does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub reason: String,
    pub detail: String,
}

/// All that a standard does not allow in a pod or a template of one.
pub fn violations(standard: Standard, metadata: &Value, spec: &Value) -> Vec<Violation> {
    let subject = checks::Subject { metadata, spec, minor: standard.minor.unwrap_or(u32::MAX) };
    match standard.level {
        Level::Privileged => Vec::new(),
        Level::Baseline => baseline::violations(&subject, false),
        Level::Restricted => {
            let mut all = baseline::violations(&subject, true);
            all.extend(restricted::violations(&subject));
            all
        }
    }
}

/// What a standard does not allow, in words; `None` if it allows all.
pub fn verdict(standard: Standard, metadata: &Value, spec: &Value) -> Option<String> {
    let parts: Vec<String> = violations(standard, metadata, spec)
        .into_iter()
        .map(|violation| {
            if violation.detail.is_empty() {
                violation.reason
            } else {
                format!("{} ({})", violation.reason, violation.detail)
            }
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Whether a pod's update touches what is judged.
pub fn is_significant(old: &Value, new: &Value) -> bool {
    let images = |pod: &Value| -> Vec<(String, String)> {
        let lists = ["containers", "initContainers", "ephemeralContainers"];
        let all = lists.iter().flat_map(|list| pod["spec"][*list].as_array().cloned().unwrap_or_default());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.map(|container| (text(&container["name"]), text(&container["image"]))).collect()
    };
    images(old) != images(new)
}

/// What is told when a namespace's standard is raised over pods that do not meet it: pods by name with metadata and spec.
pub fn existing<'a>(
    namespace: &str,
    standard: Standard,
    pods: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Vec<String> {
    let mut by_reasons: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for (name, pod) in pods {
        let reasons: Vec<String> = violations(standard, &pod["metadata"], &pod["spec"])
            .into_iter()
            .map(|violation| violation.reason)
            .collect();
        if reasons.is_empty() {
            continue;
        }
        let (first, count) = by_reasons.entry(reasons.join(", ")).or_insert_with(|| (name.to_owned(), 0));
        if name < first.as_str() {
            name.clone_into(first);
        }
        *count += 1;
    }
    if by_reasons.is_empty() {
        return Vec::new();
    }
    let mut lines: Vec<String> = by_reasons
        .into_iter()
        .map(|(reasons, (first, count))| match count {
            1 => format!("{first}: {reasons}"),
            2 => format!("{first} (and 1 other pod): {reasons}"),
            more => format!("{first} (and {} other pods): {reasons}", more - 1),
        })
        .collect();
    lines.sort();
    let head =
        format!("existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{standard}\"");
    std::iter::once(head).chain(lines).collect()
}

#[cfg(test)]
mod tests;
