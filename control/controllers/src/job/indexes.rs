//! Jobs whose pods have numbers, each of which must succeed once.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::INDEX;
use crate::object::annotation;

/// The annotations by which pods hand on how often their index has failed.
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// A set of indexes, written as `1,3-5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(BTreeSet<u32>);

impl Indexes {
    /// Reads what [`fmt::Display`] wrote; only indexes below `completions` count.
    pub(super) fn parse(text: &str, completions: u32) -> Self {
        let mut all = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else { continue };
            all.extend(first..last.saturating_add(1).min(completions));
        }
        Self(all)
    }

    pub(super) fn insert(&mut self, index: u32) {
        self.0.insert(index);
    }

    /// How many are in both sets.
    pub(super) fn common(&self, other: &Self) -> usize {
        self.0.intersection(&other.0).count()
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.0.contains(&index)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.iter().copied().peekable();
        let mut first = true;
        while let Some(start) = all.next() {
            let mut end = start;
            while let Some(next) = all.next_if(|next| *next == end + 1) {
                end = next;
            }
            let comma = if std::mem::take(&mut first) { "" } else { "," };
            match end - start {
                0 => write!(f, "{comma}{start}")?,
                1 => write!(f, "{comma}{start},{end}")?,
                _ => write!(f, "{comma}{start}-{end}")?,
            }
        }
        Ok(())
    }
}

/// The index of a pod.
pub(super) fn of(pod: &Pod) -> Option<u32> {
    annotation(&pod.metadata, INDEX)?.parse().ok()
}

/// How often an index has failed before a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) counted: i32,
    pub(super) ignored: i32,
}

impl Failures {
    pub(super) fn all(self) -> i32 {
        self.counted.saturating_add(self.ignored)
    }

    /// With one failure more.
    pub(super) fn and(self, ignored: bool) -> Self {
        let more = |number: i32, so: bool| number.saturating_add(i32::from(so));
        Self { counted: more(self.counted, !ignored), ignored: more(self.ignored, ignored) }
    }

    /// Writes them to a pod of that index.
    pub(super) fn note(self, body: &mut Value) {
        body["metadata"]["annotations"][FAILURES] = json!(self.counted.to_string());
        if self.ignored > 0 {
            body["metadata"]["annotations"][IGNORED] = json!(self.ignored.to_string());
        }
    }
}

/// How often the index of a pod had failed when the pod was made.
pub(super) fn failures(pod: &Pod) -> Failures {
    let read = |key| annotation(&pod.metadata, key).and_then(|text| text.parse().ok()).unwrap_or(0);
    Failures { counted: read(FAILURES), ignored: read(IGNORED) }
}

/// The pod of that index: named, labelled and told so.
pub(super) fn pod(body: &Value, job: &str, index: u32) -> Value {
    let mut body = body.clone();
    let text = index.to_string();
    body["metadata"]["generateName"] = json!(format!("{job}-{index}-"));
    body["metadata"]["annotations"][INDEX] = json!(text);
    body["metadata"]["labels"][INDEX] = json!(text);
    body["spec"]["hostname"] = json!(format!("{job}-{index}"));
    for list in ["initContainers", "containers"] {
        for container in body["spec"][list].as_array_mut().into_iter().flatten() {
            let known = |env: &Value| env["name"] == "JOB_COMPLETION_INDEX";
            let path = format!("metadata.labels['{INDEX}']");
            let env = json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": { "fieldRef": { "fieldPath": path } } });
            match container["env"].as_array_mut() {
                Some(all) if all.iter().any(known) => {}
                Some(all) => all.push(env),
                None => container["env"] = json!([env]),
            }
        }
    }
    body
}
