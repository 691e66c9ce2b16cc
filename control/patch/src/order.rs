//! In which order the items of a merged list stand: those of the patch as the patch has them, the others in the places
//! that they had, as far as both can be.

use std::collections::HashMap;

use serde_json::Value;

/// How items of a list are told apart: by the value of a key, or by themselves.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) key: Option<&'a str>,
}

impl Identity<'_> {
    /// What the item is known by.
    pub(crate) fn of<'v>(&self, item: &'v Value) -> Option<&'v Value> {
        match self.key {
            Some(key) => item.get(key),
            None => Some(item),
        }
    }

    /// Where each item of the list stands; of equal ones the first.
    pub(crate) fn places<'v>(&self, list: &'v [Value]) -> Places<'v> {
        let mut places = HashMap::with_capacity(list.len());
        for (at, item) in list.iter().enumerate() {
            if let Some(id) = self.of(item) {
                places.entry(id).or_insert(at);
            }
        }
        Places(places)
    }
}

/// The places of a list's items by what they are known by.
pub(crate) struct Places<'v>(HashMap<&'v Value, usize>);

impl Places<'_> {
    pub(crate) fn get(&self, identity: Identity<'_>, item: &Value) -> Option<usize> {
        self.0.get(identity.of(item)?).copied()
    }
}

/// Orders `merged`: `wanted` is the order of the patch's items, `live` the order in which the list was.
pub(crate) fn ordered(merged: Vec<Value>, wanted: &[Value], live: &[Value], identity: Identity<'_>) -> Vec<Value> {
    let (wanted, live) = (identity.places(wanted), identity.places(live));
    let mut of_patch = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let place = live.get(identity, &item);
        match wanted.get(identity, &item) {
            Some(at) => of_patch.push((at, place, item)),
            None => others.push((place, item)),
        }
    }
    of_patch.sort_by_key(|(at, ..)| *at);
    // Items that were not in the list come last.
    others.sort_by_key(|(place, _)| place.unwrap_or(usize::MAX));
    interleaved(others, of_patch)
}

/// Puts each of the others before the first item of the patch that the live list has behind it.
fn interleaved(others: Vec<(Option<usize>, Value)>, of_patch: Vec<(usize, Option<usize>, Value)>) -> Vec<Value> {
    let mut list = Vec::with_capacity(others.len() + of_patch.len());
    let mut others = others.into_iter().peekable();
    for (_, place, item) in of_patch {
        while let Some((other, _)) = others.peek()
            && matches!((other, place), (Some(other), Some(place)) if *other < place)
        {
            list.extend(others.next().map(|(_, other)| other));
        }
        list.push(item);
    }
    list.extend(others.map(|(_, other)| other));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_orders_are_kept() {
        let check = |merged: Value, wanted: Value, live: Value, expected: Value| {
            let list = |value: Value| value.as_array().cloned().unwrap_or_default();
            let found = ordered(list(merged), &list(wanted), &list(live), Identity { key: None });
            assert_eq!(Value::Array(found), expected);
        };
        check(json!([1, 2, 3]), json!([3, 1]), json!([1, 2, 3]), json!([2, 3, 1]));
        check(json!(["a", "b", "n"]), json!(["n"]), json!(["a", "b"]), json!(["n", "a", "b"]));
        check(json!(["a", "b", "n"]), json!(["b", "n"]), json!(["a", "b"]), json!(["a", "b", "n"]));
        check(json!([1, 2]), json!([]), json!([1, 2]), json!([1, 2]));
    }
}
