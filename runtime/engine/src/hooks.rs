//! The guests' own HTTP requests: from `wasi:http` to the workload's [`Outbound`](crate::Outbound).

use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use crate::workload::Workload;
use crate::{Body, OutboundError, OutboundTimeouts};

/// How long a response's body may pause if the guest set no limit.
const BETWEEN_BYTES: Duration = Duration::from_secs(600);

/// One for all requests: making one for each is measurable.
static FORBIDDEN: LazyLock<ForbiddenHeaderFilter> =
    LazyLock::new(|| Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name)));

/// One instance's way out.
pub(crate) struct Hooks {
    workload: Arc<Workload>,
}

impl Hooks {
    pub(crate) fn new(workload: Arc<Workload>) -> Self {
        Self { workload }
    }
}

type Completion = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        FORBIDDEN.clone()
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_processed: Completion,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Completion), Error>> + Send> {
        let options = options.unwrap_or_default();
        let timeouts = OutboundTimeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let sending = self.workload.spec.outbound.send(request, timeouts);
        // Connections belong to the node and not to the guests' threads, which have a lower priority.
        let sending = self.workload.engine.on_io(sending);
        Box::new(async move {
            let head = within(timeouts.first_byte, sending).await?;
            let response =
                head.map(|body| PacedBody::new(body, timeouts.between_bytes.unwrap_or(BETWEEN_BYTES)).boxed_unsync());
            Ok((response, Box::new(std::future::ready(Ok(()))) as Completion))
        })
    }
}

/// Waits for the response's head, for as long as the guest wants to.
async fn within(
    limit: Option<Duration>,
    sending: impl Future<Output = Result<http::Response<Body>, OutboundError>>,
) -> Result<http::Response<Body>, Error> {
    let answer = match limit {
        Some(limit) => tokio::time::timeout(limit, sending).await.unwrap_or(Err(OutboundError::ResponseTimeout)),
        None => sending.await,
    };
    answer.map_err(error_code)
}

/// Runs a future on the node's own threads for as long as somebody waits for it.
pub(crate) async fn elsewhere<T: Send + 'static>(
    handle: Option<tokio::runtime::Handle>,
    future: impl Future<Output = Result<T, OutboundError>> + Send + 'static,
) -> Result<T, OutboundError> {
    match handle {
        Some(handle) => AbortOnDropHandle::new(handle.spawn(future))
            .await
            .unwrap_or_else(|e| Err(OutboundError::Internal(e.to_string()))),
        None => future.await,
    }
}

/// The error code of `wasi:http` for an error of the network.
fn error_code(error: OutboundError) -> Error {
    match error {
        OutboundError::DnsError(_) => Error::DnsError { rcode: Some("NXDOMAIN".into()), info_code: None },
        OutboundError::DnsTimeout => Error::DnsTimeout,
        OutboundError::Refused => Error::ConnectionRefused,
        OutboundError::Unavailable => Error::DestinationUnavailable,
        OutboundError::ConnectionTimeout => Error::ConnectionTimeout,
        OutboundError::ConnectionReset => Error::ConnectionTerminated,
        OutboundError::ResponseTimeout => Error::ConnectionReadTimeout,
        OutboundError::Denied(_) => Error::HttpRequestDenied,
        OutboundError::Protocol(_) => Error::HttpProtocolError,
        OutboundError::Tls(_) => Error::TlsProtocolError,
        OutboundError::Loop => Error::LoopDetected,
        OutboundError::Internal(why) => Error::InternalError(Some(why)),
    }
}

/// A response's body that ends with an error when it pauses for too long.
struct PacedBody {
    body: Body,
    limit: Duration,
    /// Set while nothing comes.
    pause: Option<Pin<Box<Sleep>>>,
}

impl PacedBody {
    fn new(body: Body, limit: Duration) -> Self {
        Self { body, limit, pause: None }
    }
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.pause = None;
            let broken = |_| Error::HttpResponseIncomplete;
            return Poll::Ready(frame.map(|frame| frame.map_err(broken)));
        }
        let limit = this.limit;
        let pause = this.pause.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
