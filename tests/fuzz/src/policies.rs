//! Policies of admission, and what they make of objects.

use pal_custom::policy::{Answer, Attributes, Authorize, Case, Change, Policy, Question, matches};
use pal_patch::apply::{Shape, merge_configuration};
use serde_json::{Value, json};

use crate::definitions::raw;
use crate::parts;

/// What a change to a small object may make of it.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Lets nobody do anything.
#[derive(Debug)]
struct Nobody;

impl Authorize for Nobody {
    fn decide(&self, question: &Question) -> Answer {
        Answer { reason: question.verb.clone(), ..Answer::default() }
    }
}

/// An expression, an object, and what is between a policy's other lines: JSON of its `spec`. What compiles can be evaluated,
/// what it comes to can be applied or is refused, and the same comes of it again.
pub(crate) fn policies(input: &[u8]) {
    let [expression, object, spec] = parts(input);
    let Ok(expression) = std::str::from_utf8(expression) else { return };
    let object =
        raw(object).unwrap_or_else(|| json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}}));
    let mut spec = raw(spec).filter(Value::is_object).unwrap_or_else(|| json!({}));
    let _ =
        matches(&spec, &Attributes { resource: "pods", version: "v1", operation: "CREATE", ..Attributes::default() });
    spec["mutations"] = json!([
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}},
    ]);
    spec["auditAnnotations"] = json!([{"key": "k", "valueExpression": expression}]);
    spec["validations"] = json!([{"expression": expression, "messageExpression": expression}]);
    let policy = Policy::compile(&json!({"metadata": {"name": "p"}, "spec": spec}));
    let request = json!({"operation": "CREATE", "userInfo": {"username": "u", "groups": ["g"]}});
    let case = Case {
        object: &object,
        old_object: &Value::Null,
        request: &request,
        namespace: &Value::Null,
        params: &Value::Null,
        authorizer: &Nobody,
    };
    let mut consideration = policy.consider(&case);
    let _ = consideration.applies();
    let _ = (consideration.denials(), consideration.annotations());
    for index in 0..policy.mutations() {
        let change = consideration.change(index);
        assert_eq!(policy.consider(&case).change(index).is_ok(), change.is_ok(), "asked again it is another");
        match change {
            Ok(Some(Change::Apply(config))) => {
                let Some(shape) = Shape::of_kind("", "v1", "Pod") else { continue };
                if let Ok(merged) = merge_configuration(&object, &config, shape) {
                    assert_eq!(merge_configuration(&merged, &config, shape), Ok(merged), "merged twice");
                }
            }
            Ok(Some(Change::Patch(patch))) => {
                if let Ok(patched) = pal_patch::json_patch(&object, &patch) {
                    assert!(patched.to_string().len() <= MOST_BYTES, "a short patch makes a huge object");
                }
            }
            Ok(None) | Err(_) => {}
        }
    }
}
