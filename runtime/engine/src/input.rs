//! What guests read from stdin.

use tokio::io::AsyncRead;
use wasmtime_wasi::cli::{AsyncStdinStream, IsTerminal, StdinStream};
use wasmtime_wasi::p2::InputStream;

/// A guest's stdin.
pub(crate) struct Input {
    stream: AsyncStdinStream,
    terminal: bool,
}

impl Input {
    pub(crate) fn new(reader: impl AsyncRead + Send + Sync + 'static, terminal: bool) -> Self {
        Self { stream: AsyncStdinStream::new(reader), terminal }
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        self.stream.async_stream()
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        self.stream.p2_stream()
    }
}
