//! JSON merge patch.

use serde_json::Value;

use crate::{PatchError, json_type};

/// Applies an RFC 7386 merge patch. API objects are objects, and so are patches of them.
pub fn merge_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    match patch {
        Value::Object(_) => {}
        Value::Null => return Err(PatchError::Malformed("Invalid JSON Patch".to_owned())),
        other => {
            let got = json_type(other);
            return Err(PatchError::Malformed(format!(
                "error decoding patch: json: cannot unmarshal {got} into Go value of type map[string]interface {{}}"
            )));
        }
    }
    let mut patched = target.clone();
    merge(&mut patched, patch);
    Ok(patched)
}

fn merge(live: &mut Value, patch: &Value) {
    match (live, patch) {
        (Value::Object(live), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    live.remove(key);
                } else {
                    merge(live.entry(key.as_str()).or_insert(Value::Null), value);
                }
            }
        }
        (live, new) => *live = pruned(new),
    }
}

/// What is new has no fields that are null, in lists neither: so it is with evanphx/json-patch, beyond RFC 7386.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), pruned(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(pruned).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        let check = |target: Value, patch: Value, expected: Value| {
            assert_eq!(merge_patch(&target, &patch), Ok(expected));
        };
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}));
        check(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}));
        check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}));
        check(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}));
        check(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}));
        check(json!({}), json!({"a": [{"b": null, "c": 1}, null]}), json!({"a": [{"c": 1}, null]}));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let check = |patch: Value, expected: &str| {
            let error = merge_patch(&json!({}), &patch).expect_err("it is no object");
            assert_eq!((error.status().code, error.to_string().as_str()), (400, expected));
        };
        let decoding =
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}";
        check(json!([1]), decoding);
        check(Value::Null, "Invalid JSON Patch");
    }
}
