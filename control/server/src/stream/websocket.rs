//! Numbered channels over a WebSocket.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::channels::Channels;
use super::client::{Said, Wire, words};
use super::limits::{FINISH, Idle, PING_EVERY};
use pal_resources::channel::ERROR;

/// The longest message of a client. Clients cut what they send into far smaller ones.
const LONGEST: usize = 4 * 1024 * 1024;
/// How long a connection may take to end after its last message.
const CLOSING: Duration = Duration::from_secs(10);

/// What is taken of clients.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST))
}

/// A connection that has become a WebSocket.
pub(super) async fn open<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await
}

/// The message with which the server ends.
pub(super) fn closing() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Carries messages until the client is gone, or has heard all that was to be said. `greeted` is the channel on which an
/// empty message tells the client that all is set up.
pub(super) async fn channels<T>(io: T, protocol: Channels, greeted: Option<u8>, wire: Wire, idle: &Idle)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Wire { heard, mut said } = wire;
    let (mut sink, mut stream) = open(io).await.split();
    {
        let reading = async {
            while let Some(message) = stream.next().await {
                let packet = match message {
                    Ok(Message::Binary(bytes)) => protocol.decode(&bytes),
                    Ok(Message::Text(text)) => protocol.decode(text.as_bytes()),
                    Ok(Message::Close(_)) => return,
                    Ok(_) => continue,
                    Err(error) => return tracing::debug!(%error, "a client's WebSocket broke"),
                };
                idle.touch();
                match packet {
                    // What nobody listens to any more is left out.
                    Ok(Some(packet)) => drop(heard.send(packet).await),
                    Ok(None) => {}
                    Err(error) => return tracing::debug!(%error, "a client's messages are out of order"),
                }
            }
        };
        let writing = async {
            if let Some(channel) = greeted {
                sink.send(protocol.encode(channel, b"")).await?;
            }
            let mut pings = tokio::time::interval(PING_EVERY);
            pings.reset();
            loop {
                let message = tokio::select! {
                    said = said.recv() => match said {
                        Some(said) => message(protocol, said),
                        None => break sink.send(closing()).await,
                    },
                    _ = pings.tick() => Some(Message::Ping(Bytes::new())),
                };
                let Some(message) = message else { continue };
                if !message.is_ping() {
                    idle.touch();
                }
                sink.send(message).await?;
            }
        };
        tokio::pin!(reading);
        tokio::select! {
            () = &mut reading => {}
            outcome = writing => match outcome {
                // The client is to read all before the connection is closed.
                Ok(()) => drop(tokio::time::timeout(FINISH, reading).await),
                Err(error) => tracing::debug!(%error, "a client's WebSocket broke"),
            },
        }
    }
    if let Ok(mut socket) = sink.reunite(stream) {
        let end = async {
            let _ = socket.flush().await;
            let _ = socket.get_mut().shutdown().await;
        };
        let _ = tokio::time::timeout(CLOSING, end).await;
    }
}

fn message(protocol: Channels, said: Said) -> Option<Message> {
    match said {
        Said::Packet(packet) => Some(protocol.encode(packet.channel, &packet.data)),
        Said::Ending(ending) if protocol.tells_status() => Some(protocol.encode(ERROR, &ending)),
        Said::Ending(ending) => Some(protocol.encode(ERROR, words(&ending)?.as_bytes())),
    }
}
