//! What goes between a client of `exec` or `attach` and the program: packets on numbered channels, and the last word on
//! how it ended.
//!
//! The numbers are those of Kubernetes' WebSocket protocols (`v5.channel.k8s.io`, apimachinery `pkg/util/remotecommand`).
//! Between server and node packets go one behind the other, each as its channel's number (one byte), the length of what
//! follows (four bytes, the highest first), and the bytes.

use serde::Serialize;

use crate::status::{Reason, Status, StatusCause, StatusDetails};

/// What the program reads.
pub const STDIN: u8 = 0;
/// What it writes.
pub const STDOUT: u8 = 1;
/// What it complains of.
pub const STDERR: u8 = 2;
/// How it ended: [`Ending`] as JSON, once.
pub const ERROR: u8 = 3;
/// The size of the client's terminal, as JSON.
pub const RESIZE: u8 = 4;
/// The channel that is named by the one byte of the packet ends.
pub const CLOSE: u8 = 255;

/// The longest packet, in bytes. What is longer is sent as several.
pub const LONGEST: usize = 64 * 1024;
const HEAD: usize = 5;

/// Bytes on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub channel: u8,
    pub data: Vec<u8>,
}

impl Packet {
    /// `data` on that channel.
    pub fn new(channel: u8, data: impl Into<Vec<u8>>) -> Self {
        Self { channel, data: data.into() }
    }

    /// Nothing more comes on that channel.
    pub fn close(channel: u8) -> Self {
        Self::new(CLOSE, [channel])
    }

    /// The packet as it goes over the wire, cut into several where it is too long for one.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.data.len());
        let mut rest = self.data.as_slice();
        loop {
            let (piece, after) = rest.split_at(rest.len().min(LONGEST));
            out.push(self.channel);
            // A piece is no longer than `LONGEST`, which four bytes hold.
            out.extend_from_slice(&(piece.len() as u32).to_be_bytes());
            out.extend_from_slice(piece);
            if after.is_empty() {
                return out;
            }
            rest = after;
        }
    }
}

/// A packet that claims to be longer than any is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {0} bytes, where {LONGEST} are the most")]
pub struct TooLong(pub usize);

/// Finds the packets in what arrives.
#[derive(Debug, Default)]
pub struct Packets {
    buffer: Vec<u8>,
    at: usize,
}

impl Packets {
    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next packet that is whole.
    pub fn take(&mut self) -> Result<Option<Packet>, TooLong> {
        let rest = &self.buffer[self.at..];
        let Some((&[channel, a, b, c, d], rest)) = rest.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > LONGEST {
            return Err(TooLong(length));
        }
        let Some(data) = rest.get(..length) else { return Ok(None) };
        let packet = Packet::new(channel, data);
        self.at += HEAD + length;
        Ok(Some(packet))
    }
}

/// How a program that was streamed ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended by itself, with that exit code.
    Exit(i32),
    /// It did not run, or not to its end.
    Failed(Status),
}

impl Ending {
    /// As clients of `v4.channel.k8s.io` and later read it on the channel [`ERROR`]: a `Status` without its kind.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Empty {}
        #[derive(Serialize)]
        struct Body<'a> {
            metadata: Empty,
            status: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: Option<&'a StatusDetails>,
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<u16>,
        }
        let message = self.message();
        let exit = match self {
            Self::Exit(0) | Self::Failed(_) => None,
            Self::Exit(code) => {
                let cause = StatusCause { reason: "ExitCode".into(), message: code.to_string(), field: String::new() };
                Some(StatusDetails { causes: vec![cause], ..StatusDetails::default() })
            }
        };
        let reason = match self {
            Self::Failed(status) => status.reason.and_then(reason),
            Self::Exit(_) => exit.as_ref().map(|_| "NonZeroExitCode".to_owned()),
        };
        let body = Body {
            metadata: Empty {},
            status: if matches!(self, Self::Exit(0)) { "Success" } else { "Failure" },
            message: &message,
            reason: reason.as_deref(),
            details: match self {
                Self::Failed(status) => status.details.as_ref(),
                Self::Exit(_) => exit.as_ref(),
            },
            code: match self {
                Self::Failed(status) => Some(status.code),
                Self::Exit(_) => None,
            },
        };
        // A struct of strings and numbers has no way to fail.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// What clients of the older protocols are told; empty after success.
    pub fn message(&self) -> String {
        match self {
            Self::Exit(0) => String::new(),
            Self::Exit(code) => {
                format!("command terminated with non-zero exit code: command terminated with exit code {code}")
            }
            Self::Failed(status) => status.message.clone(),
        }
    }
}

/// A reason as it is written.
fn reason(reason: Reason) -> Option<String> {
    serde_json::to_value(reason).ok()?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_however_they_are_cut() {
        let sent = [
            Packet::new(STDIN, "hello"),
            Packet::new(STDERR, ""),
            Packet::close(STDIN),
            Packet::new(STDOUT, vec![7; LONGEST]),
        ];
        let wire: Vec<u8> = sent.iter().flat_map(Packet::encode).collect();
        for piece in [1, 3, 1000, wire.len()] {
            let (mut packets, mut found) = (Packets::default(), Vec::new());
            for bytes in wire.chunks(piece) {
                packets.push(bytes);
                while let Some(packet) = packets.take().expect("packets") {
                    found.push(packet);
                }
            }
            assert_eq!(found, sent, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_by_who_sends_it_and_refused_from_who_does_not() {
        let mut packets = Packets::default();
        packets.push(&Packet::new(STDIN, vec![1; LONGEST + 2]).encode());
        let lengths: Vec<usize> =
            std::iter::from_fn(|| packets.take().expect("packets")).map(|packet| packet.data.len()).collect();
        assert_eq!(lengths, [LONGEST, 2]);
        packets.push(&[STDIN, 0, 1, 0, 1]);
        assert_eq!(packets.take(), Err(TooLong(LONGEST + 1)));
    }

    #[test]
    fn endings_read_as_kubernetes_writes_them() {
        let check = |ending: Ending, json: &str, message: &str| {
            assert_eq!(String::from_utf8(ending.to_json()).expect("text"), json);
            assert_eq!(ending.message(), message);
        };
        check(Ending::Exit(0), r#"{"metadata":{},"status":"Success"}"#, "");
        check(
            Ending::Exit(3),
            concat!(
                r#"{"metadata":{},"status":"Failure","#,
                r#""message":"command terminated with non-zero exit code: command terminated with exit code 3","#,
                r#""reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#
            ),
            "command terminated with non-zero exit code: command terminated with exit code 3",
        );
        check(
            Ending::Failed(Status::bad_request("no")),
            r#"{"metadata":{},"status":"Failure","message":"no","reason":"BadRequest","code":400}"#,
            "no",
        );
    }
}
