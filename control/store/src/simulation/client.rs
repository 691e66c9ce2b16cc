//! The clients: what they ask, and what they make of the answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use pal_checker::{Call, Found, Guard as Asked, Outcome as Told, Write};
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use super::MS;
use super::random::Random;
use super::truth::value_of;
use crate::error::StoreError;
use crate::key::Revision;
use crate::snapshot::Snapshot;
use crate::txn::{Guard, Op, Outcome, Txn};

/// All keys; few, so that the clients get into each other's way.
pub(crate) const KEYS: [&str; 9] = ["a/0", "a/1", "a/2", "a/3", "b/0", "b/1", "b/2", "c/0", "c/1"];

/// The buckets of these keys.
pub(crate) const BUCKETS: [&str; 3] = ["a/", "b/", "c/"];

/// One client: it has one operation under way at a time.
pub(crate) struct Client {
    pub id: u64,
    pub random: Random,
    /// Whether it asks for nothing but reads, often: whoever writes may wait for long where reads are still answered.
    reads: bool,
    /// The server that it asks for now.
    pub server: u64,
    pub waiting: Option<Waiting>,
    /// What it knows of the keys, for guards on revisions.
    known: BTreeMap<String, (u64, Revision)>,
    written: u64,
}

/// An operation under way.
pub(crate) struct Waiting {
    /// Its place in the history.
    pub operation: usize,
    pub server: u64,
    pub call: Call,
    pub reply: Reply,
    /// When the client gives up.
    pub until: u64,
}

/// Where the answer comes from.
pub(crate) enum Reply {
    Commit(Receiver<Result<Outcome, StoreError>>),
    Read(Receiver<Result<Snapshot, StoreError>>),
}

impl Client {
    pub fn new(id: u64, random: Random, server: u64) -> Client {
        Client { id, random, reads: false, server, waiting: None, known: BTreeMap::new(), written: 0 }
    }

    /// One that only reads.
    pub fn reader(id: u64, random: Random, server: u64) -> Client {
        Client { reads: true, ..Client::new(id, random, server) }
    }

    /// How long it does nothing after an answer.
    pub fn pause(&mut self) -> u64 {
        match self.random.within(0..10) {
            _ if self.reads => self.random.within(MS..10 * MS),
            0 => self.random.within(50 * MS..400 * MS),
            1..5 => self.random.within(MS..60 * MS),
            _ => self.random.within(MS / 10..5 * MS),
        }
    }

    /// How long it waits for an answer.
    pub fn patience(&mut self) -> u64 {
        if self.reads {
            return self.random.within(100 * MS..300 * MS);
        }
        self.random.within(300 * MS..4000 * MS)
    }

    /// Whether it turns to another server, after an answer or without one.
    pub fn moves(&mut self, gave_up: bool) -> bool {
        if self.reads { gave_up || self.random.permille(10) } else { self.random.permille(150) }
    }

    fn key(&mut self) -> String {
        KEYS[self.random.index(KEYS.len())].to_owned()
    }

    fn keys(&mut self, most: usize) -> Vec<String> {
        let mut keys: Vec<String> = (0..=self.random.index(most)).map(|_| self.key()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// What it asks next.
    pub fn next(&mut self) -> Call {
        match self.random.within(0..100) {
            _ if self.reads => Call::Read { keys: KEYS.map(str::to_owned).to_vec() },
            0..30 => Call::Read { keys: self.keys(3) },
            30..42 => Call::Stale { keys: self.keys(3) },
            42..62 => {
                let key = self.key();
                Call::Txn { guards: Vec::new(), writes: vec![self.put(key)] }
            }
            62..70 => Call::Txn { guards: Vec::new(), writes: vec![Write { key: self.key(), value: None }] },
            _ => self.guarded(),
        }
    }

    /// A transaction over one or more keys with guards on some of them, and perhaps on others.
    fn guarded(&mut self) -> Call {
        let keys = self.keys(3);
        let mut guards = Vec::new();
        let mut writes = Vec::new();
        for key in keys {
            let guard = match (self.known.get(&key), self.random.within(0..8)) {
                (Some((value, _)), 0..5) => Some(Asked::Is(key.clone(), *value)),
                (_, 5) => Some(Asked::Present(key.clone())),
                (None, 0..3) | (_, 6) => Some(Asked::Absent(key.clone())),
                _ => None,
            };
            guards.extend(guard);
            if self.random.permille(850) {
                let removes = self.random.permille(200);
                writes.push(if removes { Write { key, value: None } } else { self.put(key) });
            }
        }
        Call::Txn { guards, writes }
    }

    fn put(&mut self, key: String) -> Write {
        self.written += 1;
        Write { key, value: Some(self.id * 1_000_000 + self.written) }
    }

    /// The store's form of a transaction.
    pub fn txn(&self, guards: &[Asked], writes: &[Write]) -> Txn {
        let guard = |guard: &Asked| match guard {
            Asked::Absent(key) => Guard::Absent(key.as_str().into()),
            Asked::Present(key) => Guard::Present(key.as_str().into()),
            Asked::Is(key, _) => {
                let revision = self.known.get(key).map_or(Revision(0), |(_, revision)| *revision);
                Guard::Unchanged(key.as_str().into(), revision)
            }
        };
        let op = |write: &Write| {
            let key = write.key.as_str().into();
            match write.value {
                Some(value) => Op::Put { key, value: Bytes::copy_from_slice(&value.to_le_bytes()), revision_at: None },
                None => Op::Delete { key },
            }
        };
        Txn { guards: guards.iter().map(guard).collect(), ops: writes.iter().map(op).collect() }
    }

    /// What a snapshot shows of these keys.
    pub fn look(&mut self, keys: &[String], snapshot: &Snapshot) -> Told {
        let mut found = Vec::new();
        for key in keys {
            let entry = snapshot.get(key);
            match entry {
                Some(entry) => _ = self.known.insert(key.clone(), (value_of(entry), entry.modified())),
                None => _ = self.known.remove(key),
            }
            found.push(entry.map(|entry| Found { value: value_of(entry), modified: Some(entry.modified().0) }));
        }
        Told::Read { found, revision: Some(snapshot.revision().0) }
    }

    /// What an answer to a transaction says.
    fn hear(&mut self, writes: &[Write], outcome: &Outcome) -> Told {
        match outcome {
            Outcome::Committed { revision, entries } => {
                let changed = entries.iter().any(Option::is_some);
                for write in writes {
                    match write.value {
                        Some(value) => _ = self.known.insert(write.key.clone(), (value, *revision)),
                        None => _ = self.known.remove(&write.key),
                    }
                }
                Told::Committed { revision: changed.then_some(revision.0) }
            }
            Outcome::Refused { guard, current } => {
                if let Some(entry) = current {
                    self.known.insert(entry.key().as_str().to_owned(), (value_of(entry), entry.modified()));
                }
                Told::Refused { guard: *guard, current: Some(current.as_ref().map(|entry| value_of(entry))) }
            }
        }
    }

    /// The answer to what it waits for, if there is one: the operation's place and what was told.
    pub fn poll(&mut self) -> Option<(usize, Option<Told>)> {
        let mut waiting = self.waiting.take()?;
        let told = match (&waiting.call, &mut waiting.reply) {
            (Call::Txn { writes, .. }, Reply::Commit(reply)) => match reply.try_recv() {
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Closed) => Some(None),
                Ok(Ok(outcome)) => Some(Some(self.hear(writes, &outcome))),
                Ok(Err(error)) => Some(told_of(&error)),
            },
            (Call::Read { keys }, Reply::Read(reply)) => match reply.try_recv() {
                Err(TryRecvError::Empty) => None,
                Ok(Ok(snapshot)) => Some(Some(self.look(keys, &snapshot))),
                // A read that failed says nothing.
                Err(TryRecvError::Closed) | Ok(Err(_)) => Some(None),
            },
            _ => Some(None),
        };
        match told {
            Some(told) => Some((waiting.operation, told)),
            None => {
                self.waiting = Some(waiting);
                None
            }
        }
    }
}

/// What an error says of whether the transaction happened.
fn told_of(error: &StoreError) -> Option<Told> {
    match error {
        StoreError::QueueFull | StoreError::Full { .. } | StoreError::NoLeader | StoreError::TooLarge { .. } => {
            Some(Told::Failed)
        }
        _ => None,
    }
}
