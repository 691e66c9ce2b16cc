//! The OCI distribution protocol, from the server's side: the cluster's own registry at `/v2/`.
//!
//! An upload lives as long as its process: one that was cut off begins again, as the protocol allows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::artifact::{MANIFEST, Manifest};
use crate::blobs::Blobs;
use crate::digest::Digest;
use crate::part::{self, Part};
use crate::reference::{is_repository, is_tag};
use crate::refusal::{Refusal, full, set, with_status};
use crate::share::Share;
use crate::siblings::{CATALOG_PATH, DIGEST as DIGEST_HEADER, Offer, Siblings, TAGGED_AT, Tagged};
use crate::standin;
use crate::uploads::Upload;
use crate::{Body, BoxError};

const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(30);
/// How much of a body that is refused is read before the answer, and for how long.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Who sends a request. The caller knows, and decides who may read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A user, or a node: what is not here is looked for elsewhere.
    Client,
    /// Another server of the cluster: it is told what is here and nothing else.
    Server,
}

/// Serves a folder of content as an OCI registry. Clones share all.
#[derive(Clone)]
pub struct RegistryV2 {
    pub(crate) blobs: Blobs,
    share: Option<Share>,
    pub(crate) uploads: Arc<Mutex<HashMap<String, Upload>>>,
}

/// What a path below `/v2/` names.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Root,
    Manifest { repository: &'a str, selector: &'a str },
    Blob { repository: &'a str, digest: &'a str },
    Uploads { repository: &'a str },
    Upload { repository: &'a str, id: &'a str },
    Tags { repository: &'a str },
}

fn route(path: &str) -> Option<Route<'_>> {
    let rest = path.strip_prefix("/v2/").or_else(|| (path == "/v2").then_some(""))?;
    if rest.is_empty() {
        return Some(Route::Root);
    }
    let found = if let Some(repository) = rest.strip_suffix("/tags/list") {
        Route::Tags { repository }
    } else if let Some(repository) =
        rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"))
    {
        Route::Uploads { repository }
    } else if let Some((repository, id)) = rest.rsplit_once("/blobs/uploads/") {
        Route::Upload { repository, id }
    } else if let Some((repository, digest)) = rest.rsplit_once("/blobs/") {
        Route::Blob { repository, digest }
    } else {
        let (repository, selector) = rest.rsplit_once("/manifests/")?;
        Route::Manifest { repository, selector }
    };
    Some(found)
}

impl RegistryV2 {
    /// A registry over that folder.
    pub fn new(blobs: Blobs) -> Self {
        Self { blobs, share: None, uploads: Arc::default() }
    }

    /// The same, of one server of several: what any of them has, all of them serve. What it does for that in the background
    /// ends with the last clone.
    pub fn among(blobs: Blobs, siblings: Arc<dyn Siblings>) -> Self {
        let share = Some(Share::start(blobs.clone(), siblings));
        Self { blobs, share, uploads: Arc::default() }
    }

    /// Answers one request.
    pub async fn call<B>(&self, origin: Origin, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let (parts, mut body) = request.into_parts();
        match self.answer(origin, parts, &mut body).await {
            Ok(response) => response,
            Err(refusal) => {
                // Who still sends when its stream ends may not see what it was answered. Of who sends on, the rest is lost.
                let _ = timeout(DRAIN_LIMIT, drain(&mut body, DRAIN_BYTES)).await;
                refusal.into_response()
            }
        }
    }

    async fn answer<B>(&self, origin: Origin, parts: Parts, body: B) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let query = parts.uri.query().unwrap_or_default();
        if origin == Origin::Server && parts.uri.path() == CATALOG_PATH {
            // A struct of strings and numbers has no way to fail.
            return Ok(Response::new(full(serde_json::to_vec(&self.blobs.records().await?).unwrap_or_default())));
        }
        let share = self.share.as_ref().filter(|_| origin == Origin::Client);
        let route = route(parts.uri.path())
            .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such path in a registry"))?;
        check_repository(&route)?;
        match (route, &parts.method) {
            (Route::Root, &Method::GET | &Method::HEAD) => Ok(Response::new(full("{}"))),
            (Route::Manifest { repository, selector }, method @ (&Method::GET | &Method::HEAD)) => {
                self.manifest(origin, share, repository, selector, method == Method::GET).await
            }
            (Route::Manifest { repository, selector }, &Method::PUT) => {
                let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
                let media_type = text(header::CONTENT_TYPE).unwrap_or(MANIFEST);
                let told = text(TAGGED_AT).filter(|_| origin == Origin::Server).and_then(|text| text.parse().ok());
                let target = Target { repository, selector, media_type };
                let offer = self.put_manifest(target, told, body).await?;
                let response = pushed(&offer);
                if let Some(share) = share {
                    share.offer(offer).await;
                }
                Ok(response)
            }
            (Route::Blob { repository, digest }, &Method::GET) => {
                self.blob(share, repository, digest, Some(&parts.headers)).await
            }
            (Route::Blob { repository, digest }, &Method::HEAD) => self.blob(share, repository, digest, None).await,
            (Route::Uploads { repository }, &Method::POST) => self.begin(repository, query, body).await,
            (Route::Upload { repository, id }, &Method::PATCH) => self.append(repository, id, body).await,
            (Route::Upload { repository, id }, &Method::PUT) => self.finish(repository, id, query, body).await,
            (Route::Upload { id, .. }, &Method::DELETE) => {
                self.uploads.lock().await.remove(id);
                Ok(with_status(StatusCode::NO_CONTENT))
            }
            (Route::Tags { repository }, &Method::GET) => {
                let tags = self.blobs.tags(repository).await?.ok_or_else(|| {
                    Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", format!("no repository {repository}"))
                })?;
                let body = serde_json::json!({ "name": repository, "tags": tags });
                Ok(Response::new(full(body.to_string())))
            }
            (_, method) => Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                format!("{method} is not supported here"),
            )),
        }
    }

    async fn manifest(
        &self,
        origin: Origin,
        share: Option<&Share>,
        repository: &str,
        selector: &str,
        with_body: bool,
    ) -> Result<Response<Body>, Refusal> {
        let unknown = || {
            let message = format!("no manifest {selector} in {repository}");
            Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
        };
        let (digest, tagged_at) = match selector.parse::<Digest>() {
            Ok(digest) => (digest, None),
            Err(_) if is_tag(selector) => {
                let here = self.blobs.tag(repository, selector).await?;
                let newest = match share {
                    Some(share) => share.tag(repository, selector, here).await?,
                    None => here,
                };
                match newest {
                    Some(Tagged { at, digest }) => (digest, Some(at)),
                    None if origin == Origin::Client => {
                        (standin::provide(&self.blobs, repository).await?.ok_or_else(unknown)?, None)
                    }
                    None => return Err(unknown()),
                }
            }
            Err(_) => return Err(unknown()),
        };
        if let Some(share) = share
            && self.blobs.manifest_type(repository, &digest).await?.is_none()
        {
            share.manifest(repository, &digest).await?;
        }
        let media_type = self.blobs.manifest_type(repository, &digest).await?.ok_or_else(unknown)?;
        let bytes = self.blobs.read(&digest).await?.ok_or_else(unknown)?;
        let length = bytes.len();
        let mut response = Response::new(if with_body { full(bytes) } else { full(Bytes::new()) });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        set(headers, header::CONTENT_TYPE, &media_type);
        set(headers, DIGEST_HEADER, digest.as_str());
        if let Some(at) = tagged_at {
            headers.insert(TAGGED_AT, HeaderValue::from(at));
        }
        Ok(response)
    }

    /// Stores a manifest whose blobs are here, or with another server. `told` is when another server took the push.
    async fn put_manifest<B>(&self, target: Target<'_>, told: Option<u64>, body: B) -> Result<Offer, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let Target { repository, selector, media_type } = target;
        let invalid = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message);
        let bytes = timeout(STALL_LIMIT, whole(body, MANIFEST_BYTES))
            .await
            .map_err(|_| invalid("the manifest did not arrive in time".to_owned()))?
            .map_err(|error| invalid(error.to_string()))?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        let digest = Digest::of(&bytes);
        let tag = match selector.parse::<Digest>() {
            Ok(named) if named == digest => None,
            Ok(named) => {
                let message = format!("the manifest's digest is {digest}, not {named}");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message));
            }
            Err(_) if is_tag(selector) => Some(selector),
            Err(_) => return Err(invalid(format!("{selector:?} is neither a tag nor a digest"))),
        };
        for descriptor in manifest.config.iter().chain(&manifest.layers) {
            if !self.has_blob(repository, &descriptor.digest).await? {
                let message = format!("the manifest names {}, which was not pushed", descriptor.digest);
                return Err(Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", message));
            }
        }
        self.blobs.put(&bytes).await?;
        self.blobs.record(repository, &digest, media_type).await?;
        let mut at = told.unwrap_or_else(millis);
        if let Some(tag) = tag {
            if told.is_none() {
                // A push is newer than what it replaces, whatever the clocks say.
                let here = self.blobs.tag(repository, tag).await?;
                let known = match &self.share {
                    Some(share) => share.tag(repository, tag, here).await?,
                    None => here,
                };
                at = known.map_or(at, |known| at.max(known.at.saturating_add(1)));
            }
            self.blobs.tag_as(repository, tag, &Tagged { at, digest: digest.clone() }).await?;
        }
        let (repository, media_type) = (repository.to_owned(), media_type.to_owned());
        Ok(Offer { repository, selector: selector.to_owned(), media_type, bytes, at })
    }

    async fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, Refusal> {
        if self.blobs.size(digest).await?.is_some() {
            return Ok(true);
        }
        match &self.share {
            Some(share) => Ok(share.blob(repository, digest).await?),
            None => Ok(false),
        }
    }

    /// Answers with a blob, or with what the headers ask for of it; without headers, with what there is to say of it.
    async fn blob(
        &self,
        share: Option<&Share>,
        repository: &str,
        digest: &str,
        asked: Option<&HeaderMap>,
    ) -> Result<Response<Body>, Refusal> {
        let unknown = || Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("no blob {digest}"));
        let digest: Digest = digest.parse().map_err(|_| unknown())?;
        let mut size = self.blobs.size(&digest).await?;
        if let (None, Some(share)) = (size, share)
            && share.blob(repository, &digest).await?
        {
            size = self.blobs.size(&digest).await?;
        }
        let size = size.ok_or_else(unknown)?;
        let mut response = match asked {
            Some(headers) => part::send(&self.blobs.path(&digest), Part::of(headers, size), size).await?,
            None => part::of_length(full(Bytes::new()), size),
        };
        let headers = response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        set(headers, DIGEST_HEADER, digest.as_str());
        Ok(response)
    }
}

/// Where a manifest is put.
struct Target<'a> {
    repository: &'a str,
    selector: &'a str,
    media_type: &'a str,
}

/// The answer to who pushed that.
fn pushed(offer: &Offer) -> Response<Body> {
    let digest = Digest::of(&offer.bytes);
    let mut response = with_status(StatusCode::CREATED);
    set(response.headers_mut(), header::LOCATION, &format!("/v2/{}/manifests/{digest}", offer.repository));
    set(response.headers_mut(), DIGEST_HEADER, digest.as_str());
    response
}

/// Milliseconds since 1970.
fn millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn check_repository(route: &Route<'_>) -> Result<(), Refusal> {
    match route {
        Route::Root => Ok(()),
        Route::Manifest { repository, .. }
        | Route::Blob { repository, .. }
        | Route::Uploads { repository }
        | Route::Upload { repository, .. }
        | Route::Tags { repository } => {
            if is_repository(repository) {
                return Ok(());
            }
            Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "NAME_INVALID",
                format!("{repository:?} is no repository's name"),
            ))
        }
    }
}

/// Reads what nobody wants, so many bytes at most.
async fn drain<B>(body: &mut B, most: usize)
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    let mut left = most;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// A body of at most `limit` bytes.
async fn whole<B>(mut body: B, limit: usize) -> Result<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    let mut bytes = bytes::BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Into::into)?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > limit {
            return Err(format!("it is larger than {limit} bytes").into());
        }
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_the_distribution_spec_says() {
        let check = |path: &str, expected: Option<Route<'_>>| assert_eq!(route(path), expected, "{path}");
        check("/v2/", Some(Route::Root));
        check("/v2", Some(Route::Root));
        check("/v2/a/b/manifests/v1", Some(Route::Manifest { repository: "a/b", selector: "v1" }));
        check("/v2/a/blobs/sha256:1", Some(Route::Blob { repository: "a", digest: "sha256:1" }));
        check("/v2/a/blobs/uploads/", Some(Route::Uploads { repository: "a" }));
        check("/v2/a/blobs/uploads/7", Some(Route::Upload { repository: "a", id: "7" }));
        check("/v2/a/tags/list", Some(Route::Tags { repository: "a" }));
        check("/v2/a", None);
        check("/v3/", None);
    }
}
