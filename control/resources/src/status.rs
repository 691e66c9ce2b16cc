//! `Status`, the answer of the API to what went wrong: kube-apiserver's words, codes and field order
//! (apimachinery `pkg/api/errors`).

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::field::FieldError;
use crate::resource::Resource;

/// The machine-readable word for what went wrong; kubectl prints it as `Error from server (REASON)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    ServiceUnavailable,
}

/// One of the things that are wrong, with the path of its field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCause {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What a `Status` is about. Fields are in the order in which kube-apiserver writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDetails {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The plural of the resource, or the kind where the object was invalid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// Where a list that ended goes on. Told in the metadata of the body.
    #[serde(skip)]
    pub continue_token: Option<String>,
}

/// A failure as clients see it. `code` is also the HTTP status code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: u16,
    pub reason: Option<Reason>,
    pub message: String,
    pub details: Option<StatusDetails>,
}

/// A `Status` as it is written, in kube-apiserver's order.
#[derive(Serialize)]
struct Body<'a> {
    kind: &'a str,
    #[serde(rename = "apiVersion")]
    api_version: &'a str,
    metadata: Metadata<'a>,
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a StatusDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

#[derive(Default, Serialize)]
struct Metadata<'a> {
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    continue_token: Option<&'a str>,
}

impl<'a> Body<'a> {
    fn new(status: &'a str) -> Self {
        let metadata = Metadata::default();
        Self {
            kind: "Status",
            api_version: "v1",
            metadata,
            status,
            message: "",
            reason: None,
            details: None,
            code: None,
        }
    }

    fn to_json(&self) -> Vec<u8> {
        // A struct of strings and numbers has no way to fail.
        escaped(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// JSON with what HTML would read written by its number, as Go writes it. Such characters are nowhere but in texts.
fn escaped(json: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(json.len());
    for part in json.split_inclusive(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        let last = part.chars().next_back().filter(|last| "<>&\u{2028}\u{2029}".contains(*last));
        let plain = last.map_or(part, |last| &part[..part.len() - last.len_utf8()]);
        bytes.extend_from_slice(plain.as_bytes());
        if let Some(last) = last {
            bytes.extend_from_slice(format!("\\u{:04x}", u32::from(last)).as_bytes());
        }
    }
    bytes
}

impl std::error::Error for Status {}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Status {
    /// The body: compact JSON, without the trailing newline.
    pub fn to_json(&self) -> Vec<u8> {
        let continue_token = self.details.as_ref().and_then(|details| details.continue_token.as_deref());
        let body = Body {
            metadata: Metadata { continue_token },
            message: &self.message,
            reason: self.reason,
            // One that only says where to go on tells nothing else.
            details: self.details.as_ref().filter(|details| details.continue_token.is_none()),
            code: Some(self.code),
            ..Body::new("Failure")
        };
        body.to_json()
    }

    /// The body of a success that has no object to show: compact JSON, without the trailing newline. Only some have a code.
    pub fn success(details: Option<&StatusDetails>, code: Option<u16>) -> Vec<u8> {
        Body { details, code, ..Body::new("Success") }.to_json()
    }

    /// A failure about nothing in particular.
    pub fn new(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self { code, reason: Some(reason), message: message.into(), details: None }
    }

    fn about(code: u16, reason: Reason, resource: &Resource, name: &str, message: String) -> Self {
        let details = StatusDetails {
            name: name.to_owned(),
            group: resource.group.to_string(),
            kind: resource.plural.to_string(),
            ..StatusDetails::default()
        };
        Self { code, reason: Some(reason), message, details: Some(details) }
    }

    /// `pods "x" not found`
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::about(404, Reason::NotFound, resource, name, message)
    }

    /// The path names nothing that is served.
    pub fn unknown_path() -> Self {
        let mut status = Self::new(404, Reason::NotFound, "the server could not find the requested resource");
        status.details = Some(StatusDetails::default());
        status
    }

    /// `pods "x" already exists`
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::about(409, Reason::AlreadyExists, resource, name, message)
    }

    /// `Operation cannot be fulfilled on pods "x": ...`
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::about(409, Reason::Conflict, resource, name, message)
    }

    /// Whether a patch was refused because the object is not the one that it is meant for, but another of its name.
    pub fn is_for_another(&self) -> bool {
        let causes = self.details.iter().flat_map(|details| &details.causes);
        self.code == 422 && causes.into_iter().any(|cause| cause.field == "metadata.uid")
    }

    /// The write is meant for an object of that name with the uid `wanted`, and the stored one has another; empty where
    /// there is none. In the words of Kubernetes' storage.
    pub fn other_uid(resource: &Resource, place: (&str, &str), wanted: &str, found: &str) -> Self {
        Self::unmet(resource, place, "UID", wanted, found)
    }

    /// The write names a version that is not the stored one.
    pub fn other_version(resource: &Resource, place: (&str, &str), wanted: &str, found: &str) -> Self {
        Self::unmet(resource, place, "ResourceVersion", wanted, found)
    }

    fn unmet(resource: &Resource, (namespace, name): (&str, &str), what: &str, wanted: &str, found: &str) -> Self {
        let place = match (&*resource.group, &*resource.plural) {
            ("", "services") => "services/specs".to_owned(),
            ("", "endpoints") => "services/endpoints".to_owned(),
            ("", "nodes") => "minions".to_owned(),
            ("", "replicationcontrollers") => "controllers".to_owned(),
            ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
            (group @ ("apiextensions.k8s.io" | "apiregistration.k8s.io"), plural) => format!("{group}/{plural}"),
            (group, plural) if resource.custom.is_some() => format!("{group}/{plural}"),
            (_, plural) => plural.to_owned(),
        };
        let within = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{place}/{within}{name}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
        );
        Self::conflict(resource, name, &why)
    }

    /// The write was made against an older version than the stored one.
    pub fn stale(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// `pods "x" is forbidden: ...`
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", resource.qualified())
        } else {
            format!("{} {name:?} is forbidden: {why}", resource.qualified())
        };
        Self::about(403, Reason::Forbidden, resource, name, message)
    }

    /// `Pod "x" is invalid: spec.containers: Required value`, several errors in brackets.
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let qualified_kind = if resource.group.is_empty() {
            resource.kind.to_string()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        // The same is said once, however often it is a cause.
        let mut told = HashSet::new();
        let texts: Vec<String> =
            errors.iter().map(ToString::to_string).filter(|text| told.insert(text.clone())).collect();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes = errors
            .iter()
            .map(|error| StatusCause {
                reason: error.kind.cause().to_owned(),
                message: error.message.clone(),
                field: error.path.to_string(),
            })
            .collect();
        Self {
            code: 422,
            reason: Some(Reason::Invalid),
            message: format!("{qualified_kind} {name:?} is invalid: {text}"),
            details: Some(StatusDetails {
                name: name.to_owned(),
                group: resource.group.to_string(),
                kind: resource.kind.to_string(),
                causes,
                ..StatusDetails::default()
            }),
        }
    }

    /// The request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, Reason::BadRequest, message)
    }

    /// No credentials, or none that are known.
    pub fn unauthorized() -> Self {
        Self::new(401, Reason::Unauthorized, "Unauthorized")
    }

    /// The revision asked for is behind the history that is kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Expired, message)
    }

    /// Something failed that is not the client's doing.
    pub fn internal(message: impl fmt::Display) -> Self {
        let cause = StatusCause { reason: String::new(), message: message.to_string(), field: String::new() };
        let mut status = Self::new(500, Reason::InternalError, format!("Internal error occurred: {message}"));
        status.details = Some(StatusDetails { causes: vec![cause], ..StatusDetails::default() });
        status
    }

    /// A failure of which kube-apiserver tells only the words.
    pub fn unexplained(message: impl Into<String>) -> Self {
        Self { code: 500, reason: None, message: message.into(), details: None }
    }

    /// The server cannot answer now and may soon.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, Reason::ServiceUnavailable, message)
    }

    /// Too many requests at once: come again after so many seconds, or, for none, nobody knows when; clients that ask again by
    /// themselves do so only where they are told when.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut status = Self::new(429, Reason::TooManyRequests, message);
        status.details = Some(StatusDetails {
            retry_after_seconds: (retry_after_seconds > 0).then_some(retry_after_seconds),
            ..StatusDetails::default()
        });
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldPath;

    #[test]
    fn what_is_wrong_twice_is_said_once() {
        let pods = crate::resource::find("", "v1", "pods").expect("built in");
        let fault = |field: &str| FieldError::required(&FieldPath::new(field), "");
        let check = |faults: &[FieldError], expected: &str| {
            let status = Status::invalid(&pods, "a", faults);
            assert_eq!(status.message, format!("Pod \"a\" is invalid: {expected}"));
            assert_eq!(status.details.map(|details| details.causes.len()), Some(faults.len()));
        };
        check(&[fault("x")], "x: Required value");
        check(&[fault("x"), fault("x")], "x: Required value");
        check(&[fault("x"), fault("y"), fault("x")], "[x: Required value, y: Required value]");
    }

    #[test]
    fn what_html_would_read_is_written_by_its_number() {
        let check = |message: &str, expected: &str| {
            let found = String::from_utf8(Status::bad_request(message).to_json()).expect("text");
            assert!(found.contains(&format!(r#""message":"{expected}","#)), "{found}");
            let read: serde_json::Value = serde_json::from_str(&found).expect("JSON");
            assert_eq!(read["message"], message);
        };
        check("a", "a");
        check("a<b>&c", r"a\u003cb\u003e\u0026c");
        check("<", r"\u003c");
        check("ä\u{2028}\u{2029}\n\"", r#"ä\u2028\u2029\n\""#);
    }
}
