//! What must hold after every step, whatever happens to the servers.

use std::collections::BTreeMap;

use pal_checker::{Change as Changed, Found};

use crate::entry::Entry;
use crate::history::{Change, Event};
use crate::point::Point;
use crate::snapshot::Snapshot;

/// What a server looks like after a step.
#[derive(Debug)]
pub(crate) struct Look {
    pub server: u64,
    pub term: u64,
    pub vote: u64,
    pub leads: bool,
    pub commit: u64,
    /// The first and the last log entry that it holds in memory.
    pub log: (u64, u64),
}

/// A committed entry of the log.
#[derive(Clone, Copy)]
struct Committed {
    term: u64,
    /// The lowest term of a server that knew it to be committed.
    known_in: u64,
}

/// Everything that is known for certain.
#[derive(Default)]
pub(crate) struct Truth {
    leaders: BTreeMap<u64, u64>,
    /// Of each server, its term and whom it voted for in it, across its restarts.
    ballots: BTreeMap<u64, (u64, u64)>,
    committed: BTreeMap<u64, Committed>,
    /// Of each log entry, by index and term: a hash of it and the term of the one before.
    entries: BTreeMap<(u64, u64), (u64, u64)>,
    points: BTreeMap<u64, Point>,
    /// The commits, by revision.
    commits: BTreeMap<u64, Vec<Changed>>,
    /// All objects at `revision`, as the commits up to there make them.
    objects: BTreeMap<String, Found>,
    revision: u64,
    /// A hash of all objects, by revision.
    contents: BTreeMap<u64, u64>,
}

type Broken = Result<(), String>;

impl Truth {
    /// A server's vote and leadership: one of each a term, and neither term nor vote is forgotten.
    pub fn look(&mut self, look: &Look) -> Broken {
        let Look { server, term, vote, leads, .. } = *look;
        let (known_term, known_vote) = self.ballots.insert(server, (term, vote)).unwrap_or_default();
        let forgets = known_vote != 0 && vote != known_vote;
        if term < known_term || term == known_term && forgets {
            let was = format!("had voted for {known_vote} in term {known_term}");
            return Err(format!("server {server} {was}, and is in term {term} with its vote for {vote}"));
        }
        if leads {
            let leader = *self.leaders.entry(term).or_insert(server);
            if leader != server {
                return Err(format!("servers {leader} and {server} both lead in term {term}"));
            }
        }
        Ok(())
    }

    /// A leader has every entry that was committed in an earlier term. `term_of` says which term its entry has.
    pub fn complete(&self, look: &Look, term_of: impl Fn(u64) -> Option<u64>) -> Broken {
        let Look { server, term, log: (first, last), .. } = *look;
        for (index, committed) in self.committed.range(first..).filter(|(_, committed)| committed.known_in < term) {
            if *index > last || term_of(*index).is_some_and(|term| term != committed.term) {
                let lacks = format!("server {server} leads in term {term} without entry {index}");
                return Err(format!("{lacks}, which was committed with term {}", committed.term));
            }
        }
        Ok(())
    }

    /// A server knows of a committed entry.
    pub fn commit(&mut self, look: &Look, index: u64, term: u64) -> Broken {
        let known = self.committed.entry(index).or_insert(Committed { term, known_in: look.term });
        if known.term != term {
            let server = look.server;
            return Err(format!(
                "entry {index} was committed with term {}, at server {server} with {term}",
                known.term
            ));
        }
        known.known_in = known.known_in.min(look.term);
        Ok(())
    }

    /// A server holds this entry behind one of term `before`: all that hold it hold the same before it.
    pub fn entry(&mut self, server: u64, (index, term): (u64, u64), hash: u64, before: u64) -> Broken {
        let known = *self.entries.entry((index, term)).or_insert((hash, before));
        if known != (hash, before) {
            return Err(format!(
                "entry {index} of term {term} is another one at server {server}, or follows another one"
            ));
        }
        Ok(())
    }

    /// A server has applied everything up to a point: all that stand there are the same.
    pub fn point(&mut self, server: u64, point: Point) -> Broken {
        let known = self.points.entry(point.index).or_insert_with(|| point.clone());
        if *known != point {
            return Err(format!("at entry {} server {server} stands at {point:?}, another at {known:?}", point.index));
        }
        Ok(())
    }

    /// A server showed an event.
    pub fn event(&mut self, server: u64, event: &Event) -> Broken {
        let revision = event.revision.0;
        let change = change_of(event);
        let changes = self.commits.entry(revision).or_default();
        if let Some(known) = changes.iter().find(|known| known.key == change.key) {
            if *known != change {
                return Err(format!("revision {revision} is {change:?} at server {server}, but it was {known:?}"));
            }
        } else if revision > self.revision {
            changes.push(change);
        } else {
            return Err(format!("revision {revision} has {change:?} at server {server}; it was {changes:?}"));
        }
        Ok(())
    }

    /// A server shows this after a step: it is what the commits up to its revision make.
    pub fn snapshot(&mut self, server: u64, snapshot: &Snapshot) -> Broken {
        let revision = snapshot.revision().0;
        while self.revision < revision {
            let next = self.revision + 1;
            let Some(changes) = self.commits.get(&next) else {
                return Err(format!("server {server} is at revision {revision}, but nobody saw what {next} changed"));
            };
            for Changed { key, value } in changes {
                match value {
                    Some(value) => {
                        _ = self.objects.insert(key.clone(), Found { value: *value, modified: Some(next) });
                    }
                    None => _ = self.objects.remove(key),
                }
            }
            self.revision = next;
            let objects = self.objects.iter().map(|(key, found)| (key.as_str(), found.value, found.modified));
            self.contents.insert(next, content_hash(objects.map(|(key, value, at)| (key, value, at.unwrap_or(0)))));
        }
        let shown = snapshot.range("", None).map(|entry| (entry.key().as_str(), value_of(entry), entry.modified().0));
        let hash = content_hash(shown);
        if revision > 0 && self.contents.get(&revision) != Some(&hash) {
            return Err(format!("server {server} shows at revision {revision} something else than was committed"));
        }
        Ok(())
    }

    /// The last revision that anybody showed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// In how many terms somebody led.
    pub fn leaders(&self) -> usize {
        self.leaders.len()
    }

    /// The last entry that anybody knew to be committed.
    pub fn last_committed(&self) -> u64 {
        self.committed.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// All commits.
    pub fn commits(&self) -> impl Iterator<Item = (u64, Vec<Changed>)> {
        self.commits.iter().map(|(revision, changes)| (*revision, changes.clone()))
    }
}

fn change_of(event: &Event) -> Changed {
    let value = match &event.change {
        Change::Put { entry, .. } => Some(value_of(entry)),
        Change::Delete { .. } => None,
    };
    Changed { key: event.key().as_str().to_owned(), value }
}

/// A client's values are numbers, in eight bytes.
pub(crate) fn value_of(entry: &Entry) -> u64 {
    let bytes = entry.value().get(..8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(u64::MAX, u64::from_le_bytes)
}

fn content_hash<'a>(objects: impl Iterator<Item = (&'a str, u64, u64)>) -> u64 {
    objects.fold(0xcbf2_9ce4_8422_2325, |hash, (key, value, modified)| {
        let bytes = key.bytes().chain(value.to_le_bytes()).chain(modified.to_le_bytes());
        bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    })
}
