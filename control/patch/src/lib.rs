//! Patches on values: JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic merge patch. Pure.

pub mod apply;
mod bounds;
mod go;
mod json;
mod merge;
mod order;
mod strategic;

use pal_resources::status::StatusDetails;
use pal_resources::{Reason, Status};

pub use go::go_text;
pub use json::json_patch;
pub use merge::merge_patch;
pub use strategic::strategic_merge;

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is not a patch.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object.
    #[error("{0}")]
    Unfit(String),
    /// What the patch tests is not so.
    #[error("{0}")]
    TestFailed(String),
    /// The patch cannot be applied, and kube-apiserver does not say whose fault that is.
    #[error("{0}")]
    Failed(String),
    /// The patch is too much work.
    #[error("{0}")]
    TooLarge(String),
}

impl PatchError {
    /// The failure as the API tells it.
    pub fn status(&self) -> Status {
        match self {
            Self::Malformed(message) => Status::bad_request(message.clone()),
            // What exactly does not fit is not told, as kube-apiserver does not.
            Self::Unfit(_) | Self::TestFailed(_) => Status {
                details: Some(StatusDetails::default()),
                ..Status::new(422, Reason::Invalid, "the server rejected our request due to an error in our request")
            },
            Self::Failed(message) => Status::unexplained(message.clone()),
            Self::TooLarge(message) => {
                let message = format!("Request entity too large: {message}");
                Status::new(413, Reason::RequestEntityTooLarge, message)
            }
        }
    }
}

/// What a value is, in the words of Go's JSON decoder.
fn json_type(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}
