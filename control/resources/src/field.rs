//! What is wrong with one field, in the words of Kubernetes' `field.Error`
//! (apimachinery `pkg/util/validation/field`).

use std::fmt;

/// The path of a field, as `spec.containers[0].name` or `metadata.labels[a/b]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(String);

impl FieldPath {
    /// A path of one field.
    pub fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    /// The field `name` of this one.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The item `index` of this list.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The value at `key` of this map.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// Why a field was refused; `cause()` is the `reason` of a `StatusCause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    Required,
    Invalid,
    NotSupported,
    Forbidden,
    Duplicate,
    NotFound,
    TooLong,
    TooMany,
    TypeInvalid,
    InternalError,
}

impl FieldErrorKind {
    /// The machine-readable word in `details.causes[].reason`.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::InternalError => "InternalError",
        }
    }
}

/// One refusal: `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub kind: FieldErrorKind,
    pub path: FieldPath,
    /// What follows the path: `Invalid value: -1: must be ...`.
    pub message: String,
}

impl FieldError {
    /// The field must be given.
    pub fn required(path: &FieldPath, detail: &str) -> Self {
        Self::build(FieldErrorKind::Required, path, "Required value", None, detail)
    }

    /// The value is of the right type and wrong. Strings are shown in quotes, as Go's `%q` does.
    pub fn invalid(path: &FieldPath, value: impl Into<serde_json::Value>, detail: &str) -> Self {
        Self::build(FieldErrorKind::Invalid, path, "Invalid value", Some(value.into()), detail)
    }

    /// The value is none of those that are known.
    pub fn not_supported(path: &FieldPath, value: impl Into<serde_json::Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        Self::build(FieldErrorKind::NotSupported, path, "Unsupported value", Some(value.into()), &detail)
    }

    /// The field may not be set here.
    pub fn forbidden(path: &FieldPath, detail: &str) -> Self {
        Self::build(FieldErrorKind::Forbidden, path, "Forbidden", None, detail)
    }

    /// The value must be unique and stands here again.
    pub fn duplicate(path: &FieldPath, value: impl Into<serde_json::Value>) -> Self {
        Self::build(FieldErrorKind::Duplicate, path, "Duplicate value", Some(value.into()), "")
    }

    /// The value names something that is not there.
    pub fn not_found(path: &FieldPath, value: impl Into<serde_json::Value>) -> Self {
        Self::build(FieldErrorKind::NotFound, path, "Not found", Some(value.into()), "")
    }

    /// [`FieldError::not_found`] with what it should have named.
    pub fn not_found_because(path: &FieldPath, value: impl Into<serde_json::Value>, detail: &str) -> Self {
        Self::build(FieldErrorKind::NotFound, path, "Not found", Some(value.into()), detail)
    }

    /// [`FieldError::invalid`] for a value that would say nothing.
    pub fn invalid_unshown(path: &FieldPath, detail: &str) -> Self {
        Self::build(FieldErrorKind::Invalid, path, "Invalid value", None, detail)
    }

    /// The list has `count` items, more than `max`.
    pub fn too_many(path: &FieldPath, count: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} {}", if max == 1 { "item" } else { "items" });
        Self::build(FieldErrorKind::TooMany, path, "Too many", Some(count.into()), &detail)
    }

    /// The value is longer than `max` bytes.
    pub fn too_long(path: &FieldPath, max: usize) -> Self {
        let detail = format!("may not be more than {max} {}", if max == 1 { "byte" } else { "bytes" });
        Self::build(FieldErrorKind::TooLong, path, "Too long", None, &detail)
    }

    fn build(
        kind: FieldErrorKind,
        path: &FieldPath,
        label: &str,
        value: Option<serde_json::Value>,
        detail: &str,
    ) -> Self {
        let mut message = label.to_owned();
        if let Some(value) = value {
            message.push_str(": ");
            message.push_str(&value.to_string());
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self { kind, path: path.clone(), message }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
