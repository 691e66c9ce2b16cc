//! What the process says of itself, on standard error and for those who ask the cluster for its log.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;

use pal_engine::LogSink;
use tokio::sync::mpsc;
use tracing_subscriber::fmt::MakeWriter;

/// Pieces that wait to be kept. Beyond that they are on standard error alone.
const QUEUE: usize = 1024;

/// Where the log goes: to standard error, and into the queue for as long as somebody may keep it.
#[derive(Clone)]
pub struct Journal(mpsc::Sender<Vec<u8>>);

/// The other end of the queue.
pub struct Keeper(mpsc::Receiver<Vec<u8>>);

/// A journal, and what holds it from what is said first.
pub fn journal() -> (Journal, Keeper) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Journal(sender), Keeper(receiver))
}

impl Journal {
    /// Keeps a line that standard error shows in another way.
    pub fn keep(&self, line: &str) {
        // Of a full queue nobody can be told: that would be a line more.
        let _ = self.0.try_send(format!("{line}\n").into_bytes());
    }
}

impl Keeper {
    /// Writes what was said and is said into `sink`.
    pub async fn keep(mut self, sink: Arc<dyn LogSink>) -> Infallible {
        while let Some(bytes) = self.0.recv().await {
            sink.write(&bytes);
        }
        std::future::pending().await
    }
}

impl Write for Journal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.0.is_closed() {
            let _ = self.0.try_send(plain(bytes));
        }
        io::stderr().write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Journal {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The text without a terminal's colours (`ESC [ … m`).
fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        out.extend_from_slice(&rest[..at]);
        let code = &rest[at + 2..];
        rest = code.iter().position(|byte| *byte == b'm').map_or(&[][..], |end| &code[end + 1..]);
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_no_colours() {
        let check = |text: &str, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&plain(text.as_bytes())), expected, "{text:?}");
        };
        check("plain", "plain");
        check("\x1b[2m2026\x1b[0m \x1b[33m WARN\x1b[0m x[0]", "2026  WARN x[0]");
        check("cut \x1b[3", "cut ");
    }
}
