//! What differs between two objects, path by path.

use std::collections::BTreeMap;

use serde_json::Value;

use super::element::{Element, same};
use super::set::{FieldSet, Node};
use super::shape::{List, Object, Shape};
use super::walk::{Plan, element, is_bare, items, plan};

/// What differs between two objects. No path is in more than one set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub added: FieldSet,
    pub removed: FieldSet,
    pub modified: FieldSet,
}

impl Comparison {
    /// Whether the objects are the same.
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    /// The comparison without those branches.
    pub(crate) fn without(self, branches: &FieldSet) -> Self {
        if branches.is_empty() || self.is_same() {
            return self;
        }
        Self {
            added: self.added.without_branches(branches),
            removed: self.removed.without_branches(branches),
            modified: self.modified.without_branches(branches),
        }
    }
}

/// What becomes of `old` in `new`.
pub(crate) fn compare(old: &Value, new: &Value, shape: Shape<'_>) -> Comparison {
    let delta = difference(Some(old), Some(new), shape);
    Comparison { added: delta.added.below, removed: delta.removed.below, modified: delta.modified.below }
}

/// A comparison at and below one path.
#[derive(Default)]
struct Delta {
    added: Node,
    removed: Node,
    modified: Node,
}

impl Delta {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    fn put(&mut self, element: Element, below: Self) {
        let Self { added, removed, modified } = below;
        if !added.is_empty() {
            self.added.below.put(element.clone(), added);
        }
        if !removed.is_empty() {
            self.removed.below.put(element.clone(), removed);
        }
        self.modified.below.put(element, modified);
    }

    /// Orders what was put in.
    fn settle(&mut self) {
        for side in [&mut self.added, &mut self.removed, &mut self.modified] {
            side.below.settle();
        }
    }

    /// Both sides as one, as for an object and a list in the same place.
    fn join(self, other: Self) -> Self {
        let join = |a: Node, b: Node| Node { member: a.member || b.member, below: a.below.union(&b.below) };
        Self {
            added: join(self.added, other.added),
            removed: join(self.removed, other.removed),
            modified: join(self.modified, other.modified),
        }
    }
}

fn difference(old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) -> Delta {
    let (left, right) = (plan(shape, old), plan(shape, new));
    match (old, new) {
        (None, None) => Delta::default(),
        (_, None) => by_plan(old, new, left),
        (None, _) => by_plan(old, new, right),
        _ if left.is_like(&right) => by_plan(old, new, right),
        _ => by_plan(old, new, left).join(by_plan(old, new, right)),
    }
}

fn by_plan(old: Option<&Value>, new: Option<&Value>, plan: Plan<'_>) -> Delta {
    let bare = is_bare(old) && is_bare(new);
    let mut delta = match plan {
        Plan::Object(object) if !object.atomic && !bare => of_objects(old, new, &object),
        Plan::List(list) if !list.is_whole() && !bare => of_lists(old, new, &list),
        Plan::Nothing => return Delta::default(),
        _ => return leaf(old, new),
    };
    delta.added.member = old.is_none();
    delta.removed.member = new.is_none();
    delta
}

/// What is owned as a whole.
fn leaf(old: Option<&Value>, new: Option<&Value>) -> Delta {
    let mut delta = Delta::default();
    match (old, new) {
        (None, _) => delta.added.member = true,
        (_, None) => delta.removed.member = true,
        (Some(old), Some(new)) => delta.modified.member = !same(old, new),
    }
    delta
}

fn of_objects(old: Option<&Value>, new: Option<&Value>, object: &Object<'_>) -> Delta {
    let (left, right) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let mut delta = Delta::default();
    let mut visit = |name: &str, old: Option<&Value>, new: Option<&Value>| {
        // A struct that Go holds by value is there wherever its owner is.
        let child = object.child(name);
        let old = old.or(child.implied.filter(|_| left.is_some()));
        let new = new.or(child.implied.filter(|_| right.is_some()));
        let below = difference(old, new, child.shape);
        if !below.is_empty() {
            delta.put(Element::field(name), below);
        }
    };
    for (name, old) in left.into_iter().flatten() {
        visit(name, Some(old), right.and_then(|fields| fields.get(name)));
    }
    for (name, new) in right.into_iter().flatten() {
        if left.is_none_or(|fields| !fields.contains_key(name)) {
            visit(name, None, Some(new));
        }
    }
    if left.is_none() || right.is_none() {
        let written = left.or(right);
        for name in object.all_implied() {
            if written.is_some_and(|fields| !fields.contains_key(name)) {
                visit(name, None, None);
            }
        }
    }
    delta.settle();
    delta
}

fn of_lists(old: Option<&Value>, new: Option<&Value>, list: &List<'_>) -> Delta {
    let mut delta = Delta::default();
    let (left, right) = (items(old), items(new));
    if left == right {
        return delta;
    }
    let mut all: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (at, item) in left.iter().enumerate() {
        if let Ok(step) = element(list, at, item) {
            all.entry(step).or_default().0.push(item);
        }
    }
    for (at, item) in right.iter().enumerate() {
        if let Ok(step) = element(list, at, item) {
            all.entry(step).or_default().1.push(item);
        }
    }
    for (step, (old, new)) in all {
        let below = match (&*old, &*new) {
            ([] | [_], [] | [_]) => difference(old.first().copied(), new.first().copied(), list.item),
            // What is there twice is compared, and owned, as one.
            ([_, _, ..], [_, _, ..]) => {
                let equal = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| same(old, new));
                Delta { modified: Node { member: !equal, ..Node::default() }, ..Delta::default() }
            }
            ([_, _, ..], new) => {
                let mut below = new.first().map_or_else(Delta::default, |new| difference(None, Some(new), list.item));
                below.removed.member = true;
                below
            }
            (old, _) => {
                let mut below = old.first().map_or_else(Delta::default, |old| difference(Some(old), None, list.item));
                below.added.member = true;
                below
            }
        };
        if !below.is_empty() {
            delta.put(step, below);
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(old: Value, new: Value, added: Value, removed: Value, modified: Value) {
        let shape = Shape::of_kind("apps", "v1", "Deployment").expect("a kind");
        let found = compare(&old, &new, shape);
        for (set, expected) in [(&found.added, added), (&found.removed, removed), (&found.modified, modified)] {
            let set: Value = serde_json::from_str(&set.to_json()).expect("JSON");
            assert_eq!(set, expected, "{old} {new}");
        }
    }

    #[test]
    fn fields_are_added_removed_and_modified() {
        check(
            json!({"metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}}),
            json!({"metadata": {"labels": {"a": "1", "b": "3", "d": "4"}}}),
            json!({"f:metadata": {"f:labels": {"f:d": {}}}}),
            json!({"f:metadata": {"f:labels": {"f:c": {}}}}),
            json!({"f:metadata": {"f:labels": {"f:b": {}}}}),
        );
        check(
            json!({"metadata": {}}),
            json!({"metadata": {"labels": {"a": "1"}, "annotations": {}}}),
            json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:annotations": {}}}),
            json!({}),
            json!({}),
        );
        check(
            json!({"metadata": {"labels": {"a": "1"}}}),
            json!({}),
            json!({}),
            json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}),
            json!({}),
        );
        check(json!({"spec": {"replicas": 1}}), json!({"spec": {"replicas": 1.0}}), json!({}), json!({}), json!({}));
    }

    #[test]
    fn what_is_owned_as_a_whole_is_modified_as_a_whole() {
        check(
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
            json!({"spec": {"selector": {"matchLabels": {"a": "c", "d": "e"}}}}),
            json!({}),
            json!({}),
            json!({"f:spec": {"f:selector": {}}}),
        );
    }

    #[test]
    fn items_are_told_apart_by_their_keys_and_not_by_their_place() {
        let containers = |items: Value| json!({"spec": {"template": {"spec": {"containers": items}}}});
        let in_containers = |set: Value| json!({"f:spec": {"f:template": {"f:spec": {"f:containers": set}}}});
        check(
            containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
            containers(json!([{"name": "c"}, {"name": "b", "image": "2"}])),
            in_containers(json!({"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:resources": {}}})),
            in_containers(json!({"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}})),
            in_containers(json!({"k:{\"name\":\"b\"}": {"f:image": {}}})),
        );
        let a = json!({"name": "a"});
        let b = json!({"name": "b"});
        check(containers(json!([a, b])), containers(json!([b, a])), json!({}), json!({}), json!({}));
    }

    #[test]
    fn structs_that_are_always_there_are_added_by_nobody() {
        check(
            json!({}),
            json!({"spec": {"strategy": {"type": "Recreate"}, "template": {"spec": {"containers": [{"name": "a"}]}}}}),
            json!({"f:spec": {"f:strategy": {"f:type": {}}, "f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:resources": {}},
            }}}}}),
            json!({}),
            json!({}),
        );
    }

    #[test]
    fn items_that_are_there_twice_are_compared_as_one() {
        let containers = |items: Value| json!({"spec": {"template": {"spec": {"containers": items}}}});
        let in_containers = |set: Value| json!({"f:spec": {"f:template": {"f:spec": {"f:containers": set}}}});
        let twice = json!([{"name": "a", "image": "1"}, {"name": "a", "image": "2"}]);
        let other = json!([{"name": "a", "image": "1"}, {"name": "a", "image": "3"}]);
        let key = "k:{\"name\":\"a\"}";
        check(containers(twice.clone()), containers(other), json!({}), json!({}), in_containers(json!({key: {}})));
        check(
            containers(twice.clone()),
            containers(json!([{"name": "a"}])),
            in_containers(json!({key: {".": {}, "f:name": {}, "f:resources": {}}})),
            in_containers(json!({key: {}})),
            json!({}),
        );
        check(
            containers(json!([{"name": "a"}])),
            containers(twice),
            in_containers(json!({key: {}})),
            in_containers(json!({key: {".": {}, "f:name": {}, "f:resources": {}}})),
            json!({}),
        );
    }
}
