//! The thread that owns the replica: it takes what is waiting, has it written with one flush, and answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::core::Reply;
use crate::directory::Directory;
use crate::dirty::Batch;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::image::Image;
use crate::inbox::{Gather, Inbox};
use crate::lease::Clock;
use crate::members::Change;
use crate::pending::Share;
use crate::persister::{Persisted, Persister};
pub(crate) use crate::replica::Arrival;
use crate::replica::{Keeper, Replica};
use crate::snapshot::Snapshot;
use crate::txn::Outcome;

/// One round takes no more requests than this, so that no answer waits for too large a write.
const ROUND: usize = 1024;

/// What this server's users ask of the driver.
pub(crate) enum Request {
    /// A transaction's bytes.
    Commit { data: Bytes, share: Share, reply: Reply<Outcome> },
    /// A snapshot that holds everything that was answered.
    Read { reply: Reply<Snapshot> },
    /// A change of members, or of who leads.
    Change { change: Change, reply: Reply<()> },
    /// The persister is done with what it was given.
    Persisted(Persisted),
}

impl Keeper for Persister {
    fn write(&mut self, batches: Vec<Batch>) -> Result<(), Vec<Batch>> {
        Persister::write(self, batches)
    }

    fn stage(&mut self, image: Box<Image>) -> Result<(), StoreError> {
        Persister::stage(self, image)
    }

    fn adopt(&mut self) -> Result<(), StoreError> {
        Persister::adopt(self)
    }

    fn discard(&mut self) {
        Persister::discard(self);
    }
}

/// What the thread owns.
pub(crate) struct Driver<D: Disk> {
    pub replica: Replica<D, Persister>,
    pub inbox: Arc<Inbox<Request, Arrival>>,
    /// The replica's time.
    pub clock: Clock,
    pub pace: Pace,
    /// Held until everything above is gone.
    pub _directory: Directory,
    /// Its end tells that all of this is gone.
    pub _running: watch::Sender<()>,
}

/// How soon a pass follows another. Each flushes the disk, which takes as much of a processor as some writes do. Under load
/// the processors are busy meanwhile with the writes that come next, so that those before them can wait for them.
#[derive(Default)]
pub(crate) struct Pace {
    /// How many commits the last pass took.
    commits: usize,
    /// When it ended.
    ended: Duration,
}

impl Pace {
    /// So many commits in one pass are load.
    const LOAD: usize = 4;
    /// So long after a pass the next one waits at most.
    const PATIENCE: Duration = Duration::from_millis(2);

    fn passed(&mut self, commits: usize, now: Duration) {
        *self = Pace { commits, ended: now };
    }

    /// What the next pass may wait for: those that the last one answered may ask again, beside those that wait already.
    fn gather(&self, now: Duration) -> Gather {
        let limit = (self.ended + Self::PATIENCE).saturating_sub(now);
        if self.commits < Self::LOAD { Gather::default() } else { Gather { requests: 2 * self.commits, limit } }
    }
}

impl<D: Disk> Driver<D> {
    /// Works until the store is closed or all its handles are gone.
    pub fn run(mut self) {
        loop {
            let due = self.replica.due();
            if self.round(due) {
                self.replica.close();
                self.replica.finish_pass();
            }
            if self.replica.may_end() {
                break;
            }
        }
        // What is asked from here on comes too late.
        let mut is_writing = self.replica.is_writing() || self.replica.write_out();
        while is_writing {
            self.round(None);
            is_writing = self.replica.write_out();
        }
        self.replica.seal();
    }

    /// One pass, when something comes or at `due`. True when the store is to be closed.
    fn round(&mut self, due: Option<Duration>) -> bool {
        let now = self.clock.now();
        let taken = self.inbox.take(due.map(|due| due.saturating_sub(now)), ROUND, self.pace.gather(now));
        let commits = taken.requests.iter().filter(|request| matches!(request, Request::Commit { .. })).count();
        self.replica.begin_pass(self.clock.now());
        for arrival in taken.arrivals {
            self.replica.arrive(arrival);
        }
        for request in taken.requests {
            self.take(request);
        }
        self.replica.finish_pass();
        self.pace.passed(commits, self.clock.now());
        taken.closing
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Commit { data, share, reply } => self.replica.propose(data, Some(share), reply),
            Request::Read { reply } => self.replica.read(reply),
            Request::Change { change, reply } => self.replica.change(change, reply),
            Request::Persisted(persisted) => self.replica.persisted(persisted),
        }
    }
}

impl<D: Disk> Drop for Driver<D> {
    fn drop(&mut self) {
        // Also when a pass panicked: nobody is to wait for an answer.
        self.inbox.end();
    }
}

/// Tells the driver what became of what the persister was given.
pub(crate) fn reporter(inbox: Arc<Inbox<Request, Arrival>>) -> impl Fn(Persisted) + Send {
    move |persisted| {
        // The driver waits for this before it goes.
        let _ = inbox.tell(Request::Persisted(persisted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_waits_a_little_after_one_that_took_much() {
        let check = |commits, micros, requests, limit| {
            let mut pace = Pace::default();
            pace.passed(commits, Duration::from_secs(7));
            let gather = pace.gather(Duration::from_secs(7) + Duration::from_micros(micros));
            let expected = Gather { requests, limit: Duration::from_micros(limit) };
            assert_eq!(gather, expected, "{commits} commits, {micros} us ago");
        };
        check(0, 0, 0, 0);
        check(3, 0, 0, 0);
        check(4, 0, 8, 2000);
        check(1000, 300, 2000, 1700);
        check(1000, 2000, 2000, 0);
        check(1000, 5000, 2000, 0);
    }
}
