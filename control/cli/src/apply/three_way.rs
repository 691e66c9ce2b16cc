//! The patch that makes an object as a manifest says: what the manifest sets, and what the one before it set and this one
//! does not. What others set stays (Kubernetes' client-side apply, KEP-555's forerunner).

use pal_resources::schema::{self, Many, Message};
use serde_json::{Map, Value, json};

use crate::api::Resource;

/// How a patch for that resource is to be read: strategic where its schema is built in, else plain merging.
pub fn media_type(resource: &Resource) -> &'static str {
    match schema_of(resource) {
        Some(_) => "application/strategic-merge-patch+json",
        None => "application/merge-patch+json",
    }
}

fn schema_of(resource: &Resource) -> Option<&'static Message> {
    schema::message_for(&resource.group, &resource.version, &resource.kind)
}

/// The patch from `current` to `desired`, where `last` is what was applied before. Empty where there is nothing to do.
pub fn patch(resource: &Resource, last: &Value, desired: &Value, current: &Value) -> Value {
    let schema = schema_of(resource);
    let mut patch = maps(last, desired, current, schema);
    // The identity is in the path; it is part of a patch only when something else is.
    for field in ["apiVersion", "kind"] {
        patch.remove(field);
    }
    Value::Object(patch)
}

fn maps(last: &Value, desired: &Value, current: &Value, schema: Option<&'static Message>) -> Map<String, Value> {
    let mut patch = Map::new();
    let empty = Map::new();
    let object = |value: &Value| value.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (last, wanted) = (object(last), object(desired));
    for (name, value) in &wanted {
        let before = last.get(name).unwrap_or(&Value::Null);
        let field = schema.and_then(|message| message.field(name));
        let message = field.and_then(|field| field.message());
        let there = current.get(name).unwrap_or(&Value::Null);
        match (value, there) {
            (Value::Object(_), Value::Object(_)) => {
                let atomic = field.is_some_and(|field| field.atomic);
                let inner = match field.map(|field| field.many) {
                    Some(Many::Map) => None,
                    _ => message,
                };
                if atomic && value != there {
                    patch.insert(name.clone(), value.clone());
                } else if !atomic {
                    let changes = maps(before, value, there, inner);
                    if !changes.is_empty() {
                        patch.insert(name.clone(), Value::Object(changes));
                    }
                }
            }
            (Value::Array(items), Value::Array(present)) => {
                let key = field.filter(|field| field.merge).and_then(|field| field.merge_key);
                let changes = match (key, field.is_some_and(|field| field.merge)) {
                    (Some(key), _) => keyed_lists(key, before, items, present, message),
                    (None, true) => merged_values(name, before, items, present, &mut patch),
                    (None, false) => (items != present).then(|| value.clone()),
                };
                if let Some(changes) = changes {
                    patch.insert(name.clone(), changes);
                }
            }
            _ if value != there => {
                patch.insert(name.clone(), value.clone());
            }
            _ => {}
        }
    }
    for name in last.keys() {
        if !wanted.contains_key(name) && current.get(name).is_some() {
            patch.insert(name.clone(), Value::Null);
        }
    }
    patch
}

/// Items that are told apart by a key: changed and new ones, and a directive for each that was dropped.
fn keyed_lists(
    key: &str,
    last: &Value,
    desired: &[Value],
    current: &[Value],
    schema: Option<&'static Message>,
) -> Option<Value> {
    let find = |items: &[Value], id: &Value| items.iter().find(|item| &item[key] == id).cloned().unwrap_or(Value::Null);
    let last = last.as_array().cloned().unwrap_or_default();
    let mut changes = Vec::new();
    for item in desired {
        let there = find(current, &item[key]);
        if there.is_null() {
            changes.push(item.clone());
            continue;
        }
        let mut change = maps(&find(&last, &item[key]), item, &there, schema);
        if !change.is_empty() {
            change.insert(key.to_owned(), item[key].clone());
            changes.push(Value::Object(change));
        }
    }
    for item in &last {
        if find(desired, &item[key]).is_null() && !find(current, &item[key]).is_null() {
            changes.push(json!({ key: item[key], "$patch": "delete" }));
        }
    }
    (!changes.is_empty()).then_some(Value::Array(changes))
}

/// Plain values that are merged as a set: new ones are named, dropped ones in a directive beside.
fn merged_values(
    name: &str,
    last: &Value,
    desired: &[Value],
    current: &[Value],
    patch: &mut Map<String, Value>,
) -> Option<Value> {
    let dropped: Vec<Value> = last
        .as_array()
        .into_iter()
        .flatten()
        .filter(|value| !desired.contains(value) && current.contains(value))
        .cloned()
        .collect();
    if !dropped.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{name}"), Value::Array(dropped));
    }
    let new: Vec<Value> = desired.iter().filter(|value| !current.contains(value)).cloned().collect();
    (!new.is_empty()).then_some(Value::Array(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(last: Value, desired: Value, current: Value, expected: Value) {
        let resource = Resource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            plural: "deployments".to_owned(),
            singular: "deployment".to_owned(),
            kind: "Deployment".to_owned(),
            namespaced: true,
            short_names: Vec::new(),
            categories: Vec::new(),
            listable: true,
        };
        assert_eq!(patch(&resource, &last, &desired, &current), expected);
    }

    fn pods(containers: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn only_what_differs_is_sent_and_what_others_set_stays() {
        check(
            Value::Null,
            json!({"spec": {"replicas": 2}}),
            json!({"spec": {"replicas": 2, "paused": true}}),
            json!({}),
        );
        check(
            Value::Null,
            json!({"spec": {"replicas": 3}}),
            json!({"spec": {"replicas": 2, "paused": true}}),
            json!({"spec": {"replicas": 3}}),
        );
    }

    #[test]
    fn what_the_last_manifest_set_and_this_one_does_not_is_removed() {
        check(
            json!({"spec": {"paused": true}, "metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"a": "1"}}}),
            json!({"spec": {"paused": true, "replicas": 1}, "metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}}),
            json!({"metadata": {"labels": {"b": null}}, "spec": null}),
        );
    }

    #[test]
    fn items_with_a_key_are_changed_added_and_dropped_one_by_one() {
        check(
            pods(json!([{"name": "a", "image": "1"}, {"name": "old", "image": "1"}])),
            pods(json!([{"name": "a", "image": "2"}, {"name": "new", "image": "1"}])),
            pods(json!([{"name": "a", "image": "1", "tty": false}, {"name": "old"}, {"name": "injected"}])),
            pods(
                json!([{"image": "2", "name": "a"}, {"name": "new", "image": "1"}, {"name": "old", "$patch": "delete"}]),
            ),
        );
    }

    #[test]
    fn lists_without_a_key_are_sent_whole() {
        check(
            Value::Null,
            pods(json!([{"name": "a", "args": ["x", "y"]}])),
            pods(json!([{"name": "a", "args": ["x"]}])),
            pods(json!([{"args": ["x", "y"], "name": "a"}])),
        );
    }
}
