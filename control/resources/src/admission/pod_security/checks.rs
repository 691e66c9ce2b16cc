//! What the checks of both levels share: whom they look at, and how they tell of it.

use serde_json::Value;

use super::Violation;

/// What is judged, and by which minor version.
pub(super) struct Subject<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
    pub minor: u32,
}

const LISTS: &[&str] = &["initContainers", "containers", "ephemeralContainers"];

impl<'a> Subject<'a> {
    /// All containers, in the order in which they are told.
    pub fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        LISTS.iter().flat_map(move |list| spec[*list].as_array().into_iter().flatten())
    }

    /// The names of the containers that are meant.
    pub fn named(&self, bad: impl Fn(&Value) -> bool) -> Vec<String> {
        self.containers().filter(|container| bad(container)).map(name).collect()
    }

    /// The pod's own security context.
    pub fn context(&self) -> &'a Value {
        &self.spec["securityContext"]
    }

    /// Whether users in the pod are not users of the machine.
    pub fn has_own_users(&self) -> bool {
        self.minor >= 35 && self.spec["hostUsers"] == false
    }

    pub fn is_windows(&self) -> bool {
        self.minor >= 25 && self.spec["os"]["name"] == "windows"
    }
}

pub(super) fn name(container: &Value) -> String {
    container["name"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn violation(reason: &str, detail: String) -> Violation {
    Violation { reason: reason.to_owned(), detail }
}

/// `one` for one, else `many`.
pub(super) fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`
pub(super) fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect();
    names.join(", ")
}

/// `container "a"`, `containers "a", "b"`
pub(super) fn containers(names: &[String]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// Who set something: the pod, containers, or both.
pub(super) fn setters(pod: bool, names: &[String]) -> Option<String> {
    let parts = [pod.then(|| "pod".to_owned()), (!names.is_empty()).then(|| containers(names))];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}
