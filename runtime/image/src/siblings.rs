//! What the registries of a cluster's servers ask each other. A request among them is answered from what the other has
//! itself and never passed on, so that nothing goes round in circles.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::blobs::Incoming;
use crate::digest::Digest;
use crate::{Body, BoxError};

/// When a tag was pushed, in milliseconds since 1970 by the clock of the server that took the push.
pub(crate) const TAGGED_AT: header::HeaderName = header::HeaderName::from_static("palinurus-tagged-at");
pub(crate) const DIGEST: header::HeaderName = header::HeaderName::from_static("docker-content-digest");
/// Where a registry tells the others what it has.
pub(crate) const CATALOG_PATH: &str = "/v2/_palinurus/manifests";

const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
const CATALOG_BYTES: usize = 64 * 1024 * 1024;
/// How long another server may take to begin an answer.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to send what is small.
const SMALL_LIMIT: Duration = Duration::from_secs(10);
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to take over an artifact that is offered: it fetches the blobs meanwhile.
const OFFER_LIMIT: Duration = Duration::from_secs(120);

/// The other servers of the cluster, each with a registry of its own.
pub trait Siblings: Send + Sync {
    /// Who they are now, by names that `ask` knows.
    fn others(&self) -> Vec<String>;

    /// Sends one of them a request, as a server of the cluster. The path begins with `/v2/`. The connection's limits are the
    /// implementation's; the wait for the answer is limited by the caller.
    fn ask(&self, sibling: &str, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, BoxError>>;
}

/// A manifest as another server has it.
pub(crate) struct Remote {
    pub bytes: Bytes,
    pub media_type: String,
}

/// What a tag means somewhere, and since when. The later one is the newer; of two at the same time, the greater digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tagged {
    /// Milliseconds since 1970.
    pub at: u64,
    pub digest: Digest,
}

/// One manifest of a registry, as it is told to the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub repository: String,
    pub digest: Digest,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, u64)>,
}

/// One of the others.
pub(crate) struct Sibling<'a> {
    pub siblings: &'a dyn Siblings,
    pub name: &'a str,
}

impl Sibling<'_> {
    async fn send(&self, request: Request<Body>, limit: Duration) -> Option<Response<Body>> {
        let path = request.uri().path().to_owned();
        match timeout(limit, self.siblings.ask(self.name, request)).await {
            Ok(Ok(response)) if response.status().is_success() => return Some(response),
            Ok(Ok(response)) if response.status() == StatusCode::NOT_FOUND => {}
            Ok(Ok(response)) => {
                tracing::debug!(server = self.name, path, status = %response.status(), "another server's registry");
            }
            Ok(Err(error)) => tracing::debug!(server = self.name, path, %error, "another server's registry"),
            Err(_) => tracing::debug!(server = self.name, path, "another server's registry: no answer in time"),
        }
        None
    }

    /// The manifest of that digest.
    pub async fn manifest(&self, repository: &str, digest: &Digest) -> Option<Remote> {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let response = self.send(request(Method::GET, &path)?, HEAD_LIMIT).await?;
        let media_type = text(response.headers(), &header::CONTENT_TYPE)?;
        let bytes = small(response, MANIFEST_BYTES).await?;
        let honest = Digest::of(&bytes) == *digest;
        if !honest {
            tracing::warn!(server = self.name, %digest, "another server's manifest is not what its digest says");
        }
        honest.then_some(Remote { bytes, media_type })
    }

    /// What a tag means there.
    pub async fn tag(&self, repository: &str, tag: &str) -> Option<Tagged> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let response = self.send(request(Method::HEAD, &path)?, HEAD_LIMIT).await?;
        let digest = text(response.headers(), &DIGEST)?.parse().ok()?;
        let at = text(response.headers(), &TAGGED_AT)?.parse().ok()?;
        Some(Tagged { at, digest })
    }

    /// Brings a blob here; true when it came whole and is what its digest says.
    pub async fn blob(&self, repository: &str, digest: &Digest, mut incoming: Incoming) -> bool {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let Some(request) = request(Method::GET, &path) else { return false };
        let Some(response) = self.send(request, HEAD_LIMIT).await else { return false };
        let mut body = response.into_body();
        loop {
            match timeout(STALL_LIMIT, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(error) = incoming.write(&data).await {
                        tracing::warn!(%digest, %error, "a blob of another server was not stored");
                        return false;
                    }
                }
                Ok(Some(Err(_))) | Err(_) => return false,
            }
        }
        match incoming.finish(Some(digest)).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(server = self.name, %digest, %error, "a blob of another server was not stored");
                false
            }
        }
    }

    /// Tells it of a manifest, which it then fetches the blobs of.
    pub async fn offer(&self, offer: &Offer) -> bool {
        let path = format!("/v2/{}/manifests/{}", offer.repository, offer.selector);
        let request = Request::put(path).header(header::CONTENT_TYPE, &offer.media_type).header(TAGGED_AT, offer.at);
        let body = Full::new(offer.bytes.clone()).map_err(|never| match never {}).boxed_unsync();
        let Ok(request) = request.body(body) else { return false };
        self.send(request, OFFER_LIMIT).await.is_some()
    }

    /// All that it has.
    pub async fn catalog(&self) -> Option<Vec<Record>> {
        let response = self.send(request(Method::GET, CATALOG_PATH)?, HEAD_LIMIT).await?;
        serde_json::from_slice(&small(response, CATALOG_BYTES).await?).ok()
    }
}

/// A manifest that was pushed here, for the others.
#[derive(Clone)]
pub(crate) struct Offer {
    pub repository: String,
    /// The tag or the digest.
    pub selector: String,
    pub media_type: String,
    pub bytes: Bytes,
    pub at: u64,
}

fn request(method: Method, path: &str) -> Option<Request<Body>> {
    let empty = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(path).body(empty).ok()
}

async fn small(response: Response<Body>, limit: usize) -> Option<Bytes> {
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.ok()?.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() > limit {
                return None;
            }
        }
        Some(bytes.freeze())
    };
    timeout(SMALL_LIMIT, reading).await.ok()?
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
