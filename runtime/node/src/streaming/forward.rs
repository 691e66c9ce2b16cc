//! A forwarded connection: bytes from the server are what a client sends to a pod's port.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream as _, future};
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use pal_network::SharedBackend;
use pal_proxy::{Body, BoxError, Limits, serve_connection};
use tokio::io::{AsyncWriteExt as _, DuplexStream, ReadHalf};
use tokio_util::io::ReaderStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Bytes on their way in each direction; who sends more waits.
const BUFFER: usize = 64 * 1024;

/// Serves the connection as a task of `tasks`, for as long as the answer that is returned is read.
pub(crate) fn forward<B>(backend: SharedBackend, port: u16, mut body: B, tasks: &TaskTracker) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display + Send,
{
    let (near, far) = tokio::io::duplex(BUFFER);
    let (read, mut write) = tokio::io::split(far);
    let gone = CancellationToken::new();
    let answer = Answer { bytes: ReaderStream::with_capacity(read, BUFFER), _gone: gone.clone().drop_guard() };
    let authority = HeaderValue::try_from(format!("localhost:{port}")).ok();
    let limits = Limits { half_closes: true, ..Limits::default() };
    let served = serve_connection(near, None, backend, authority, limits, CancellationToken::new());
    tasks.spawn(gone.run_until_cancelled_owned(async move {
        let incoming = async {
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(data) = frame.into_data() else { continue };
                if write.write_all(&data).await.is_err() {
                    break;
                }
            }
            let _ = write.shutdown().await;
            future::pending::<()>().await;
        };
        tokio::select! {
            () = served => {}
            () = incoming => {}
        }
    }));
    let mut response = Response::new(answer.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

/// What the pod sends. The connection ends when nobody reads it.
struct Answer {
    bytes: ReaderStream<ReadHalf<DuplexStream>>,
    _gone: DropGuard,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let bytes = Pin::new(&mut self.bytes).poll_next(cx);
        bytes.map(|bytes| bytes.map(|bytes| bytes.map(Frame::data).map_err(BoxError::from)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::future::BoxFuture;
    use http::Request;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn backend() -> SharedBackend {
        Arc::new(|request: Request<Body>| -> BoxFuture<'static, Response<Body>> {
            let text = format!("{} {:?}", request.uri(), request.headers().get(header::HOST));
            Box::pin(async move { Response::new(pal_proxy::full(text)) })
        })
    }

    #[tokio::test]
    async fn a_connection_is_served_by_the_pods_listener_also_when_the_client_has_ended_its_side() {
        let body = Full::new(Bytes::from("GET /a HTTP/1.0\r\n\r\n"));
        let tasks = TaskTracker::new();
        let answer = forward(backend(), 80, body, &tasks).into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.starts_with("HTTP/1.0 200 OK") && text.ends_with("/a Some(\"localhost:80\")"), "{text}");
    }

    #[tokio::test]
    async fn a_connection_ends_with_its_client() {
        let body = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let tasks = TaskTracker::new();
        let answer = forward(backend(), 80, body, &tasks);
        assert_eq!(tasks.len(), 1);
        drop(answer);
        tasks.close();
        tokio::time::timeout(Duration::from_secs(10), tasks.wait()).await.unwrap();
    }
}
