//! One body on its way to an object: which kind it is of, whether that is the one that is expected, and what does not fit.

use serde::de::DeserializeSeed;
use serde_json::{Map, Value};

use super::problem::Context;
use super::raw::RawSeed;
use super::{Kind, api_version, cannot_be_handled, json, protobuf, version_of, walk_value};
use crate::schema::{self, Message};
use crate::status::Status;

/// Where kube-apiserver keeps the kinds of options.
const SCHEME_OF_OPTIONS: &str = "pkg/apis/meta/internalversion/scheme/register.go:27";

/// One body on its way to an object.
pub(super) struct Reading<'a> {
    pub(super) cx: Context,
    pub(super) expect: Option<Kind<'a>>,
    pub(super) body: &'a [u8],
}

impl Reading<'_> {
    pub(super) fn json(&mut self) -> Result<Map<String, Value>, Status> {
        let Some(message) = self.expect.and_then(|(g, v, k)| schema::message_for(g, v, k)) else {
            let head = json::head(self.body).map_err(|words| self.headless(&words))?;
            let message = self.named_message(head.kind.as_deref(), head.api_version.as_deref())?;
            let object = match message {
                Some(message) => json::object(self.body, message, &mut self.cx),
                None => json::raw(self.body, &mut self.cx).and_then(into_object),
            };
            return object.map_err(|words| self.unfit(&head, &words)).and_then(|object| self.typed(object, message));
        };
        // Where Go reads nothing into a value, the value stays as it is: of the kind that is expected, and empty.
        let body = if self.body.trim_ascii() == b"null" { b"{}" } else { self.body };
        match json::object(body, message, &mut self.cx) {
            Ok(object) => self.typed(object, Some(message)),
            Err(words) => {
                let head = json::head(self.body).map_err(|words| self.headless(&words))?;
                Err(self.unfit(&head, &words))
            }
        }
    }

    pub(super) fn value(&mut self, value: Value) -> Result<Map<String, Value>, Status> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let head = json::Head { kind: text("kind"), api_version: text("apiVersion") };
        if !value.is_object() {
            return Err(self.headless("json: cannot unmarshal a value that is no object"));
        }
        let message = match self.expect {
            Some((group, version, kind)) => schema::message_for(group, version, kind),
            None => self.named_message(head.kind.as_deref(), head.api_version.as_deref())?,
        };
        let object = match message {
            Some(message) => walk_value(value, message, &mut self.cx),
            None => RawSeed { cx: &mut self.cx }.deserialize(value).map_err(|e| e.to_string()).and_then(into_object),
        };
        object.map_err(|words| self.unfit(&head, &words)).and_then(|object| self.typed(object, message))
    }

    pub(super) fn protobuf(&mut self) -> Result<Map<String, Value>, Status> {
        let envelope = protobuf::envelope(self.body).map_err(|words| self.unrecognized(&words))?;
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let head = json::Head { kind: named(&envelope.kind), api_version: named(&envelope.api_version) };
        if let Some(status) = self.mismatch(head.kind.as_deref(), head.api_version.as_deref()) {
            return Err(status);
        }
        let message = match self.expect {
            Some((group, version, kind)) => schema::message_for(group, version, kind),
            None => self.named_message(head.kind.as_deref(), head.api_version.as_deref())?,
        };
        let Some(message) = message else {
            return Err(self.unfit(&head, "the kind has no protobuf form"));
        };
        let object = protobuf::object(envelope.raw, message)
            .and_then(|object| walk_value(Value::Object(object), message, &mut self.cx));
        let mut object = object.map_err(|words| self.unfit(&head, &words))?;
        for (name, text) in [("kind", head.kind), ("apiVersion", head.api_version)] {
            if let Some(text) = text {
                object.insert(name.to_owned(), Value::String(text));
            }
        }
        self.typed(object, Some(message))
    }

    /// The message of the kind that the body names. `Ok(None)`: the kind is expected, and has no schema.
    fn named_message(&self, kind: Option<&str>, api_version: Option<&str>) -> Result<Option<&'static Message>, Status> {
        if self.expect.is_some() {
            return Ok(None);
        }
        let body = String::from_utf8_lossy(self.body);
        let kind = kind
            .filter(|kind| !kind.is_empty())
            .ok_or_else(|| Status::bad_request(format!("Object 'Kind' is missing in '{body}'")))?;
        let api_version = api_version
            .filter(|version| !version.is_empty())
            .ok_or_else(|| Status::bad_request(format!("Object 'apiVersion' is missing in '{body}'")))?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        match schema::message_for(group, version, kind) {
            Some(message) => Ok(Some(message)),
            None => Err(Status::bad_request(not_registered(kind, api_version))),
        }
    }

    /// Checks what the object, read as such a message, says that it is, or says it where it does not.
    fn typed(
        &self,
        mut object: Map<String, Value>,
        message: Option<&'static Message>,
    ) -> Result<Map<String, Value>, Status> {
        // The group without a name may be spelled out.
        if let Some(version) = object.get("apiVersion").and_then(Value::as_str).and_then(|text| text.strip_prefix('/'))
        {
            let version = version.to_owned();
            object.insert("apiVersion".to_owned(), version.into());
        }
        let text = |name: &str| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some((group, version, _)) = self.expect
            && message.is_none()
        {
            self.unregistered(text("kind"), text("apiVersion"), &api_version(group, version))?;
            return Ok(object);
        }
        if let Some(status) = self.mismatch(text("kind"), text("apiVersion")) {
            return Err(status);
        }
        if let Some((group, version, kind)) = self.expect {
            let has_kind = text("kind").is_some();
            let has_version = text("apiVersion").is_some();
            if !has_kind {
                object.insert("kind".to_owned(), kind.into());
            }
            if !has_version {
                object.insert("apiVersion".to_owned(), api_version(group, version).into());
            }
        }
        Ok(object)
    }

    /// Of a kind without a schema the body must say what it is, and in the version of its path. Whether it is of the kind that
    /// is expected is not looked at.
    fn unregistered(&self, kind: Option<&str>, given: Option<&str>, wanted: &str) -> Result<(), Status> {
        let given = given.unwrap_or_default();
        if kind.is_none() {
            let body = String::from_utf8_lossy(self.body);
            return Err(self.unrecognized(&format!("Object 'Kind' is missing in '{}'", body.trim_end())));
        }
        if given != wanted {
            return Err(Status::bad_request(format!(
                "the API version in the data ({given}) does not match the expected API version ({wanted})"
            )));
        }
        Ok(())
    }

    fn mismatch(&self, kind: Option<&str>, given: Option<&str>) -> Option<Status> {
        let (group, version, expected) = self.expect?;
        let wanted = api_version(group, version);
        let (kind, given) = (kind.unwrap_or(expected), given.unwrap_or(&wanted));
        // Of this one kube-apiserver takes the older version too, which is the same.
        let is_older = (kind, given) == ("Eviction", "policy/v1beta1");
        if kind == expected && (given == wanted || is_older || schema::is_shared_kind(kind)) {
            return None;
        }
        let (given_group, given_version) = given.split_once('/').unwrap_or(("", given));
        if self.is_options() {
            return Some(Status::bad_request(unknown_to(SCHEME_OF_OPTIONS, kind, given)));
        }
        let words = match schema::message_for(given_group, given_version, kind) {
            Some(message) => {
                let internal = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) };
                format!(
                    "converting ({}.{}) to ({internal}.{expected}): unknown conversion",
                    message.go_package(),
                    message.go_name()
                )
            }
            None => not_registered(kind, given),
        };
        Some(cannot_be_handled(kind, given_version, expected, &words))
    }

    /// The body's kind is known and the rest does not fit.
    fn unfit(&self, head: &json::Head, words: &str) -> Status {
        let (kind, given) = (head.kind.as_deref(), head.api_version.as_deref());
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(status) = self.mismatch(named(&head.kind).as_deref(), named(&head.api_version).as_deref()) {
            return status;
        }
        if self.is_options() {
            return Status::bad_request(words);
        }
        let (_, version, expected) =
            self.expect.unwrap_or(("", version_of(given.unwrap_or_default()), kind.unwrap_or_default()));
        cannot_be_handled(expected, version, expected, words)
    }

    /// Whether options are read. kube-apiserver reads them by themselves, and says what is wrong with them without a frame.
    fn is_options(&self) -> bool {
        self.expect.is_some_and(|(_, _, kind)| kind == "DeleteOptions")
    }

    fn headless(&self, words: &str) -> Status {
        self.unrecognized(&format!("couldn't get version/kind; json parse error: {words}"))
    }

    /// The body is nothing whose kind could be told.
    pub(super) fn unrecognized(&self, words: &str) -> Status {
        if self.is_options() {
            return Status::bad_request(words);
        }
        let expected = self.expect.map_or("an API object", |(_, _, kind)| kind);
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {expected}): {words} ({})",
            summary(self.body)
        ))
    }
}

fn into_object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err("json: cannot unmarshal a value that is no object".to_owned()),
    }
}

pub(super) fn not_registered(kind: &str, api_version: &str) -> String {
    unknown_to("pkg/api/legacyscheme/scheme.go:30", kind, api_version)
}

fn unknown_to(scheme: &str, kind: &str, api_version: &str) -> String {
    format!("no kind {kind:?} is registered for version {api_version:?} in scheme {scheme:?}")
}

/// The beginning of a body: as text where it looks like JSON, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let part = &body[..body.len().min(SHOWN)];
    let more = if body.len() > SHOWN { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(part)),
        Some(_) => {
            let digits: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digits}{more}")
        }
    }
}
