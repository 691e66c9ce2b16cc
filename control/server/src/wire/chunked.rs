//! An answer that goes on, written to a connection of HTTP/1.1 in chunks (RFC 9112, section 7.1).
//!
//! Answers that last for hours and are idle for most of that are many: what one of them keeps, and what it costs to wake it, is
//! what counts. hyper holds two buffers of 8 KiB for a connection, whatever happens on it.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http::response::Parts;
use http_body::Body as _;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Guarded;
use crate::Body;
use crate::rarely::Attention;

/// Marks an answer that goes on until one of both sides has enough.
#[derive(Clone, Copy)]
pub(crate) struct Endless;

/// A client that sends more than this before its answer has ended is not read any further until then.
const EARLY: usize = 16 * 1024;
/// The head of a chunk is no longer than this.
const CHUNK_HEAD: usize = 18;
const END: &[u8] = b"0\r\n\r\n";

/// Writes an answer to its end. What the client sends in the meantime is its next request: whoever reads from the connection
/// afterwards gets it. Fails when the connection does, the answer's body does, or the client goes away.
pub(crate) async fn write_in_chunks<T>(io: &mut Guarded<T>, response: Response<Body>) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (parts, body) = response.into_parts();
    let front = head(&parts, Timestamp::now());
    drop(parts);
    let mut writing = Writing {
        body,
        front,
        data: Bytes::new(),
        tail: b"",
        sent: 0,
        flushed: true,
        ended: false,
        client: Attention::new(),
        early: BytesMut::new(),
    };
    poll_fn(|cx| writing.poll(io, cx)).await?;
    io.give_back(writing.early.freeze());
    Ok(())
}

fn head(parts: &Parts, now: Timestamp) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let reason = parts.status.canonical_reason().unwrap_or_default();
    head.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).as_bytes());
    let mut line = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    };
    for (name, value) in &parts.headers {
        line(name.as_str(), value.as_bytes());
    }
    line("transfer-encoding", b"chunked");
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&now) {
        line("date", date.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// An answer on its way.
struct Writing {
    body: Body,
    /// What is written next: the answer's head or a chunk's, the chunk's data, and what closes it.
    front: Vec<u8>,
    data: Bytes,
    tail: &'static [u8],
    /// How much of the three is written.
    sent: usize,
    flushed: bool,
    ended: bool,
    /// Whether the client says something, or goes.
    client: Attention,
    early: BytesMut,
}

impl Writing {
    fn poll<T>(&mut self, io: &mut Guarded<T>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            match self.write(io, cx) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => return self.listen(io, cx),
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                        self.chunk(data);
                    }
                }
                Poll::Ready(None) => {
                    self.front = END.to_vec();
                    self.ended = true;
                }
                Poll::Pending => return self.listen(io, cx),
            }
        }
    }

    /// An empty chunk would be the last one.
    fn chunk(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.front.clear();
        self.front.shrink_to(CHUNK_HEAD);
        // A vector takes whatever is written to it.
        let _ = write!(self.front, "{:x}\r\n", data.len());
        self.data = data;
        self.tail = b"\r\n";
    }

    /// Ready when all that was there is with the client's side of the connection.
    fn write<T: AsyncWrite + Unpin>(&mut self, io: &mut Guarded<T>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = Pin::new(io);
        let whole = self.front.len() + self.data.len() + self.tail.len();
        while self.sent < whole {
            let mut skipped = self.sent;
            let parts = [&self.front[..], &self.data, self.tail].map(|part| {
                let (done, left) = part.split_at(skipped.min(part.len()));
                skipped -= done.len();
                IoSlice::new(left)
            });
            let written = ready!(io.as_mut().poll_write_vectored(cx, &parts))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.flushed = false;
        }
        if !self.flushed {
            ready!(io.poll_flush(cx))?;
            self.flushed = true;
        }
        self.front.clear();
        self.data = Bytes::new();
        (self.tail, self.sent) = (b"", 0);
        Poll::Ready(Ok(()))
    }

    /// Never ready but when the client is gone.
    fn listen<T: AsyncRead + Unpin>(&mut self, io: &mut Guarded<T>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let early = &mut self.early;
        self.client.poll(cx, |cx| {
            while early.len() < EARLY {
                let mut bytes = [0; 512];
                let mut read = ReadBuf::new(&mut bytes);
                ready!(Pin::new(&mut *io).poll_read(cx, &mut read))?;
                if read.filled().is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                early.extend_from_slice(read.filled());
            }
            Poll::Pending
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use http::header::CONTENT_TYPE;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::mpsc;

    use super::*;
    use crate::BoxError;
    use crate::wire::Patience;

    const LONG: Duration = Duration::from_secs(60);
    const ROOM: usize = 1024;

    fn guarded(inner: DuplexStream) -> Guarded<DuplexStream> {
        Guarded::new(inner, LONG, Patience::new(LONG))
    }

    /// An answer, and what its pieces are sent to.
    fn answer() -> (mpsc::Sender<Bytes>, Response<Body>) {
        let (pieces, came) = mpsc::channel(8);
        let frames = futures::stream::unfold(came, |mut came: mpsc::Receiver<Bytes>| async {
            let piece = came.recv().await?;
            Some((Ok::<_, BoxError>(Frame::data(piece)), came))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        (pieces, response)
    }

    #[test]
    fn a_head_says_what_the_answer_is_and_when_it_was() {
        let (parts, _) = answer().1.into_parts();
        let expected = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\
                        date: Thu, 01 Jan 1970 00:00:09 GMT\r\n\r\n";
        let at = Timestamp::from_second(9).expect("a time");
        assert_eq!(String::from_utf8_lossy(&head(&parts, at)), expected);
    }

    #[tokio::test]
    async fn pieces_are_chunks_and_what_comes_early_is_left_for_the_next() {
        let (mut client, server) = duplex(ROOM);
        let (pieces, response) = answer();
        let mut io = guarded(server);
        let asking = async {
            client.write_all(b"GET /next").await.expect("room");
            for piece in ["hello", "", "0123456789abcdef"] {
                pieces.send(piece.into()).await.expect("an answer under way");
            }
            drop(pieces);
        };
        let (written, ()) = tokio::join!(write_in_chunks(&mut io, response), asking);
        written.expect("an answer that ends");
        client.shutdown().await.expect("an end");
        let mut next = String::new();
        io.read_to_string(&mut next).await.expect("what was sent");
        assert_eq!(next, "GET /next");
        drop(io);
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.expect("an answer");
        let body = seen.split_once("\r\n\r\n").map(|(_, body)| body);
        assert_eq!(body, Some("5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_written_as_there_is_room() {
        let (mut client, server) = duplex(7);
        let (pieces, response) = answer();
        let large = "x".repeat(10_000);
        pieces.send(large.clone().into()).await.expect("an answer under way");
        drop(pieces);
        let mut seen = String::new();
        let writing = async {
            let mut io = guarded(server);
            write_in_chunks(&mut io, response).await
        };
        let (written, read) = tokio::join!(writing, client.read_to_string(&mut seen));
        written.and(read).expect("an answer");
        assert!(seen.ends_with(&format!("\r\n\r\n2710\r\n{large}\r\n0\r\n\r\n")));
    }

    #[tokio::test]
    async fn an_answer_ends_with_its_client() {
        let (client, server) = duplex(ROOM);
        let (_pieces, response) = answer();
        drop(client);
        let mut io = guarded(server);
        let written = tokio::time::timeout(LONG, write_in_chunks(&mut io, response)).await.expect("an end");
        assert!(written.is_err());
    }
}
