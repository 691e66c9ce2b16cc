//! What guests write to stdout and stderr, on its way to a [`LogSink`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use crate::{Closed, LogSink};

/// What one write takes at most.
const PIECE_BYTES: usize = 64 * 1024;

/// What a workload may write each second before its guests have to wait. A program that prints without end must not
/// fill the disk's bandwidth.
const BYTES_PER_SECOND: f64 = 16.0 * 1024.0 * 1024.0;

/// What it may write at once after a pause.
const BURST_BYTES: f64 = 4.0 * 1024.0 * 1024.0;

/// Slows a workload's output down to [`BYTES_PER_SECOND`].
pub(crate) struct Throttle(Mutex<Bucket>);

struct Bucket {
    /// Bytes that may be written now; below zero after a large write.
    left: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * BYTES_PER_SECOND;
        self.left = (self.left + gained).min(BURST_BYTES);
        self.at = now;
    }

    /// How long until something may be written again.
    fn wait(&self) -> Duration {
        if self.left > 0.0 {
            Duration::ZERO
        } else {
            // One byte more than is missing, and not so little that a timer would turn for it.
            Duration::from_secs_f64((1.0 - self.left) / BYTES_PER_SECOND).max(Duration::from_millis(1))
        }
    }
}

impl Throttle {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket { left: BURST_BYTES, at: now }))
    }

    fn written(&self, bytes: usize, now: Instant) {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.refill(now);
        bucket.left -= bytes as f64;
    }

    fn wait(&self, now: Instant) -> Duration {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.refill(now);
        bucket.wait()
    }
}

/// A guest's stdout or stderr.
#[derive(Clone)]
pub(crate) struct Output {
    sink: Arc<dyn LogSink>,
    throttle: Arc<Throttle>,
    terminal: bool,
}

impl Output {
    pub(crate) fn new(sink: Arc<dyn LogSink>, throttle: Arc<Throttle>, terminal: bool) -> Self {
        Self { sink, throttle, terminal }
    }

    fn put(&self, bytes: &[u8]) {
        self.sink.write(bytes);
        self.throttle.written(bytes.len(), Instant::now());
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Writer { output: self.clone(), pause: None })
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        if !self.throttle.wait(Instant::now()).is_zero() {
            return Ok(0);
        }
        match self.sink.poll_room(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Ok(PIECE_BYTES),
            Poll::Ready(Err(Closed)) => Err(StreamError::Closed),
            Poll::Pending => Ok(0),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        loop {
            let wait = self.throttle.wait(Instant::now());
            if wait.is_zero() {
                // That nobody reads any more the guest hears when it writes.
                let _ = poll_fn(|cx| self.sink.poll_room(cx)).await;
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// The form of [`Output`] that WASI 0.3 writes to.
struct Writer {
    output: Output,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let wait = self.output.throttle.wait(Instant::now());
            if wait.is_zero() {
                break;
            }
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
        if std::task::ready!(self.output.sink.poll_room(cx)).is_err() {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        self.output.put(piece);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_is_beyond_it_waits() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        throttle.written(BURST_BYTES as usize - 1, start);
        assert_eq!(throttle.wait(start), Duration::ZERO);
        throttle.written(1 + BYTES_PER_SECOND as usize / 2, start);
        let wait = throttle.wait(start);
        assert!((0.49..0.51).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(throttle.wait(start + wait + Duration::from_millis(1)), Duration::ZERO);
    }

    #[test]
    fn a_pause_earns_no_more_than_a_burst() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        let later = start + Duration::from_secs(3600);
        throttle.written(BURST_BYTES as usize + 1, later);
        assert!(throttle.wait(later) > Duration::ZERO);
    }
}
