//! A program's session: packets from the server become its stdin, what it writes becomes packets, and the last of those
//! says how it ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future;
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use pal_engine::{Body, BoxError};
use pal_resources::Status;
use pal_resources::channel::{self, Ending, Packet, Packets};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::streams::Outgoing;
use super::{Request, Session, Size, Streams};

/// Packets that wait to be sent; a program that writes more waits.
const OUTGOING: usize = 16;
/// Bytes of stdin that a program has not read; a client that sends more waits.
const STDIN: usize = 64 * 1024;

/// Runs the session as a task of `tasks`, for as long as the answer that is returned is read.
pub(crate) fn serve<B>(session: Box<dyn Session>, request: &Request, body: B, tasks: &TaskTracker) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display + Send,
{
    let (sender, packets) = mpsc::channel(OUTGOING);
    let outgoing = |wanted: bool, channel: u8| {
        wanted
            .then(|| -> Box<dyn AsyncWrite + Send + Sync + Unpin> { Box::new(Outgoing::new(channel, sender.clone())) })
    };
    let (size_sender, size) = watch::channel(None);
    // Each half ends with the other, which a simplex pipe's do not.
    let (writer, reader) = tokio::io::duplex(STDIN);
    let streams = Streams {
        stdin: request.stdin.then(|| -> Box<dyn tokio::io::AsyncRead + Send + Sync + Unpin> { Box::new(reader) }),
        stdout: outgoing(request.stdout, channel::STDOUT),
        stderr: outgoing(request.stderr, channel::STDERR),
        size,
        tty: request.tty,
    };
    let incoming = Incoming { body, stdin: request.stdin.then_some(writer), size: size_sender };
    let gone = CancellationToken::new();
    let answer = Answer { packets, _gone: gone.clone().drop_guard() };
    tasks.spawn(gone.run_until_cancelled_owned(async move {
        let ending = tokio::select! {
            code = session.run(streams) => match code {
                Ok(code) => Ending::Exit(code),
                Err(why) => Ending::Failed(Status::internal(format!("error executing command in container: {why}"))),
            },
            never = incoming.run() => match never {},
        };
        // A client that is gone hears nothing any more.
        let _ = sender.send(Packet::new(channel::ERROR, ending.to_json()).encode().into()).await;
    }));
    let mut response = Response::new(answer.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

/// What comes from the client.
struct Incoming<B, W> {
    body: B,
    stdin: Option<W>,
    size: watch::Sender<Option<Size>>,
}

impl<B, W> Incoming<B, W>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
    W: AsyncWrite + Unpin,
{
    /// Takes what comes; when nothing more does, the program goes on without.
    async fn run(mut self) -> std::convert::Infallible {
        let mut packets = Packets::default();
        while let Some(frame) = self.body.frame().await {
            let data = match frame.map(Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_)) => continue,
                Err(error) => {
                    tracing::debug!(%error, "a client's streams broke");
                    break;
                }
            };
            packets.push(&data);
            if let Err(error) = self.take(&mut packets).await {
                tracing::debug!(%error, "a client's streams are out of order");
                break;
            }
        }
        drop(self.stdin.take());
        future::pending().await
    }

    async fn take(&mut self, packets: &mut Packets) -> Result<(), channel::TooLong> {
        while let Some(packet) = packets.take()? {
            match (packet.channel, packet.data.as_slice()) {
                (channel::STDIN, data) => {
                    let Some(stdin) = &mut self.stdin else { continue };
                    // A program that reads no more leaves the rest unread.
                    if stdin.write_all(data).await.is_err() {
                        self.stdin = None;
                    }
                }
                (channel::CLOSE, [channel::STDIN]) => {
                    if let Some(mut stdin) = self.stdin.take() {
                        let _ = stdin.shutdown().await;
                    }
                }
                (channel::RESIZE, data) => {
                    if let Ok(size) = serde_json::from_slice(data) {
                        self.size.send_replace(Some(size));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The packets to the client. The session ends when nobody reads them.
struct Answer {
    packets: mpsc::Receiver<Bytes>,
    _gone: DropGuard,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.packets.poll_recv(cx).map(|packet| packet.map(|bytes| Ok(Frame::data(bytes))))
    }
}
