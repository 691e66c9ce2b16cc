//! Kubernetes' WebSocket protocols of numbered channels: messages to packets and back.
//!
//! The first byte of a message is its channel; in the base64 forms the first character is, as a digit, and the rest is
//! base64 (apimachinery `httpstream/wsstream`). Only v5 can end a single channel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pal_resources::channel::{CLOSE, Packet};
use tokio_tungstenite::tungstenite::Message;

/// One of the protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    name: &'static str,
    base64: bool,
    /// Whether a channel can end by itself.
    closes: bool,
    /// Whether the end of a program is told as a `Status`, and not in words alone.
    status: bool,
}

const fn protocol(name: &'static str, base64: bool, closes: bool, status: bool) -> Channels {
    Channels { name, base64, closes, status }
}

pub(super) const ALL: &[Channels] = &[
    protocol("", false, false, false),
    protocol("v5.channel.k8s.io", false, true, true),
    protocol("v4.channel.k8s.io", false, false, true),
    protocol("v4.base64.channel.k8s.io", true, false, true),
    protocol("v3.channel.k8s.io", false, false, false),
    protocol("v2.channel.k8s.io", false, false, false),
    protocol("v1.channel.k8s.io", false, false, false),
    protocol("channel.k8s.io", false, false, false),
    protocol("base64.channel.k8s.io", true, false, false),
    protocol("portforward.k8s.io", false, false, false),
];

/// A message that is none of the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("one channel byte should follow the close signal")]
    Close,
    #[error("a message is not base64")]
    Base64,
}

impl Channels {
    /// The protocol of that name; the empty name is that of clients which name none.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|known| known.name == name).copied()
    }

    pub(crate) fn name(self) -> &'static str {
        self.name
    }

    /// Whether a channel can end by itself.
    pub(crate) fn closes(self) -> bool {
        self.closes
    }

    /// Whether the end of a program is told as a `Status`.
    pub(crate) fn tells_status(self) -> bool {
        self.status
    }

    /// The packet that a message is, if it is one.
    pub(crate) fn decode(self, message: &[u8]) -> Result<Option<Packet>, Broken> {
        let Some((&channel, data)) = message.split_first() else { return Ok(None) };
        if self.closes && channel == CLOSE {
            return match data {
                [channel] => Ok(Some(Packet::close(*channel))),
                _ => Err(Broken::Close),
            };
        }
        if self.base64 {
            let data = STANDARD.decode(data).map_err(|_| Broken::Base64)?;
            return Ok(Some(Packet::new(channel.wrapping_sub(b'0'), data)));
        }
        Ok(Some(Packet::new(channel, data)))
    }

    /// Bytes on a channel as a message.
    pub(crate) fn encode(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::from(char::from(b'0'.wrapping_add(channel)));
            STANDARD.encode_string(data, &mut text);
            return Message::text(text);
        }
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(channel);
        message.extend_from_slice(data);
        Message::binary(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_packets() {
        let check = |name: &str, message: &[u8], expected: Result<Option<Packet>, Broken>| {
            let protocol = Channels::named(name).expect("a protocol");
            assert_eq!(protocol.decode(message), expected, "{name} {message:?}");
        };
        check("v5.channel.k8s.io", b"", Ok(None));
        check("v5.channel.k8s.io", b"\x00foo\n", Ok(Some(Packet::new(0, "foo\n"))));
        check("v5.channel.k8s.io", b"\xff\x00", Ok(Some(Packet::close(0))));
        check("v5.channel.k8s.io", b"\xff", Err(Broken::Close));
        check("v5.channel.k8s.io", b"\x04{\"Width\":1}", Ok(Some(Packet::new(4, "{\"Width\":1}"))));
        check("v4.channel.k8s.io", b"\xff\x00", Ok(Some(Packet::new(255, [0]))));
        check("", b"\x00a", Ok(Some(Packet::new(0, "a"))));
        check("base64.channel.k8s.io", b"0Zm9vCg==", Ok(Some(Packet::new(0, "foo\n"))));
        check("base64.channel.k8s.io", b"0?", Err(Broken::Base64));
    }

    #[test]
    fn packets_are_messages() {
        let check = |name: &str, expected: Message| {
            assert_eq!(Channels::named(name).expect("a protocol").encode(1, b"\n"), expected, "{name}");
        };
        check("v5.channel.k8s.io", Message::binary(&b"\x01\n"[..]));
        check("v4.base64.channel.k8s.io", Message::text("1Cg=="));
    }
}
