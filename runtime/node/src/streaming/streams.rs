//! The streams of one program, and how they become packets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use pal_resources::channel::{LONGEST, Packet};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::PollSender;

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Size {
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// What a program is given of its client. A stream that the client does not want is `None`: nothing is read, and what is
/// written there is lost.
pub(crate) struct Streams {
    /// Ends where the client ends it.
    pub(crate) stdin: Option<Box<dyn AsyncRead + Send + Sync + Unpin>>,
    /// A write waits while the client does not read.
    pub(crate) stdout: Option<Box<dyn AsyncWrite + Send + Sync + Unpin>>,
    /// As stdout. With a terminal there is none: all goes to stdout.
    pub(crate) stderr: Option<Box<dyn AsyncWrite + Send + Sync + Unpin>>,
    /// The client's terminal, as it is now.
    pub(crate) size: watch::Receiver<Option<Size>>,
    /// Whether the program is to have a terminal.
    pub(crate) tty: bool,
}

/// One of the ways out: what is written goes as packets of its channel.
pub(super) struct Outgoing {
    pub(super) channel: u8,
    pub(super) packets: PollSender<Bytes>,
}

impl Outgoing {
    pub(super) fn new(channel: u8, packets: mpsc::Sender<Bytes>) -> Self {
        Self { channel, packets: PollSender::new(packets) }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone")
}

impl AsyncWrite for Outgoing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.packets.poll_reserve(cx)).map_err(|_| gone())?;
        let piece = &bytes[..bytes.len().min(LONGEST)];
        let packet = Packet::new(self.channel, piece).encode();
        self.packets.send_item(packet.into()).map_err(|_| gone())?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
