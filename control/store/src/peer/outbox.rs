//! What waits to be written to a stream.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::frames::{Kind, write_frame};

/// A buffer that grew beyond this is not kept.
const KEPT_BYTES: usize = 1 << 20;

/// Frames for one stream. Anybody adds to it without waiting; one task writes all that is there in one go.
pub(crate) struct Outbox {
    pending: Mutex<Pending>,
    filled: Notify,
    /// Told when what was there has been taken.
    drained: Notify,
    room: Room,
    /// Filled by the task that writes it, and by nobody else: nobody need be woken.
    own: bool,
}

/// How much may wait. The frame that passes the limit is still taken.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    pub frames: usize,
    pub bytes: usize,
}

struct Pending {
    bytes: Vec<u8>,
    frames: usize,
    /// Whether there is a stream to write to.
    open: bool,
}

/// Adds frames; when it goes, whoever writes them is woken once for all.
pub(crate) struct Adding<'a> {
    outbox: &'a Outbox,
    pending: MutexGuard<'a, Pending>,
    added: bool,
}

/// Writes to the outbox are lost from when this goes.
pub(crate) struct Open<'a>(&'a Outbox);

impl Outbox {
    /// An outbox without a stream: what is added is lost.
    pub fn new(room: Room) -> Outbox {
        let pending = Pending { bytes: Vec::new(), frames: 0, open: false };
        Outbox { pending: Mutex::new(pending), filled: Notify::new(), drained: Notify::new(), room, own: false }
    }

    /// An outbox that only the work beside its writing adds to: it is written by [`Self::flow_beside`].
    pub fn own(room: Room) -> Outbox {
        Outbox { own: true, ..Outbox::new(room) }
    }

    /// There is a stream, for as long as what this returns is kept.
    pub fn open(&self) -> Open<'_> {
        self.lock().open = true;
        Open(self)
    }

    /// Waits until there is room.
    pub async fn has_room(&self) {
        loop {
            // Registered before looking, so that nothing can be taken between the look and the wait.
            let mut drained = std::pin::pin!(self.drained.notified());
            drained.as_mut().enable();
            if self.lock().has_room(self.room) {
                return;
            }
            drained.await;
        }
    }

    /// Adds frames.
    pub fn adding(&self) -> Adding<'_> {
        Adding { outbox: self, pending: self.lock(), added: false }
    }

    /// Writes what is there, whenever something is, and that its writer is alive when there was nothing for `idle`.
    pub async fn flow(&self, mut to: impl AsyncWrite + Unpin, idle: Duration) -> io::Result<Infallible> {
        let mut buffer = Vec::new();
        loop {
            if tokio::time::timeout(idle, self.take(&mut buffer)).await.is_err() {
                write_frame(&mut buffer, Kind::Alive, |_| {});
            }
            to.write_all(&buffer).await?;
            to.flush().await?;
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }

    /// Works until that is done, and writes what it adds meanwhile in the same task. A task that wakes itself is run again, and
    /// by another thread, which costs more than most of what is answered here.
    pub async fn flow_beside<T>(
        &self,
        to: impl AsyncWrite + Unpin,
        idle: Duration,
        work: impl Future<Output = T>,
    ) -> io::Result<T> {
        let (mut work, mut flow) = (pin!(work), pin!(self.flow(to, idle)));
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            // Second, so that it finds what the work has just added.
            Poll::Pending => flow.as_mut().poll(cx).map(|ended| ended.map(|never| match never {})),
        })
        .await
    }

    /// Exchanges the empty `buffer` for what is there, as soon as something is.
    async fn take(&self, buffer: &mut Vec<u8>) {
        let mut filled = pin!(self.filled.notified());
        // Looked at each time that the task runs, not only when it was told.
        poll_fn(|cx| {
            while !self.exchange(buffer) {
                // Keeps a notification that came since.
                std::task::ready!(filled.as_mut().poll(cx));
                filled.set(self.filled.notified());
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Exchanges the empty `buffer` for what is there, if anything is.
    fn exchange(&self, buffer: &mut Vec<u8>) -> bool {
        let mut pending = self.lock();
        if pending.bytes.is_empty() {
            return false;
        }
        std::mem::swap(&mut pending.bytes, buffer);
        pending.frames = 0;
        drop(pending);
        self.drained.notify_waiters();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // What was half added when somebody panicked goes with the stream, which the other side closes.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn has_room(&self, room: Room) -> bool {
        self.frames < room.frames && self.bytes.len() < room.bytes
    }
}

impl Adding<'_> {
    /// Whether there is a stream; then what is not added finds no room.
    pub fn has_stream(&self) -> bool {
        self.pending.open
    }

    /// Adds a frame, room or not: it answers a request that was counted. False when there is no stream.
    #[must_use]
    pub fn add_anyway(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let pending = &mut *self.pending;
        if !pending.open {
            return false;
        }
        write_frame(&mut pending.bytes, kind, write);
        pending.frames += 1;
        self.added = true;
        true
    }

    /// Adds a frame whose content `write` appends. False when there is no stream, or no room.
    #[must_use]
    pub fn add(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.pending.has_room(self.outbox.room) && self.add_anyway(kind, write)
    }
}

impl Drop for Adding<'_> {
    fn drop(&mut self) {
        if self.added && !self.outbox.own {
            self.outbox.filled.notify_one();
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        *pending = Pending { bytes: Vec::new(), frames: 0, open: false };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake, Waker};

    use tokio::io::AsyncReadExt;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    const IDLE: Duration = Duration::from_millis(20);

    fn outbox() -> Outbox {
        Outbox::new(Room { frames: 2, bytes: 20 })
    }

    fn add(outbox: &Outbox, content: &[u8]) -> bool {
        outbox.adding().add(Kind::Forward, |out| out.extend_from_slice(content))
    }

    #[test]
    fn it_takes_no_more_than_it_has_room_for_and_nothing_without_a_stream() {
        let outbox = outbox();
        assert!(!add(&outbox, b"lost"));
        let open = outbox.open();
        assert!(add(&outbox, b"1"));
        assert!(add(&outbox, b"2"));
        assert!(!add(&outbox, b"too many"));
        drop(open);
        assert!(!add(&outbox, b"lost"));
        let _open = outbox.open();
        assert!(add(&outbox, &[0; 20]));
        assert!(!add(&outbox, b"too much"));
    }

    #[tokio::test]
    async fn all_that_waits_is_written_and_a_sign_of_life_when_nothing_does() {
        let outbox = outbox();
        let _open = outbox.open();
        assert!(add(&outbox, b"a") && add(&outbox, b"b"));
        let (mut near, far) = tokio::io::duplex(100);
        let read = async {
            let mut bytes = [0; 12];
            near.read_exact(&mut bytes).await.unwrap();
            assert_eq!(bytes, *b"\x02\0\0\0\x07a\x02\0\0\0\x07b");
            let started = tokio::time::Instant::now();
            near.read_exact(&mut bytes[..5]).await.unwrap();
            assert_eq!(bytes[..5], *b"\x01\0\0\0\x04");
            assert!(started.elapsed() >= IDLE);
            assert!(add(&outbox, b"c"));
            near.read_exact(&mut bytes[..6]).await.unwrap();
            assert_eq!(bytes[..6], *b"\x02\0\0\0\x07c");
        };
        tokio::select! {
            () = read => {}
            ended = outbox.flow(far, IDLE) => panic!("{ended:?}"),
        }
    }

    #[tokio::test]
    async fn what_a_task_adds_for_itself_is_written_without_its_being_run_again() {
        let outbox = Outbox::own(Room { frames: 2, bytes: 20 });
        let _open = outbox.open();
        let (mut near, far) = tokio::io::duplex(100);
        let (question, asked) = tokio::sync::oneshot::channel();
        let (_stays, rest) = tokio::sync::oneshot::channel::<()>();
        let work = async {
            asked.await.unwrap();
            assert!(add(&outbox, b"a"));
            rest.await
        };
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut both = pin!(outbox.flow_beside(far, Duration::from_secs(60), work));
        assert!(both.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        question.send(()).unwrap();
        assert!(woken.0.swap(false, Ordering::Relaxed));
        assert!(both.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(!woken.0.load(Ordering::Relaxed), "it wakes itself");
        let mut bytes = [0; 6];
        near.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, *b"\x02\0\0\0\x07a");
    }
}
