//! What is wrong with a definition, in kube-apiserver's words (apiextensions `validation/validation.go`).

use pal_resources::FieldError;
use serde_json::Value;

/// What is wrong with a definition that is created, or, with the stored one beside it, updated. The object's metadata is
/// judged but for its name's form, which is the business of all kinds.
pub fn validate_definition(crd: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let _ = old;
    super::Definition::compile(crd).err().unwrap_or_default()
}

/// What is wrong with a write of the status subresource.
pub fn validate_definition_status(crd: &Value, old: &Value) -> Vec<FieldError> {
    let _ = (crd, old);
    Vec::new()
}
