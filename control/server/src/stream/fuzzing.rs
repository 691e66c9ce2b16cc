//! Reading what streams bring, whatever it is.

use std::io::{Read, Result, Write};

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

use super::channels::{ALL, Channels};
use super::websocket::config;

pub use super::spdy::fuzz as spdy;

/// What a client sent, to which it gets no answer.
struct Heard<'a>(&'a [u8]);

impl Read for Heard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Heard<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A WebSocket's bytes, and the input as one message.
pub fn websocket(input: &[u8]) {
    let mut socket = WebSocket::from_raw_socket(Heard(input), Role::Server, Some(config()));
    while let Ok(message) = socket.read() {
        if matches!(message, Message::Binary(_) | Message::Text(_)) {
            ALL.iter().for_each(|protocol| packet(*protocol, &message.clone().into_data()));
        }
    }
    ALL.iter().for_each(|protocol| packet(*protocol, input));
}

fn packet(protocol: Channels, message: &[u8]) {
    // Beyond the first eighty, a channel has no digit in the base64 forms; the server has five.
    if let Ok(Some(packet)) = protocol.decode(message)
        && packet.channel < 80
    {
        let again = protocol.encode(packet.channel, &packet.data).into_data();
        assert_eq!(protocol.decode(&again), Ok(Some(packet)), "{} {message:?}", protocol.name());
    }
}
