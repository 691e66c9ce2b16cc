//! Paths that are no resources: discovery, schemas, version, health and figures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{Method, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use pal_registry::custom::{self, Definitions};
use pal_resources::discovery::{self, Document};
use pal_resources::{Resource, ResourceRef, Status, openapi, resource};
use serde_json::{Value, json};

use super::accept::{self, Accepted, Encoding, Offers, aggregated, names};
use super::{Call, cluster, figures, health, issuer, method_not_allowed, reply};
use crate::Body;

/// The media type of the OpenAPI v2 document in its encoding for machines.
const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// As clients name it, which is not a media type by the letter of the RFC.
const OPENAPI_V2_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Documents that were asked for: they are made once, and anew when custom resources that they tell of have changed.
#[derive(Default)]
pub(super) struct Documents {
    kept: Mutex<HashMap<String, Kept>>,
    /// Held while one is made: many that ask for it at once want one document, not as many.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// A document, and the number of the definitions that it tells of.
struct Kept {
    of: u64,
    document: Shown,
}

/// A document as it is sent: all who get it share its bytes, which end with a line end where they are JSON.
#[derive(Clone)]
struct Shown {
    body: Bytes,
    hash: Arc<str>,
}

impl Documents {
    /// The document of that name, made by `make` the first time. `of` is the number of the definitions that it tells of, or
    /// `BUILT_IN`.
    async fn get<F>(self: &Arc<Self>, name: &str, of: u64, make: F) -> Result<Option<Shown>, Status>
    where
        F: FnOnce() -> Option<Document> + Send + 'static,
    {
        if let Some(found) = self.find(name, of) {
            return Ok(Some(found));
        }
        let turn = self.making.clone().lock_owned().await;
        if let Some(found) = self.find(name, of) {
            return Ok(Some(found));
        }
        let (documents, name) = (self.clone(), name.to_owned());
        // A schema is large: it is not written on a thread that serves others. Who asked may go meanwhile: what was begun is
        // finished and kept, and only then is the next one's turn.
        let made = tokio::task::spawn_blocking(move || {
            let Document { mut body, hash } = make()?;
            if body.starts_with(b"{") {
                body.push(b'\n');
            }
            let document = Shown { body: body.into(), hash: hash.into() };
            documents.keep(name, Kept { of, document: document.clone() });
            drop(turn);
            Some(document)
        });
        made.await.map_err(Status::internal)
    }

    fn find(&self, name: &str, of: u64) -> Option<Shown> {
        self.lock().get(name).filter(|kept| kept.of == of).map(|kept| kept.document.clone())
    }

    fn keep(&self, name: String, made: Kept) {
        let mut kept = self.lock();
        // One that tells of older definitions may be ready later than one that tells of newer ones.
        if kept.get(&name).is_none_or(|before| before.of <= made.of) {
            kept.insert(name, made);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No definitions have this number: of documents that tell of nothing custom.
const BUILT_IN: u64 = 0;

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

/// Whether the cluster is asked for as an object. Those who name no form get the root certificate alone.
fn wants_json(headers: &HeaderMap) -> bool {
    names(headers, "application/json")
}

/// The form of the answer to a path that names no resource. Where that is no object it is what there is, whatever the client
/// takes.
pub(super) fn form(path: &str, headers: &HeaderMap, pretty: Option<bool>) -> Result<Accepted, Status> {
    let path = path.trim_matches('/');
    let asked = match path.split('/').next().unwrap_or_default() {
        "api" | "apis" if aggregated(headers) && matches!(path, "api" | "apis") => None,
        "api" | "apis" => {
            accept::routed(headers, accept::OF_OBJECTS)?;
            Some(accept::accept(headers, pretty, Offers::Documents)?)
        }
        "version" => {
            accept::routed(headers, accept::OF_VERSION)?;
            None
        }
        "cluster-info" => accept::accept(headers, pretty, Offers::Documents).ok(),
        _ => None,
    };
    Ok(asked.unwrap_or_else(|| accept::unasked(headers, pretty)))
}

/// The answer to a path that names no resource.
pub(super) async fn answer(call: &Call<'_>, path: &str) -> Result<Response<Body>, Status> {
    let trimmed = path.trim_matches('/');
    let first = trimmed.split('/').next().unwrap_or_default();
    // As kube-apiserver, which knows no HEAD for what it tells in objects.
    let head = call.parts.method == Method::HEAD && !matches!(first, "api" | "apis" | "version");
    if call.parts.method != Method::GET && !head {
        return match first {
            "api" | "apis" | "version" | "openapi" | "openid" | ".well-known" => Err(method_not_allowed()),
            _ => Err(Status::unknown_path()),
        };
    }
    match (first, trimmed) {
        ("livez" | "readyz" | "healthz", _) => health::answer(call, path).await,
        (_, "version") => reply::raw(StatusCode::OK, &version(&call.api.config.version)),
        (_, "metrics") => Ok(figures::metrics(call.api).await),
        (_, "cluster-info") if wants_json(&call.parts.headers) => {
            reply::value(StatusCode::OK, &cluster::info(call), call.accepted)
        }
        (_, "cluster-info") => Ok(reply::text(StatusCode::OK, call.api.ca.root_pem().to_owned())),
        (_, issuer::CONFIGURATION) => Ok(issuer::configuration(call)),
        (_, issuer::KEYS) => Ok(issuer::keys(call)),
        (_, "") => {
            let paths = paths(call.registry().definitions().everything());
            reply::raw(StatusCode::OK, &json!({"paths": paths}))
        }
        ("api" | "apis", _) => groups(call, trimmed).await,
        ("openapi", _) => schemas(call, trimmed).await,
        _ => Err(Status::unknown_path()),
    }
}

/// `/version`
fn version(git_version: &str) -> serde_json::Value {
    let mut numbers = git_version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": git_version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The processor in the words that Kubernetes has for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn paths(resources: &[ResourceRef]) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    for resource in resources.iter().chain(resource::measured()).filter(|resource| !resource.group.is_empty()) {
        paths.push(format!("/apis/{}", resource.group));
        paths.push(format!("/apis/{}", resource.api_version()));
    }
    paths.sort();
    paths.dedup();
    paths
}

/// What clients are told of: what is built in, custom resources, and what is measured.
fn described(definitions: &Definitions) -> Vec<ResourceRef> {
    definitions.everything().iter().chain(resource::measured()).cloned().collect()
}

async fn groups(call: &Call<'_>, path: &str) -> Result<Response<Body>, Status> {
    let combined = aggregated(&call.parts.headers) && matches!(path, "api" | "apis");
    let name = if combined { format!("{path} aggregated") } else { path.to_owned() };
    let group = path.split('/').nth(1).unwrap_or_default().to_owned();
    let definitions = call.registry().definitions();
    let own = path == "apis" || definitions.has_group(&group);
    let number = if own { definitions.number() } else { BUILT_IN };
    let (path, address) = (path.to_owned(), call.api.local.to_string());
    let found = call.api.documents.get(&name, number, move || {
        let resources = &*described(&definitions);
        let segments: Vec<&str> = path.split('/').collect();
        match (segments.as_slice(), combined) {
            (["api"], true) => Some(discovery::aggregated_core(resources)),
            (["apis"], true) => Some(discovery::aggregated_groups(resources)),
            (["api"], false) => Some(discovery::api_versions(&address)),
            (["apis"], false) => Some(discovery::group_list(resources)),
            (["apis", group], _) => discovery::group(resources, group),
            (["api", version], _) => discovery::resource_list(resources, "", version),
            (["apis", group, version], _) => discovery::resource_list(resources, group, version),
            _ => None,
        }
    });
    let document = found.await?.ok_or_else(Status::unknown_path)?;
    if !combined {
        let mut response = reply::line(StatusCode::OK, &document.body, call.accepted)?;
        response.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
        return Ok(response);
    }
    let headers = [(CONTENT_TYPE, discovery::AGGREGATED_MEDIA_TYPE), (CACHE_CONTROL, "public"), (VARY, "Accept")];
    cached(call, &document, &headers)
}

/// `/openapi/v2`, as protobuf for those who name it.
async fn schemas_v2(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let headers = [(CACHE_CONTROL, "no-cache, private"), (VARY, "Accept")];
    let definitions = call.registry().definitions();
    let number = definitions.number();
    if !takes_v2_protobuf(&call.parts.headers) {
        let make = move || Some(openapi::v2::json(&described(&definitions), &schemas_v2_of));
        let document = call.api.documents.get("openapi v2", number, make).await?;
        let document = document.ok_or_else(Status::unknown_path)?;
        return schema(call, &document, &headers);
    }
    let make = move || Some(openapi::v2::protobuf(&described(&definitions), &schemas_v2_of));
    let document =
        call.api.documents.get("openapi v2 protobuf", number, make).await?.ok_or_else(Status::unknown_path)?;
    let body = reply::whole(document.body.clone());
    let whole = reply::answer(StatusCode::OK, HeaderValue::from_static(OPENAPI_V2_PROTOBUF), body);
    tagged(call, &document, &headers, Ok(whole))
}

async fn schemas(call: &Call<'_>, path: &str) -> Result<Response<Body>, Status> {
    let headers = &call.parts.headers;
    let is_v2 = path == "openapi/v2";
    // As kube-apiserver, which has these as they are and in no other form; the index is for everybody.
    if path != "openapi/v3" && !accept::takes_json(headers) && !(is_v2 && takes_v2_protobuf(headers)) {
        return Ok(reply::text(StatusCode::NOT_ACCEPTABLE, ""));
    }
    if is_v2 {
        return schemas_v2(call).await;
    }
    let Some(below) = path.strip_prefix("openapi/v3") else { return Err(Status::unknown_path()) };
    let below = below.trim_matches('/').to_owned();
    let name = path.to_owned();
    let definitions = call.registry().definitions();
    if below.is_empty() {
        let number = definitions.number();
        let make = move || Some(openapi::index(&described(&definitions), &schema_of));
        let index = call.api.documents.get(&name, number, make).await?;
        let index = index.ok_or_else(Status::unknown_path)?;
        return schema(call, &index, &[(CACHE_CONTROL, "no-cache, private"), (VARY, "Accept")]);
    }
    let wanted = below.clone();
    let own = below.strip_prefix("apis/").and_then(|rest| rest.split('/').next());
    let number = if own.is_some_and(|group| definitions.has_group(group)) { definitions.number() } else { BUILT_IN };
    let make = move || openapi::document(&described(&definitions), &schema_of, &wanted);
    let document = call.api.documents.get(&name, number, make).await?.ok_or_else(Status::unknown_path)?;
    match call.query.get("hash") {
        None => schema(call, &document, &[(CACHE_CONTROL, "no-cache, private"), (VARY, "Accept")]),
        Some(hash) if *hash == *document.hash => {
            let year = Timestamp::now() + SignedDuration::from_hours(365 * 24);
            let expires = year.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            schema(call, &document, &[(CACHE_CONTROL, "public, immutable"), (VARY, "Accept"), (EXPIRES, &expires)])
        }
        Some(_) => moved(&format!("/openapi/v3/{below}?hash={}", document.hash)),
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

/// A document that clients keep: they ask again with its tag, and hear that it is still the same.
fn cached(call: &Call<'_>, document: &Shown, headers: &[(HeaderName, &str)]) -> Result<Response<Body>, Status> {
    let accepted = Accepted { encoding: Encoding::Json, ..call.accepted };
    tagged(call, document, headers, reply::line(StatusCode::OK, &document.body, accepted))
}

fn tagged(
    call: &Call<'_>,
    document: &Shown,
    headers: &[(HeaderName, &str)],
    whole: Result<Response<Body>, Status>,
) -> Result<Response<Body>, Status> {
    let tag = format!("\"{}\"", document.hash);
    let mut response = if matches_tag(&call.parts.headers, &tag) {
        let mut response = Response::new(reply::whole(""));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        whole?
    };
    let unchanged = response.status() == StatusCode::NOT_MODIFIED;
    let target = response.headers_mut();
    target.insert(ETAG, HeaderValue::from_str(&tag).map_err(Status::internal)?);
    for (name, value) in headers {
        if unchanged && name == CONTENT_TYPE {
            continue;
        }
        target.insert(name, HeaderValue::from_str(value).map_err(Status::internal)?);
    }
    Ok(response)
}

fn matches_tag(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|given| given == tag || given == "*")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_have_one_document_made_even_when_the_first_goes() {
        let (documents, made) = (Arc::<Documents>::default(), Arc::<AtomicUsize>::default());
        let ask = |of: u64| {
            let (documents, made) = (documents.clone(), made.clone());
            async move {
                let make = move || {
                    let number = made.fetch_add(1, Ordering::SeqCst);
                    Some(Document { body: format!("{{{number}}}").into_bytes(), hash: String::new() })
                };
                documents.get("a", of, make).await.expect("it is made").expect("a document").body
            }
        };
        let mut first = Box::pin(ask(1));
        assert!(futures::poll!(&mut first).is_pending());
        drop(first);
        for (of, expected) in [(1, "{0}\n"), (2, "{1}\n")] {
            let bodies = futures::future::join_all((0..50).map(|_| ask(of))).await;
            assert!(bodies.iter().all(|body| *body == expected), "{of}: {bodies:?}");
        }
        assert_eq!(made.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_is_no_object_is_told_whatever_a_client_takes() {
        let check = |path: &str, accept: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT, accept.parse().expect("a header"));
            let found = form(path, &headers, None).map_err(|status| status.message).err();
            assert_eq!(
                found.as_deref().map(|why| why.split(' ').next_back().unwrap_or_default()),
                expected,
                "{path} {accept}"
            );
        };
        let table = "application/json;as=Table;g=meta.k8s.io;v=v1";
        let combined = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let protobuf = Some("application/vnd.kubernetes.protobuf");
        check("/nothing", "text/html", None);
        check("/", table, None);
        check("/openapi/v3", "text/html", None);
        check("/version", table, None);
        check("/version", "application/yaml", Some("application/json"));
        check("/apis", "text/html", protobuf);
        check("/apis", "*", protobuf);
        check("/apis/apps/v1", table, protobuf);
        check("/apis", combined, None);
        check("/apis/apps", combined, protobuf);
    }

    #[test]
    fn the_version_is_told_in_parts() {
        let found = version("v1.36.2+pal");
        assert_eq!((&found["major"], &found["minor"]), (&json!("1"), &json!("36")));
        assert_eq!(found["gitVersion"], "v1.36.2+pal");
    }

    #[test]
    fn tags_are_compared_whole() {
        let check = |header: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, header.parse().expect("a header"));
            assert_eq!(matches_tag(&headers, "\"abc\""), expected, "{header}");
        };
        check("\"abc\"", true);
        check("\"x\", \"abc\"", true);
        check("*", true);
        check("\"abcd\"", false);
    }
}
