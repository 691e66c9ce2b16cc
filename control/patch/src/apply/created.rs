//! The managers of a new object, written straight from it: all of it is its creator's. The same as `track` from nothing,
//! at a fraction of the work, because every object is created once.

use serde_json::Value;

use super::element::{Element, same};
use super::fields_v1::{quoted_key, write_key};
use super::manage::{UNOWNED, Writer};
use super::managers::{Entry, Operation, close_entry, open_entry};
use super::set::FieldSet;
use super::shape::{List, Object, Shape};
use super::update::Rules;
use super::walk::{Plan, element, is_bare, items, plan};

/// The managers of an object that the writer created, as JSON; empty where there is nothing that can be owned. `absent`
/// are fields that the server added, which nobody owns.
pub fn created(rules: &Rules<'_>, object: &Value, absent: &FieldSet, writer: &Writer<'_>) -> String {
    let entry = Entry {
        manager: writer.name().to_owned(),
        operation: Operation::Update,
        api_version: rules.api_version.to_owned(),
        time: Some(writer.now.to_owned()),
        fields: FieldSet::default(),
        subresource: writer.subresource.to_owned(),
    };
    let mut out = String::with_capacity(1024);
    out.push('[');
    open_entry(&mut out, &entry);
    let start = out.len();
    let skipped = Skipped([Some(rules.ignored), Some(absent), Some(&UNOWNED)]);
    let before = Before::There(&NOTHING);
    node(&mut out, object, rules.shape, before, skipped);
    if out.len() - start <= "{}".len() {
        return String::new();
    }
    close_entry(&mut out, &entry.subresource);
    out.push(']');
    out
}

static NOTHING: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(serde_json::Map::new()));

/// What was in a value's place before.
#[derive(Clone, Copy)]
enum Before<'a> {
    /// Nothing: the value is added.
    Nothing,
    /// What is there in every object: an empty struct, or no list.
    There(&'a Value),
}

/// Branches that nobody owns, as seen from some place. In `UNOWNED`, `metadata` is a path of its own and no branch.
#[derive(Clone, Copy)]
struct Skipped<'a>([Option<&'a FieldSet>; 3]);

impl<'a> Skipped<'a> {
    const NONE: Self = Self([None; 3]);

    /// Whether a field itself is nobody's, whatever is owned below it.
    fn has(self, name: &str) -> bool {
        self.0.iter().flatten().any(|set| set.field_node(name).is_some_and(|node| node.member))
    }

    /// As seen from a field; `None` where that is skipped.
    fn below(self, name: &str) -> Option<Self> {
        if self.0.iter().all(Option::is_none) {
            return Some(Self::NONE);
        }
        let mut below = Self::NONE;
        for (at, set) in self.0.iter().enumerate() {
            let Some(node) = set.and_then(|set| set.field_node(name)) else { continue };
            if node.member && node.below.is_empty() {
                return None;
            }
            below.0[at] = Some(&node.below);
        }
        Some(below)
    }
}

/// Writes what is owned at and below a value as an object of FieldsV1. Whether there is anything.
fn node(out: &mut String, value: &Value, shape: Shape<'_>, before: Before<'_>, skipped: Skipped<'_>) -> bool {
    let added = matches!(before, Before::Nothing);
    let bare = is_bare(Some(value));
    match plan(shape, Some(value)) {
        Plan::Object(object) if !object.atomic && !bare => {
            let mut branch = Branch::open(out, added);
            of_object(&mut branch, value, &object, before, skipped);
            branch.close()
        }
        Plan::List(list) if !list.is_whole() && !bare => {
            let mut branch = Branch::open(out, added);
            of_list(&mut branch, value, &list);
            branch.close()
        }
        Plan::Nothing => false,
        _ => {
            out.push_str("{}");
            match before {
                Before::Nothing => true,
                Before::There(old) => !same(old, value),
            }
        }
    }
}

/// An object of FieldsV1 that is being written.
struct Branch<'a> {
    out: &'a mut String,
    start: usize,
    /// The path that it hangs on is owned itself.
    member: bool,
    follows: bool,
}

impl<'a> Branch<'a> {
    fn open(out: &'a mut String, member: bool) -> Self {
        let start = out.len();
        out.push_str(if member { "{\".\":{}" } else { "{" });
        Self { out, start, member, follows: member }
    }

    /// Writes one entry; `write` says whether there is anything in it.
    fn entry(&mut self, key: impl FnOnce(&mut String), write: impl FnOnce(&mut String) -> bool) {
        let before = self.out.len();
        if self.follows {
            self.out.push(',');
        }
        key(self.out);
        self.out.push(':');
        if write(self.out) {
            self.follows = true;
        } else {
            self.out.truncate(before);
        }
    }

    fn close(self) -> bool {
        let only_itself = self.out.len() - self.start == "{\".\":{}".len() && self.member;
        if only_itself {
            self.out.truncate(self.start + 1);
        }
        self.out.push('}');
        self.follows
    }
}

fn of_object(branch: &mut Branch<'_>, value: &Value, object: &Object<'_>, before: Before<'_>, skipped: Skipped<'_>) {
    static EMPTY: Value = Value::Null;
    let Some(fields) = value.as_object() else { return };
    let mut names: Vec<(&str, Option<&Value>)> =
        fields.iter().map(|(name, value)| (name.as_str(), Some(value))).collect();
    if matches!(before, Before::Nothing) {
        names.extend(object.all_implied().filter(|name| !fields.contains_key(*name)).map(|name| (name, None)));
    }
    names.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in names {
        let unowned = skipped.has(name);
        let Some(skipped) = skipped.below(name) else { continue };
        let child = object.child(name);
        let before = match (before, child.implied) {
            (Before::There(_), Some(implied)) => Before::There(implied),
            _ if unowned => Before::There(&NOTHING),
            _ => Before::Nothing,
        };
        let value = value.or(child.implied).unwrap_or(&EMPTY);
        branch.entry(|out| quoted_key(out, name), |out| node(out, value, child.shape, before, skipped));
    }
}

fn of_list(branch: &mut Branch<'_>, value: &Value, list: &List<'_>) {
    let items = items(Some(value));
    let mut steps: Vec<(Element, &Value)> =
        items.iter().enumerate().filter_map(|(at, item)| Some((element(list, at, item).ok()?, item))).collect();
    steps.sort_by(|a, b| a.0.cmp(&b.0));
    for same in steps.chunk_by(|a, b| a.0 == b.0) {
        let (step, item) = &same[0];
        branch.entry(
            |out| write_key(out, step),
            |out| {
                if same.len() > 1 {
                    // What is there twice is owned as one.
                    out.push_str("{}");
                    return true;
                }
                node(out, item, list.item, Before::Nothing, Skipped::NONE)
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apply::custom::Schema;
    use crate::apply::{Managers, track};

    fn check(kind: (&str, &str, &str), object: Value) {
        let (group, version, kind) = kind;
        let shape = Shape::of_kind(group, version, kind).expect("a kind");
        let (ignored, absent) =
            (FieldSet::of_fields(&[&["status"]]), FieldSet::of_fields(&[&["spec", "priority"], &["spec", "x"]]));
        let rules = Rules { api_version: "v1", shape, others: &[], ignored: &ignored };
        let writer = Writer { manager: "m\"", subresource: "", now: "2026-01-01T00:00:00Z" };
        let both = ignored.union(&absent);
        let slowly = track(&Rules { ignored: &both, ..rules }, &json!({}), &object, Managers::default(), &writer);
        assert_eq!(created(&rules, &object, &absent, &writer), slowly.to_json(), "{object}");
    }

    #[test]
    fn nobody_owns_the_metadata_of_a_new_custom_resource() {
        let check = |object: Value, expected: &str| {
            let schema = Schema::of_resource(&json!({"type": "object", "properties": {"spec": {"type": "object"}}}));
            let nothing = FieldSet::default();
            let rules = Rules { api_version: "e/v1", shape: Shape::Custom(&schema), others: &[], ignored: &nothing };
            let writer = Writer { manager: "m", subresource: "", now: "2026-01-01T00:00:00Z" };
            let managers = created(&rules, &object, &nothing, &writer);
            let fields = serde_json::from_str::<Value>(&managers).map(|list| list[0]["fieldsV1"].to_string());
            assert_eq!(fields.unwrap_or_default(), expected, "{object}");
            let slowly = track(&rules, &json!({}), &object, Managers::default(), &writer);
            let slowly = Some(slowly).filter(|slowly| !slowly.is_empty());
            assert_eq!(managers, slowly.map(|slowly| slowly.to_json()).unwrap_or_default(), "{object}");
        };
        check(json!({"kind": "A", "metadata": {"name": "a", "uid": "u"}}), "");
        check(json!({"metadata": {"name": "a"}, "spec": {"x": 1}}), r#"{"f:spec":{".":{},"f:x":{}}}"#);
        check(
            json!({"metadata": {"name": "a", "labels": {"b": "c"}}}),
            r#"{"f:metadata":{"f:labels":{".":{},"f:b":{}}}}"#,
        );
    }

    #[test]
    fn a_new_object_is_owned_as_if_it_had_been_compared_with_nothing() {
        check(("", "v1", "ConfigMap"), json!({}));
        check(("", "v1", "ConfigMap"), json!({"kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}}));
        check(("", "v1", "ConfigMap"), json!({"metadata": {"labels": {}, "annotations": {"b": "1", "a\"": "2"}}}));
        check(("", "v1", "ConfigMap"), json!({"data": {"b": "1", "a": "2"}, "immutable": true}));
        check(
            ("", "v1", "Pod"),
            json!({"metadata": {"finalizers": ["b", "a"], "ownerReferences": [{"uid": "u", "name": "x"}]},
                   "spec": {"priority": 1, "nodeSelector": {"a": "b"}, "tolerations": [{}], "securityContext": {},
                            "containers": [
                                {"name": "b", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}}},
                                {"name": "a", "env": [], "command": ["x"], "securityContext": {"privileged": false}},
                            ],
                            "volumes": [{"name": "v", "emptyDir": {}}]},
                   "status": {"phase": "Pending"}}),
        );
        check(("", "v1", "Pod"), json!({"spec": {"priority": 1, "containers": []}}));
        check(("", "v1", "Pod"), json!({"spec": {"containers": [{"name": "a"}, {"name": "a"}, {"name": "b"}]}}));
        check(
            ("apps", "v1", "Deployment"),
            json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"type": "Recreate"},
                            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a"}]}}}}),
        );
        check(("apps", "v1", "Deployment"), json!({"spec": {"template": {"metadata": {}, "spec": {}}}, "status": {}}));
        check(("", "v1", "Service"), json!({"spec": {"ports": [{"port": 80, "protocol": "UDP"}, {"port": 80}]}}));
    }
}
