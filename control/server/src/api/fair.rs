//! Places that many clients share, so that none of them takes all: who gets one at once, who waits, who is sent away.
//!
//! A client may take a place while it holds fewer than [`SHARE`] times as many as are still free. Alone it comes to hold three
//! quarters of all; two take three sevenths each; and there is always one left for a client that holds none. So a flood fills
//! its client's own share and queue, and nobody else's. Nothing here waits or knows the time.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How many places a client may hold for each that is free.
const SHARE: usize = 3;
/// How many requests of one client may wait.
const QUEUE: usize = 64;
/// How many may wait in all, for each place.
const QUEUES: usize = 4;

/// The places.
#[derive(Debug)]
pub(super) struct Places<C> {
    total: usize,
    taken: usize,
    waiting: usize,
    next: u64,
    /// Those who hold a place or wait for one.
    clients: HashMap<C, Client>,
}

#[derive(Debug, Default)]
struct Client {
    held: usize,
    queue: VecDeque<u64>,
}

/// What becomes of who wants a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has one.
    Now,
    /// It waits, under that number.
    Wait(u64),
    /// Too many wait already.
    Never,
}

impl<C: Clone + Eq + Hash> Places<C> {
    pub(super) fn new(total: usize) -> Self {
        Self { total, taken: 0, waiting: 0, next: 0, clients: HashMap::new() }
    }

    /// Places that nobody has.
    pub(super) fn free(&self) -> usize {
        self.total - self.taken
    }

    /// A client wants a place, and would wait.
    pub(super) fn arrive(&mut self, client: &C) -> Turn {
        let known = self.clients.get(client);
        // In the order in which they came.
        if known.is_none_or(|known| known.queue.is_empty()) && self.take(client) {
            return Turn::Now;
        }
        let queued = self.clients.get(client).map_or(0, |known| known.queue.len());
        if queued >= QUEUE || self.waiting >= self.total * QUEUES {
            return Turn::Never;
        }
        self.next += 1;
        self.waiting += 1;
        self.clients.entry(client.clone()).or_default().queue.push_back(self.next);
        Turn::Wait(self.next)
    }

    /// A client wants a place now or not at all; whether it has one.
    pub(super) fn take(&mut self, client: &C) -> bool {
        let held = self.clients.get(client).map_or(0, |known| known.held);
        let may = held < self.free() * SHARE;
        if may {
            self.taken += 1;
            self.clients.entry(client.clone()).or_default().held += 1;
        }
        may
    }

    /// A client gives a place back. Those whose turn it is now have theirs already.
    pub(super) fn leave(&mut self, client: &C) -> Vec<u64> {
        if let Some(known) = self.clients.get_mut(client) {
            known.held -= 1;
            self.taken -= 1;
        }
        self.forget(client);
        let mut admitted = Vec::new();
        while self.waiting > 0 {
            let waiting = self.clients.iter().filter(|(_, known)| !known.queue.is_empty());
            // Who holds least; of those, who came first.
            let next = waiting.min_by_key(|(_, known)| (known.held, known.queue.front().copied()));
            let Some(client) = next.map(|(client, _)| client.clone()) else { break };
            if !self.take(&client) {
                break;
            }
            admitted.extend(self.clients.get_mut(&client).and_then(|known| known.queue.pop_front()));
            self.waiting -= 1;
        }
        admitted
    }

    /// A client no longer waits; false when it has been given its place meanwhile.
    pub(super) fn withdraw(&mut self, client: &C, number: u64) -> bool {
        let Some(known) = self.clients.get_mut(client) else { return false };
        let Some(at) = known.queue.iter().position(|waiting| *waiting == number) else { return false };
        known.queue.remove(at);
        self.waiting -= 1;
        self.forget(client);
        true
    }

    fn forget(&mut self, client: &C) {
        if self.clients.get(client).is_some_and(|known| known.held == 0 && known.queue.is_empty()) {
            self.clients.remove(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many places each of the clients gets when all take what they can, in turn.
    fn shares(total: usize, clients: usize) -> Vec<usize> {
        let mut places = Places::new(total);
        let mut held = vec![0; clients];
        while (0..clients).any(|client| {
            let taken = places.take(&client);
            held[client] += usize::from(taken);
            taken
        }) {
            for (client, held) in held.iter_mut().enumerate().skip(1) {
                *held += usize::from(places.take(&client));
            }
        }
        held
    }

    #[test]
    fn none_takes_all_and_many_share_alike() {
        assert_eq!(shares(600, 1), [450]);
        assert_eq!(shares(4, 1), [3]);
        for share in shares(600, 2) {
            assert!((255..=260).contains(&share), "{share}");
        }
        for share in shares(600, 10) {
            assert!((57..=59).contains(&share), "{share}");
        }
    }

    #[test]
    fn who_holds_least_is_next_and_each_clients_requests_keep_their_order() {
        let mut places = Places::new(4);
        for _ in 0..3 {
            assert_eq!(places.arrive(&"greedy"), Turn::Now);
        }
        assert_eq!(places.arrive(&"greedy"), Turn::Wait(1));
        assert_eq!(places.arrive(&"other"), Turn::Now);
        assert_eq!(places.arrive(&"third"), Turn::Wait(2));
        assert_eq!(places.arrive(&"third"), Turn::Wait(3));
        // One is free again: the third client holds none.
        assert_eq!(places.leave(&"greedy"), [2]);
        // Both hold one now: who came first is next.
        assert_eq!(places.leave(&"greedy"), [1]);
        assert_eq!(places.leave(&"other"), [3]);
        assert_eq!(places.free(), 0);
        for client in ["third", "third", "greedy", "greedy"] {
            assert!(places.leave(&client).is_empty());
        }
        assert_eq!((places.free(), places.clients.len()), (4, 0));
    }

    #[test]
    fn the_queue_is_bounded_and_left_at_will() {
        let mut places = Places::new(1);
        assert_eq!(places.arrive(&"a"), Turn::Now);
        let numbers: Vec<Turn> = (0..QUEUES).map(|_| places.arrive(&"b")).collect();
        assert_eq!(numbers, [1, 2, 3, 4].map(Turn::Wait));
        assert_eq!(places.arrive(&"b"), Turn::Never);
        assert_eq!(places.arrive(&"c"), Turn::Never);
        assert!(places.withdraw(&"b", 1) && !places.withdraw(&"b", 1) && !places.withdraw(&"x", 2));
        assert_eq!(places.leave(&"a"), [2]);
        assert!(!places.withdraw(&"b", 2), "it has its place");

        let mut wide = Places::new(1000);
        for _ in 0..1000 {
            wide.arrive(&"flood");
        }
        assert_eq!(wide.clients[&"flood"].held, 750);
        assert_eq!(wide.arrive(&"flood"), Turn::Never);
        assert_eq!(wide.waiting, QUEUE);
        assert_eq!(wide.arrive(&"calm"), Turn::Now);
    }
}
