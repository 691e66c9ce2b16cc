//! Following the changes of a bucket.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use tokio::sync::Notify;

use crate::error::WatchError;
use crate::history::{Event, Limits, Ring};
use crate::key::{Revision, bucket_of, place_of};

/// One bucket's history and who waits for it to grow.
struct Bucket {
    ring: RwLock<Ring>,
    /// For those who read all of the bucket.
    grown: Arc<Notify>,
    /// For those who read one place in it: others' events do not wake them.
    places: Mutex<HashMap<Box<str>, Weak<Notify>>>,
}

/// The name of no bucket. Its revision is the floor of every bucket that is not named, which a restored backup needs: what
/// happened after it was made is forgotten, and a watch from then must not find an empty history whole.
pub(crate) const EVERY_BUCKET: &str = "";

/// The histories of all buckets. Watchers read the shared rings by position, so a watcher costs no queue of its own and a
/// thousand of them share one copy of each event.
pub(crate) struct Hub {
    buckets: RwLock<HashMap<Arc<str>, Arc<Bucket>>>,
    /// Every event up to this revision is in the rings.
    complete: AtomicU64,
    /// Where the history of a bucket begins that never changed as far as is known.
    floor: AtomicU64,
    closed: AtomicBool,
    limits: Limits,
}

/// Who has something to read, to be woken when the writers have their answers.
#[must_use]
pub(crate) struct Grown(Vec<Arc<Notify>>);

impl Grown {
    /// Wakes the watchers.
    pub fn announce(self) {
        for grown in self.0 {
            grown.notify_waiters();
        }
    }
}

impl Hub {
    /// Histories that begin at `revision`; a bucket that is known to have been idle for longer begins at its last change.
    pub fn new<'a>(
        limits: Limits,
        revision: Revision,
        changed: impl Iterator<Item = (&'a Arc<str>, &'a Revision)>,
    ) -> Hub {
        let mut buckets: HashMap<_, _> =
            changed.map(|(name, floor)| (name.clone(), Bucket::new(*floor, limits))).collect();
        let floor = buckets.remove(EVERY_BUCKET).map_or(0, |bucket| bucket.floor().0);
        Hub {
            buckets: RwLock::new(buckets),
            complete: AtomicU64::new(revision.0),
            floor: AtomicU64::new(floor),
            closed: AtomicBool::new(false),
            limits,
        }
    }

    /// Adds events, in order, up to and including all of `revision`.
    pub fn push(&self, events: &[Arc<Event>], revision: Revision) -> Grown {
        let mut by_bucket: Vec<(&str, Vec<&Arc<Event>>)> = Vec::new();
        for event in events {
            let bucket = event.key().bucket();
            match by_bucket.iter_mut().find(|(known, _)| *known == bucket) {
                Some((_, events)) => events.push(event),
                None => by_bucket.push((bucket, vec![event])),
            }
        }
        let mut grown = Vec::with_capacity(by_bucket.len());
        for (name, events) in by_bucket {
            let bucket = self.bucket(name);
            // Under one lock, so that nobody sees half of a commit's events in this bucket.
            let mut ring = bucket.ring.write().unwrap_or_else(PoisonError::into_inner);
            events.iter().for_each(|event| ring.push((*event).clone()));
            let all = ring.must_tell_all();
            drop(ring);
            grown.push(bucket.grown.clone());
            if all { bucket.every_place(&mut grown) } else { bucket.places_of(&events, &mut grown) }
        }
        // Watchers load this before they look at a ring, so that they never claim more than they saw.
        self.complete.store(revision.0, Ordering::Release);
        Grown(grown)
    }

    /// Goes on from a state at `revision` that did not come about by events that were pushed here; `changed` says when each
    /// of its buckets changed last. A bucket that changed since the last push begins anew: its watchers have lagged. The
    /// others' watchers have missed nothing and go on.
    pub fn reset<'a>(&self, revision: Revision, changed: impl Iterator<Item = (&'a Arc<str>, &'a Revision)>) {
        let complete = Revision(self.complete.load(Ordering::Acquire));
        // Held throughout, so that no watch of an unknown bucket begins on the old floor.
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        let mut floors: HashMap<Arc<str>, Revision> =
            changed.filter(|(_, floor)| **floor > complete).map(|(name, floor)| (name.clone(), *floor)).collect();
        if let Some(floor) = floors.remove(EVERY_BUCKET) {
            self.floor.store(floor.0, Ordering::Release);
            buckets.keys().for_each(|name| _ = floors.entry(name.clone()).or_insert(floor));
        }
        let mut grown = Vec::new();
        for (name, floor) in floors {
            let bucket = buckets.entry(name).or_insert_with(|| Bucket::new(floor, self.limits));
            bucket.ring.write().unwrap_or_else(PoisonError::into_inner).reset(floor);
            grown.push(bucket.grown.clone());
            bucket.every_place(&mut grown);
        }
        drop(buckets);
        self.complete.store(revision.0, Ordering::Release);
        Grown(grown).announce();
    }

    /// Ends all watches when they have read what is there.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let mut grown = Vec::new();
        for bucket in self.buckets.read().unwrap_or_else(PoisonError::into_inner).values() {
            grown.push(bucket.grown.clone());
            bucket.every_place(&mut grown);
        }
        Grown(grown).announce();
    }

    /// A watcher of the keys that begin with `prefix`, from behind `after`.
    pub fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Watcher, WatchError> {
        let bucket = self.bucket(bucket_of(prefix));
        // Otherwise events will come that are not for this watcher.
        let exact = after.0 <= self.complete.load(Ordering::Acquire);
        // Before the look at the history: what is pushed later wakes this watcher.
        let grown = place_of(prefix).map_or_else(|| bucket.grown.clone(), |place| bucket.place(place));
        let position = bucket.ring.read().unwrap_or_else(PoisonError::into_inner).position_after(after)?;
        let stand = Stand { prefix: prefix.into(), settled: position, position, revision: after };
        Ok(Watcher { hub: self.clone(), bucket, grown, after, exact, stand })
    }

    fn bucket(&self, name: &str) -> Arc<Bucket> {
        let known = self.buckets.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
            // Buckets that ever changed were there from the start, so this one's history is complete.
            let floor = Revision(self.floor.load(Ordering::Acquire));
            buckets.entry(name.into()).or_insert_with(|| Bucket::new(floor, self.limits)).clone()
        })
    }
}

impl Bucket {
    fn new(floor: Revision, limits: Limits) -> Arc<Bucket> {
        let ring = RwLock::new(Ring::new(floor, limits));
        Arc::new(Bucket { ring, grown: Arc::default(), places: Mutex::default() })
    }

    /// What wakes those who read that place.
    fn place(&self, place: &str) -> Arc<Notify> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grown) = places.get(place).and_then(Weak::upgrade) {
            return grown;
        }
        // Those that nobody reads any more make room.
        places.retain(|_, grown| grown.strong_count() > 0);
        let grown = Arc::new(Notify::new());
        places.insert(place.into(), Arc::downgrade(&grown));
        grown
    }

    fn every_place(&self, grown: &mut Vec<Arc<Notify>>) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        grown.extend(places.values().filter_map(Weak::upgrade));
    }

    fn places_of(&self, events: &[&Arc<Event>], grown: &mut Vec<Arc<Notify>>) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.is_empty() {
            return;
        }
        let mut told: Vec<&str> = Vec::new();
        for place in events.iter().filter_map(|event| place_of(event.key().as_str())) {
            if !told.contains(&place) {
                told.push(place);
                grown.extend(places.get(place).and_then(Weak::upgrade));
            }
        }
    }

    fn floor(&self) -> Revision {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).floor()
    }

    /// Whether a reader at that position would find an event, or that it has missed some.
    fn has_news(&self, position: u64) -> bool {
        !matches!(self.ring.read().unwrap_or_else(PoisonError::into_inner).at(position), Ok(None))
    }
}

/// Reads the events of keys with one prefix, in order, none twice and none left out.
pub struct Watcher {
    hub: Arc<Hub>,
    bucket: Arc<Bucket>,
    /// Wakes it.
    grown: Arc<Notify>,
    after: Revision,
    /// The history is known up to `after`.
    exact: bool,
    stand: Stand,
}

/// How far a watcher has come.
#[derive(Clone, Debug)]
pub struct Stand {
    prefix: Arc<str>,
    /// Behind the last event that it was shown. What lies between here and `position` is of other prefixes.
    settled: u64,
    position: u64,
    revision: Revision,
}

impl Stand {
    /// Whether watchers that have come so far go on with the same event.
    pub fn is(&self, other: &Stand) -> bool {
        self.settled == other.settled && self.prefix == other.prefix
    }

    /// Whether a watcher that has come so far will come by there.
    pub fn is_before(&self, other: &Stand) -> bool {
        self.position < other.settled && self.prefix == other.prefix
    }
}

impl Watcher {
    /// The next event; waits for it.
    pub async fn next(&mut self) -> Result<Arc<Event>, WatchError> {
        let news = self.grown.clone();
        loop {
            // Registered before looking, so that nothing can arrive between the look and the wait.
            let mut grown = std::pin::pin!(news.notified());
            grown.as_mut().enable();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            grown.await;
        }
    }

    /// Ends when [`try_next`](Watcher::try_next), as the watcher stands now, may have something to say beside `None`. Others'
    /// events of the same place end the wait too, and from time to time those of the whole bucket do: who serves many watchers
    /// chooses how soon it looks again.
    pub fn stirred(&self) -> impl Future<Output = ()> + Send + use<> {
        let (hub, bucket, news, position) =
            (self.hub.clone(), self.bucket.clone(), self.grown.clone(), self.stand.position);
        async move {
            let mut grown = std::pin::pin!(news.notified());
            grown.as_mut().enable();
            if !bucket.has_news(position) && !hub.closed.load(Ordering::Acquire) {
                grown.await;
            }
        }
    }

    /// The next event if it has happened already.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, WatchError> {
        let mut next = None;
        self.visit(1, |event| next = Some(event.clone()))?;
        Ok(next)
    }

    /// Shows the next events that have happened already, so many at most, in one look at the history. Returns whether there
    /// may be more. `visit` should be brief: the history does not grow meanwhile.
    pub fn visit(&mut self, most: usize, visit: impl FnMut(&Arc<Event>)) -> Result<bool, WatchError> {
        self.visit_until(None, most, visit)
    }

    /// The same, and not beyond where another watcher stands.
    pub fn visit_until(
        &mut self,
        end: Option<&Stand>,
        most: usize,
        mut visit: impl FnMut(&Arc<Event>),
    ) -> Result<bool, WatchError> {
        let closed = self.hub.closed.load(Ordering::Acquire);
        let complete = Revision(self.hub.complete.load(Ordering::Acquire));
        let ring = self.bucket.ring.read().unwrap_or_else(PoisonError::into_inner);
        let (stand, end) = (&mut self.stand, end.map_or(u64::MAX, |end| end.settled));
        let mut visited = 0;
        while let Some(event) = ring.at(stand.position)? {
            if stand.position >= end {
                return Ok(true);
            }
            let more = ring.at(stand.position + 1)?;
            stand.position += 1;
            if event.revision <= self.after {
                continue;
            }
            let whole = more.is_none_or(|more| more.revision > event.revision);
            let delivered = Revision(event.revision.0 - u64::from(!whole));
            stand.revision = stand.revision.max(delivered);
            if event.key().as_str().starts_with(&*stand.prefix) {
                stand.settled = stand.position;
                visit(event);
                visited += 1;
                if visited == most {
                    return Ok(true);
                }
            }
        }
        stand.revision = stand.revision.max(complete);
        if closed && visited == 0 { Err(WatchError::Closed) } else { Ok(false) }
    }

    /// How far it has come; `None` where others who have come as far do not go on alike.
    pub fn stand(&self) -> Option<&Stand> {
        self.exact.then_some(&self.stand)
    }

    /// Goes on from where another watcher has come that [stood](Stand::is) where this one stands: what that one was shown since
    /// counts as shown.
    pub fn go_on(&mut self, stand: &Stand) {
        let Stand { settled, position, revision, .. } = stand;
        self.stand.settled = *settled;
        self.stand.position = self.stand.position.max(*position);
        self.stand.revision = self.stand.revision.max(*revision);
    }

    /// Everything up to here has been delivered, as of the last call of `next`, `try_next` or `visit`: a watch can be resumed
    /// from this revision. When `try_next` has returned `None` it is the store's revision, even if the bucket was idle.
    pub fn revision(&self) -> Revision {
        self.stand.revision
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
