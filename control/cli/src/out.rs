//! Standard output, whose reader may go at any time: `pal get pods | head -1`.

use std::fmt::Display;
use std::io::Write;

use crate::error::CliError;

/// Writes a line. A reader who has gone is [`CliError::OutputClosed`], which ends a command quietly.
pub fn line(text: impl Display) -> Result<(), CliError> {
    block(&format!("{text}\n"))
}

/// Writes text that brings its own ends of lines.
pub fn block(text: &str) -> Result<(), CliError> {
    bytes(text.as_bytes())
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::file("standard output")(error),
    })
}

/// Writes a line for a process that goes on whether anybody reads it or not.
pub fn note(text: impl Display) {
    if let Err(error) = line(text) {
        tracing::debug!(%error, "nobody reads standard output");
    }
}
