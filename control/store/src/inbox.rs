//! What waits for the driver: one queue for this server's own users, one for what the other servers send, both bounded.
//!
//! They are apart so that neither can fill the other's: a burst of local writes must not hold up a vote, nor a leader's
//! stream the reads of this server's users.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    /// So many requests are announced, some of which are asked already, or even answered.
    announced: AtomicUsize,
}

struct Lanes<R, A> {
    requests: VecDeque<R>,
    arrivals: VecDeque<A>,
    arrival_bytes: usize,
    closing: bool,
    ended: bool,
    /// Something waits that is to be taken at once.
    urgent: bool,
    /// What the driver waits for, unless it is at work.
    awaited: Option<Awaited>,
}

/// What the driver waits for, unless something urgent comes before.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// One request.
    Any,
    /// So many, or all that are announced: where all of them wait, nobody is at work on another one.
    Gathered(usize),
}

/// How much to wait for when requests are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gather {
    /// For so many,
    pub requests: usize,
    /// but no longer.
    pub limit: Duration,
}

/// A request that is being made ready; it is announced until this goes.
pub(crate) struct Announced<R, A>(Arc<Inbox<R, A>>);

impl<R, A> Inbox<R, A> {
    pub fn new(room: Room) -> Inbox<R, A> {
        let lanes = Lanes {
            requests: VecDeque::new(),
            arrivals: VecDeque::new(),
            arrival_bytes: 0,
            closing: false,
            ended: false,
            urgent: false,
            awaited: None,
        };
        Inbox {
            lanes: Mutex::new(lanes),
            filled: Condvar::new(),
            drained: Notify::new(),
            room,
            announced: AtomicUsize::new(0),
        }
    }

    /// Says that a request will be asked soon, for which others may wait a little. It is announced until what this returns
    /// is dropped, which is best when the request has been answered.
    pub fn announce(self: &Arc<Self>) -> Announced<R, A> {
        self.announced.fetch_add(1, Ordering::Relaxed);
        Announced(self.clone())
    }

    /// Adds a request if there is room.
    pub fn ask(&self, request: R) -> Result<(), NotTaken> {
        self.add(request, self.room.requests, true)
    }

    /// Adds a request if there is room. It can wait for what is announced.
    pub fn ask_patiently(&self, request: R) -> Result<(), NotTaken> {
        self.add(request, self.room.requests, false)
    }

    /// Adds a request of which there is never more than one at a time, or few, whatever else waits.
    pub fn tell(&self, request: R) -> Result<(), NotTaken> {
        self.add(request, usize::MAX, true)
    }

    fn add(&self, request: R, room: usize, urgent: bool) -> Result<(), NotTaken> {
        let mut lanes = self.lock();
        if lanes.ended {
            return Err(NotTaken::Ended);
        }
        if lanes.requests.len() >= room {
            return Err(NotTaken::Full);
        }
        lanes.requests.push_back(request);
        lanes.urgent |= urgent;
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
        lanes.urgent = true;
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
        lanes.urgent = true;
        self.wake(lanes);
    }

    /// Takes all arrivals and up to `most` requests. Where some are announced it first waits for as many as are to be
    /// gathered, or something urgent. Then it waits for something to come, at most for `limit` in all.
    pub fn take(&self, limit: Option<Duration>, most: usize, gather: Gather) -> Taken<R, A> {
        let begun = Instant::now();
        let mut lanes = self.lock();
        if self.announced.load(Ordering::Relaxed) > 0 {
            let patience = limit.map_or(gather.limit, |limit| limit.min(gather.limit));
            lanes = self.wait(lanes, Awaited::Gathered(gather.requests.min(most)), Some(begun + patience));
        }
        lanes = self.wait(lanes, Awaited::Any, limit.map(|limit| begun + limit));
        // What is urgent may be among what is left.
        lanes.urgent &= lanes.requests.len() > most;
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

    /// Waits for that or something urgent, at most until `due`.
    fn wait<'a>(
        &self,
        mut lanes: MutexGuard<'a, Lanes<R, A>>,
        awaited: Awaited,
        due: Option<Instant>,
    ) -> MutexGuard<'a, Lanes<R, A>> {
        while !self.has(&lanes, awaited) {
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            lanes.awaited = Some(awaited);
            lanes = match left {
                Some(left) => self.filled.wait_timeout(lanes, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner),
            };
            lanes.awaited = None;
        }
        lanes
    }

    /// A driver that is at work looks again by itself.
    fn wake(&self, lanes: MutexGuard<'_, Lanes<R, A>>) {
        let is_awaited = lanes.awaited.is_some_and(|awaited| self.has(&lanes, awaited));
        drop(lanes);
        if is_awaited {
            self.filled.notify_one();
        }
    }

    fn has(&self, lanes: &Lanes<R, A>, awaited: Awaited) -> bool {
        let enough = match awaited {
            Awaited::Any => 1,
            // Not none, or the driver would look again and again for what is announced.
            Awaited::Gathered(requests) => requests.min(self.announced.load(Ordering::Relaxed)).max(1),
        };
        lanes.urgent || lanes.requests.len() >= enough
    }
}

impl<R, A> Drop for Announced<R, A> {
    fn drop(&mut self) {
        self.0.announced.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Gather = Gather { requests: 0, limit: Duration::ZERO };

    fn inbox() -> Inbox<u32, &'static str> {
        Inbox::new(Room { requests: 2, arrivals: 2, arrival_bytes: 100 })
    }

    #[test]
    fn neither_queue_fills_the_other() {
        let inbox = inbox();
        assert_eq!((inbox.ask(1), inbox.ask(2), inbox.ask(3)), (Ok(()), Ok(()), Err(NotTaken::Full)));
        assert_eq!(inbox.tell(4), Ok(()));
        assert!(inbox.deliver(["a", "b", "c"], 3));
        let taken = inbox.take(None, 2, NONE);
        assert_eq!(taken, Taken { requests: vec![1, 2], arrivals: vec!["a", "b", "c"], closing: false });
        assert_eq!(inbox.take(None, 2, NONE), Taken { requests: vec![4], arrivals: vec![], closing: false });
        assert_eq!(
            inbox.take(Some(Duration::from_millis(1)), 2, NONE),
            Taken { requests: vec![], arrivals: vec![], closing: false }
        );
        inbox.close();
        assert!(inbox.take(None, 2, NONE).closing);
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
        inbox.take(None, 1, NONE);
        waiting.await.unwrap();
    }

    #[test]
    fn a_driver_that_waits_is_woken() {
        let inbox = Arc::new(inbox());
        let driver = std::thread::spawn({
            let inbox = inbox.clone();
            move || inbox.take(None, 1, NONE)
        });
        inbox.ask(7).unwrap();
        assert_eq!(driver.join().unwrap().requests, [7]);
    }

    #[test]
    fn what_can_wait_is_gathered_while_more_is_announced() {
        let inbox = Arc::new(inbox());
        let take = |gather| {
            let inbox = inbox.clone();
            std::thread::spawn(move || inbox.take(None, 3, gather).requests)
        };
        let gather = Gather { requests: 2, limit: Duration::from_secs(60) };
        inbox.ask_patiently(1).unwrap();
        assert_eq!(take(gather).join().unwrap(), [1], "nothing is announced");
        let announced = inbox.announce();
        inbox.ask_patiently(2).unwrap();
        assert_eq!(take(gather).join().unwrap(), [2], "all that is announced waits");
        let _announced = (announced, inbox.announce());
        inbox.ask_patiently(2).unwrap();
        assert_eq!(take(Gather { limit: Duration::from_millis(1), ..gather }).join().unwrap(), [2], "its time is over");
        inbox.ask_patiently(3).unwrap();
        let driver = take(gather);
        inbox.ask_patiently(4).unwrap();
        assert_eq!(driver.join().unwrap(), [3, 4]);
        inbox.ask(5).unwrap();
        assert_eq!(take(gather).join().unwrap(), [5], "it is urgent");
        inbox.ask_patiently(6).unwrap();
        let driver = take(gather);
        inbox.deliver(["a"], 1);
        assert_eq!(driver.join().unwrap(), [6], "what comes from another server is");
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
