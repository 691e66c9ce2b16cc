//! Optional fields, of which Kubernetes takes the empty value for none.

use crate::{FieldError, FieldPath};

use super::kind::Errors;

/// The text, if there is any.
pub(crate) fn text(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

/// The text, empty if there is none.
pub(crate) fn plain(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or("")
}

/// Gives the field its default where it is left out. Reading takes an empty text for that, but for fields that are pointers in
/// Kubernetes: there it stays, and is refused with other values that are not known.
pub(super) fn fill(field: &mut Option<String>, default: &str) {
    field.get_or_insert_with(|| default.to_owned());
}

/// Gives the number its default where it is left out or zero.
pub(super) fn fill_number(field: &mut Option<i32>, default: i32) {
    if field.unwrap_or(0) == 0 {
        *field = Some(default);
    }
}

/// The items of a list that may be left out.
pub(crate) fn items<T>(field: &Option<Vec<T>>) -> &[T] {
    field.as_deref().unwrap_or(&[])
}

/// The items of a list that may be left out, to be changed.
pub(super) fn items_mut<T>(field: &mut Option<Vec<T>>) -> &mut [T] {
    field.as_deref_mut().unwrap_or(&mut [])
}

/// Refuses a negative number.
pub(super) fn non_negative(value: i64, path: impl FnOnce() -> FieldPath, errors: &mut Errors) {
    if value < 0 {
        errors.push(FieldError::invalid(&path(), value, "must be greater than or equal to 0"));
    }
}

/// Refuses a value that is none of those known.
pub(super) fn one_of(value: &str, known: &[&str], path: impl FnOnce() -> FieldPath, errors: &mut Errors) {
    if !known.contains(&value) {
        errors.push(FieldError::not_supported(&path(), value, known));
    }
}

/// Adds one refusal for each fault.
pub(super) fn faults(faults: Vec<String>, value: &str, path: impl FnOnce() -> FieldPath, errors: &mut Errors) {
    if faults.is_empty() {
        return;
    }
    let path = path();
    errors.extend(faults.iter().map(|fault| FieldError::invalid(&path, value, fault)));
}
