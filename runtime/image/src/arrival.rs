//! A blob as it arrives, over as many connections as it takes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::client::RegistryClient;
use crate::reference::Reference;
use crate::registry::STALL_LIMIT;
use crate::site::ClientError;

/// A connection that broke before so much had come is not worth a further one.
const WORTHWHILE_BYTES: u64 = 64 * 1024;
/// How long to wait before each attempt to go on.
const PAUSES: [Duration; 5] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(10), Duration::from_secs(20)];

/// A blob that is being fetched. Where its connection breaks, it goes on over another from where it was.
pub(crate) struct Arrival<'a> {
    client: &'a RegistryClient,
    reference: &'a Reference,
    path: String,
    url: String,
    body: Incoming,
    come: u64,
    /// What had come when this connection was made.
    before: u64,
}

impl<'a> Arrival<'a> {
    /// Asks for a blob.
    pub(crate) async fn begin(
        client: &'a RegistryClient,
        reference: &'a Reference,
        digest: &str,
    ) -> Result<Self, ClientError> {
        let path = format!("blobs/{digest}");
        let (url, response) = client.call(reference, Method::GET, &path, HeaderMap::new(), Bytes::new()).await?;
        Ok(Self { client, reference, path, url, body: response.into_body(), come: 0, before: 0 })
    }

    /// The next bytes; `None` at the end. A stream that stalls is broken, too.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let broken = match timeout(STALL_LIMIT, self.body.frame()).await {
                Err(_) => ClientError::Timeout { url: self.url.clone() },
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => ClientError::Unreachable { url: self.url.clone(), why: error.to_string() },
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.come += data.len() as u64;
                        return Ok(Some(data));
                    }
                    Err(_) => continue,
                },
            };
            if self.come - self.before < WORTHWHILE_BYTES {
                return Err(broken);
            }
            self.go_on(broken).await?;
        }
    }

    /// Asks for what has not come. Fails with why the stream broke where the registry only knows whole blobs.
    async fn go_on(&mut self, broken: ClientError) -> Result<(), ClientError> {
        let mut last = broken;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            let mut headers = HeaderMap::new();
            if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.come)) {
                headers.insert(header::RANGE, range);
            }
            match self.client.call(self.reference, Method::GET, &self.path, headers, Bytes::new()).await {
                Ok((_, response)) if starts_at(&response, self.come) => {
                    (self.body, self.before) = (response.into_body(), self.come);
                    return Ok(());
                }
                Ok(_) => return Err(last),
                Err(error @ (ClientError::Unreachable { .. } | ClientError::Timeout { .. })) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

/// Whether the answer is the part that begins there.
fn starts_at<B>(response: &Response<B>, offset: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && start == Some(offset)
}
