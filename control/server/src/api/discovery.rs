//! Paths that are no resources: discovery, schemas, version, health and figures.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, VARY};
use http::{Method, Response, StatusCode};
use pal_registry::custom::Definitions;
use pal_resources::{ResourceRef, Status, discovery, resource};
use serde::Serialize;
use serde_json::json;

use super::accept::{self, Accepted, Encoding, Offers, aggregated, names};
use super::debugging::Page;
use super::documents::{BUILT_IN, tagged};
use super::{Call, cluster, figures, health, issuer, method_not_allowed, reply, schemas};
use crate::Body;

/// The version of Go that this is built with.
pub(super) const GO: &str = "none";

/// Paths of no resources: what there is whatever the resources are.
pub(super) const PAGES: &[&str] = &[
    "/.well-known/openid-configuration",
    "/api",
    "/api/v1",
    "/apis",
    "/flagz",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/statusz",
    "/version",
];

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
    // As in kube-apiserver, pages are where they are and nowhere else, whatever the method is.
    match path {
        "/" | "/index.html" => return index(call),
        "/metrics" => return Ok(figures::metrics(call.api).await),
        _ => {}
    }
    if let Some(page) = Page::at(path) {
        return page.answer(call);
    }
    let trimmed = path.trim_matches('/');
    let found = match (trimmed.split('/').next().unwrap_or_default(), trimmed) {
        ("livez" | "readyz" | "healthz", _) => return health::answer(call, path).await,
        ("openapi", _) => return schemas::answer(call, path).await,
        ("api" | "apis", _) => groups(call, trimmed).await,
        (_, "version") => reply::raw(StatusCode::OK, &version(&call.api.config.version)),
        (_, "cluster-info") => cluster_info(call),
        (_, issuer::CONFIGURATION) => Ok(issuer::configuration(call)),
        (_, issuer::KEYS) => Ok(issuer::keys(call)),
        _ => Err(Status::unknown_path()),
    };
    // What is told in objects is read, and knows no HEAD.
    match call.parts.method {
        Method::GET => found,
        _ => found.and(Err(method_not_allowed())),
    }
}

/// `/cluster-info`
fn cluster_info(call: &Call<'_>) -> Result<Response<Body>, Status> {
    if wants_json(&call.parts.headers) {
        return reply::value(StatusCode::OK, &cluster::info(call), call.accepted);
    }
    Ok(reply::text(StatusCode::OK, call.api.ca.root_pem().to_owned()))
}

/// `/`
fn index(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let paths = paths(call.registry().definitions().everything());
    reply::raw(StatusCode::OK, &json!({"paths": paths}))
}

/// `version.Info`, in kube-apiserver's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version<'a> {
    major: &'a str,
    minor: &'a str,
    git_version: &'a str,
    git_commit: &'a str,
    git_tree_state: &'a str,
    build_date: &'a str,
    go_version: &'a str,
    compiler: &'a str,
    platform: String,
}

/// `/version`
fn version(git_version: &str) -> Version<'_> {
    let mut numbers = git_version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    Version {
        major,
        minor,
        git_version,
        git_commit: "",
        git_tree_state: "clean",
        build_date: "1970-01-01T00:00:00Z",
        go_version: GO,
        compiler: "rustc",
        platform: format!("{}/{}", std::env::consts::OS, architecture()),
    }
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
    let mut paths: Vec<String> = PAGES.iter().map(|&page| page.to_owned()).collect();
    for resource in resources.iter().chain(resource::measured()).filter(|resource| !resource.group.is_empty()) {
        paths.push(format!("/apis/{}", resource.group));
        paths.push(format!("/apis/{}", resource.api_version()));
    }
    paths.sort();
    paths.dedup();
    paths
}

/// What clients are told of: what is built in, custom resources, and what is measured.
pub(super) fn described(definitions: &Definitions) -> Vec<ResourceRef> {
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
        return reply::line(StatusCode::OK, &document.body, call.accepted);
    }
    let headers = [(CONTENT_TYPE, discovery::AGGREGATED_MEDIA_TYPE), (CACHE_CONTROL, "public"), (VARY, "Accept")];
    let accepted = Accepted { encoding: Encoding::Json, ..call.accepted };
    tagged(call, &document, &headers, reply::line(StatusCode::OK, &document.body, accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((found.major, found.minor), ("1", "36"));
        assert_eq!(found.git_version, "v1.36.2+pal");
    }
}
