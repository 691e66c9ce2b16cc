//! HTTP services: a fresh instance for each request.

use http::{Request, Response};

use crate::Body;

/// A service that takes requests. Clones share everything; when the last one is dropped, nothing is left of it.
#[derive(Clone)]
pub struct Service {}

impl Service {
    /// Answers one request: with what the guest answers, else 500 (trap), 502 (no response was set), 503 (no memory, no
    /// room) or 504 (too slow). Dropping the future or the response's body ends the instance.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        Response::new(request.into_body())
    }

    /// The requests that are being handled, bodies that still stream included.
    pub fn in_flight(&self) -> usize {
        0
    }

    /// Ends all instances; further requests get 503.
    pub fn stop(&self) {}

    /// Lets no further requests in (they get 503) and waits until none is being handled.
    pub async fn drained(&self) {}
}
