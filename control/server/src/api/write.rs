//! Creating, replacing and patching.

use http::{Response, StatusCode};
use pal_registry::{Admission, Patch, PatchKind, Warnings, WriteOptions, creates_by_update, custom};
use pal_resources::codec::{self, Decoded, FieldValidation, Media};
use pal_resources::status::StatusDetails;
use pal_resources::{Reason, Status};

use super::query::WriteQuery;
use super::{At, Call, Unread, admit, allow, read, reply, unsupported_media};
use crate::Body;

/// `POST` of an object.
pub(super) async fn create(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let query = call.query.write("CreateOptions")?;
    let body = call.body(body).await?;
    let media = call.media()?;
    let Decoded { value, mut warnings } = custom::decode(media, &body, &at.resource, query.validation)?;
    admit::create(call, at, &value)?;
    let options = call.write_options(at, &query);
    let created = call.registry().create(&at.resource, at.namespace(), value, &options).await;
    let object = created.inspect_err(|_| leave(call, &warnings))?;
    settle(call, at, &object).await;
    warnings.extend(left(&options));
    Ok(reply::warn(read::one(call, at, StatusCode::CREATED, &object)?, &warnings))
}

/// `PUT` of an object or a subresource.
pub(super) async fn update(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let query = call.query.write("UpdateOptions")?;
    let body = call.body(body).await?;
    let media = call.media()?;
    let Decoded { value, mut warnings } = decode(at, media, &body, query.validation)?;
    let options = call.write_options(at, &query);
    let (namespace, name) = (at.namespace(), at.name()?);
    let made = (at.subresource().is_none() && creates_by_update(&at.resource)).then(|| value.clone());
    let updated = call.registry().update(&at.resource, at.subresource(), namespace, name, value, &options).await;
    let (code, object) = match (updated, made) {
        (Err(status), Some(value)) if status.code == 404 => {
            (StatusCode::CREATED, make(call, at, value, &options).await?)
        }
        (updated, _) => (StatusCode::OK, updated.inspect_err(|_| leave(call, &warnings))?),
    };
    warnings.extend(left(&options));
    Ok(reply::warn(read::one(call, at, code, &object)?, &warnings))
}

/// What an update makes of an object that is not there.
async fn make(
    call: &Call<'_>,
    at: &At,
    mut value: serde_json::Value,
    options: &WriteOptions,
) -> Result<pal_registry::Object, Status> {
    allow::create(call, at).await?;
    if let Some(metadata) = value.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    admit::create(call, at, &value)?;
    let made = call.registry().create(&at.resource, at.namespace(), value, options).await?;
    settle(call, at, &made).await;
    Ok(made)
}

/// Waits a little for what follows from the creation of an object and its creator counts on.
async fn settle(call: &Call<'_>, at: &At, created: &pal_registry::Object) {
    call.registry().settle(&at.resource, created, call.api.config.definition_wait).await;
}

/// Leaves what a client is to be warned of although its request fails.
fn leave(call: &Call<'_>, warnings: &[String]) {
    warnings.iter().for_each(|warning| call.aside.add(warning.clone()));
}

/// What admission left to warn of.
fn left(options: &WriteOptions) -> Vec<String> {
    options.warnings.as_ref().map(Warnings::take).unwrap_or_default()
}

fn decode(at: &At, media: codec::Media, body: &[u8], mode: FieldValidation) -> Result<Decoded, Status> {
    match at.subresource().and_then(|name| at.resource.subresource(name)) {
        Some(sub) if sub.kind != at.resource.kind => {
            codec::decode_as(media, body, Some((&sub.group, &sub.version, &sub.kind)), mode)
        }
        Some(_) | None => custom::decode(media, body, &at.resource, mode),
    }
}

/// `PATCH` of an object or a subresource.
pub(super) async fn patch(call: &Call<'_>, at: &At, body: &mut Unread) -> Result<Response<Body>, Status> {
    let kind = patch_kind(call.content_type(), call.query.flag("force"), at.resource.custom.is_some())?;
    let query = call.query.patch(matches!(kind, PatchKind::Apply { .. }))?;
    let body = call.body(body).await?;
    if let PatchKind::Apply { .. } = kind {
        return apply(call, at, kind, &query, &body).await;
    }
    let (value, found) = decode_patch(kind, &body, query.validation)?;
    let patch = Patch { kind, body: value, validation: query.validation, found };
    let options = call.write_options(at, &query);
    let (namespace, name) = (at.namespace(), at.name()?);
    let patched = call.registry().patch(&at.resource, at.subresource(), namespace, name, &patch, &options).await?;
    let mut warnings = patched.warnings;
    warnings.extend(left(&options));
    Ok(reply::warn(read::one(call, at, StatusCode::OK, &patched.object)?, &warnings))
}

/// A patch, and what a strict reader refuses of it.
fn decode_patch(
    kind: PatchKind,
    body: &[u8],
    mode: FieldValidation,
) -> Result<(serde_json::Value, Vec<String>), Status> {
    let read = match kind {
        PatchKind::Json => codec::decode_json_patch(body, mode),
        _ => codec::decode_raw(Media::Json, body, mode),
    };
    read.map_err(|words| match (kind, mode) {
        (PatchKind::Merge, FieldValidation::Ignore) => Status::bad_request("Invalid JSON Patch"),
        (PatchKind::Strategic, _) | (_, FieldValidation::Ignore) => Status::bad_request(words),
        _ => Status::bad_request(format!("error decoding patch: {words}")),
    })
}

/// `PATCH` with a configuration, which may create the object.
async fn apply(
    call: &Call<'_>,
    at: &At,
    kind: PatchKind,
    query: &WriteQuery,
    body: &[u8],
) -> Result<Response<Body>, Status> {
    let mode = query.validation;
    // JSON is YAML, and read faster as what it is; what begins like it may be YAML all the same, and what is wrong with it is
    // told as of YAML.
    let json = body.trim_ascii_start().starts_with(b"{").then(|| codec::decode_raw(Media::Json, body, mode));
    let (value, found) = json
        .and_then(Result::ok)
        .filter(|(_, found)| found.is_empty())
        .map_or_else(|| codec::decode_raw(Media::Yaml, body, mode), Ok)
        .map_err(|words| Status::bad_request(format!("error decoding YAML: {words}")))?;
    if mode == FieldValidation::Strict && !found.is_empty() {
        let words = format!("error strict decoding YAML: error converting YAML to JSON: {}", found.join(", "));
        return Err(Status::bad_request(words));
    }
    let mut warnings = codec::settled(found, mode).map_err(Status::bad_request)?;
    if !value.is_object() && !value.is_null() {
        let words = "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal into Go value \
                     of type map[string]interface {}";
        return Err(Status::bad_request(words));
    }
    let mut options = call.write_options(at, query);
    let may_create = match allow::create(call, at).await {
        Ok(()) => admit::create(call, at, &value),
        refused => refused,
    };
    options.admission = Some(Admission::creating(may_create, options.admission.take()));
    let patch = Patch { kind, body: value, validation: query.validation, found: Vec::new() };
    let (namespace, name) = (at.namespace(), at.name()?);
    let patched = call.registry().patch(&at.resource, at.subresource(), namespace, name, &patch, &options).await?;
    warnings.extend(patched.warnings);
    warnings.extend(left(&options));
    let code = if patched.created { StatusCode::CREATED } else { StatusCode::OK };
    if patched.created {
        settle(call, at, &patched.object).await;
    }
    Ok(reply::warn(read::one(call, at, code, &patched.object)?, &warnings))
}

fn patch_kind(content_type: &str, force: bool, custom: bool) -> Result<PatchKind, Status> {
    const STRATEGIC: &str = "application/strategic-merge-patch+json";
    const KINDS: [&str; 4] =
        ["application/json-patch+json", "application/merge-patch+json", STRATEGIC, "application/apply-patch+yaml"];
    // What is built in goes through a router first, which looks for one of them among several and has no words for the others.
    let among = || content_type.split(',').any(|one| KINDS.contains(&one.split(';').next().unwrap_or_default().trim()));
    match content_type.split(';').next().unwrap_or_default() {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        STRATEGIC if !custom => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply { force }),
        _ if custom => {
            Err(unsupported_media(&KINDS.into_iter().filter(|kind| *kind != STRATEGIC).collect::<Vec<_>>().join(", ")))
        }
        _ if among() => Err(unsupported_media(&KINDS.join(", "))),
        _ => {
            let mut status = Status::new(415, Reason::UnsupportedMediaType, "415: Unsupported Media Type");
            status.details = Some(StatusDetails::default());
            Err(status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_told_apart_by_their_content_type() {
        let check = |content_type: &str, custom: bool, expected: Result<PatchKind, &str>| {
            let found = patch_kind(content_type, true, custom).map_err(|status| {
                assert_eq!(status.code, 415);
                status.message
            });
            assert_eq!(found, expected.map_err(str::to_owned), "{content_type}");
        };
        let (none, unknown) = (
            "415: Unsupported Media Type",
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, ",
        );
        let builtin = format!("{unknown}application/strategic-merge-patch+json, application/apply-patch+yaml");
        let customs = format!("{unknown}application/apply-patch+yaml");
        check("application/json-patch+json", false, Ok(PatchKind::Json));
        check("application/merge-patch+json; charset=utf-8", false, Ok(PatchKind::Merge));
        check("application/strategic-merge-patch+json", false, Ok(PatchKind::Strategic));
        check("application/strategic-merge-patch+json", true, Err(&customs));
        check("application/apply-patch+yaml", true, Ok(PatchKind::Apply { force: true }));
        check("application/json-patch+json, application/json", false, Err(&builtin));
        for content_type in ["application/apply-patch+cbor", "application/json", ""] {
            check(content_type, false, Err(none));
            check(content_type, true, Err(&customs));
        }
    }
}
