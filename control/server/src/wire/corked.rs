//! A connection on which what many write goes out together.
//!
//! An HTTP/2 connection carries many streams, and h2 flushes after each frame of data that is not tiny. An event that a hundred
//! watches of one connection are told would be a hundred records of TLS and a hundred calls of the system. So what is written
//! is collected, and sent when all have written who were about to.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is collected; who writes more waits until it is sent.
const MOST: usize = 64 * 1024;
/// What is kept for the next time, when that much was collected.
const KEPT: usize = 4 * 1024;

/// One of two handles of a connection: whoever writes has one, whoever sends the other.
pub(crate) struct Corked<T>(Arc<Mutex<Collected<T>>>);

struct Collected<T> {
    io: T,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    /// Sent, but perhaps not passed on by what lies below.
    unflushed: bool,
    /// Others had the time to write too.
    waited: bool,
    /// What went wrong when it was sent, to be told to whoever writes next.
    failed: Option<io::Error>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Corked<T> {
    pub(crate) fn new(io: T) -> Self {
        let collected = Collected { io, out: Vec::new(), sent: 0, unflushed: false, waited: false, failed: None };
        Self(Arc::new(Mutex::new(collected)))
    }

    /// Sends what was collected, for who has just polled what writes here and got nothing. The task is woken when there is more
    /// to do.
    pub(crate) fn send(&self, cx: &mut Context<'_>) {
        let mut collected = self.collected();
        if collected.is_empty() {
            collected.waited = false;
        } else if !collected.waited {
            // Once round the queue of the runtime: those that were woken with the one that wrote, write too.
            collected.waited = true;
            cx.waker().wake_by_ref();
        } else if let Poll::Ready(outcome) = collected.poll_send(cx) {
            collected.waited = false;
            if let Err(error) = outcome {
                collected.failed = Some(error);
                cx.waker().wake_by_ref();
            }
        }
    }

    pub(crate) fn handle(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Corked<T> {
    fn collected(&self) -> MutexGuard<'_, Collected<T>> {
        // A panic in what lies below ends the connection.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncWrite + Unpin> Collected<T> {
    fn is_empty(&self) -> bool {
        self.out.is_empty() && !self.unflushed
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.unflushed = true;
        }
        self.out.clear();
        self.out.shrink_to(KEPT);
        self.sent = 0;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Makes room for what is written next.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.out.len() < MOST { Poll::Ready(Ok(())) } else { self.poll_send(cx) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Corked<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.collected().io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Corked<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut collected = self.collected();
        ready!(collected.poll_room(cx))?;
        bufs.iter().for_each(|buf| collected.out.extend_from_slice(buf));
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was collected is sent by who drives the writer.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.collected().failed.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut collected = self.collected();
        ready!(collected.poll_send(cx))?;
        Pin::new(&mut collected.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// Counts what is written to it.
    struct Counted(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counted {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let outcome = Pin::new(&mut self.0).poll_write(cx, buf);
            self.1.fetch_add(usize::from(outcome.is_ready()), Ordering::Relaxed);
            outcome
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// Runs what writes to it.
    async fn drive<T>(corked: &Corked<Counted>, writer: impl Future<Output = T>) -> T {
        let mut writer = std::pin::pin!(writer);
        poll_fn(|cx| {
            let outcome = writer.as_mut().poll(cx);
            if outcome.is_pending() {
                corked.send(cx);
            }
            outcome
        })
        .await
    }

    /// Writes pieces of a size, each flushed, and the end; what came out, and in how many writes.
    async fn write(pieces: usize, size: usize, room: usize) -> (usize, usize) {
        let ((mut peer, inner), writes) = (duplex(room), Arc::new(AtomicUsize::new(0)));
        let corked = Corked::new(Counted(inner, writes.clone()));
        let mut handle = corked.handle();
        let writer = async move {
            for number in 0..pieces {
                handle.write_all(&vec![number as u8; size]).await.expect("room");
                handle.flush().await.expect("a flush");
            }
            // What is not sent at the end is not waited for.
            tokio::time::sleep(Duration::from_millis(1)).await;
            handle.shutdown().await.expect("an end");
        };
        let mut seen = Vec::new();
        let reader = async { peer.read_to_end(&mut seen).await.map(drop) };
        let ((), read) = tokio::join!(drive(&corked, writer), reader);
        read.expect("all of it");
        let expected = (0..pieces).flat_map(|number| vec![number as u8; size]);
        assert!(seen.iter().copied().eq(expected), "{pieces} of {size}");
        (seen.len(), writes.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn what_is_written_in_pieces_goes_out_at_once_and_in_order() {
        assert_eq!(write(100, 300, 1 << 20).await, (30_000, 1));
        let (bytes, writes) = write(1_000, 500, 1 << 20).await;
        assert_eq!(bytes, 500_000);
        assert!(writes < 20, "{writes} writes");
        assert_eq!(write(40, 5_000, 1_000).await.0, 200_000);
        assert_eq!(write(0, 0, 10).await, (0, 0));
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_told_to_who_writes() {
        let (peer, inner) = duplex(10);
        drop(peer);
        let corked = Corked::new(Counted(inner, Arc::default()));
        let mut handle = corked.handle();
        let writer = async move {
            handle.write_all(b"hello").await.expect("it is collected");
            poll_fn(|cx| match Pin::new(&mut handle).poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            })
            .await
        };
        let outcome = tokio::time::timeout(Duration::from_secs(60), drive(&corked, writer)).await;
        assert_eq!(outcome.ok(), Some(io::ErrorKind::BrokenPipe));
    }
}
