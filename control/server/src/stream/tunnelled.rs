//! A connection inside a WebSocket: its bytes are the binary messages.

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::limits::{FINISH, PING_EVERY};
use super::websocket::{closing, open};

const BUFFER: usize = 64 * 1024;
const PIECE: usize = 32 * 1024;

/// The inner connection, and what has to run for it. That ends with either of the two.
pub(super) fn tunnel<T>(io: T) -> (DuplexStream, impl Future<Output = ()> + Send)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (inner, outer) = tokio::io::duplex(BUFFER);
    (inner, carry(io, outer))
}

async fn carry<T: AsyncRead + AsyncWrite + Unpin>(io: T, outer: DuplexStream) {
    let (mut sink, mut stream) = open(io).await.split();
    let (mut read, mut write) = tokio::io::split(outer);
    let incoming = async {
        while let Some(message) = stream.next().await {
            match message {
                // What nobody reads any more is left out.
                Ok(Message::Binary(bytes)) => drop(write.write_all(&bytes).await),
                Ok(Message::Close(_)) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a tunnel in a WebSocket broke");
                    break;
                }
            }
        }
        let _ = write.shutdown().await;
    };
    let outgoing = async {
        let mut buffer = vec![0; PIECE];
        let mut pings = tokio::time::interval(PING_EVERY);
        pings.reset();
        loop {
            let message = tokio::select! {
                length = read.read(&mut buffer) => match length {
                    Ok(0) | Err(_) => break sink.send(closing()).await,
                    Ok(length) => Message::Binary(Bytes::copy_from_slice(&buffer[..length])),
                },
                _ = pings.tick() => Message::Ping(Bytes::new()),
            };
            sink.send(message).await?;
        }
    };
    tokio::pin!(incoming);
    tokio::select! {
        () = &mut incoming => {}
        outcome = outgoing => match outcome {
            Ok(()) => drop(tokio::time::timeout(FINISH, incoming).await),
            Err(error) => tracing::debug!(%error, "a tunnel in a WebSocket broke"),
        },
    }
}
