//! What waits for the driver: one queue for this server's own users, one for what the other servers send, both bounded.
//!
//! They are apart so that neither can fill the other's: a burst of local writes must not hold up a vote, nor a leader's
//! stream the reads of this server's users.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// So many requests of local users.
    pub requests: usize,
    /// So many arrivals from other servers,
    pub arrivals: usize,
    /// or so many bytes of them.
    pub arrival_bytes: usize,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Too much waits already.
    Full,
    /// Nobody will take it any more.
    Ended,
}

/// What the driver found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken<R, A> {
    /// In the order in which they were asked.
    pub requests: Vec<R>,
    /// In the order in which they came.
    pub arrivals: Vec<A>,
    /// The driver is to finish. This is said once.
    pub closing: bool,
}

/// The queues; shared by the driver, which takes, and everybody else, who adds.
pub(crate) struct Inbox<R, A> {
    lanes: Mutex<Lanes<R, A>>,
    filled: Condvar,
    /// Told when arrivals have been taken.
    drained: Notify,
    room: Room,
}

struct Lanes<R, A> {
    requests: VecDeque<R>,
    arrivals: VecDeque<A>,
    arrival_bytes: usize,
    closing: bool,
    ended: bool,
    /// Whether the driver waits for something to come.
    waiting: bool,
}

impl<R, A> Inbox<R, A> {
    pub fn new(room: Room) -> Inbox<R, A> {
        let lanes = Lanes {
            requests: VecDeque::new(),
            arrivals: VecDeque::new(),
            arrival_bytes: 0,
            closing: false,
            ended: false,
            waiting: false,
        };
        Inbox { lanes: Mutex::new(lanes), filled: Condvar::new(), drained: Notify::new(), room }
    }

    /// Adds a request if there is room.
    pub fn ask(&self, request: R) -> Result<(), NotTaken> {
        self.add(request, self.room.requests)
    }

    /// Adds a request of which there is never more than one at a time, or few, whatever else waits.
    pub fn tell(&self, request: R) -> Result<(), NotTaken> {
        self.add(request, usize::MAX)
    }

    fn add(&self, request: R, room: usize) -> Result<(), NotTaken> {
        let mut lanes = self.lock();
        if lanes.ended {
            return Err(NotTaken::Ended);
        }
        if lanes.requests.len() >= room {
            return Err(NotTaken::Full);
        }
        lanes.requests.push_back(request);
        self.wake(lanes);
        Ok(())
    }

    /// Adds what one read from a server brought, `bytes` in all. It is taken however much that is, so whoever brings
    /// more first waits for [`Inbox::has_room`]. False when nobody will take it any more.
    pub fn deliver(&self, arrivals: impl IntoIterator<Item = A>, bytes: usize) -> bool {
        let mut lanes = self.lock();
        if lanes.ended {
            return false;
        }
        lanes.arrivals.extend(arrivals);
        lanes.arrival_bytes += bytes;
        self.wake(lanes);
        true
    }

    /// Waits until the servers' arrivals have been taken, if too many wait.
    pub async fn has_room(&self) {
        loop {
            // Registered before looking, so that the driver cannot take them between the look and the wait.
            let mut drained = std::pin::pin!(self.drained.notified());
            drained.as_mut().enable();
            {
                let lanes = self.lock();
                let full = lanes.arrivals.len() >= self.room.arrivals || lanes.arrival_bytes >= self.room.arrival_bytes;
                if !full || lanes.ended {
                    return;
                }
            }
            drained.await;
        }
    }

    /// Asks the driver to finish.
    pub fn close(&self) {
        let mut lanes = self.lock();
        lanes.closing = true;
        self.wake(lanes);
    }

    /// Takes all arrivals and up to `most` requests. Waits for something to come, at most for `limit`.
    pub fn take(&self, limit: Option<Duration>, most: usize) -> Taken<R, A> {
        let due = limit.map(|limit| Instant::now() + limit);
        let mut lanes = self.lock();
        while lanes.requests.is_empty() && lanes.arrivals.is_empty() && !lanes.closing {
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            lanes.waiting = true;
            lanes = match left {
                Some(left) => self.filled.wait_timeout(lanes, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner),
            };
            lanes.waiting = false;
        }
        let count = lanes.requests.len().min(most);
        let taken = Taken {
            requests: lanes.requests.drain(..count).collect(),
            arrivals: lanes.arrivals.drain(..).collect(),
            closing: std::mem::take(&mut lanes.closing),
        };
        lanes.arrival_bytes = 0;
        drop(lanes);
        if !taken.arrivals.is_empty() {
            self.drained.notify_waiters();
        }
        taken
    }

    /// Lets go of everything that waits; nothing is taken any more.
    pub fn end(&self) {
        let mut lanes = self.lock();
        lanes.ended = true;
        let dropped = (std::mem::take(&mut lanes.requests), std::mem::take(&mut lanes.arrivals));
        drop(lanes);
        // What waits in them may tell somebody, which must not happen under the lock.
        drop(dropped);
        self.drained.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<R, A>> {
        // Nothing that can panic happens under the lock.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A driver that is at work looks again by itself.
    fn wake(&self, lanes: MutexGuard<'_, Lanes<R, A>>) {
        let waiting = lanes.waiting;
        drop(lanes);
        if waiting {
            self.filled.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn inbox() -> Inbox<u32, &'static str> {
        Inbox::new(Room { requests: 2, arrivals: 2, arrival_bytes: 100 })
    }

    #[test]
    fn neither_queue_fills_the_other() {
        let inbox = inbox();
        assert_eq!((inbox.ask(1), inbox.ask(2), inbox.ask(3)), (Ok(()), Ok(()), Err(NotTaken::Full)));
        assert_eq!(inbox.tell(4), Ok(()));
        assert!(inbox.deliver(["a", "b", "c"], 3));
        let taken = inbox.take(None, 2);
        assert_eq!(taken, Taken { requests: vec![1, 2], arrivals: vec!["a", "b", "c"], closing: false });
        assert_eq!(inbox.take(None, 2), Taken { requests: vec![4], arrivals: vec![], closing: false });
        assert_eq!(
            inbox.take(Some(Duration::from_millis(1)), 2),
            Taken { requests: vec![], arrivals: vec![], closing: false }
        );
        inbox.close();
        assert!(inbox.take(None, 2).closing);
    }

    #[tokio::test]
    async fn who_brings_too_much_waits_until_it_is_taken() {
        let inbox = Arc::new(inbox());
        inbox.has_room().await;
        inbox.deliver(["large"], 100);
        let waiting = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.has_room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        inbox.take(None, 1);
        waiting.await.unwrap();
    }

    #[test]
    fn a_driver_that_waits_is_woken() {
        let inbox = Arc::new(inbox());
        let driver = std::thread::spawn({
            let inbox = inbox.clone();
            move || inbox.take(None, 1)
        });
        inbox.ask(7).unwrap();
        assert_eq!(driver.join().unwrap().requests, [7]);
    }

    #[tokio::test]
    async fn behind_the_end_nothing_is_taken() {
        let inbox = inbox();
        inbox.deliver(["large"], 100);
        inbox.end();
        assert_eq!(inbox.ask(1), Err(NotTaken::Ended));
        assert!(!inbox.deliver(["a"], 1));
        inbox.has_room().await;
    }
}
