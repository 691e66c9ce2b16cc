//! Streams that notice a peer that says nothing, or takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// When something was last read from a peer.
pub(crate) struct LastRead {
    origin: Instant,
    millis: AtomicU64,
}

impl LastRead {
    /// Counts from `origin`, with a read just now.
    pub(crate) fn new(origin: Instant) -> Self {
        let read = Self { origin, millis: AtomicU64::new(0) };
        read.touch();
        read
    }

    pub(crate) fn instant(&self) -> Instant {
        self.origin + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }

    fn touch(&self) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    /// A stream whose reads are noted here.
    pub(crate) fn watch<T>(self: Arc<Self>, inner: T) -> Noted<T> {
        Noted { inner, read: self }
    }
}

/// A stream that notes its reads.
pub(crate) struct Noted<T> {
    inner: T,
    read: Arc<LastRead>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        self.read.touch();
        Poll::Ready(outcome)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// How long a peer may take nothing of what is sent, which can be changed while the connection goes on; and whether something
/// waits for it.
#[derive(Clone, Default)]
pub(crate) struct Patience(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    /// In milliseconds.
    limit: AtomicU64,
    now: AtomicBool,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        let patience = Self::default();
        patience.set(limit);
        patience
    }

    /// From the next write on.
    pub(crate) fn set(&self, limit: Duration) {
        self.0.limit.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether the peer has not taken what was last written to it.
    pub(crate) fn is_tried(&self) -> bool {
        self.0.now.load(Ordering::Relaxed)
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.0.limit.load(Ordering::Relaxed))
    }
}

/// A stream that fails when the peer sends nothing at first, or later takes nothing of what is sent, for too long.
pub(crate) struct Guarded<T> {
    inner: T,
    /// Read already, by somebody who had no use for it.
    early: Bytes,
    first: Option<Pin<Box<Sleep>>>,
    stall: Patience,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<T> Guarded<T> {
    pub(crate) fn new(inner: T, first_byte: Duration, stall: Patience) -> Self {
        let first = Some(Box::pin(tokio::time::sleep(first_byte)));
        Self { inner, early: Bytes::new(), first, stall, stalled: None }
    }

    /// Gives back what was read from here, to be read again.
    pub(crate) fn give_back(&mut self, early: Bytes) {
        self.early = if self.early.is_empty() { early } else { [early, self.early.split_off(0)].concat().into() };
    }

    /// Lets a write through that made progress; one that did not must make some before the time is up.
    fn progress<R>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.stall.0.now.store(outcome.is_pending(), Ordering::Relaxed);
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stall = self.stall.limit();
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let some = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(some));
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                self.first = None;
                Poll::Ready(outcome)
            }
            Poll::Pending => match &mut self.first {
                Some(timer) => timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
                None => Poll::Pending,
            },
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.progress(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.progress(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.progress(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.progress(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_peer_that_never_speaks_is_given_up_and_one_that_spoke_may_pause() {
        let (_quiet, server) = tokio::io::duplex(64);
        let read = Guarded::new(server, SHORT, Patience::new(LONG)).read_u8().await;
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));

        let (mut speaking, server) = tokio::io::duplex(64);
        speaking.write_all(b"a").await.expect("room");
        let mut guarded = Guarded::new(server, SHORT, Patience::new(LONG));
        assert_eq!(guarded.read_u8().await.expect("a byte"), b'a');
        let pause = tokio::time::timeout(SHORT * 3, guarded.read_u8()).await;
        assert!(pause.is_err(), "still waiting");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_full, server) = tokio::io::duplex(4);
        let written = Guarded::new(server, LONG, Patience::new(SHORT)).write_all(b"more than fits").await;
        assert_eq!(written.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn what_was_given_back_is_read_first() {
        let (mut peer, server) = tokio::io::duplex(64);
        peer.write_all(b"last").await.expect("room");
        drop(peer);
        let mut guarded = Guarded::new(server, LONG, Patience::new(LONG));
        guarded.give_back("second ".into());
        guarded.give_back("first ".into());
        let mut all = String::new();
        guarded.read_to_string(&mut all).await.expect("an end");
        assert_eq!(all, "first second last");
    }

    #[tokio::test]
    async fn reads_are_noted() {
        let (mut client, server) = tokio::io::duplex(64);
        let origin = Instant::now().checked_sub(Duration::from_secs(5)).expect("a machine that is up for some seconds");
        let read = Arc::new(LastRead { origin, millis: AtomicU64::new(0) });
        let mut noted = read.clone().watch(server);
        assert_eq!(read.instant(), origin);
        client.write_all(b"a").await.expect("room");
        noted.read_u8().await.expect("a byte");
        assert!(read.instant() > origin);
    }
}
