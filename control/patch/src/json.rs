//! JSON patch.

use json_patch::{Patch, PatchErrorKind, PatchOperation};
use serde_json::Value;

use crate::{PatchError, json_type};

/// More operations are refused, as by kube-apiserver.
const MAX_OPERATIONS: usize = 10_000;

/// Applies the operations of an RFC 6902 patch in order; none is applied when one fails.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        let got = json_type(patch);
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {got} into Go value of type jsonpatch.Patch"
        )));
    };
    if operations.len() > MAX_OPERATIONS {
        let got = operations.len();
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {got}"
        )));
    }
    let patch: Patch = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let mut patched = target.clone();
    // The target is not used after a failure, so there is nothing to undo.
    json_patch::patch_unsafe(&mut patched, &patch)
        .map_err(|error| PatchError::Unfit(words(&patch.0[error.operation], &error.kind)))?;
    Ok(patched)
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
        PatchErrorKind::InvalidPointer => {
            format!("{name} operation does not apply: doc is missing path: {path}: missing value")
        }
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
        let escaped = json!([{"op": "add", "path": "/labels/a~1b~0c", "value": "x"}]);
        check(json!({"labels": {}}), escaped, json!({"labels": {"a/b~c": "x"}}));
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
            "remove operation does not apply: doc is missing path: /b: missing value",
        );
        check(
            json!([{"op": "replace", "path": "/a/5", "value": 1}]),
            "replace operation does not apply: doc is missing path: /a/5: missing value",
        );
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        let check = |patch: Value, code: u16, expected: &str| {
            let error = json_patch(&json!({}), &patch).expect_err("it is no patch");
            assert_eq!(error.status().code, code);
            assert!(error.to_string().starts_with(expected), "{error}");
        };
        check(json!({"a": 1}), 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch");
        check(json!([{"op": "nope", "path": "/a"}]), 400, "error decoding patch: ");
        check(json!([{"op": "add", "path": "a", "value": 1}]), 400, "error decoding patch: ");
        let operation = json!({"op": "test", "path": "", "value": {}});
        check(Value::Array(vec![operation; 10_001]), 413, "The allowed maximum operations");
    }
}
