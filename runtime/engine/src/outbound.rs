//! Where the requests go that guests make through `wasi:http`: to the network that the workload was given, never to a
//! real socket of this crate.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::Body;

/// The time limits that a guest set on one of its requests; `None` leaves the choice to the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboundTimeouts {
    /// Until a connection is there.
    pub connect: Option<Duration>,
    /// Until the response's head is there.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response's body; the engine enforces this one.
    pub between_bytes: Option<Duration>,
}

/// Why an outgoing request has no response; guests see the error code of `wasi:http` that fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// Nobody has the name.
    #[error("no such host: {0}")]
    DnsError(String),
    /// The name was not resolved in time.
    #[error("resolving the name took too long")]
    DnsTimeout,
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// The name is a Service, and nothing is ready behind it.
    #[error("no ready endpoint")]
    Unavailable,
    /// No connection in time.
    #[error("connecting took too long")]
    ConnectionTimeout,
    /// The connection broke before the response was complete.
    #[error("connection reset")]
    ConnectionReset,
    /// No response in time.
    #[error("the response took too long")]
    ResponseTimeout,
    /// The workload may not reach that address.
    #[error("not allowed: {0}")]
    Denied(String),
    /// Request or response break the protocol.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The request would call itself for ever.
    #[error("loop detected")]
    Loop,
    /// Anything else.
    #[error("{0}")]
    Internal(String),
}

/// A workload's way out.
pub trait Outbound: Send + Sync {
    /// Sends a request whose URI is absolute, and answers with the response's head and a body that streams.
    ///
    /// The future is dropped when the guest is no longer interested.
    fn send(
        &self,
        request: http::Request<Body>,
        timeouts: OutboundTimeouts,
    ) -> BoxFuture<'static, Result<http::Response<Body>, OutboundError>>;
}

/// The way out of a workload that has none: every request is denied.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutbound;

impl Outbound for NoOutbound {
    fn send(
        &self,
        request: http::Request<Body>,
        _timeouts: OutboundTimeouts,
    ) -> BoxFuture<'static, Result<http::Response<Body>, OutboundError>> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        Box::pin(async move { Err(OutboundError::Denied(host)) })
    }
}
