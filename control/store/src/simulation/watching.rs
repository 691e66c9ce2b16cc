//! The clients that watch: they go on from server to server, and list where they are told that they missed something.

use std::sync::Arc;

use pal_checker::Step;

use super::MS;
use super::random::Random;
use super::truth::value_of;
use crate::error::WatchError;
use crate::history::Change;
use crate::key::Revision;
use crate::view::View;
use crate::watch::{Hub, Watcher};

/// One of them.
pub(crate) struct Watching {
    pub random: Random,
    pub prefix: &'static str,
    /// The server that it is connected to, and the start of its process.
    pub server: Option<(u64, u64)>,
    watcher: Option<Watcher>,
    /// From where it goes on; `None` when it must list.
    from: Option<Revision>,
    pub steps: Vec<Step>,
}

/// It reads no more than this at once.
const MOST: usize = 40;

impl Watching {
    pub fn new(random: Random, prefix: &'static str) -> Watching {
        Watching { random, prefix, server: None, watcher: None, from: Some(Revision(0)), steps: Vec::new() }
    }

    /// How long until it reads again.
    pub fn pause(&mut self) -> u64 {
        if self.random.permille(50) { self.random.within(100 * MS..1500 * MS) } else { self.random.within(MS..40 * MS) }
    }

    /// Connects to a server.
    pub fn start(&mut self, server: (u64, u64), hub: &Arc<Hub>, view: &View) {
        let from = match self.from {
            Some(from) => from,
            None => {
                let snapshot = view.snapshot();
                let found = snapshot.range(self.prefix, None);
                let found = found.map(|entry| (entry.key().as_str().to_owned(), value_of(entry))).collect();
                self.steps.push(Step::Listed { revision: snapshot.revision().0, found });
                snapshot.revision()
            }
        };
        match hub.watch(self.prefix, from) {
            Ok(watcher) => {
                self.steps.push(Step::Started { server: server.0.to_string(), after: from.0 });
                self.from = Some(from);
                self.server = Some(server);
                self.watcher = Some(watcher);
            }
            Err(WatchError::Closed) => {}
            Err(_) => self.broken(),
        }
    }

    fn broken(&mut self) {
        self.steps.push(Step::Broken);
        self.from = None;
        self.server = None;
        self.watcher = None;
    }

    /// The connection ends.
    pub fn end(&mut self) {
        if self.watcher.take().is_some() {
            self.steps.push(Step::Ended);
        }
        self.server = None;
    }

    /// Reads what is there. `all`: however much it is.
    pub fn read(&mut self, all: bool) {
        let Some(watcher) = &mut self.watcher else { return };
        for _ in 0..if all { usize::MAX } else { MOST } {
            match watcher.try_next() {
                Ok(Some(event)) => {
                    let value = match &event.change {
                        Change::Put { entry, .. } => Some(value_of(entry)),
                        Change::Delete { .. } => None,
                    };
                    let key = event.key().as_str().to_owned();
                    self.steps.push(Step::Event { revision: event.revision.0, key, value });
                    self.from = Some(watcher.revision());
                }
                Ok(None) => {
                    self.from = Some(watcher.revision());
                    let complete = Step::Complete { revision: watcher.revision().0 };
                    if self.steps.last() != Some(&complete) {
                        self.steps.push(complete);
                    }
                    return;
                }
                Err(WatchError::Closed) => return self.end(),
                Err(_) => return self.broken(),
            }
        }
    }
}
