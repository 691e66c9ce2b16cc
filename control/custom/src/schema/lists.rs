//! Lists that are sets or maps hold nothing twice (apiextensions `schema/listtype`).

use std::collections::HashMap;

use pal_resources::FieldError;
use serde_json::{Map, Value};

use super::node::ListType;
use super::{Node, Path};

/// What stands twice in lists of types `set` and `map`.
pub(crate) fn duplicates(value: &Value, node: &Node, path: &mut Path, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(node) = node.properties.get(name) {
                    path.child(name, |path| duplicates(value, node, path, errors));
                } else if let Some(node) = node.entries() {
                    path.key(name, |path| duplicates(value, node, path, errors));
                }
            }
        }
        Value::Array(list) => {
            match &node.list {
                Some(ListType::Set) => tell(list.iter().map(canonical), path, errors, |index| list[index].clone()),
                Some(ListType::Map(keys)) => map_duplicates(list, keys, path, errors),
                Some(ListType::Atomic) | None => {}
            }
            let Some(node) = &node.items else { return };
            for (index, value) in list.iter().enumerate() {
                path.index(index, |path| duplicates(value, node, path, errors));
            }
        }
        _ => {}
    }
}

fn map_duplicates(list: &[Value], keys: &[String], path: &mut Path, errors: &mut Vec<FieldError>) {
    let odd = list.iter().position(|item| !item.is_object() && !item.is_null());
    if let Some(index) = odd {
        let why = "must be an object for an array of list-type map";
        path.index(index, |path| errors.push(FieldError::invalid(&path.field(), list[index].clone(), why)));
        return;
    }
    let key_of = |item: &Value| {
        let given = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
        // As Go writes maps.
        let mut given: Vec<_> = given.collect();
        given.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Object(given.into_iter().collect::<Map<_, _>>())
    };
    tell(list.iter().map(|item| canonical(&key_of(item))), path, errors, |index| key_of(&list[index]));
}

/// The second appearance of each is told, further ones are not.
fn tell(
    keys: impl Iterator<Item = String>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
    shown: impl Fn(usize) -> Value,
) {
    let mut seen: HashMap<String, u32> = HashMap::new();
    for (index, key) in keys.enumerate() {
        let times = seen.entry(key).or_default();
        *times += 1;
        if *times == 2 && errors.len() < super::check::MAX_ERRORS {
            path.index(index, |path| errors.push(FieldError::duplicate(&path.field(), shown(index))));
        }
    }
}

/// A text that equal values share: objects are written in the order of their names.
pub(crate) fn canonical(value: &Value) -> String {
    value.to_string()
}
