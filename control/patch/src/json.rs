//! JSON patch.

use json_patch::jsonptr::Pointer;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::{Map, Value};

use crate::{PatchError, json_type};

/// More operations are refused, as by kube-apiserver.
const MAX_OPERATIONS: usize = 10_000;

/// What operations there are.
const OPERATIONS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];

/// Applies the operations of an RFC 6902 patch in order; none is applied when one fails.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations.as_slice(),
        Value::Null => &[],
        other => {
            let got = json_type(other);
            return Err(PatchError::Malformed(format!(
                "error decoding patch: json: cannot unmarshal {got} into Go value of type []handlers.jsonPatchOp"
            )));
        }
    };
    if operations.len() > MAX_OPERATIONS {
        let got = operations.len();
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {got}"
        )));
    }
    if let Some(other) = operations.iter().find(|operation| !operation.is_object()) {
        let got = json_type(other);
        return Err(PatchError::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {got} into Go value of type handlers.jsonPatchOp"
        )));
    }
    for operation in operations {
        for field in ["op", "path", "from"] {
            if let Some(other) = operation.get(field).filter(|given| !given.is_string() && !given.is_null()) {
                let got = json_type(other);
                return Err(PatchError::Malformed(format!(
                    "error decoding patch: json: cannot unmarshal {got} into Go struct field jsonPatchOp.{field} of type string"
                )));
            }
        }
    }
    let mut patched = target.clone();
    let mut bounds = Bounds { copied: 0, depth: depth(&patched), looks: 0, shifted: 0 };
    for operation in operations {
        let operation = &decoded(operation, &patched)?;
        if finds_nothing(operation, &patched) {
            continue;
        }
        bounds.check(operation, &patched)?;
        let missing = missing(operation, &patched);
        // The target is not used after a failure, so there is nothing to undo.
        json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation))
            .map_err(|error| missing.map_or_else(|| refusal(operation, &error.kind), PatchError::Unfit))?;
    }
    Ok(patched)
}

/// One operation. Like the library of kube-apiserver (evanphx/json-patch 4) this is looked at when its turn comes, so that
/// what is wrong with it makes the patch one that does not apply.
fn decoded(operation: &Value, value: &Value) -> Result<PatchOperation, PatchError> {
    let text = |field: &str| operation.get(field).and_then(Value::as_str);
    let name = text("op").unwrap_or("unknown");
    if !OPERATIONS.contains(&name) {
        return Err(PatchError::Unfit(format!("Unexpected kind: {name}")));
    }
    let from = matches!(name, "move" | "copy").then_some("from");
    let mut settled = operation.clone();
    for field in from.into_iter().chain(["path"]) {
        let Some(path) = text(field) else {
            return Err(PatchError::Unfit(format!("{name} operation failed to decode {field}: missing value")));
        };
        // What stands before the first slash is not looked at.
        let Some(steps) = path.find('/').map(|at| &path[at..]).or(path.is_empty().then_some("")) else {
            return Err(PatchError::Unfit(no_such_path(name, field, path)));
        };
        let adds = field == "path" && matches!(name, "add" | "move" | "copy");
        settled[field] = counted(steps, value, adds).into();
    }
    if let Some(fields) = settled.as_object_mut() {
        // No value is null.
        fields.entry("value").or_insert(Value::Null);
    }
    serde_json::from_value(settled).map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))
}

/// The path with places that are counted from a list's end, as `-1`, counted from its beginning. Where an item is added, the end
/// is behind the last one.
fn counted(path: &str, value: &Value, adds: bool) -> String {
    let steps: Vec<&str> = path.split('/').skip(1).collect();
    let mut at = Some(value);
    let mut counted = String::new();
    for (index, step) in steps.iter().enumerate() {
        let last = index + 1 == steps.len();
        let from_end = step.strip_prefix('-').and_then(|number| number.parse::<usize>().ok());
        let place = match (at, from_end) {
            (Some(Value::Array(list)), Some(number)) => (list.len() + usize::from(last && adds)).checked_sub(number),
            _ => None,
        };
        let step = place.map_or_else(|| (*step).to_owned(), |place| place.to_string());
        at = at.and_then(|value| value.pointer(&format!("/{step}")));
        counted.push('/');
        counted.push_str(&step);
    }
    counted
}

/// Whether the operation tests that nothing is where nothing is: no field is as good as null.
fn finds_nothing(operation: &PatchOperation, value: &Value) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let Some((above, key)) = test.path.split_back() else { return false };
    let absent = |fields: &Map<String, Value>| !fields.contains_key(&*key.decoded());
    test.value.is_null() && above.resolve(value).ok().and_then(Value::as_object).is_some_and(absent)
}

fn no_such_path(operation: &str, field: &str, path: &str) -> String {
    let what = if field == "from" { "from path" } else { "path" };
    format!("{operation} operation does not apply: doc is missing {what}: {path:?}: missing value")
}

/// What is not there of what the operation takes away or replaces, where all above it is there.
fn missing(operation: &PatchOperation, value: &Value) -> Option<String> {
    let path = operation.path();
    let (above, key) = path.as_str().rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    let Value::Object(fields) = value.pointer(above)? else { return None };
    if fields.contains_key(&key) {
        return None;
    }
    match operation {
        PatchOperation::Remove(_) => {
            Some(format!("error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"))
        }
        PatchOperation::Replace(_) => {
            Some(format!("replace operation does not apply: doc is missing key: {path}: missing value"))
        }
        _ => None,
    }
}

/// How many bytes copies may add: the size of the largest body, as in kube-apiserver.
const MAX_COPIED: usize = 3 << 20;
/// Deeper values are not built, and values half as deep are not built further.
const MAX_DEPTH: usize = 200;
/// Looking takes time in proportion to the value: no patch that means well needs it that often.
const MAX_LOOKS: usize = 100;
/// How many items of lists make room for others, or close up behind them, with all operations together.
const MAX_SHIFTED: usize = 50_000_000;

/// What the operations may grow the value to: a short patch can copy and move it into a huge or very deep one.
struct Bounds {
    copied: usize,
    /// The value is at most that deep.
    depth: usize,
    /// How often all of the value was looked at.
    looks: usize,
    /// How many items were shifted in their lists, at most.
    shifted: usize,
}

impl Bounds {
    fn check(&mut self, operation: &PatchOperation, value: &Value) -> Result<(), PatchError> {
        if let PatchOperation::Copy(copy) = operation {
            self.copied += copy.from.resolve(value).map_or(0, size);
            if self.copied > MAX_COPIED {
                return Err(PatchError::Unfit(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {}, \
                     exceeding the limit {MAX_COPIED}",
                    self.copied
                )));
            }
        }
        self.shifted += shifted(operation, value);
        if self.shifted > MAX_SHIFTED {
            return Err(PatchError::Unfit(format!(
                "Unable to complete the patch, its operations shift more than {MAX_SHIFTED} items of lists"
            )));
        }
        self.depth = depth_after(operation, self.depth);
        if self.depth > MAX_DEPTH {
            // The bound is only a bound; the truth takes a look at all of the value, so not each time.
            self.depth = depth_after(operation, depth(value));
            self.looks += 1;
            if self.depth > MAX_DEPTH / 2 || self.looks > MAX_LOOKS {
                return Err(PatchError::Unfit("exceeded max depth".to_owned()));
            }
        }
        Ok(())
    }
}

/// How many items are behind those that the operation puts into lists or takes out, at most.
fn shifted(operation: &PatchOperation, value: &Value) -> usize {
    let behind = |pointer: &Pointer| match pointer.split_back() {
        Some((list, item)) if item.encoded() != "-" => {
            list.resolve(value).ok().and_then(Value::as_array).map_or(0, Vec::len)
        }
        _ => 0,
    };
    match operation {
        PatchOperation::Add(_) | PatchOperation::Copy(_) | PatchOperation::Remove(_) => behind(operation.path()),
        PatchOperation::Move(step) => behind(operation.path()) + behind(&step.from),
        PatchOperation::Replace(_) | PatchOperation::Test(_) => 0,
    }
}

/// How deep a value of that depth is after the operation, at most.
fn depth_after(operation: &PatchOperation, before: usize) -> usize {
    let below = operation.path().count();
    let moved = |from: usize| below + before.saturating_sub(from);
    let added = match operation {
        PatchOperation::Add(add) => below + depth(&add.value),
        PatchOperation::Replace(replace) => below + depth(&replace.value),
        PatchOperation::Copy(copy) => moved(copy.from.count()),
        PatchOperation::Move(step) => moved(step.from.count()),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
    };
    before.max(added)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// About as many bytes as the value takes in JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(list) => 2 + list.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(key, item)| 4 + key.len() + size(item)).sum::<usize>(),
        Value::String(text) => 2 + text.len(),
        _ => 4,
    }
}

fn refusal(operation: &PatchOperation, kind: &PatchErrorKind) -> PatchError {
    let words = words(operation, kind);
    match kind {
        PatchErrorKind::TestFailed => PatchError::TestFailed(words),
        _ => PatchError::Unfit(words),
    }
}

fn words(operation: &PatchOperation, kind: &PatchErrorKind) -> String {
    let path = operation.path();
    let name = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    match kind {
        PatchErrorKind::TestFailed => format!("testing value {path} failed: test failed"),
        PatchErrorKind::InvalidPointer => no_such_path(name, "path", path.as_str()),
        PatchErrorKind::InvalidFromPointer => {
            format!("{name} operation does not apply: doc is missing from path: missing value")
        }
        other => format!("{name} operation does not apply: {path}: {other}"),
    }
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
        check(json!({"b": {}}), json!([{"op": "test", "path": "/b/a", "value": null}]), json!({"b": {}}));
        check(json!({}), json!([{"op": "add", "path": "ignored/a", "value": 1}]), json!({"a": 1}));
        let escaped = json!([{"op": "add", "path": "/labels/a~1b~0c", "value": "x"}]);
        check(json!({"labels": {}}), escaped, json!({"labels": {"a/b~c": "x"}}));
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
            let error = json_patch(&json!({"a": [1]}), &patch).expect_err("it does not apply");
            assert_eq!((error.to_string().as_str(), error.status().code), (expected, 422));
        };
        check(json!([{"op": "test", "path": "/a", "value": 2}]), "testing value /a failed: test failed");
        check(
            json!([{"op": "remove", "path": "/b"}]),
            "error in remove for path: '/b': Unable to remove nonexistent key: b: missing value",
        );
        let missing = "remove operation does not apply: doc is missing path: \"/b/c\": missing value";
        check(json!([{"op": "remove", "path": "/b/c"}]), missing);
        let missing = "replace operation does not apply: doc is missing key: /b: missing value";
        check(json!([{"op": "replace", "path": "/b", "value": 1}]), missing);
        let missing = "add operation does not apply: doc is missing path: \"/b/c\": missing value";
        check(json!([{"op": "add", "path": "/b/c", "value": 1}]), missing);
        check(json!([{"op": "nope", "path": "/a"}]), "Unexpected kind: nope");
        check(json!([{"path": "/a"}]), "Unexpected kind: unknown");
        check(json!([{"op": "add", "value": 1}]), "add operation failed to decode path: missing value");
        check(json!([{"op": "move", "path": "/a"}]), "move operation failed to decode from: missing value");
        let astray = "add operation does not apply: doc is missing path: \"a\": missing value";
        check(json!([{"op": "add", "path": "a", "value": 1}]), astray);
        check(
            json!([{"op": "replace", "path": "/a/5", "value": 1}]),
            "replace operation does not apply: doc is missing path: \"/a/5\": missing value",
        );
    }

    #[test]
    fn short_patches_do_not_make_huge_or_deep_values() {
        let check = |steps: &[Value], expected: &str| {
            let patch: Vec<Value> = steps.iter().cycle().take(9_000).cloned().collect();
            let error = json_patch(&json!({"a": {}, "b": {}}), &Value::Array(patch)).expect_err("it grows");
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(&[json!({"op": "copy", "from": "", "path": "/b/x"})], "exceeded max depth");
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
