//! An answer that lasts as a WebSocket's messages: events of a watch, a log.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::limits::{FINISH, PING_EVERY};
use super::websocket::{closing, open};
use crate::Body;

/// How an answer becomes messages (apiserver `handlers/watch.go`, `wsstream`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each line is one.
    Lines,
    /// Each piece is one, as it is.
    Pieces,
    /// Each piece is one, in base64.
    Base64,
}

/// Sends the answer, until it ends or the client is gone.
pub(crate) async fn run<T>(io: T, mut body: Body, framing: Framing)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut sink, mut stream) = open(io).await.split();
    let gone = async {
        while let Some(Ok(message)) = stream.next().await {
            if message.is_close() {
                return;
            }
        }
    };
    let sending = async {
        let mut pings = tokio::time::interval(PING_EVERY);
        pings.reset();
        let mut cutter = Cutter { framing, begun: BytesMut::new() };
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                _ = pings.tick() => {
                    sink.send(Message::Ping(Default::default())).await?;
                    continue;
                }
            };
            // An answer that breaks off ends like one that ends: there is nothing to say it with.
            let Some(Ok(frame)) = frame else { break };
            let Ok(data) = frame.into_data() else { continue };
            for message in cutter.cut(data) {
                sink.feed(message).await?;
            }
            sink.flush().await?;
        }
        sink.send(closing()).await
    };
    tokio::pin!(gone);
    let outcome: Option<Result<(), Error>> = tokio::select! {
        () = &mut gone => None,
        outcome = sending => Some(outcome),
    };
    match outcome {
        // The client is to read all before the connection is closed.
        Some(Ok(())) => drop(tokio::time::timeout(FINISH, gone).await),
        Some(Err(error)) => tracing::debug!(%error, "a client's WebSocket broke"),
        None => {}
    }
    if let Ok(mut socket) = sink.reunite(stream) {
        let _ = socket.flush().await;
        let _ = socket.get_mut().shutdown().await;
    }
}

/// Makes messages of what comes.
struct Cutter {
    framing: Framing,
    /// A line whose end has not come yet.
    begun: BytesMut,
}

impl Cutter {
    fn cut(&mut self, data: Bytes) -> Vec<Message> {
        match self.framing {
            Framing::Pieces => vec![Message::Binary(data)],
            Framing::Base64 => vec![Message::text(STANDARD.encode(&data))],
            Framing::Lines => {
                self.begun.extend_from_slice(&data);
                let mut messages = Vec::new();
                while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                    let line = self.begun.split_to(end + 1).freeze();
                    // JSON is text.
                    messages.extend(Utf8Bytes::try_from(line).ok().map(Message::Text));
                }
                messages
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_cut_into_messages() {
        let check = |framing: Framing, pieces: &[&'static str], expected: &[Message]| {
            let mut cutter = Cutter { framing, begun: BytesMut::new() };
            let messages: Vec<Message> =
                pieces.iter().flat_map(|piece| cutter.cut(Bytes::from_static(piece.as_bytes()))).collect();
            assert_eq!(messages, expected, "{pieces:?}");
        };
        let text = |text: &'static str| Message::text(text);
        check(Framing::Lines, &["a\nb\n", "c", "d\ne"], &[text("a\n"), text("b\n"), text("cd\n")]);
        check(Framing::Pieces, &["a\nb", "c"], &[Message::binary("a\nb"), Message::binary("c")]);
        check(Framing::Base64, &["a\nb"], &[text("YQpi")]);
    }
}
