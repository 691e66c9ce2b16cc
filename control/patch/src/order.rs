//! In which order the items of a merged list stand: those of the patch as the patch has them, the others in the places
//! that they had, as far as both can be.

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

    pub(crate) fn position(&self, list: &[Value], item: &Value) -> Option<usize> {
        let wanted = self.of(item)?;
        list.iter().position(|other| self.of(other) == Some(wanted))
    }
}

/// Orders `merged`: `wanted` is the order of the patch's items, `live` the order in which the list was.
pub(crate) fn ordered(merged: Vec<Value>, wanted: &[Value], live: &[Value], identity: Identity<'_>) -> Vec<Value> {
    let mut of_patch = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        match identity.position(wanted, &item) {
            Some(at) => of_patch.push((at, item)),
            None => others.push((identity.position(live, &item), item)),
        }
    }
    of_patch.sort_by_key(|(at, _)| *at);
    // Items that were not in the list come last.
    others.sort_by_key(|(at, _)| at.unwrap_or(usize::MAX));
    interleaved(others, of_patch, live, identity)
}

/// Puts each of the others before the first item of the patch that the live list has behind it.
fn interleaved(
    others: Vec<(Option<usize>, Value)>,
    of_patch: Vec<(usize, Value)>,
    live: &[Value],
    identity: Identity<'_>,
) -> Vec<Value> {
    let mut list = Vec::with_capacity(others.len() + of_patch.len());
    let mut others = others.into_iter().peekable();
    for (_, item) in of_patch {
        let place = identity.position(live, &item);
        while let Some((at, _)) = others.peek()
            && matches!((at, place), (Some(at), Some(place)) if *at < place)
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
