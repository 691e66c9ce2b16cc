//! Blobs on their way into the registry: in one request, or opened, continued and closed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::blobs::Incoming;
use crate::digest::Digest;
use crate::refusal::{Refusal, parse_digest, set, with_status};
use crate::registry::{RegistryV2, STALL_LIMIT};
use crate::siblings::DIGEST as DIGEST_HEADER;
use crate::{Body, BoxError, MAX_BLOB_BYTES};

const UPLOAD_IDLE: Duration = Duration::from_secs(600);
const UPLOADS_AT_ONCE: usize = 256;

/// An upload that was opened and not closed.
pub(crate) struct Upload {
    incoming: Incoming,
    touched: Instant,
}

impl RegistryV2 {
    /// POST: opens an upload; with `?digest=` the body is the whole blob, with `?mount=` one that is here is taken.
    pub(crate) async fn begin<B>(&self, repository: &str, query: &str, body: B) -> Result<Response<Body>, Refusal>
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

    pub(crate) async fn append<B>(&self, repository: &str, id: &str, body: B) -> Result<Response<Body>, Refusal>
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

    pub(crate) async fn finish<B>(
        &self,
        repository: &str,
        id: &str,
        query: &str,
        body: B,
    ) -> Result<Response<Body>, Refusal>
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
