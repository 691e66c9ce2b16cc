//! What writers are told of policies that refuse.

use pal_resources::status::StatusCause;
use pal_resources::{Reason, Status};
use serde_json::Value;

use super::bound::Failure;
use crate::admission::Scene;

/// What the writer is told where mutating policies failed.
pub(super) fn refused(scene: &Scene<'_>, object: &Value, failures: Vec<Failure>) -> Result<(), Status> {
    let told = failures.iter().map(|Failure { policy, binding, why, .. }| match binding {
        Some(binding) => format!("policy '{policy}' with binding '{binding}' denied request: {why}"),
        None => format!("policy '{policy}' denied request: {why}"),
    });
    let told: Vec<String> = told.collect();
    let Some(first) = told.first() else { return Ok(()) };
    let mut status = scene.forbidden(object, first);
    status.message.clone_from(first);
    if failures.first().is_some_and(|failure| failure.evaluated) {
        status.reason = Some(Reason::Invalid);
    }
    if let Some(details) = &mut status.details {
        details.causes.extend(told.into_iter().map(|message| StatusCause { message, ..StatusCause::default() }));
    }
    Err(status)
}

/// What the writer is told where a validating policy refuses.
pub(super) fn denied(
    scene: &Scene<'_>,
    name: &str,
    policy: &str,
    binding: Option<&str>,
    why: &str,
    reason: Option<&str>,
) -> Status {
    let message = match binding {
        Some(binding) => {
            format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}")
        }
        None => format!("ValidatingAdmissionPolicy '{policy}' denied request: {why}"),
    };
    let mut status = Status::forbidden(scene.resource, name, &message);
    let (reason, code) = match reason {
        Some("Unauthorized") => (Reason::Unauthorized, 401),
        Some("Forbidden") => (Reason::Forbidden, 403),
        Some("RequestEntityTooLarge") => (Reason::RequestEntityTooLarge, 413),
        _ => (Reason::Invalid, 422),
    };
    (status.reason, status.code) = (Some(reason), code);
    if let Some(details) = &mut status.details {
        details.causes.push(StatusCause { message, ..StatusCause::default() });
    }
    status
}
