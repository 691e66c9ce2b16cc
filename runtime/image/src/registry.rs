//! The OCI distribution protocol, from the server's side: the cluster's own registry at `/v2/`.
//!
//! An upload lives as long as its process: one that was cut off begins again, as the protocol allows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::artifact::{MANIFEST, Manifest};
use crate::blobs::{BlobError, Blobs, Incoming};
use crate::digest::Digest;
use crate::reference::{is_repository, is_tag};
use crate::{Body, BoxError, MAX_BLOB_BYTES};

const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
const STALL_LIMIT: Duration = Duration::from_secs(30);
const UPLOAD_IDLE: Duration = Duration::from_secs(600);
const UPLOADS_AT_ONCE: usize = 256;
const CHUNK_BYTES: usize = 64 * 1024;

/// Serves a folder of content as an OCI registry. Clones share all. Who may read and write is the caller's to decide.
#[derive(Clone)]
pub struct RegistryV2 {
    blobs: Blobs,
    uploads: Arc<Mutex<HashMap<String, Upload>>>,
}

struct Upload {
    incoming: Incoming,
    touched: Instant,
}

/// A refusal in the distribution spec's form.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn into_response(self) -> Response<Body> {
        let body = serde_json::json!({ "errors": [{ "code": self.code, "message": self.message }] });
        let mut response = Response::new(full(body.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::Mismatch { .. } => Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", error.to_string()),
            BlobError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", error.to_string()),
            BlobError::Io { path, source } => {
                tracing::error!(path = %path.display(), %source, "the registry's storage failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "UNKNOWN",
                    format!("the registry's storage failed: {source}"),
                )
            }
        }
    }
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
        Self { blobs, uploads: Arc::default() }
    }

    /// Answers one request.
    pub async fn call<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        match self.answer(request).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let route = route(parts.uri.path())
            .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such path in a registry"))?;
        check_repository(&route)?;
        match (route, &parts.method) {
            (Route::Root, &Method::GET | &Method::HEAD) => Ok(Response::new(full("{}"))),
            (Route::Manifest { repository, selector }, &Method::GET) => self.manifest(repository, selector, true).await,
            (Route::Manifest { repository, selector }, &Method::HEAD) => {
                self.manifest(repository, selector, false).await
            }
            (Route::Manifest { repository, selector }, &Method::PUT) => {
                let media_type =
                    parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or(MANIFEST);
                self.put_manifest(repository, selector, media_type, body).await
            }
            (Route::Blob { digest, .. }, &Method::GET) => self.blob(digest, true).await,
            (Route::Blob { digest, .. }, &Method::HEAD) => self.blob(digest, false).await,
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

    async fn manifest(&self, repository: &str, selector: &str, with_body: bool) -> Result<Response<Body>, Refusal> {
        let unknown = || {
            let message = format!("no manifest {selector} in {repository}");
            Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
        };
        let digest = match selector.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) if is_tag(selector) => self.blobs.tag(repository, selector).await?.ok_or_else(unknown)?,
            Err(_) => return Err(unknown()),
        };
        let media_type = self.blobs.manifest_type(repository, &digest).await?.ok_or_else(unknown)?;
        let bytes = self.blobs.read(&digest).await?.ok_or_else(unknown)?;
        let length = bytes.len();
        let mut response = Response::new(if with_body { full(bytes) } else { full(Bytes::new()) });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        set(headers, header::CONTENT_TYPE, &media_type);
        set(headers, DIGEST_HEADER, digest.as_str());
        Ok(response)
    }

    async fn put_manifest<B>(
        &self,
        repository: &str,
        selector: &str,
        media_type: &str,
        body: B,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let invalid = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message);
        let bytes = timeout(STALL_LIMIT, Limited::new(body, MANIFEST_BYTES).collect())
            .await
            .map_err(|_| invalid("the manifest did not arrive in time".to_owned()))?
            .map_err(|error| invalid(error.to_string()))?
            .to_bytes();
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        for descriptor in manifest.config.iter().chain(&manifest.layers) {
            if self.blobs.size(&descriptor.digest).await?.is_none() {
                let message = format!("the manifest names {}, which was not pushed", descriptor.digest);
                return Err(Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", message));
            }
        }
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
        self.blobs.put(&bytes).await?;
        self.blobs.record(repository, &digest, media_type, tag).await?;
        let mut response = with_status(StatusCode::CREATED);
        set(response.headers_mut(), header::LOCATION, &format!("/v2/{repository}/manifests/{digest}"));
        set(response.headers_mut(), DIGEST_HEADER, digest.as_str());
        Ok(response)
    }

    async fn blob(&self, digest: &str, with_body: bool) -> Result<Response<Body>, Refusal> {
        let unknown = || Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("no blob {digest}"));
        let digest: Digest = digest.parse().map_err(|_| unknown())?;
        let size = self.blobs.size(&digest).await?.ok_or_else(unknown)?;
        let body = if with_body {
            let path = self.blobs.path(&digest);
            let file = tokio::fs::File::open(&path).await.map_err(BlobError::io(&path))?;
            file_body(file)
        } else {
            full(Bytes::new())
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        set(headers, DIGEST_HEADER, digest.as_str());
        Ok(response)
    }

    /// POST: opens an upload; with `?digest=` the body is the whole blob, with `?mount=` one that is here is taken.
    async fn begin<B>(&self, repository: &str, query: &str, body: B) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        if let Some(mount) = parameter(query, "mount").and_then(|text| text.parse::<Digest>().ok())
            && self.blobs.size(&mount).await?.is_some()
        {
            return Ok(created(repository, &mount));
        }
        let mut incoming = self.blobs.begin(MAX_BLOB_BYTES).await?;
        if let Some(digest) = parameter(query, "digest") {
            let digest = parse_digest(&digest)?;
            receive(&mut incoming, body).await?;
            return Ok(created(repository, &incoming.finish(Some(&digest)).await?));
        }
        let mut uploads = self.uploads.lock().await;
        uploads.retain(|_, upload| upload.touched.elapsed() < UPLOAD_IDLE);
        if uploads.len() >= UPLOADS_AT_ONCE {
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many uploads at once"));
        }
        let response = accepted(repository, &incoming);
        uploads.insert(incoming.id().to_owned(), Upload { incoming, touched: Instant::now() });
        Ok(response)
    }

    async fn append<B>(&self, repository: &str, id: &str, body: B) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let mut incoming = self.take(id).await?;
        receive(&mut incoming, body).await?;
        let response = accepted(repository, &incoming);
        let upload = Upload { incoming, touched: Instant::now() };
        self.uploads.lock().await.insert(id.to_owned(), upload);
        Ok(response)
    }

    async fn finish<B>(&self, repository: &str, id: &str, query: &str, body: B) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let digest = parameter(query, "digest").unwrap_or_default();
        let digest = parse_digest(&digest)?;
        let mut incoming = self.take(id).await?;
        receive(&mut incoming, body).await?;
        Ok(created(repository, &incoming.finish(Some(&digest)).await?))
    }

    /// Takes an upload out, so that nobody else writes to it meanwhile.
    async fn take(&self, id: &str) -> Result<Incoming, Refusal> {
        let upload = self.uploads.lock().await.remove(id);
        upload.map(|upload| upload.incoming).ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", format!("no upload {id}: begin again"))
        })
    }
}

const DIGEST_HEADER: header::HeaderName = header::HeaderName::from_static("docker-content-digest");

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

async fn receive<B>(incoming: &mut Incoming, mut body: B) -> Result<(), Refusal>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    let invalid = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message);
    loop {
        match timeout(STALL_LIMIT, body.frame()).await {
            Err(_) => return Err(invalid("the upload stalled".to_owned())),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(invalid(format!("the upload was cut off: {}", error.into()))),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    incoming.write(&data).await?;
                }
            }
        }
    }
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", format!("{error}")))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?.1;
    Some(value.replace("%3A", ":").replace("%3a", ":"))
}

fn created(repository: &str, digest: &Digest) -> Response<Body> {
    let mut response = with_status(StatusCode::CREATED);
    set(response.headers_mut(), header::LOCATION, &format!("/v2/{repository}/blobs/{digest}"));
    set(response.headers_mut(), DIGEST_HEADER, digest.as_str());
    response
}

fn accepted(repository: &str, incoming: &Incoming) -> Response<Body> {
    let mut response = with_status(StatusCode::ACCEPTED);
    let location = format!("/v2/{repository}/blobs/uploads/{}", incoming.id());
    set(response.headers_mut(), header::LOCATION, &location);
    set(response.headers_mut(), header::RANGE, &format!("0-{}", incoming.size().saturating_sub(1)));
    response
}

fn with_status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// Sets a header whose text is ours or was checked; one that cannot stand in a header is left out.
fn set(headers: &mut http::HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn file_body(file: tokio::fs::File) -> Body {
    let chunks = futures::stream::try_unfold(file, |mut file| async move {
        let mut chunk = bytes::BytesMut::with_capacity(CHUNK_BYTES);
        let read = file.read_buf(&mut chunk).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (chunk.freeze(), file)))
    });
    let frames = chunks.map(|chunk| chunk.map(http_body::Frame::data).map_err(BoxError::from));
    StreamBody::new(frames).boxed_unsync()
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
