//! From a guest's output to a client that may be slower.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pal_engine::{Closed, LogSink};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::timeout;

/// What is held before the guest waits, in bytes. One write may go beyond it.
const ROOM: usize = 64 * 1024;
/// How long a client may take nothing before nothing more is sent to it.
const STALL: Duration = Duration::from_secs(120);

/// Bytes on their way.
pub(crate) struct Pipe {
    state: Mutex<State>,
    changed: Notify,
    /// Whether each line's end becomes that of a terminal.
    terminal: bool,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Nothing more is written.
    ended: bool,
    /// Nobody reads any more.
    deaf: bool,
    waiting: Vec<Waker>,
}

impl Pipe {
    pub(crate) fn new(terminal: bool) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), terminal }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes as they are.
    pub(crate) fn put(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if !state.deaf {
            state.bytes.extend(bytes);
            self.changed.notify_one();
        }
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }

    /// What is there, or nothing at the end.
    async fn take(&self) -> Option<Vec<u8>> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if !state.bytes.is_empty() {
                    let bytes = std::mem::take(&mut state.bytes).into();
                    state.waiting.drain(..).for_each(Waker::wake);
                    return Some(bytes);
                }
                if state.ended {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Writes all that comes until the end; without a writer it is lost.
    pub(crate) async fn pump(&self, to: Option<impl AsyncWrite + Unpin>) {
        let mut to = to;
        while let Some(bytes) = self.take().await {
            let Some(writer) = &mut to else { continue };
            let written = pin!(timeout(STALL, writer.write_all(&bytes)));
            if !matches!(written.await, Ok(Ok(()))) {
                self.deafen();
                return;
            }
        }
        if let Some(writer) = &mut to {
            // Who is gone needs no more.
            let _: io::Result<()> = writer.flush().await;
        }
    }

    fn deafen(&self) {
        let mut state = self.lock();
        state.deaf = true;
        state.bytes.clear();
        state.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.deafen();
    }
}

impl LogSink for Pipe {
    fn write(&self, bytes: &[u8]) {
        if !self.terminal {
            return self.put(bytes);
        }
        let mut shown = Vec::with_capacity(bytes.len() + 16);
        for byte in bytes {
            if *byte == b'\n' {
                shown.push(b'\r');
            }
            shown.push(*byte);
        }
        self.put(&shown);
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.lock();
        if state.deaf {
            return Poll::Ready(Err(Closed));
        }
        if state.bytes.len() < ROOM {
            return Poll::Ready(Ok(()));
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Keeps the beginning of what is written.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<u8>>);

/// What is kept at most, as kubelet does of a probe's output, in bytes.
const KEPT: usize = 10 * 1024;

impl Kept {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl LogSink for Kept {
    fn write(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_arrives_and_a_full_pipe_waits() {
        let pipe = Pipe::new(true);
        let mut cx = Context::from_waker(Waker::noop());
        pipe.write(b"one\ntwo");
        assert_eq!(pipe.poll_room(&mut cx), Poll::Ready(Ok(())));
        pipe.put(&vec![b'x'; ROOM]);
        assert_eq!(pipe.poll_room(&mut cx), Poll::Pending);
        pipe.end();
        let mut out = Vec::new();
        pipe.pump(Some(&mut out)).await;
        assert!(out.starts_with(b"one\r\ntwoxxx"), "{:?}", &out[..16]);
        assert_eq!(pipe.poll_room(&mut cx), Poll::Ready(Ok(())));
    }

    #[tokio::test]
    async fn who_writes_hears_that_nobody_reads() {
        let pipe = Pipe::new(false);
        let (near, far) = tokio::io::duplex(1);
        drop(far);
        pipe.write(b"lost");
        pipe.pump(Some(near)).await;
        assert_eq!(pipe.poll_room(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(Closed)));
    }
}
