//! What a proxy decides, and what it needs of HTTP: which endpoint takes a request, which headers end at a hop, and the
//! listener that turns a socket into requests.

#![forbid(unsafe_code)]

mod balance;
mod headers;
mod listener;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

pub use balance::pick;
pub use headers::strip_hop_by_hop;
pub use listener::{Client, Limits, serve_connection, serve_http};

/// What goes wrong while a body streams.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A streamed HTTP body; the same type in every crate that handles HTTP.
pub type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;

/// Whatever answers HTTP requests in this process: a pod's port, or what stands before several.
pub trait Backend: Send + Sync {
    /// Answers one request. Failures are answers too (5xx).
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;
}

impl<F> Backend for F
where
    F: Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync,
{
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        self(request)
    }
}

/// A shared backend.
pub type SharedBackend = Arc<dyn Backend>;

/// A body that is all here.
pub fn full(bytes: impl Into<bytes::Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The proxy's own answer where there is none to pass on: a line of text that says why.
pub fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{why}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
