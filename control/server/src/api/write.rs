//! Creating, replacing and patching.

use http::{Response, StatusCode};
use hyper::body::Incoming;
use pal_registry::{Patch, PatchKind};
use pal_resources::Status;
use pal_resources::codec::{self, Decoded, FieldValidation};

use super::{At, Call, admit, read, reply, unsupported_media};
use crate::Body;

/// `POST` of an object.
pub(super) async fn create(call: &Call<'_>, at: &At, body: Incoming) -> Result<Response<Body>, Status> {
    let query = call.query.write("CreateOptions")?;
    let media = call.media()?;
    let body = call.body(body).await?;
    let Decoded { value, warnings } = codec::decode(media, &body, Some(&at.resource), query.validation)?;
    admit::create(call, at, &value)?;
    let options = call.write_options(at, &query);
    let object = call.registry().create(&at.resource, at.namespace(), value, &options).await?;
    Ok(reply::warn(read::one(call, at, StatusCode::CREATED, &object)?, &warnings))
}

/// `PUT` of an object or a subresource.
pub(super) async fn update(call: &Call<'_>, at: &At, body: Incoming) -> Result<Response<Body>, Status> {
    let query = call.query.write("UpdateOptions")?;
    let media = call.media()?;
    let body = call.body(body).await?;
    let Decoded { value, warnings } = decode(at, media, &body, query.validation)?;
    let options = call.write_options(at, &query);
    let (namespace, name) = (at.namespace(), at.name()?);
    let object = call.registry().update(&at.resource, at.subresource(), namespace, name, value, &options).await?;
    Ok(reply::warn(read::one(call, at, StatusCode::OK, &object)?, &warnings))
}

fn decode(at: &At, media: codec::Media, body: &[u8], mode: FieldValidation) -> Result<Decoded, Status> {
    match at.subresource().and_then(|name| at.resource.subresource(name)) {
        Some(sub) => codec::decode_as(media, body, Some((&sub.group, &sub.version, &sub.kind)), mode),
        None => codec::decode(media, body, Some(&at.resource), mode),
    }
}

/// `PATCH` of an object or a subresource.
pub(super) async fn patch(call: &Call<'_>, at: &At, body: Incoming) -> Result<Response<Body>, Status> {
    let query = call.query.write("PatchOptions")?;
    let kind = patch_kind(call.content_type())?;
    let body = call.body(body).await?;
    let Decoded { value, mut warnings } = codec::decode_raw(codec::Media::Json, &body, query.validation)
        .map_err(|status| Status::bad_request(format!("error decoding patch: {}", status.message)))?;
    let patch = Patch { kind, body: value, validation: query.validation };
    let options = call.write_options(at, &query);
    let (namespace, name) = (at.namespace(), at.name()?);
    let patched = call.registry().patch(&at.resource, at.subresource(), namespace, name, &patch, &options).await?;
    warnings.extend(patched.warnings);
    Ok(reply::warn(read::one(call, at, StatusCode::OK, &patched.object)?, &warnings))
}

fn patch_kind(content_type: &str) -> Result<PatchKind, Status> {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
        // Server-side apply is not built yet, and so not among what is accepted.
        _ => Err(unsupported_media(
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_told_apart_by_their_content_type() {
        let check = |content_type: &str, expected: Result<PatchKind, u16>| {
            assert_eq!(patch_kind(content_type).map_err(|status| status.code), expected, "{content_type}");
        };
        check("application/json-patch+json", Ok(PatchKind::Json));
        check("application/merge-patch+json; charset=utf-8", Ok(PatchKind::Merge));
        check("application/strategic-merge-patch+json", Ok(PatchKind::Strategic));
        check("application/apply-patch+yaml", Err(415));
        check("application/json", Err(415));
        check("", Err(415));
    }
}
