//! Request bodies into values: JSON, YAML and Kubernetes' protobuf, checked against the schema, with kube-apiserver's
//! words for what is wrong.
//!
//! One pass does it all, whatever the encoding (`walk`): types, unknown and duplicate fields, nulls, canonical text, and
//! the zeros that Go would leave out. So equal objects have equal values.

mod encode;
mod json;
mod problem;
mod protobuf;
mod raw;
mod reading;
mod scalar;
mod text;
mod walk;
mod yaml;

use serde::de::DeserializeSeed;
use serde_json::{Map, Value};

use self::problem::Context;
use self::reading::Reading;
use self::walk::ObjectVisitor;
use crate::resource::Resource;
use crate::schema::{self, Message};
use crate::status::{Reason, Status, StatusCause, StatusDetails};

pub use encode::{to_protobuf, to_protobuf_event};
pub use text::{indented, to_json};
pub use yaml::documents as yaml_documents;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Media {
    /// The encoding that a `Content-Type` names; none given means JSON. `None`: not one that is understood.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let is_parameter =
            |text: &str| text.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty());
        if !parameters
            .trim_end()
            .trim_end_matches(';')
            .split(';')
            .map(str::trim)
            .all(|text| text.is_empty() || is_parameter(text))
        {
            return None;
        }
        let essence = essence.trim();
        match essence.to_ascii_lowercase().as_str() {
            "" | "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// What happens to unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

impl FieldValidation {
    /// The value of the query parameter `fieldValidation`; empty means the default.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// A body that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The canonical object.
    pub value: Value,
    /// What clients are warned of (`Warning: 299 - "..."`).
    pub warnings: Vec<String>,
}

/// A kind with its group (empty for core) and version.
type Kind<'a> = (&'a str, &'a str, &'a str);

/// Reads a body. `expect` is the resource whose kind the body must be; without it the body must name one.
pub fn decode(media: Media, body: &[u8], expect: Option<&Resource>, mode: FieldValidation) -> Result<Decoded, Status> {
    decode_as(media, body, expect.map(|r| (&*r.group, &*r.version, &*r.kind)), mode)
}

/// `decode` for a kind that is no resource's own, as a subresource's or `DeleteOptions`: group (empty for core), version
/// and kind.
pub fn decode_as(
    media: Media,
    body: &[u8],
    expect: Option<Kind<'_>>,
    mode: FieldValidation,
) -> Result<Decoded, Status> {
    let Decoded { value, warnings } = decode_leniently(media, body, expect, mode)?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let warnings = settled(warnings, mode).map_err(|words| {
        let expected = expect.map_or(text("kind"), |(_, _, expected)| expected);
        cannot_be_handled(text("kind"), version_of(text("apiVersion")), expected, &words)
    })?;
    Ok(Decoded { value, warnings })
}

/// [`decode_as`], but that nothing is refused for what was found: it is for [`settled`] to decide on.
pub fn decode_leniently(
    media: Media,
    body: &[u8],
    expect: Option<Kind<'_>>,
    mode: FieldValidation,
) -> Result<Decoded, Status> {
    let mut reading = Reading { cx: Context::new(mode != FieldValidation::Ignore), expect, body };
    let object = match media {
        Media::Json => reading.json()?,
        Media::Yaml => {
            let value = yaml::value(body, &mut reading.cx)
                .map_err(|words| reading.unrecognized(&format!("error converting YAML to JSON: {words}")))?;
            reading.value(value)?
        }
        Media::Protobuf => reading.protobuf()?,
    };
    Ok(Decoded { value: Value::Object(object), warnings: reading.cx.strict })
}

/// The same check for a value that a patch produced.
pub fn conform(value: Value, kind: Kind<'_>, mode: FieldValidation) -> Result<Decoded, Unfit> {
    let cx = Context::new(mode != FieldValidation::Ignore);
    let unfit = |words| Unfit { kind: kind.2.to_owned(), version: kind.1.to_owned(), words };
    conform_value(value, cx, kind, mode).map_err(unfit)
}

/// What is no object of the kind that it should be of. As a [`Status`] it is refused in the words of [`decode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} in version {version:?} cannot be handled as a {kind}: {words}")]
pub struct Unfit {
    kind: String,
    version: String,
    /// What is wrong with it.
    pub words: String,
}

impl Unfit {
    /// Of an object that should be one of the resource.
    pub fn new(resource: &Resource, words: String) -> Self {
        Self { kind: resource.kind.to_string(), version: resource.version.to_string(), words }
    }
}

impl From<Unfit> for Status {
    fn from(unfit: Unfit) -> Self {
        Self::bad_request(unfit.to_string())
    }
}

/// What a refusal shows of a patch.
#[derive(Clone, Copy, Debug)]
pub enum ShownPatch<'a> {
    /// A strategic patch itself, as Go prints a map.
    Strategic(&'a str),
    /// The object that another patch made, as JSON.
    Object(&'a str),
}

impl ShownPatch<'_> {
    fn text(&self) -> &str {
        let (Self::Strategic(text) | Self::Object(text)) = self;
        text
    }
}

/// `conform` with the words that kube-apiserver has for patches: 422, about the field `patch`.
/// `found` is what was found of the patch itself.
pub fn conform_patched(
    value: Value,
    patch: ShownPatch<'_>,
    found: Vec<String>,
    kind: Kind<'_>,
    mode: FieldValidation,
) -> Result<Decoded, Status> {
    let watchful = mode != FieldValidation::Ignore;
    let mut cx = match patch {
        ShownPatch::Strategic(_) => Context::of_merged(watchful),
        ShownPatch::Object(_) => Context::new(watchful),
    };
    cx.strict = found;
    conform_value(value, cx, kind, mode).map_err(|words| unfit_patch(patch, &words))
}

/// A patch does not make an object of another kind. One that takes the kind away leaves it what it was, unless only the object
/// says what it is (custom resources); what a strategic one says of it does not count.
pub fn settle_patched_kind(patched: &mut Value, patch: ShownPatch<'_>, kind: Kind<'_>) -> Result<(), Status> {
    let (group, version, name) = kind;
    let text = |field: &str| patched[field].as_str().unwrap_or_default();
    let custom = schema::message_for(group, version, name).is_none();
    if custom {
        let shown = patch.text();
        let missing = || unfit_patch(patch, &format!("Object 'Kind' is missing in '{shown}'"));
        return if text("kind").is_empty() { Err(missing()) } else { Ok(()) };
    }
    let own = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    if matches!(patch, ShownPatch::Strategic(_)) {
        (patched["apiVersion"], patched["kind"]) = (own.into(), name.into());
        return Ok(());
    }
    let or_own = |given: &str, own: &str| if given.is_empty() { own.to_owned() } else { given.to_owned() };
    let (given, given_version) = (or_own(text("kind"), name), or_own(text("apiVersion"), &own));
    if given == name && given_version == own {
        return Ok(());
    }
    Err(unfit_patch(patch, &reading::not_registered(&given, &given_version)))
}

/// The refusal of what a patch made, in the words of [`conform_patched`].
pub fn unfit_patch(patch: ShownPatch<'_>, words: &str) -> Status {
    let message = format!("Invalid value: {:?}: {words}", patch.text());
    Status {
        code: 422,
        reason: Some(Reason::Invalid),
        message: format!(" \"\" is invalid: patch: {message}"),
        details: Some(StatusDetails {
            causes: vec![StatusCause { reason: "FieldValueInvalid".to_owned(), message, field: "patch".to_owned() }],
            ..StatusDetails::default()
        }),
    }
}

/// The same check for the metadata of an object whose kind has no schema here: the metadata, and what strict readers
/// refuse of it. An error is in the words of Go's decoder.
pub fn conform_metadata(metadata: Value) -> Result<Decoded, String> {
    let Some(message) = schema::message("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") else {
        return Ok(Decoded { value: metadata, warnings: Vec::new() });
    };
    let mut cx = Context::new(true);
    let seed = ObjectVisitor { cx: &mut cx, message, root: false };
    let object = seed.deserialize(metadata);
    let object = object.map_err(|error| cx.failure.take().unwrap_or_else(|| format!("json: {error}")))?;
    let within = |problem: &String| problem.replacen("field \"", "field \"metadata.", 1);
    Ok(Decoded { value: Value::Object(object), warnings: cx.strict.iter().map(within).collect() })
}

/// What was found of a body, as a reader of that mode takes it: warnings, or why it is refused.
pub fn settled(found: Vec<String>, mode: FieldValidation) -> Result<Vec<String>, String> {
    match mode {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict if !found.is_empty() => Err(format!("strict decoding error: {}", found.join(", "))),
        FieldValidation::Warn | FieldValidation::Strict => Ok(found.iter().flat_map(|words| lines(words)).collect()),
    }
}

/// What is told of duplicate keys in YAML, line by line; other words as they are.
fn lines(words: &str) -> Vec<String> {
    match words.strip_prefix(yaml::DUPLICATES) {
        Some(lines) => lines.lines().map(|line| line.trim().to_owned()).collect(),
        None => vec![words.to_owned()],
    }
}

/// A JSON or YAML body without schema, as a patch, and what a strict reader refuses of it (nothing if `mode` ignores it). An
/// error is in the words of Go's decoder.
pub fn decode_raw(media: Media, body: &[u8], mode: FieldValidation) -> Result<(Value, Vec<String>), String> {
    let mut cx = Context::new(mode != FieldValidation::Ignore);
    let value = match media {
        Media::Json => json::raw(body, &mut cx),
        Media::Yaml => yaml::value(body, &mut cx),
        Media::Protobuf => Err("a body without a type cannot be protobuf".to_owned()),
    };
    Ok((value?, cx.strict))
}

/// What is wrong with text that should be JSON, in the words of Go's decoder.
pub fn check_json(text: &[u8]) -> Result<(), String> {
    json::check(text)
}

/// [`decode_raw`] for a JSON patch, whose operations have fields of their own.
pub fn decode_json_patch(body: &[u8], mode: FieldValidation) -> Result<(Value, Vec<String>), String> {
    let (patch, twice) = decode_raw(Media::Json, body, mode)?;
    if mode == FieldValidation::Ignore {
        return Ok((patch, twice));
    }
    let mut found = Vec::new();
    for (at, step) in patch.as_array().into_iter().flatten().enumerate() {
        let unknown = step.as_object().into_iter().flat_map(Map::keys);
        let unknown: Vec<String> = unknown
            .filter(|name| !matches!(name.as_str(), "op" | "path" | "from" | "value"))
            .map(|name| format!("json patch unknown field \"[{at}].{name}\""))
            .collect();
        let within = format!("duplicate field \"[{at}].");
        let twice = twice.iter().filter(|words| words.starts_with(&within)).map(|words| format!("json patch {words}"));
        let is_unknown = |words: &String| unknown.contains(&words.replacen("duplicate", "unknown", 1));
        let twice: Vec<String> = twice.filter(|words| !is_unknown(words)).collect();
        found.extend(unknown);
        found.extend(twice);
    }
    Ok((patch, found))
}

fn conform_value(value: Value, mut cx: Context, kind: Kind<'_>, mode: FieldValidation) -> Result<Decoded, String> {
    let value = match schema::message_for(kind.0, kind.1, kind.2) {
        Some(message) => {
            let mut object = walk_value(value, message, &mut cx)?;
            // A patch that removes what the object is does not change what it is.
            for (name, text) in [("kind", kind.2.to_owned()), ("apiVersion", api_version(kind.0, kind.1))] {
                if object.get(name).is_none_or(Value::is_null) {
                    object.insert(name.to_owned(), Value::String(text));
                }
            }
            Value::Object(object)
        }
        None => value,
    };
    let warnings = settled(cx.strict, mode)?;
    Ok(Decoded { value, warnings })
}

fn walk_value(value: Value, message: &'static Message, cx: &mut Context) -> Result<Map<String, Value>, String> {
    let seed = ObjectVisitor { cx: &mut *cx, message, root: true };
    seed.deserialize(value).map_err(|error| cx.failure.take().unwrap_or_else(|| format!("json: {error}")))
}

fn cannot_be_handled(kind: &str, version: &str, expected: &str, words: &str) -> Status {
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {expected}: {words}"))
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn version_of(api_version: &str) -> &str {
    api_version.rsplit('/').next().unwrap_or(api_version)
}
