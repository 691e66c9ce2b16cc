//! Responses on their way back: the engine's own, and the guests' with the lifeline of the instance that makes them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use wasmtime_wasi_http::WasiBody;

use crate::{Body, BoxError};

/// The error of a body that is not whole.
const CUT_OFF: &str = "the service stopped in the middle of its response";

/// A response of the engine's own.
pub(crate) fn plain(status: StatusCode, why: &str) -> Response<Body> {
    let body = Full::from(format!("{why}\n")).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Set when an instance ends before its time: what it has sent is not all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Broken(Arc<AtomicBool>);

impl Broken {
    pub(crate) fn set(&self) {
        // The body's channel, which is closed after this, orders the two.
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The interest in an instance: while it is held and the response gets on, the instance may go on.
#[derive(Debug)]
pub(crate) struct Lifeline {
    finished: oneshot::Sender<Finished>,
    progress: Arc<Progress>,
}

/// The response is complete.
#[derive(Debug)]
struct Finished;

/// The instance's end of a [`Lifeline`].
#[derive(Debug)]
pub(crate) struct Released {
    finished: oneshot::Receiver<Finished>,
    progress: Arc<Progress>,
}

/// When the response last got on. The body cannot tell by itself: nobody polls it while its client does not read.
#[derive(Debug)]
struct Progress {
    begun: Instant,
    /// Milliseconds after `begun`; 0 while there is no response.
    last: AtomicU64,
}

impl Progress {
    fn made(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis.max(1), Ordering::Relaxed);
    }

    fn last(&self) -> Option<Instant> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.begun + Duration::from_millis(millis)),
        }
    }

    /// Returns when nothing has got on for `stall`. Until there is a response, the request's own limit counts.
    async fn stalled(&self, stall: Duration) {
        loop {
            let now = Instant::now();
            let until = self.last().unwrap_or(now) + stall;
            if until <= now {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Why an instance should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// The client has gone, or has all it asked for.
    Done,
    /// Nothing of the response was taken for too long.
    Stalled,
}

impl Lifeline {
    pub(crate) fn new() -> (Self, Released) {
        let (sender, receiver) = oneshot::channel();
        let progress = Arc::new(Progress { begun: Instant::now(), last: AtomicU64::new(0) });
        (Self { finished: sender, progress: progress.clone() }, Released { finished: receiver, progress })
    }

    /// Lets the instance finish what it does after its response.
    fn finished(self) {
        // It may have ended already.
        let _ = self.finished.send(Finished);
    }
}

impl Released {
    /// Returns when the instance should end: at once when the client has gone, after `limit` when it has all it asked for,
    /// and when it has taken nothing for `limit`.
    pub(crate) async fn over(self, limit: Duration) -> Over {
        let finished = tokio::select! {
            biased;
            finished = self.finished => finished,
            () = self.progress.stalled(limit) => return Over::Stalled,
        };
        if let Ok(Finished) = finished {
            sleep(limit).await;
        }
        Over::Done
    }
}

/// A guest's response. Dropping its body before the end ends the instance, and so does a pause of `stall`.
pub(crate) fn streamed(
    response: Response<WasiBody>,
    lifeline: Lifeline,
    broken: Broken,
    stall: Duration,
    head_only: bool,
) -> Response<Body> {
    lifeline.progress.made();
    let (parts, body) = response.into_parts();
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = GuestBody {
        body,
        lifeline: Some(lifeline),
        broken,
        // A server stops reading a body of known length at its end, and the body of a HEAD at once.
        left: if head_only { Some(0) } else { announced },
        stall,
        pause: None,
    };
    Response::from_parts(parts, body.boxed_unsync())
}

struct GuestBody {
    body: WasiBody,
    lifeline: Option<Lifeline>,
    broken: Broken,
    /// Bytes to come, if their number was announced.
    left: Option<u64>,
    stall: Duration,
    /// Set while nothing comes.
    pause: Option<Pin<Box<Sleep>>>,
}

impl GuestBody {
    fn finish(&mut self) {
        if let Some(lifeline) = self.lifeline.take() {
            lifeline.finished();
        }
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if self.left == Some(0) || self.body.is_end_stream() {
            self.finish();
        }
    }
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.pause = None;
            if let Some(lifeline) = &this.lifeline {
                lifeline.progress.made();
            }
            match &frame {
                Some(Ok(frame)) => {
                    if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                }
                Some(Err(_)) => this.lifeline = None,
                None if this.broken.is_set() => {
                    this.lifeline = None;
                    return Poll::Ready(Some(Err(CUT_OFF.into())));
                }
                None => this.finish(),
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let stall = this.stall;
        let pause = this.pause.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        ready!(pause.as_mut().poll(cx));
        this.lifeline = None;
        Poll::Ready(Some(Err(CUT_OFF.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
