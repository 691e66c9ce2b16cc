//! Query parameters into options, with Kubernetes' words for those that cannot be read.

use std::borrow::Cow;
use std::time::Duration;

use pal_registry::{ListOptions, Read, VersionMatch, WatchOptions};
use pal_resources::codec::FieldValidation;
use pal_resources::field::{FieldError, FieldErrorKind, FieldPath};
use pal_resources::go::{signed, unsigned_fault};
use pal_resources::selector::{FieldSelector, LabelSelector};
use pal_resources::{ResourceVersion, Status};

use super::kinds::unserved;

/// No watch lasts longer, whatever it asks for; it is also what a clock can be moved on by.
const LONGEST_WATCH: Duration = Duration::from_secs(24 * 3600);

/// The parameters of a request, in their order.
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// What a write says beside its body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WriteQuery {
    pub dry_run: bool,
    pub field_manager: Option<String>,
    pub validation: FieldValidation,
}

/// How much of each object a table's row carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl<'a> Query<'a> {
    /// Takes a query string apart. What is no parameter is overlooked, as Go's servers do.
    pub(crate) fn parse(query: Option<&'a str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| is_parameter(pair));
        Self(pairs.flat_map(|pair| url::form_urlencoded::parse(pair.as_bytes())).collect())
    }

    /// The first value of a parameter; an empty one counts as not given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.first(name).filter(|value| !value.is_empty())
    }

    /// The first value of a parameter, which may be empty.
    fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Every value of a parameter.
    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Whether a parameter is there at all, empty or not.
    fn given(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// Whether a switch is on: as in the API's own conversion, whatever is not off is on, a name alone too.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| !(value == "0" || value.eq_ignore_ascii_case("false")))
    }

    /// An integer; an empty text is none.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, Status> {
        self.first(name).map(signed).transpose().map_err(Status::bad_request)
    }

    /// `resourceVersion`
    fn version(&self) -> Result<Option<ResourceVersion>, Status> {
        let Some(value) = self.get("resourceVersion") else { return Ok(None) };
        match value.parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(Status::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: {value:?}: {}",
                unsigned_fault(value).unwrap_or_default()
            ))),
        }
    }

    fn label(&self) -> Result<Option<LabelSelector>, Status> {
        self.get("labelSelector").map(LabelSelector::parse).transpose()
    }

    fn field(&self) -> Result<Option<FieldSelector>, Status> {
        self.get("fieldSelector").map(FieldSelector::parse).transpose()
    }

    /// How fresh one object is to be.
    pub(crate) fn read(&self) -> Result<Read, Status> {
        Ok(match self.version()? {
            None => Read::Consistent,
            Some(ResourceVersion(0)) => Read::Any,
            Some(version) => Read::AtLeast(version),
        })
    }

    /// The options of a list, or of a deletion of a list.
    pub(crate) fn list(&self) -> Result<ListOptions, Status> {
        // It is for watches, and must be a number all the same.
        self.int("timeoutSeconds")?;
        let limit = self.int("limit")?.unwrap_or_default();
        let (label, field) = (self.label()?, self.field()?);
        self.check_list()?;
        // Whatever "0" alone means is meant by no other text for that number: it is no version then, and the newest is listed.
        let oddly_none =
            self.get("resourceVersion").is_some_and(|text| text.len() > 1 && text.bytes().all(|c| c == b'0'));
        let version = self.version()?.filter(|_| !oddly_none);
        let continue_token = self.get("continue").map(str::to_owned);
        let version_match = match self.get("resourceVersionMatch") {
            None => None,
            Some(_) if oddly_none => None,
            Some("Exact") => Some(VersionMatch::Exact),
            // `check_list` knows no other one.
            Some(_) => Some(VersionMatch::NotOlderThan),
        };
        Ok(ListOptions {
            label,
            field,
            limit: u64::try_from(limit).ok().filter(|limit| *limit > 0),
            continue_token,
            resource_version: version,
            version_match,
        })
    }

    /// The options of a watch.
    pub(crate) fn watch(&self) -> Result<WatchOptions, Status> {
        self.check_watch()?;
        Ok(WatchOptions {
            label: self.label()?,
            field: self.field()?,
            after: self.version()?,
            send_initial_events: self.given("sendInitialEvents").then(|| self.flag("sendInitialEvents")),
            bookmarks: self.flag("allowWatchBookmarks"),
        })
    }

    /// What lists may not ask for: apimachinery's `ValidateListOptions`.
    fn check_list(&self) -> Result<(), Status> {
        let mut errors = Vec::new();
        let version = self.get("resourceVersion");
        if let Some(version_match) = self.get("resourceVersionMatch") {
            if version.is_none() {
                errors.push(match_forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"));
            }
            if self.get("continue").is_some() {
                errors.push(match_forbidden("resourceVersionMatch is forbidden when continue is provided"));
            }
            if !matches!(version_match, "Exact" | "NotOlderThan") {
                errors.push(match_unsupported(version_match, "\"Exact\", \"NotOlderThan\", \"\""));
            }
            if version_match == "Exact" && version == Some("0") {
                errors.push(match_forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
            }
        }
        if self.given("sendInitialEvents") {
            errors.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        list_options(&errors)
    }

    /// What watches may not ask for: apimachinery's `validateWatchOptions`.
    fn check_watch(&self) -> Result<(), Status> {
        let mut errors = Vec::new();
        let (sends, version_match) = (self.given("sendInitialEvents"), self.get("resourceVersionMatch"));
        if sends && version_match != Some("NotOlderThan") {
            errors.push(match_forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }
        if let Some(version_match) = version_match {
            if !sends {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                errors.push(match_forbidden(why));
            }
            if version_match != "NotOlderThan" {
                errors.push(match_unsupported(version_match, "\"NotOlderThan\""));
            }
            if self.get("continue").is_some() {
                errors.push(match_forbidden("resourceVersionMatch is forbidden when continue is provided"));
            }
        }
        list_options(&errors)
    }

    /// How long a watch is to last, when it says.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, Status> {
        let seconds = self.int("timeoutSeconds")?.unwrap_or_default();
        let asked = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        Ok(asked.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WATCH)))
    }

    /// The options of a write; `kind` is that of the options, as `CreateOptions`, for messages.
    pub(crate) fn write(&self, kind: &'static str) -> Result<WriteQuery, Status> {
        self.written(kind, Vec::new())
    }

    /// The options of a patch: one that applies says who does it, others force nothing.
    pub(crate) fn patch(&self, applies: bool) -> Result<WriteQuery, Status> {
        let error = if applies && self.get("fieldManager").is_none() {
            Some(FieldError::required(&FieldPath::new("fieldManager"), "is required for apply patch"))
        } else {
            let forces = !applies && self.given("force");
            forces.then(|| FieldError::forbidden(&FieldPath::new("force"), "may not be specified for non-apply patch"))
        };
        self.written("PatchOptions", error.into_iter().collect())
    }

    /// What a write says, unless there are faults; all of them are told.
    fn written(&self, kind: &'static str, mut faults: Vec<FieldError>) -> Result<WriteQuery, Status> {
        let field_manager = self.get("fieldManager").map(str::to_owned);
        faults.extend(field_manager.as_deref().and_then(manager_fault));
        let given: Vec<&str> = self.all("dryRun").collect();
        faults.extend(dry_run_fault(&given));
        let said = self.get("fieldValidation").unwrap_or_default();
        let validation = FieldValidation::parse(said);
        if validation.is_none() {
            let supported = "\"\", \"Ignore\", \"Strict\", \"Warn\"";
            faults.push(not_supported("fieldValidation", &format!("{said:?}"), supported));
        }
        match (validation, faults.as_slice()) {
            (Some(validation), []) => Ok(WriteQuery { dry_run: !given.is_empty(), field_manager, validation }),
            (_, faults) => Err(Status::invalid(&unserved("meta.k8s.io", kind), "", faults)),
        }
    }

    /// `includeObject` of a table.
    pub(crate) fn include(&self) -> Result<Include, Status> {
        match self.get("includeObject") {
            None | Some("Metadata") => Ok(Include::Metadata),
            Some("None") => Ok(Include::None),
            Some("Object") => Ok(Include::Object),
            Some(other) => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', \
                 'None', or empty"
            ))),
        }
    }

    /// Whether the answer is to be indented for people.
    pub(crate) fn pretty(&self) -> Option<bool> {
        self.get("pretty").map(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
    }
}

/// Whether Go takes a part of a query for a parameter (`url.ParseQuery`): nothing in it is escaped wrongly, and it has no semicolon.
fn is_parameter(pair: &str) -> bool {
    let is_hex = |digit: Option<&u8>| digit.is_some_and(u8::is_ascii_hexdigit);
    let bytes = pair.as_bytes();
    let mut escapes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    !bytes.contains(&b';') && escapes.all(|(at, _)| is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2)))
}

/// What is wrong with the words that were given for storing nothing.
pub(super) fn dry_run_fault(given: &[&str]) -> Option<FieldError> {
    let quoted: Vec<String> = given.iter().map(|word| format!("{word:?}")).collect();
    let is_known = given.iter().all(|word| *word == "All");
    (!is_known).then(|| not_supported("dryRun", &format!("[{}]", quoted.join(",")), "\"All\""))
}

fn manager_fault(manager: &str) -> Option<FieldError> {
    let fault = |kind, message| Some(FieldError { kind, message, path: FieldPath::new("fieldManager") });
    if manager.len() > 128 {
        return fault(FieldErrorKind::TooLong, "Too long: may not be more than 128 bytes".to_owned());
    }
    let (at, character) = manager.char_indices().find(|(_, character)| character.is_control())?;
    let shown: String = manager.chars().map(in_go).collect();
    let why = format!("invalid character U+{:04X} (at position {at})", u32::from(character));
    fault(FieldErrorKind::Invalid, format!("Invalid value: \"{shown}\": {why}"))
}

/// A character as Go has it in a quoted text.
fn in_go(character: char) -> String {
    match character {
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\x0b' => "\\v".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\n' | '\r' | '\t' | '"' | '\\' => character.escape_default().to_string(),
        control if control.is_control() => format!("\\x{:02x}", u32::from(control)),
        plain => plain.to_string(),
    }
}

/// `value` and `supported` are as they are shown, in quotes.
pub(super) fn not_supported(field: &str, value: &str, supported: &str) -> FieldError {
    FieldError {
        kind: FieldErrorKind::NotSupported,
        message: format!("Unsupported value: {value}: supported values: {supported}"),
        path: FieldPath::new(field),
    }
}

fn forbidden(field: &str, why: &str) -> FieldError {
    FieldError { kind: FieldErrorKind::Forbidden, message: format!("Forbidden: {why}"), path: FieldPath::new(field) }
}

fn match_unsupported(value: &str, supported: &str) -> FieldError {
    not_supported("resourceVersionMatch", &format!("{value:?}"), supported)
}

fn match_forbidden(why: &str) -> FieldError {
    forbidden("resourceVersionMatch", why)
}

fn list_options(errors: &[FieldError]) -> Result<(), Status> {
    match errors {
        [] => Ok(()),
        errors => Err(Status::invalid(&unserved("meta.k8s.io", "ListOptions"), "", errors)),
    }
}

#[cfg(test)]
mod tests;
