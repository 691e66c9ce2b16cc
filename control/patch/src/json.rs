//! JSON patch, as kube-apiserver's library (evanphx/json-patch 4) understands it. It takes more than RFC 6902 does: indexes that
//! count from the end, a value that is not given, a replacement of what is not there.

use std::borrow::Cow;

use serde_json::Value;

use crate::bounds::Bounds;
use crate::{PatchError, json_type};

/// More operations are refused, as by kube-apiserver.
const MAX_OPERATIONS: usize = 10_000;

/// Applies the operations of an RFC 6902 patch in order; none is applied when one fails.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations.as_slice(),
        Value::Null => &[],
        other => return Err(undecodable(other, "value of type []handlers.jsonPatchOp")),
    };
    if let Some(other) = operations.iter().find(|operation| !operation.is_object() && !operation.is_null()) {
        return Err(undecodable(other, "value of type handlers.jsonPatchOp"));
    }
    for operation in operations {
        for field in ["op", "path", "from"] {
            if let Some(other) = operation.get(field).filter(|given| !given.is_string() && !given.is_null()) {
                return Err(undecodable(other, &format!("struct field jsonPatchOp.{field} of type string")));
            }
        }
    }
    if operations.len() > MAX_OPERATIONS {
        let got = operations.len();
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {got}"
        )));
    }
    let mut patched = target.clone();
    let mut bounds = Bounds::new(&patched);
    for operation in operations {
        let step = Step::of(operation);
        bounds.deepen(&step, &patched)?;
        step.apply(&mut patched, &mut bounds)?;
    }
    Ok(patched)
}

fn undecodable(given: &Value, wanted: &str) -> PatchError {
    let got = json_type(given);
    PatchError::Malformed(format!("error decoding patch: json: cannot unmarshal {got} into Go {wanted}"))
}

/// One operation. What is wrong with it is told when its turn comes, as what does not apply.
pub(crate) struct Step<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: Option<&'a str>,
    pub(crate) from: Option<&'a str>,
    value: Option<&'a Value>,
}

impl<'a> Step<'a> {
    fn of(operation: &'a Value) -> Self {
        let text = |field: &str| operation.get(field).and_then(Value::as_str);
        let name = text("op").unwrap_or("unknown");
        Self { name, path: text("path"), from: text("from"), value: operation.get("value") }
    }

    /// No value is null.
    pub(crate) fn value(&self) -> Cow<'a, Value> {
        self.value.map_or(Cow::Owned(Value::Null), Cow::Borrowed)
    }

    fn apply(&self, doc: &mut Value, bounds: &mut Bounds) -> Result<(), PatchError> {
        match self.name {
            "add" => {
                let path = self.path()?;
                let place = Place::find(doc, path).ok_or_else(|| self.astray("path", &format!("{path:?}")))?;
                place.add(self.value().into_owned(), bounds, &format!("error in add for path: '{path}'"))
            }
            "remove" => {
                let path = self.path()?;
                let place = Place::find(doc, path).ok_or_else(|| self.astray("path", &format!("{path:?}")))?;
                place.remove(bounds, &format!("error in remove for path: '{path}'")).map(drop)
            }
            "replace" => self.replace(doc),
            "move" => {
                let from = self.from()?;
                let place = Place::find(doc, from).ok_or_else(|| self.astray("from path", from))?;
                let value = place.remove(bounds, &format!("error in move for path: '{from}'"))?;
                self.put(doc, value, bounds, |path| format!("error in move for path: '{path}'"))
            }
            "copy" => {
                let from = self.from()?;
                let place = Place::find(doc, from).ok_or_else(|| self.astray("from path", from))?;
                let value = place.get(&format!("error in copy for from: '{from}'"))?.cloned().unwrap_or_default();
                bounds.copy(&value)?;
                self.put(doc, value, bounds, |_| "error while adding value during copy".to_owned())
            }
            "test" => self.test(doc),
            other => Err(PatchError::Unfit(format!("Unexpected kind: {other}"))),
        }
    }

    /// Puts what was moved or copied to its new place.
    fn put(
        &self,
        doc: &mut Value,
        value: Value,
        bounds: &mut Bounds,
        told: impl Fn(&str) -> String,
    ) -> Result<(), PatchError> {
        let path = self.path()?;
        let place = Place::find(doc, path).ok_or_else(|| self.astray("destination path", path))?;
        place.add(value, bounds, &told(path))
    }

    fn replace(&self, doc: &mut Value) -> Result<(), PatchError> {
        let (path, value) = (self.path()?, self.value().into_owned());
        if path.is_empty() {
            if !value.is_object() && !value.is_array() {
                return Err(PatchError::Unfit("replace operation value must be object or array".to_owned()));
            }
            *doc = value;
            return Ok(());
        }
        let place = Place::find(doc, path).ok_or_else(|| self.astray("path", path))?;
        match (place.holder, place.key) {
            (Holder::Object(fields), key) => drop(fields.insert(key, value)),
            (Holder::List(items), key) => {
                let found = index(&key, items.len()).ok().and_then(|at| items.get_mut(at));
                *found.ok_or_else(|| self.astray("key", path))? = value;
            }
        }
        Ok(())
    }

    fn test(&self, doc: &mut Value) -> Result<(), PatchError> {
        let path = self.path()?;
        let wanted = self.value();
        let holds = if path.is_empty() {
            *doc == *wanted
        } else {
            let missing =
                || PatchError::Unfit(format!("test operation does not apply: is missing path: {path}: {MISSING}"));
            let place = Place::find(doc, path).ok_or_else(missing)?;
            place.get(&format!("error in test for path: '{path}'"))?.unwrap_or(&Value::Null) == &*wanted
        };
        if holds { Ok(()) } else { Err(PatchError::TestFailed(format!("testing value {path} failed: test failed"))) }
    }

    fn path(&self) -> Result<&'a str, PatchError> {
        self.path.ok_or_else(|| self.unreadable("path"))
    }

    fn from(&self) -> Result<&'a str, PatchError> {
        self.from.ok_or_else(|| self.unreadable("from"))
    }

    fn unreadable(&self, field: &str) -> PatchError {
        PatchError::Unfit(format!("{} operation failed to decode {field}: {MISSING}", self.name))
    }

    fn astray(&self, what: &str, path: &str) -> PatchError {
        PatchError::Unfit(format!("{} operation does not apply: doc is missing {what}: {path}: {MISSING}", self.name))
    }
}

const MISSING: &str = "missing value";

/// What holds other values.
enum Holder<'v> {
    Object(&'v mut serde_json::Map<String, Value>),
    List(&'v mut Vec<Value>),
}

/// Where a path leads: there need be nothing.
struct Place<'v> {
    holder: Holder<'v>,
    key: String,
}

impl<'v> Place<'v> {
    /// What stands before a path's first slash does not matter; without a slash it leads nowhere.
    fn find(doc: &'v mut Value, path: &str) -> Option<Self> {
        let (_, below) = path.split_once('/')?;
        let (above, key) = below.rsplit_once('/').map_or((None, below), |(above, key)| (Some(above), key));
        let mut at = doc;
        for part in above.into_iter().flat_map(|above| above.split('/')) {
            let key = unescaped(part);
            at = match at {
                Value::Object(fields) => fields.get_mut(&key)?,
                Value::Array(items) => {
                    let at = index(&key, items.len()).ok()?;
                    items.get_mut(at)?
                }
                _ => return None,
            };
        }
        let holder = match at {
            Value::Object(fields) => Holder::Object(fields),
            Value::Array(items) => Holder::List(items),
            _ => return None,
        };
        Some(Self { holder, key: unescaped(key) })
    }

    fn get(self, told: &str) -> Result<Option<&'v Value>, PatchError> {
        match self.holder {
            Holder::Object(fields) => Ok(fields.get(&self.key)),
            Holder::List(items) => {
                index(&self.key, items.len()).map(|at| items.get(at)).map_err(|why| wrong(told, &why))
            }
        }
    }

    fn add(self, value: Value, bounds: &mut Bounds, told: &str) -> Result<(), PatchError> {
        match self.holder {
            Holder::Object(fields) => drop(fields.insert(self.key, value)),
            Holder::List(items) if self.key == "-" => items.push(value),
            Holder::List(items) => {
                let at = index(&self.key, items.len() + 1).map_err(|why| wrong(told, &why))?;
                bounds.shift(items.len())?;
                items.insert(at, value);
            }
        }
        Ok(())
    }

    fn remove(self, bounds: &mut Bounds, told: &str) -> Result<Value, PatchError> {
        match self.holder {
            Holder::Object(fields) => fields
                .remove(&self.key)
                .ok_or_else(|| wrong(told, &format!("Unable to remove nonexistent key: {}: {MISSING}", self.key))),
            Holder::List(items) => {
                let at = index(&self.key, items.len()).map_err(|why| wrong(told, &why))?;
                bounds.shift(items.len())?;
                Ok(items.remove(at))
            }
        }
    }
}

fn wrong(told: &str, why: &str) -> PatchError {
    PatchError::Unfit(format!("{told}: {why}"))
}

/// Which of `count` items is meant: those below zero count from the end.
fn index(key: &str, count: usize) -> Result<usize, String> {
    let at: i64 = key.parse().map_err(|_| format!("strconv.Atoi: parsing {key:?}: invalid syntax"))?;
    let beyond = || format!("Unable to access invalid index: {at}: invalid index referenced");
    let back = || count.checked_sub(usize::try_from(at.unsigned_abs()).ok()?);
    let found = if at < 0 { back() } else { usize::try_from(at).ok().filter(|at| *at < count) };
    found.ok_or_else(beyond)
}

/// A tilde before anything but 0 and 1 is itself.
fn unescaped(part: &str) -> String {
    let mut pieces = part.split('~');
    let mut key = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (meant, rest) = match piece.as_bytes().first() {
            Some(b'0') => ('~', &piece[1..]),
            Some(b'1') => ('/', &piece[1..]),
            _ => ('~', piece),
        };
        key.push(meant);
        key.push_str(rest);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_are_applied_in_order() {
        let check = |target: Value, patch: Value, expected: Value| {
            assert_eq!(json_patch(&target, &patch), Ok(expected));
        };
        check(json!({"a": 1}), json!([]), json!({"a": 1}));
        check(json!({"a": 1}), Value::Null, json!({"a": 1}));
        check(
            json!({"spec": {"replicas": 1, "list": [1, 2]}}),
            json!([
                {"op": "test", "path": "/spec/replicas", "value": 1},
                {"op": "replace", "path": "/spec/replicas", "value": 3},
                {"op": "add", "path": "/spec/list/-", "value": 3},
                {"op": "add", "path": "/spec/list/0", "value": 0},
                {"op": "remove", "path": "/spec/list/1"},
                {"op": "copy", "from": "/spec/replicas", "path": "/copied"},
                {"op": "move", "from": "/copied", "path": "/moved"},
            ]),
            json!({"spec": {"replicas": 3, "list": [0, 2, 3]}, "moved": 3}),
        );
        check(json!({}), json!([{"op": "add", "path": "/a"}]), json!({"a": null}));
        let escaped = json!([{"op": "add", "path": "/labels/a~1b~0c", "value": "x"}]);
        check(json!({"labels": {}}), escaped, json!({"labels": {"a/b~c": "x"}}));
    }

    #[test]
    fn more_is_taken_than_the_rfc_has() {
        let check = |operation: Value, expected: Value| {
            let target = json!({"a": [1, 2], "b": null});
            assert_eq!(json_patch(&target, &json!([operation])), Ok(expected), "{operation}");
        };
        check(json!({"op": "add", "path": "/a/-1", "value": 3}), json!({"a": [1, 2, 3], "b": null}));
        check(json!({"op": "add", "path": "/a/-2", "value": 3}), json!({"a": [1, 3, 2], "b": null}));
        check(json!({"op": "replace", "path": "/a/-1", "value": 3}), json!({"a": [1, 3], "b": null}));
        check(json!({"op": "remove", "path": "/a/-2"}), json!({"a": [2], "b": null}));
        check(json!({"op": "add", "path": "x/c", "value": 3}), json!({"a": [1, 2], "b": null, "c": 3}));
        check(json!({"op": "replace", "path": "/c", "value": 3}), json!({"a": [1, 2], "b": null, "c": 3}));
        check(json!({"op": "copy", "from": "/c", "path": "/a"}), json!({"a": null, "b": null}));
        check(json!({"op": "replace", "path": "/a"}), json!({"a": null, "b": null}));
        check(json!({"op": "add", "path": "/c~2d~", "value": 3}), json!({"a": [1, 2], "b": null, "c~2d~": 3}));
        check(json!({"op": "replace", "path": "", "value": {"c": 3}}), json!({"c": 3}));
        let same = json!({"a": [1, 2], "b": null});
        check(json!({"op": "test", "path": "/a/-1", "value": 2}), same.clone());
        check(json!({"op": "test", "path": "/c", "value": null}), same.clone());
        check(json!({"op": "test", "path": "/c"}), same.clone());
        check(json!({"op": "test", "path": "", "value": same}), same.clone());
    }

    #[test]
    fn lists_are_counted_from_their_end_too() {
        let check = |step: Value, expected: Value| {
            let patched = json_patch(&json!({"a": [1, 2, {"b": [3]}]}), &json!([step]));
            assert_eq!(patched.ok(), (!expected.is_null()).then(|| json!({"a": expected})), "{step}");
        };
        check(json!({"op": "remove", "path": "/a/-1"}), json!([1, 2]));
        check(json!({"op": "remove", "path": "/a/-3"}), json!([2, {"b": [3]}]));
        check(json!({"op": "remove", "path": "/a/-4"}), Value::Null);
        check(json!({"op": "replace", "path": "/a/-1/b/-1", "value": 4}), json!([1, 2, {"b": [4]}]));
        check(json!({"op": "add", "path": "/a/-1", "value": 5}), json!([1, 2, {"b": [3]}, 5]));
        check(json!({"op": "add", "path": "/a/-2", "value": 5}), json!([1, 2, 5, {"b": [3]}]));
        check(json!({"op": "move", "from": "/a/-2", "path": "/a/0"}), json!([2, 1, {"b": [3]}]));
    }

    #[test]
    fn what_does_not_apply_is_told() {
        let check = |patch: Value, expected: &str| {
            let error = json_patch(&json!({"a": [1]}), &json!([patch])).expect_err("it does not apply");
            let status = error.status();
            assert_eq!((error.to_string().as_str(), status.code), (expected, 422));
            assert_eq!(status.message, "the server rejected our request due to an error in our request");
        };
        check(json!({"op": "test", "path": "/a", "value": 2}), "testing value /a failed: test failed");
        check(json!({"op": "test", "path": "/b", "value": 2}), "testing value /b failed: test failed");
        check(
            json!({"op": "test", "path": "/b/c", "value": 2}),
            "test operation does not apply: is missing path: /b/c: missing value",
        );
        check(
            json!({"op": "remove", "path": "/b"}),
            "error in remove for path: '/b': Unable to remove nonexistent key: b: missing value",
        );
        let missing = "remove operation does not apply: doc is missing path: \"/b/c\": missing value";
        check(json!({"op": "remove", "path": "/b/c"}), missing);
        let missing = "remove operation does not apply: doc is missing path: \"\": missing value";
        check(json!({"op": "remove", "path": ""}), missing);
        let missing = "replace operation does not apply: doc is missing path: /b/c: missing value";
        check(json!({"op": "replace", "path": "/b/c", "value": 1}), missing);
        let missing = "add operation does not apply: doc is missing path: \"/b/c\": missing value";
        check(json!({"op": "add", "path": "/b/c", "value": 1}), missing);
        let missing = "copy operation does not apply: doc is missing destination path: /b/c: missing value";
        check(json!({"op": "copy", "from": "/a", "path": "/b/c"}), missing);
        check(json!({"op": "nope", "path": "/a"}), "Unexpected kind: nope");
        check(json!({"path": "/a"}), "Unexpected kind: unknown");
        check(Value::Null, "Unexpected kind: unknown");
        check(json!({"op": "add", "value": 1}), "add operation failed to decode path: missing value");
        check(json!({"op": "move", "path": "/a"}), "move operation failed to decode from: missing value");
        check(
            json!({"op": "replace", "path": "/a/5", "value": 1}),
            "replace operation does not apply: doc is missing key: /a/5: missing value",
        );
        check(
            json!({"op": "add", "path": "/a/2", "value": 1}),
            "error in add for path: '/a/2': Unable to access invalid index: 2: invalid index referenced",
        );
        check(
            json!({"op": "remove", "path": "/a/x"}),
            "error in remove for path: '/a/x': strconv.Atoi: parsing \"x\": invalid syntax",
        );
    }

    #[test]
    fn short_patches_do_not_make_huge_or_deep_values() {
        let check = |steps: &[Value], expected: &str| {
            let patch: Vec<Value> = steps.iter().cycle().take(9_000).cloned().collect();
            let error = json_patch(&json!({"a": {}, "b": {}}), &Value::Array(patch)).expect_err("it grows");
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(&[json!({"op": "copy", "from": "/b", "path": "/b/x"})], "exceeded max depth");
        check(
            &[
                json!({"op": "copy", "from": "/b", "path": "/a/x"}),
                json!({"op": "add", "path": "/b/y", "value": "z".repeat(1000)}),
            ],
            "accumulated size increase of copy",
        );
        check(
            &[
                json!({"op": "add", "path": "/b", "value": {}}),
                json!({"op": "move", "from": "/a", "path": "/b/a"}),
                json!({"op": "move", "from": "/b", "path": "/a"}),
            ],
            "exceeded max depth",
        );
    }

    #[test]
    fn patches_that_move_long_lists_about_are_refused() {
        let list = json!({"a": vec![0; 50_000], "b": 1});
        let check = |step: Value, refused: bool| {
            let outcome = json_patch(&list, &Value::Array(vec![step.clone(); 2_000]));
            let found = outcome.as_ref().is_err_and(|error| error.to_string().contains("shift more than"));
            assert_eq!(found, refused, "{step}: {:?}", outcome.err());
        };
        check(json!({"op": "add", "path": "/a/0", "value": 1}), true);
        check(json!({"op": "remove", "path": "/a/0"}), true);
        check(json!({"op": "move", "from": "/a/0", "path": "/a/1"}), true);
        check(json!({"op": "copy", "from": "/b", "path": "/a/0"}), true);
        check(json!({"op": "add", "path": "/a/-", "value": 1}), false);
        check(json!({"op": "replace", "path": "/a/0", "value": 1}), false);
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        let check = |patch: Value, code: u16, expected: &str| {
            let error = json_patch(&json!({}), &patch).expect_err("it is no patch");
            assert_eq!(error.status().code, code);
            assert!(error.to_string().starts_with(expected), "{error}");
        };
        let decoding = "error decoding patch: json: cannot unmarshal";
        check(json!({"a": 1}), 400, &format!("{decoding} object into Go value of type []handlers.jsonPatchOp"));
        check(json!([1]), 400, &format!("{decoding} number into Go value of type handlers.jsonPatchOp"));
        check(
            json!([{"op": "add", "path": 1}]),
            400,
            &format!("{decoding} number into Go struct field jsonPatchOp.path of type string"),
        );
        let operation = json!({"op": "test", "path": "", "value": {}});
        check(Value::Array(vec![operation; 10_001]), 413, "The allowed maximum operations");
    }
}
