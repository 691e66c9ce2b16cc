//! Strategic merge patch: a merge patch that knows lists, from the schema's merge keys and directives in the patch
//! (apimachinery `pkg/util/strategicpatch`).

use std::collections::{HashMap, HashSet};

use pal_resources::go::type_of;
use pal_resources::schema::{Field, Many, Message};
use serde_json::{Map, Value};

use crate::order::{Identity, ordered};
use crate::{PatchError, go_text, json_type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList/";
const ORDER_PREFIX: &str = "$setElementOrder/";

/// Applies a strategic merge patch to an object of the message `schema`.
pub fn strategic_merge(target: &Value, patch: &Value, schema: &'static Message) -> Result<Value, PatchError> {
    let nothing = Map::new();
    let patch = match patch {
        Value::Object(patch) => patch,
        Value::Null => &nothing,
        other => {
            let got = json_type(other);
            return Err(PatchError::Malformed(format!(
                "json: cannot unmarshal {got} into Go value of type map[string]interface {{}}"
            )));
        }
    };
    let live = match target {
        Value::Object(live) => live.clone(),
        _ => Map::new(),
    };
    merge_object(live, patch, Some(schema)).map(Value::Object)
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(DELETE_PREFIX) || key.starts_with(ORDER_PREFIX)
}

/// Merges an object. Without a schema (maps, raw JSON) lists in it are replaced.
fn merge_object(
    mut live: Map<String, Value>,
    patch: &Map<String, Value>,
    schema: Option<&'static Message>,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(DIRECTIVE).map(|directive| (directive.as_str(), directive)) {
        None | Some((Some("merge"), _)) => {}
        Some((Some("replace"), _)) => return Ok(without_directives(patch)),
        Some((Some("delete"), _)) => return Ok(Map::new()),
        Some((_, directive)) => return Err(unknown_directive(directive, patch)),
    }
    retain_keys(&mut live, patch)?;
    for (key, order) in patch {
        if let Some(name) = key.strip_prefix(ORDER_PREFIX) {
            set_order(&mut live, patch, name, order, schema)?;
        }
    }
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE_PREFIX) {
            delete_primitives(&mut live, name, value)?;
        } else if !is_directive(key) && !patch.contains_key(&format!("{ORDER_PREFIX}{key}")) {
            merge_field(&mut live, key, value, schema)?;
        }
    }
    Ok(live)
}

fn merge_field(
    live: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    schema: Option<&'static Message>,
) -> Result<(), PatchError> {
    if value.is_null() {
        live.remove(name);
        return Ok(());
    }
    let field = schema.and_then(|message| message.field(name));
    let merged = match (live.get_mut(name).map(Value::take), value) {
        (Some(Value::Object(live)), Value::Object(patch)) if !field.is_some_and(|f| f.replace) => {
            // The items of a plain map have the field's type; they are merged only as objects of a message.
            let inner = field.filter(|f| f.many == Many::One).and_then(Field::message);
            Value::Object(merge_object(live, patch, inner)?)
        }
        (Some(Value::Array(live)), Value::Array(patch)) => Value::Array(merge_list(live, patch, field)?),
        _ if directed(value) => {
            live.remove(name);
            return Ok(());
        }
        _ => clean(value),
    };
    live.insert(name.to_owned(), merged);
    Ok(())
}

fn merge_list(live: Vec<Value>, patch: &[Value], field: Option<&'static Field>) -> Result<Vec<Value>, PatchError> {
    let Some(field) = field.filter(|field| field.merge) else {
        return Ok(patch.to_vec());
    };
    if live.is_empty() && patch.is_empty() {
        return Ok(live);
    }
    if live.iter().chain(patch).any(Value::is_array) {
        return Err(PatchError::Unfit("lists of lists are not supported".to_owned()));
    }
    if !live.iter().chain(patch).any(Value::is_object) {
        let mut seen = HashSet::new();
        let merged = live.iter().chain(patch).filter(|item| seen.insert(*item)).cloned().collect();
        return Ok(ordered(merged, patch, &live, Identity { key: None }));
    }
    let Some(key) = field.merge_key else {
        return Err(PatchError::Unfit(format!("cannot merge lists without merge key for {}", field.name)));
    };
    merge_objects(live, patch, key, field.message())
}

/// Merges lists whose items are known by a key.
fn merge_objects(
    mut live: Vec<Value>,
    patch: &[Value],
    key: &str,
    schema: Option<&'static Message>,
) -> Result<Vec<Value>, PatchError> {
    let identity = Identity { key: Some(key) };
    let mut items = Vec::with_capacity(patch.len());
    let mut deleted = HashSet::new();
    let mut replace = false;
    for item in patch {
        let Value::Object(object) = item else {
            return Err(PatchError::Failed(format!(
                "list element types are not identical: [{} {}]",
                go_list(&live),
                go_list(patch)
            )));
        };
        let directive = object.get(DIRECTIVE);
        match directive.map(|directive| (directive.as_str(), directive)) {
            None => {
                object.get(key).ok_or_else(|| no_merge_key(object, key))?;
                items.push((item, object));
            }
            Some((Some("delete"), _)) => {
                deleted.insert(object.get(key).ok_or_else(|| no_merge_key(object, key))?);
            }
            Some((Some("replace"), _)) => replace = true,
            Some((Some("merge"), _)) => {
                let words = "merging lists cannot yet be specified in the patch";
                return Err(PatchError::Failed(words.to_owned()));
            }
            Some((_, directive)) => return Err(unknown_directive(directive, object)),
        }
    }
    if replace {
        return Ok(items.into_iter().map(|(item, _)| clean(item)).collect());
    }
    live.retain(|item| item.get(key).is_none_or(|id| !deleted.contains(id)));
    let before: Vec<Value> = live.iter().map(|item| identified(item, key)).collect();
    let wanted: Vec<Value> = items.iter().map(|(item, _)| identified(item, key)).collect();
    let places = identity.places(&before);
    // A key that stands twice in the patch is merged twice.
    let mut added = HashMap::new();
    for (item, object) in items {
        let known = places.get(identity, item).or_else(|| added.get(&item[key]).copied());
        match known {
            Some(at) => {
                let previous = match live[at].take() {
                    Value::Object(previous) => previous,
                    _ => Map::new(),
                };
                live[at] = Value::Object(merge_object(previous, object, schema)?);
            }
            None => {
                added.insert(&item[key], live.len());
                live.push(clean(item));
            }
        }
    }
    Ok(ordered(live, &wanted, &before, identity))
}

/// The item's key alone: enough to compare orders.
fn identified(item: &Value, key: &str) -> Value {
    let mut object = Map::new();
    if let Some(value) = item.get(key) {
        object.insert(key.to_owned(), value.clone());
    }
    Value::Object(object)
}

/// `$setElementOrder/NAME`: merges the list of that name, and orders it as told.
fn set_order(
    live: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    name: &str,
    order: &Value,
    schema: Option<&'static Message>,
) -> Result<(), PatchError> {
    let malformed = || PatchError::Malformed("invalid patch format of setElementOrder list".to_owned());
    let order = order
        .as_array()
        .ok_or_else(|| PatchError::Failed(format!("expected a []interface {{}}, but received a {}", type_of(order))))?;
    let field = schema.and_then(|message| message.field(name));
    let key = field.and_then(|field| field.merge_key);
    let identity = Identity { key };
    if order.iter().any(|item| identity.of(item).is_none()) {
        return Err(malformed());
    }
    let before = match live.get(name) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list.clone(),
        Some(_) => return Err(malformed()),
    };
    let merged = match patch.get(name) {
        None => before.clone(),
        Some(Value::Null) => {
            live.remove(name);
            return Ok(());
        }
        Some(Value::Array(list)) => {
            check_order(list, order, identity)?;
            if live.contains_key(name) { merge_list(before.clone(), list, field)? } else { clean_list(list) }
        }
        Some(_) => return Err(malformed()),
    };
    if live.contains_key(name) || patch.contains_key(name) {
        live.insert(name.to_owned(), Value::Array(ordered(merged, order, &before, identity)));
    }
    Ok(())
}

/// All items of the patch's list must stand in the order that it gives.
fn check_order(list: &[Value], order: &[Value], identity: Identity<'_>) -> Result<(), PatchError> {
    let mut rest = order.iter();
    for item in list.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let wanted = identity.of(item);
        if !rest.any(|other| identity.of(other) == wanted) {
            let (list, order) = (Value::Array(list.to_vec()), Value::Array(order.to_vec()));
            return Err(PatchError::Failed(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                go_text(&list),
                go_text(&order)
            )));
        }
    }
    Ok(())
}

/// `$retainKeys`: what is not listed goes.
fn retain_keys(live: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let keys = keys.as_array().ok_or_else(malformed)?;
    let listed = |name: &str| keys.iter().any(|key| key == name);
    if patch.iter().any(|(name, value)| !value.is_null() && !is_directive(name) && !listed(name)) {
        return Err(malformed());
    }
    live.retain(|name, _| listed(name));
    Ok(())
}

/// `$deleteFromPrimitiveList/NAME`: takes the values out of the list.
fn delete_primitives(live: &mut Map<String, Value>, name: &str, values: &Value) -> Result<(), PatchError> {
    let Value::Array(values) = values else {
        return Err(PatchError::Malformed("invalid patch format of primitive list".to_owned()));
    };
    let values: HashSet<&Value> = values.iter().collect();
    if let Some(Value::Array(list)) = live.get_mut(name) {
        list.retain(|item| !values.contains(item));
    }
    Ok(())
}

/// Whether the value says what is to become of what was there.
fn directed(value: &Value) -> bool {
    value.get(DIRECTIVE).is_some()
}

/// The value without directives and nulls: there is nothing that they could change.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, value)| !is_directive(key) && !value.is_null() && !directed(value))
                .map(|(key, value)| (key.clone(), clean(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(clean_list(list)),
        other => other.clone(),
    }
}

fn clean_list(list: &[Value]) -> Vec<Value> {
    list.iter().filter(|item| !directed(item)).map(clean).collect()
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch.iter().filter(|(key, _)| !is_directive(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn unknown_directive(directive: &Value, object: &Map<String, Value>) -> PatchError {
    let object = go_text(&Value::Object(object.clone()));
    PatchError::Failed(format!("unknown patch type: {} in map: {object}", go_text(directive)))
}

fn go_list(items: &[Value]) -> String {
    go_text(&Value::Array(items.to_vec()))
}

fn no_merge_key(object: &Map<String, Value>, key: &str) -> PatchError {
    let object = go_text(&Value::Object(object.clone()));
    PatchError::Failed(format!("map: {object} does not contain declared merge key: {key}"))
}
