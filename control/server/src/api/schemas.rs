//! `/openapi/…`: what objects are made of.

use http::header::{CACHE_CONTROL, EXPIRES, HeaderMap, HeaderName, HeaderValue, LOCATION, VARY};
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use pal_registry::custom;
use pal_resources::{Resource, Status, openapi};
use serde_json::Value;

use super::accept::{self, Accepted, names};
use super::discovery::described;
use super::documents::{BUILT_IN, Shown, tagged};
use super::{Call, reply};
use crate::Body;

/// The media type of the OpenAPI v2 document in its encoding for machines.
const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// As clients name it, which is not a media type by the letter of the RFC.
const OPENAPI_V2_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The schema of a custom resource's kind.
fn schema_of(resource: &Resource) -> Option<&Value> {
    custom::kind_of(resource).map(custom::Kind::openapi)
}

/// The schemas of a custom resource's kind and of its list in OpenAPI v2.
fn schemas_v2_of(resource: &Resource) -> Vec<(String, &Value)> {
    custom::kind_of(resource).map(custom::Kind::openapi_v2).unwrap_or_default()
}

fn takes_v2_protobuf(headers: &HeaderMap) -> bool {
    [OPENAPI_V2_PROTOBUF, OPENAPI_V2_ASKED].iter().any(|media| names(headers, media))
}

/// The answer to a path below `/openapi`, by whatever method it is asked for.
pub(super) async fn answer(call: &Call<'_>, path: &str) -> Result<Response<Body>, Status> {
    match path {
        "/openapi/v2" => old(call).await,
        "/openapi/v3" => index(call).await,
        _ => match path.strip_prefix("/openapi/v3/") {
            Some(wanted) => new(call, wanted).await,
            None => Err(Status::unknown_path()),
        },
    }
}

/// Refuses who takes it in no form that there is.
fn not_acceptable() -> Response<Body> {
    reply::text(StatusCode::NOT_ACCEPTABLE, "")
}

/// `/openapi/v2`, as protobuf for those who name it.
async fn old(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let headers = [(VARY, "Accept-Encoding"), (VARY, "Accept")];
    let definitions = call.registry().definitions();
    let number = definitions.number();
    let (documents, asked) = (&call.api.documents, &call.parts.headers);
    if !takes_v2_protobuf(asked) {
        if !accept::takes_json(asked) {
            return Ok(not_acceptable());
        }
        let make = move || Some(openapi::v2::json(&described(&definitions), &schemas_v2_of));
        let document = documents.get("openapi v2", number, make).await?.ok_or_else(Status::unknown_path)?;
        return schema(call, &document, &headers);
    }
    let make = move || Some(openapi::v2::protobuf(&described(&definitions), &schemas_v2_of));
    let document = documents.get("openapi v2 protobuf", number, make).await?.ok_or_else(Status::unknown_path)?;
    let body = reply::whole(document.body.clone());
    let whole = reply::answer(StatusCode::OK, HeaderValue::from_static(OPENAPI_V2_PROTOBUF), body);
    tagged(call, &document, &headers, Ok(whole))
}

/// `/openapi/v3`: where the documents are, for whoever asks.
async fn index(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let definitions = call.registry().definitions();
    let number = definitions.number();
    let make = move || Some(openapi::index(&described(&definitions), &schema_of));
    let index = call.api.documents.get("openapi v3", number, make).await?.ok_or_else(Status::unknown_path)?;
    schema(call, &index, &[])
}

/// `/openapi/v3/…`: the document of a version of a group.
async fn new(call: &Call<'_>, wanted: &str) -> Result<Response<Body>, Status> {
    if !accept::takes_json(&call.parts.headers) {
        return Ok(not_acceptable());
    }
    let definitions = call.registry().definitions();
    let own = wanted.strip_prefix("apis/").and_then(|rest| rest.split('/').next());
    let number = if own.is_some_and(|group| definitions.has_group(group)) { definitions.number() } else { BUILT_IN };
    let (name, below) = (format!("openapi v3 {wanted}"), wanted.to_owned());
    let make = move || openapi::document(&described(&definitions), &schema_of, &below);
    let document = call.api.documents.get(&name, number, make).await?.ok_or_else(Status::unknown_path)?;
    match call.query.get("hash") {
        None => schema(call, &document, &[(VARY, "Accept")]),
        Some(hash) if *hash == *document.hash => {
            let year = Timestamp::now() + SignedDuration::from_hours(365 * 24);
            let expires = year.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            schema(call, &document, &[(CACHE_CONTROL, "public, immutable"), (VARY, "Accept"), (EXPIRES, &expires)])
        }
        Some(_) => moved(&format!("/openapi/v3/{wanted}?hash={}", document.hash)),
    }
}

/// The document of another version is elsewhere.
fn moved(to: &str) -> Result<Response<Body>, Status> {
    let mut response = reply::text(StatusCode::MOVED_PERMANENTLY, "");
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(to).map_err(Status::internal)?);
    Ok(response)
}

/// A schema, which is indented for nobody.
fn schema(call: &Call<'_>, document: &Shown, headers: &[(HeaderName, &str)]) -> Result<Response<Body>, Status> {
    let accepted = Accepted { pretty: false, ..call.accepted };
    tagged(call, document, headers, reply::line(StatusCode::OK, &document.body, accepted))
}
