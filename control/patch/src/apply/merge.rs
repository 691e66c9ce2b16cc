//! A configuration merged into an object: nothing is removed, and what both have is the configuration's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::element::Element;
use super::shape::{List, Object, Shape};
use super::validate::{Twice, validate};
use super::walk::{Faults, Plan, element, is_bare, items, plan};

/// The object with a configuration merged in that nobody will own: what a policy of admission wants of it. What is owned as a
/// whole may not be in it, or what is left out of that would be lost.
pub fn merge_configuration(live: &Value, config: &Value, shape: Shape<'_>) -> Result<Value, String> {
    validate(config, shape, Twice::Refused)
        .map_err(|faults| format!("failed to convert patch object to typed object: {faults}"))?;
    let mut wholes = Vec::new();
    find_wholes(config, shape, "", &mut wholes);
    if !wholes.is_empty() {
        let why = "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs";
        return Err(format!("{why}: {}", wholes.join(", ")));
    }
    merge(live, config, shape).map_err(|faults| format!("failed to merge patch: {faults}"))
}

/// Where in a value lists and objects stand that are owned as a whole.
fn find_wholes(value: &Value, shape: Shape<'_>, path: &str, found: &mut Vec<String>) {
    match (plan(shape, Some(value)), value) {
        (Plan::Object(object), Value::Object(fields)) => {
            if object.atomic {
                found.push(path.to_owned());
            }
            for (name, value) in fields.iter().filter(|(name, _)| object.declares(name)) {
                find_wholes(value, object.field(name), &format!("{path}.{name}"), found);
            }
        }
        (Plan::List(list), Value::Array(items)) => {
            if list.is_whole() {
                found.push(path.to_owned());
            }
            for (index, item) in items.iter().enumerate() {
                find_wholes(item, list.item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// The object with the configuration merged in.
pub(crate) fn merge(live: &Value, config: &Value, shape: Shape<'_>) -> Result<Value, Faults> {
    Ok(merged(Some(live), Some(config), shape)?.unwrap_or(Value::Null))
}

fn merged(live: Option<&Value>, config: Option<&Value>, shape: Shape<'_>) -> Result<Option<Value>, Faults> {
    if config.is_none() {
        return Ok(live.cloned());
    }
    let bare = is_bare(live) && is_bare(config);
    match plan(shape, config) {
        Plan::Object(object) if !object.atomic && !bare => objects(live, config, &object),
        Plan::List(list) if !list.is_whole() && !bare => lists(live, config, &list),
        _ => Ok(config.cloned()),
    }
}

fn objects(live: Option<&Value>, config: Option<&Value>, object: &Object<'_>) -> Result<Option<Value>, Faults> {
    let (live, config) = (live.and_then(Value::as_object), config.and_then(Value::as_object));
    let mut out = Map::new();
    let mut faults = Faults::default();
    let mut visit =
        |name: &str, live: Option<&Value>, config: Option<&Value>| match merged(live, config, object.field(name)) {
            Ok(Some(value)) => {
                out.insert(name.to_owned(), value);
            }
            Ok(None) => {}
            Err(below) => faults.extend_below(&Element::field(name), below),
        };
    for (name, value) in live.into_iter().flatten() {
        visit(name, Some(value), config.and_then(|fields| fields.get(name)));
    }
    for (name, value) in config.into_iter().flatten() {
        if live.is_none_or(|fields| !fields.contains_key(name)) {
            visit(name, None, Some(value));
        }
    }
    faults.into_result()?;
    Ok((!out.is_empty()).then_some(Value::Object(out)))
}

/// The items of one side: their steps in order, and each item that is there once; `None` for those there twice.
struct Indexed<'a> {
    steps: Vec<Element>,
    items: BTreeMap<Element, Option<&'a Value>>,
}

fn index<'a>(list: &List<'_>, items: &'a [Value], twice: bool) -> Result<Indexed<'a>, Faults> {
    let mut indexed = Indexed { steps: Vec::with_capacity(items.len()), items: BTreeMap::new() };
    let mut faults = Faults::default();
    for (at, item) in items.iter().enumerate() {
        match element(list, at, item) {
            Err(words) => faults.push(format!("element {at}: {words}")),
            Ok(step) if !indexed.items.contains_key(&step) => {
                indexed.items.insert(step.clone(), Some(item));
                indexed.steps.push(step);
            }
            Ok(step) if twice => {
                indexed.items.insert(step.clone(), None);
                indexed.steps.push(step);
            }
            Ok(step) => faults.push(format!("duplicate entries for key {step}")),
        }
    }
    faults.into_result()?;
    Ok(indexed)
}

/// Merges lists by their items' keys. Items come in the configuration's order; those that are the object's alone keep
/// their place among the shared ones.
fn lists(live: Option<&Value>, config: Option<&Value>, list: &List<'_>) -> Result<Option<Value>, Faults> {
    let live_items = items(live);
    let left = index(list, live_items, true)?;
    let right = index(list, items(config), false)?;
    let mut shared = right.steps.iter().filter(|step| left.items.contains_key(step));
    let mut next_shared = shared.next();
    let mut done = BTreeSet::new();
    let mut out = Vec::new();
    let mut faults = Faults::default();
    let mut take = |step: &Element, live: Option<&Value>, config: Option<&Value>| match merged(live, config, list.item)
    {
        Ok(value) => out.extend(value),
        Err(below) => faults.extend_below(step, below),
    };
    let both = |step: &Element| (left.items.get(step).copied().flatten(), right.items.get(step).copied().flatten());
    let (mut at_left, mut at_right) = (0, 0);
    while at_left < left.steps.len() || at_right < right.steps.len() {
        if let (Some(step), Some(wanted)) = (left.steps.get(at_left), right.steps.get(at_right)) {
            if step == wanted {
                done.insert(step);
                let (live, config) = both(step);
                take(step, live, config);
                at_left += 1;
                at_right += 1;
                next_shared = shared.next();
                continue;
            }
            if right.items.contains_key(step) && next_shared.is_some_and(|next| next != step) {
                // Its turn comes in the configuration's order.
                at_left += 1;
                continue;
            }
        }
        if let Some(step) = left.steps.get(at_left) {
            if !right.items.contains_key(step) {
                // By place: an item that is there twice stays as it is.
                take(step, live_items.get(at_left), None);
                at_left += 1;
                continue;
            }
            if done.contains(step) {
                at_left += 1;
            }
        }
        if let Some(step) = right.steps.get(at_right) {
            done.insert(step);
            let (live, config) = both(step);
            take(step, live, config);
            at_right += 1;
            if next_shared == Some(step) {
                next_shared = shared.next();
            }
        }
    }
    faults.into_result()?;
    Ok((!out.is_empty()).then_some(Value::Array(out)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(live: Value, config: Value, expected: Value) {
        let shape = Shape::of_kind("", "v1", "Pod").expect("a kind");
        let found = merge(&live, &config, shape).map_err(|faults| faults.to_string());
        assert_eq!(found, Ok(expected), "{live} {config}");
    }

    #[test]
    fn fields_are_merged_and_wholes_replaced() {
        check(
            json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"nodeSelector": {"a": "b"}}}),
            json!({"metadata": {"labels": {"y": "2"}}, "spec": {"nodeSelector": {"c": "d"}, "tolerations": []}}),
            json!({"metadata": {"name": "a", "labels": {"x": "1", "y": "2"}},
                   "spec": {"nodeSelector": {"c": "d"}, "tolerations": []}}),
        );
        check(json!({}), json!({"metadata": {"labels": null}}), json!({"metadata": {"labels": null}}));
        check(
            json!({"metadata": {"labels": {"a": "b"}}}),
            json!({"metadata": {"labels": null}}),
            json!({"metadata": {"labels": {"a": "b"}}}),
        );
    }

    #[test]
    fn lists_are_merged_by_key_in_the_configurations_order() {
        fn finalizers(live: &str, config: &str, expected: &str) {
            let list = |text: &str| {
                let items: Vec<String> = text.chars().map(String::from).collect();
                json!({"metadata": {"finalizers": items}})
            };
            check(list(live), list(config), list(expected));
        }
        finalizers("abc", "abc", "abc");
        finalizers("abc", "d", "abcd");
        finalizers("abc", "ca", "bca");
        finalizers("abc", "da", "dabc");
        finalizers("ab", "cad", "cabd");
        finalizers("", "ba", "ba");
        finalizers("ab", "ba", "ba");
        finalizers("axb", "ba", "xba");
    }

    #[test]
    fn items_are_merged_with_their_likes() {
        check(
            json!({"spec": {"containers": [{"name": "a", "image": "1", "tty": true}, {"name": "b"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "3"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "3", "tty": true}]}}),
        );
        check(
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1, "protocol": "TCP"}]}]}}),
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "x"}]}]}}),
            json!({"spec": {"containers": [
                {"name": "a", "ports": [{"containerPort": 1, "protocol": "TCP", "name": "x"}]},
            ]}}),
        );
    }

    #[test]
    fn what_is_there_twice_is_kept_unless_it_is_configured() {
        let twice = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "a", "image": "2"}]}});
        let config = |items: Value| json!({"spec": {"containers": items}});
        check(
            twice.clone(),
            config(json!([{"name": "b"}])),
            config(json!([{"name": "a", "image": "1"}, {"name": "a", "image": "2"}, {"name": "b"}])),
        );
        check(twice, config(json!([{"name": "a", "tty": true}])), config(json!([{"name": "a", "tty": true}])));
    }
}
