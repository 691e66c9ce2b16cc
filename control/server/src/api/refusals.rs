//! What kube-apiserver says to requests that no object is to blame for.

use pal_resources::status::{Reason, Status, StatusDetails};

pub(super) fn method_not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource";
    let mut status = Status::new(405, Reason::MethodNotAllowed, message);
    status.details = Some(StatusDetails::default());
    status
}

pub(super) fn unsupported_media(accepted: &str) -> Status {
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::new(415, Reason::UnsupportedMediaType, message)
}

pub(super) fn timed_out() -> Status {
    let mut status = Status::new(
        504,
        Reason::Timeout,
        "Timeout: request did not complete within requested timeout - context deadline exceeded",
    );
    status.details = Some(StatusDetails::default());
    status
}
