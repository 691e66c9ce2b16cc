//! One connection's streams.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::Headers;
use super::frame::{Decoder, Encoder, Frame, PIECE};
use crate::stream::limits::{FINISH, Idle};

/// Streams that may be open at once. A forwarded connection takes two.
const STREAMS: usize = 512;
/// Frames of a stream that are not read yet, and of all streams that are not written yet.
const QUEUE: usize = 8;
const READ: usize = 32 * 1024;

/// A stream that the client has opened.
pub(crate) struct Stream {
    pub(crate) headers: Headers,
    /// What the client sends, until it ends its side.
    pub(crate) incoming: mpsc::Receiver<Bytes>,
    pub(crate) outgoing: Outgoing,
}

impl Stream {
    /// The value of a header, whose name is in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The number by which the connection tells its streams apart.
    pub(crate) fn id(&self) -> u32 {
        self.outgoing.stream
    }
}

/// The server's side of a stream.
#[derive(Clone)]
pub(crate) struct Outgoing {
    stream: u32,
    frames: mpsc::Sender<Frame>,
}

/// The connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Outgoing {
    /// Sends; waits while the client does not read.
    pub(crate) async fn send(&self, mut data: Bytes) -> Result<(), Gone> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE));
            let frame = Frame::Data { stream: self.stream, end: false, data: piece };
            self.frames.send(frame).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Nothing more is sent.
    pub(crate) async fn end(&self) {
        // A connection that is gone has ended all its streams.
        let _ = self.frames.send(Frame::Data { stream: self.stream, end: true, data: Bytes::new() }).await;
    }

    /// Ends both sides.
    pub(crate) async fn reset(&self) {
        let _ = self.frames.send(Frame::Reset { stream: self.stream }).await;
    }
}

/// The streams of a connection as they are opened. When it and all its streams are dropped the connection ends.
pub(crate) struct Session {
    opened: mpsc::Receiver<Stream>,
    _frames: mpsc::Sender<Frame>,
}

impl Session {
    /// The next stream; none when the client is gone.
    pub(crate) async fn open(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }
}

/// A session, and what has to run for it. That ends when the client is gone, or some time after the session.
pub(crate) fn start<T>(io: T, idle: &Idle) -> (Session, impl Future<Output = ()> + Send)
where
    T: AsyncRead + AsyncWrite + Send,
{
    let (frames, to_write) = mpsc::channel(QUEUE);
    let (opened, opens) = mpsc::channel(QUEUE);
    let (read, write) = tokio::io::split(io);
    let reader = Reader { decoder: Decoder::new(), streams: HashMap::new(), opened, frames: frames.downgrade() };
    let driving = async move {
        let reading = reader.run(read, idle);
        tokio::pin!(reading);
        tokio::select! {
            () = &mut reading => {}
            // The client is to read all before the connection is closed.
            () = writing(write, to_write, idle) => drop(tokio::time::timeout(FINISH, reading).await),
        }
    };
    (Session { opened: opens, _frames: frames }, driving)
}

async fn writing<W: AsyncWrite + Unpin>(mut write: W, mut frames: mpsc::Receiver<Frame>, idle: &Idle) {
    let mut encoder = Encoder::new();
    while let Some(frame) = frames.recv().await {
        let Ok(bytes) = encoder.encode(&frame) else { return };
        let written = async {
            write.write_all(&bytes).await?;
            write.flush().await
        };
        if let Err(error) = written.await {
            return tracing::debug!(%error, "a SPDY connection broke");
        }
        idle.touch();
    }
    let _ = write.shutdown().await;
}

struct Reader {
    decoder: Decoder,
    /// Those whose client may still send.
    streams: HashMap<u32, mpsc::Sender<Bytes>>,
    opened: mpsc::Sender<Stream>,
    frames: mpsc::WeakSender<Frame>,
}

impl Reader {
    async fn run<R: AsyncRead + Unpin>(mut self, mut read: R, idle: &Idle) {
        let mut buffer = vec![0; READ];
        loop {
            let length = match read.read(&mut buffer).await {
                Ok(0) => return,
                Ok(length) => length,
                Err(error) => return tracing::debug!(%error, "a SPDY connection broke"),
            };
            idle.touch();
            self.decoder.push(&buffer[..length]);
            loop {
                match self.decoder.take() {
                    Ok(Some(frame)) => self.take(frame).await,
                    Ok(None) => break,
                    Err(error) => return tracing::debug!(%error, "a SPDY connection is out of order"),
                }
            }
        }
    }

    async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Open { stream, end, headers } => self.open(stream, end, headers).await,
            Frame::Data { stream, end, data } => {
                if let Some(incoming) = self.streams.get(&stream).filter(|_| !data.is_empty()) {
                    // What nobody wants to read is left out.
                    let _ = incoming.send(data).await;
                }
                if end {
                    self.streams.remove(&stream);
                }
            }
            Frame::Reset { stream } => drop(self.streams.remove(&stream)),
            // The even ones are answers to a server's own.
            Frame::Ping(id) if id % 2 == 1 => self.answer(Frame::Ping(id)).await,
            Frame::Reply { .. } | Frame::Ping(_) | Frame::GoAway | Frame::Other => {}
        }
    }

    async fn open(&mut self, stream: u32, end: bool, headers: Headers) {
        self.streams.retain(|_, incoming| !incoming.is_closed());
        let Some(frames) = self.frames.upgrade() else { return };
        if self.streams.len() >= STREAMS || self.streams.contains_key(&stream) {
            return self.answer(Frame::Reset { stream }).await;
        }
        self.answer(Frame::Reply { stream }).await;
        let (sender, incoming) = mpsc::channel(QUEUE);
        if !end {
            self.streams.insert(stream, sender);
        }
        let opened = Stream { headers, incoming, outgoing: Outgoing { stream, frames } };
        // Who does not take streams any more is about to end.
        let _ = self.opened.send(opened).await;
    }

    async fn answer(&self, frame: Frame) {
        if let Some(frames) = self.frames.upgrade() {
            let _ = frames.send(frame).await;
        }
    }
}

/// How long a client may take to open the streams that it needs.
pub(crate) const OPENING: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// A client: writes frames, and reads those that come.
    struct Peer<T> {
        io: T,
        encoder: Encoder,
        decoder: Decoder,
    }

    impl<T: AsyncRead + AsyncWrite + Unpin> Peer<T> {
        fn new(io: T) -> Self {
            Self { io, encoder: Encoder::new(), decoder: Decoder::new() }
        }

        async fn write(&mut self, frame: Frame) {
            let bytes = self.encoder.encode(&frame).expect("a frame");
            self.io.write_all(&bytes).await.expect("room");
        }

        /// The next frame; none at the end.
        async fn read(&mut self) -> Option<Frame> {
            let mut buffer = [0; 1024];
            loop {
                if let Some(frame) = self.decoder.take().expect("frames") {
                    return Some(frame);
                }
                match self.io.read(&mut buffer).await.expect("a connection") {
                    0 => return None,
                    length => self.decoder.push(&buffer[..length]),
                }
            }
        }
    }

    fn data(stream: u32, end: bool, data: &'static [u8]) -> Frame {
        Frame::Data { stream, end, data: data.into() }
    }

    #[tokio::test]
    async fn a_stream_carries_both_sides_until_each_ends() {
        let (client, server) = tokio::io::duplex(1024);
        let idle = Idle::new();
        let (mut session, driving) = start(server, &idle);
        let serving = async {
            let mut stream = session.open().await.expect("a stream");
            assert_eq!((stream.header("streamtype"), stream.id()), (Some("data"), 1));
            while let Some(bytes) = stream.incoming.recv().await {
                stream.outgoing.send(bytes.to_ascii_uppercase().into()).await.expect("a client");
            }
            stream.outgoing.end().await;
            drop((stream, session));
        };
        let asking = async {
            let mut peer = Peer::new(client);
            let headers = vec![("streamtype".to_owned(), "data".to_owned())];
            peer.write(Frame::Open { stream: 1, end: false, headers }).await;
            // The answer to the opening, whose kind clients alone tell from others.
            assert_eq!(peer.read().await, Some(Frame::Other));
            peer.write(data(1, false, b"hello")).await;
            assert_eq!(peer.read().await, Some(data(1, false, b"HELLO")));
            peer.write(Frame::Ping(1)).await;
            assert_eq!(peer.read().await, Some(Frame::Ping(1)));
            peer.write(data(1, true, b"")).await;
            assert_eq!(peer.read().await, Some(data(1, true, b"")));
            assert_eq!(peer.read().await, None, "the session is over");
        };
        let all = async { tokio::join!(driving, serving, asking) };
        tokio::time::timeout(Duration::from_secs(10), all).await.expect("an end");
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_all_its_streams() {
        let (client, server) = tokio::io::duplex(1024);
        let idle = Idle::new();
        let (mut session, driving) = start(server, &idle);
        let all = async {
            let serving = async {
                let mut stream = session.open().await.expect("a stream");
                assert_eq!(stream.incoming.recv().await, None);
                assert!(session.open().await.is_none());
            };
            let asking = async {
                Peer::new(client).write(Frame::Open { stream: 1, end: false, headers: Headers::new() }).await;
            };
            tokio::join!(driving, serving, asking)
        };
        tokio::time::timeout(Duration::from_secs(10), all).await.expect("an end");
    }
}
