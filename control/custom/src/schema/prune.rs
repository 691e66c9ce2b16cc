//! Leaving out what a schema does not know (apiextensions `schema/pruning`).

use serde_json::Value;

use super::{Node, Path, meta};

/// Fields of every object, which no schema needs to name.
pub(crate) const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// How many paths of unknown fields are told.
const MAX_TOLD: usize = 1000;

/// Prunes a whole object and returns the paths of what was left out, sorted.
pub(crate) fn prune_object(object: &mut Value, node: &Node) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_as(object, node, true, &mut Path::default(), &mut unknown);
    unknown.sort_unstable();
    unknown
}

/// Prunes a value that stands under a schema: a default.
pub(crate) fn prune_value(value: &mut Value, node: &Node) {
    prune_as(value, node, node.embedded, &mut Path::default(), &mut Vec::new());
}

fn prune_as(value: &mut Value, node: &Node, resource: bool, path: &mut Path, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let mut gone = Vec::new();
            for (name, value) in map.iter_mut() {
                if resource && META_FIELDS.contains(&name.as_str()) {
                    if name == "metadata" {
                        path.child(name, |path| meta::prune(value, path, unknown));
                    }
                    continue;
                }
                path.child(name, |path| match (node.under(name), &node.additional) {
                    (Some(node), _) => prune_as(value, node, node.embedded, path, unknown),
                    (None, Some(_)) => empty(value, path, unknown),
                    (None, None) if node.preserve => {}
                    (None, None) => {
                        note(path, unknown);
                        gone.push(name.clone());
                    }
                });
            }
            remove(map, &gone);
        }
        Value::Array(list) => match &node.items {
            Some(node) => {
                for (index, value) in list.iter_mut().enumerate() {
                    path.index(index, |path| prune_as(value, node, node.embedded, path, unknown));
                }
            }
            None if node.preserve => {}
            None => empty(value, path, unknown),
        },
        _ => {}
    }
}

/// Takes the fields out of every object in a value that has no schema. Lists in lists may be deep: no recursion here.
fn empty(value: &mut Value, path: &mut Path, unknown: &mut Vec<String>) {
    let mut pending = vec![(path.as_str().to_owned(), value)];
    while let Some((place, value)) = pending.pop() {
        match value {
            Value::Object(map) => {
                for name in map.keys().take(MAX_TOLD.saturating_sub(unknown.len())) {
                    unknown.push(format!("{place}.{name}"));
                }
                map.clear();
            }
            Value::Array(list) => {
                let nested = list.iter_mut().enumerate().filter(|(_, value)| value.is_object() || value.is_array());
                pending.extend(nested.map(|(index, value)| (format!("{place}[{index}]"), value)));
            }
            _ => {}
        }
    }
}

pub(super) fn note(path: &Path, unknown: &mut Vec<String>) {
    if unknown.len() < MAX_TOLD {
        unknown.push(path.as_str().to_owned());
    }
}

/// Removes many fields at once: one by one would take quadratic time.
pub(super) fn remove(map: &mut serde_json::Map<String, Value>, gone: &[String]) {
    if gone.is_empty() {
        return;
    }
    let gone: std::collections::HashSet<&str> = gone.iter().map(String::as_str).collect();
    map.retain(|name, _| !gone.contains(name.as_str()));
}
