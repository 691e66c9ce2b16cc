//! Filling in defaults (apiextensions `schema/defaulting`).

use serde_json::Value;

use super::Node;
use super::prune::remove;

/// Gives every field that is missing its default, and every null that may not be one its default or takes it out.
pub(crate) fn fill(value: &mut Value, node: &Node) {
    match value {
        Value::Object(map) => {
            for (name, node) in &node.properties {
                let Some(default) = &node.default else { continue };
                match map.get_mut(name) {
                    None => drop(map.insert(name.clone(), default.clone())),
                    Some(value) if value.is_null() && !node.nullable => *value = default.clone(),
                    Some(_) => {}
                }
            }
            let mut gone = Vec::new();
            for (name, value) in map.iter_mut() {
                let Some(node) = node.under(name) else { continue };
                if value.is_null() && !node.nullable {
                    match &node.default {
                        Some(default) => *value = default.clone(),
                        None => gone.push(name.clone()),
                    }
                }
                fill(value, node);
            }
            remove(map, &gone);
        }
        Value::Array(list) => {
            let Some(node) = &node.items else { return };
            for value in list {
                if let (true, false, Some(default)) = (value.is_null(), node.nullable, &node.default) {
                    *value = default.clone();
                }
                fill(value, node);
            }
        }
        _ => {}
    }
}
