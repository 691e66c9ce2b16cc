//! Patches on values: JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic merge patch. Pure.

mod json;
mod merge;
mod strategic;

use pal_resources::{Reason, Status};

pub use json::json_patch;
pub use merge::merge_patch;
pub use strategic::strategic_merge;

/// Why a patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is not a patch: 400.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object: 422.
    #[error("{0}")]
    Unfit(String),
}

impl PatchError {
    /// The failure as the API tells it.
    pub fn status(&self) -> Status {
        match self {
            Self::Malformed(message) => Status::bad_request(message.clone()),
            Self::Unfit(message) => Status::new(422, Reason::Invalid, message.clone()),
        }
    }
}
