//! JSON merge patch.

use serde_json::Value;

use crate::{PatchError, json_type};

/// Applies an RFC 7386 merge patch. API objects are objects, and so are patches of them.
pub fn merge_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        let got = json_type(patch);
        return Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {got} into Go value of type map[string]interface {{}}"
        )));
    }
    let mut patched = target.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
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
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let error = merge_patch(&json!({}), &json!([1])).expect_err("it is a list");
        assert_eq!(error.status().code, 400);
        assert_eq!(error.to_string(), "json: cannot unmarshal array into Go value of type map[string]interface {}");
    }
}
