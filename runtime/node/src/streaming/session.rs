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
                    // A client may send several at once.
                    let sizes = serde_json::Deserializer::from_slice(data).into_iter::<Size>();
                    if let Some(size) = sizes.map_while(Result::ok).last() {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use http_body_util::StreamBody;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Says what it was given, and ends with the number of bytes that it read.
    struct Telling;

    #[async_trait]
    impl Session for Telling {
        async fn run(self: Box<Self>, mut streams: Streams) -> Result<i32, String> {
            let mut text = String::new();
            if let Some(stdin) = &mut streams.stdin {
                stdin.read_to_string(&mut text).await.map_err(|e| e.to_string())?;
            }
            let size = streams.size.borrow().map(|size| size.width);
            if let Some(stdout) = &mut streams.stdout {
                let said = format!("{text} {size:?} {}", streams.tty);
                stdout.write_all(said.as_bytes()).await.map_err(|e| e.to_string())?;
            }
            if let Some(stderr) = &mut streams.stderr {
                stderr.write_all(b"oh").await.map_err(|e| e.to_string())?;
            }
            if text == "fail" { Err("it failed".to_owned()) } else { Ok(text.len() as i32) }
        }
    }

    async fn streamed(query: &str, sent: &[Packet]) -> Vec<Packet> {
        let frames: Vec<_> = sent.iter().map(|p| Ok::<_, BoxError>(Frame::data(Bytes::from(p.encode())))).collect();
        let body = StreamBody::new(futures::stream::iter(frames));
        let request = Request::parse(query).unwrap();
        let answer = serve(Box::new(Telling), &request, body, &TaskTracker::new());
        let bytes = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await.unwrap().unwrap().to_bytes();
        let mut packets = Packets::default();
        packets.push(&bytes);
        std::iter::from_fn(|| packets.take().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_program_is_streamed_to_its_end() {
        let check = async |query: &str, sent: &[Packet], expected: &[(u8, &str)]| {
            let found = streamed(query, sent).await;
            let found: Vec<(u8, String)> =
                found.into_iter().map(|p| (p.channel, String::from_utf8(p.data).unwrap())).collect();
            let expected: Vec<(u8, String)> = expected.iter().map(|(c, text)| (*c, text.to_string())).collect();
            assert_eq!(found, expected, "{query}");
        };
        let ending = |ending: Ending| String::from_utf8(ending.to_json()).unwrap();
        let (end0, end5) = (ending(Ending::Exit(0)), ending(Ending::Exit(5)));
        let sent = [
            Packet::new(channel::RESIZE, r#"{"Width":80,"Height":24}{"Width":81,"Height":24}"#),
            Packet::new(channel::STDIN, "he"),
            Packet::new(channel::STDIN, "llo"),
            Packet::close(channel::STDIN),
        ];
        check("stdin=1&stdout=1&stderr=1", &sent, &[(1, "hello Some(81) false"), (2, "oh"), (3, &end5)]).await;
        check("stdin=1&stdout=1&tty=1", &sent[1..], &[(1, "hello None true"), (3, &end5)]).await;
        check("stderr=1", &sent, &[(2, "oh"), (3, &end0)]).await;
        let failed = Status::internal("error executing command in container: it failed");
        let fail = [Packet::new(channel::STDIN, "fail")];
        check("stdin=1", &fail, &[(3, &ending(Ending::Failed(failed)))]).await;
    }

    #[tokio::test]
    async fn a_program_ends_with_its_client() {
        let body = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let tasks = TaskTracker::new();
        let answer = serve(Box::new(Telling), &Request::parse("stdin=1").unwrap(), body, &tasks);
        assert_eq!(tasks.len(), 1);
        drop(answer);
        tasks.close();
        tokio::time::timeout(PATIENCE, tasks.wait()).await.unwrap();
    }
}
