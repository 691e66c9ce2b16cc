//! Plain HTTP requests, as curl makes them.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

const LIMIT: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// GET; an error in words where there was no answer.
pub async fn get(url: &str) -> Result<Answer, String> {
    request(Method::GET, url, Bytes::new()).await
}

/// Any request; an error in words where there was no answer.
pub async fn request(method: Method, url: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder().method(method).uri(url).body(Full::new(body.into())).map_err(|e| e.to_string())?;
    let exchange = async {
        let response = client.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    };
    tokio::time::timeout(LIMIT, exchange).await.map_err(|_| format!("{url}: no answer"))?
}
