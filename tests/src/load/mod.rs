//! Clients and watchers that go on through any fault, and the history of what they did and saw.
//!
//! Objects are ConfigMaps of one namespace, each with one value in it; no value is written twice, so that a read tells which
//! write it saw. Keys change from time to time, so that what the checker has to search stays small.

mod client;
mod keys;
mod watcher;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use pal_checker::{History, Limits, Operation, Watch};
use serde_json::json;
use tokio::task::JoinSet;

use crate::api::Access;
use crate::seed::Seed;
use crate::wait::wait_until;

pub(crate) use keys::{KEYS, Object};

const NAMESPACE: &str = "load";
const LIMIT: Duration = Duration::from_secs(90);
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Steps of the checker's search for each key.
const STEPS: u64 = 20_000_000;

/// The servers that clients can ask, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<Mutex<BTreeMap<String, Access>>>);

impl Endpoints {
    /// Adds or replaces a server.
    pub fn put(&self, name: &str, access: Access) {
        self.0.lock().expect("nobody panics with it").insert(name.to_owned(), access);
    }

    /// Takes a server away: nobody asks it any more.
    pub fn take(&self, name: &str) {
        self.0.lock().expect("nobody panics with it").remove(name);
    }

    /// All of them.
    pub fn all(&self) -> Vec<(String, Access)> {
        let all = self.0.lock().expect("nobody panics with it");
        all.iter().map(|(name, access)| (name.clone(), access.clone())).collect()
    }

    /// Any of them.
    fn any(&self, seed: &mut Seed) -> (String, Access) {
        let all = self.all();
        all[seed.below(all.len())].clone()
    }
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Much {
    pub clients: usize,
    pub watchers: usize,
    /// How long a client waits between its requests.
    pub pause: Duration,
}

impl Default for Much {
    fn default() -> Self {
        Self { clients: 8, watchers: 3, pause: Duration::from_millis(5) }
    }
}

/// What clients and watchers share.
pub(crate) struct Shared {
    endpoints: Endpoints,
    started: Instant,
    stop: AtomicBool,
    /// Keys of one number belong to one time.
    epoch: AtomicU64,
    /// Writes that were acknowledged.
    written: AtomicU64,
    /// Consistent reads that were answered.
    read: AtomicU64,
    /// Events that watchers saw.
    seen: AtomicU64,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A load that goes on until it is stopped.
pub struct Load {
    shared: Arc<Shared>,
    base: u64,
    clients: JoinSet<Vec<Operation>>,
    watchers: JoinSet<Watch>,
}

/// What the load came to, for the report.
#[derive(Clone, Debug)]
pub struct Summary {
    pub operations: usize,
    pub written: u64,
    pub unknown: usize,
    pub failed: usize,
    pub events: u64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} operations ({} writes acknowledged, {} unknown, {} failed), {} events",
            self.operations, self.written, self.unknown, self.failed, self.events
        )
    }
}

impl Load {
    /// Starts it against those servers.
    pub async fn start(endpoints: Endpoints, seed: &mut Seed, much: Much) -> Self {
        let base = prepare(&endpoints).await;
        let shared = Arc::new(Shared {
            endpoints,
            started: Instant::now(),
            stop: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        });
        let (mut clients, mut watchers) = (JoinSet::new(), JoinSet::new());
        for number in 0..much.clients {
            clients.spawn(client::run(shared.clone(), number as u64, seed.split(), much.pause));
        }
        for number in 0..much.watchers {
            watchers.spawn(watcher::run(shared.clone(), number as u64, seed.split(), base));
        }
        Self { shared, base, clients, watchers }
    }

    /// How many writes were acknowledged so far.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Waits until so many more writes were acknowledged and as many consistent reads were answered.
    pub async fn goes_on(&self, more: u64) {
        let counters = || (self.written(), self.shared.read.load(Ordering::Relaxed));
        let (written, read) = counters();
        wait_until(LIMIT, &format!("{more} more writes and reads"), async || match counters() {
            (w, r) if w >= written + more && r >= read + more => Ok(()),
            (w, r) => Err(format!("{} writes, {} reads", w - written, r - read)),
        })
        .await;
    }

    /// Waits until nothing was acknowledged for a second.
    pub async fn is_stuck(&self) {
        let mut last = (self.written(), Instant::now());
        wait_until(LIMIT, "no write is acknowledged", async || {
            let written = self.written();
            if written != last.0 {
                last = (written, Instant::now());
            }
            if last.1.elapsed() > Duration::from_secs(1) { Ok(()) } else { Err(format!("{written} writes")) }
        })
        .await;
    }

    /// Turns to new keys.
    pub fn turn(&self) {
        self.shared.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops it, reads everything once more on every server, and gives what all saw to the checker; panics with what is
    /// wrong.
    pub async fn check(mut self) -> Summary {
        self.goes_on(20).await;
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = History { base: self.base, ..History::default() };
        while let Some(done) = self.clients.join_next().await {
            history.operations.extend(done.expect("a client does not panic"));
        }
        history.operations.extend(client::last_look(&self.shared).await);
        while let Some(done) = self.watchers.join_next().await {
            history.watches.push(done.expect("a watcher does not panic"));
        }
        self.judge(&history)
    }

    fn judge(&self, history: &History) -> Summary {
        let count = |outcome: &pal_checker::Outcome| {
            let is = |operation: &&Operation| operation.returned.as_ref().is_some_and(|r| r.outcome == *outcome);
            history.operations.iter().filter(is).count()
        };
        let summary = Summary {
            operations: history.operations.len(),
            written: self.written(),
            unknown: count(&pal_checker::Outcome::Unknown),
            failed: count(&pal_checker::Outcome::Failed),
            events: self.shared.seen.load(Ordering::Relaxed),
        };
        eprintln!("{summary}");
        let report = pal_checker::check(history, Limits { steps: STEPS });
        assert!(report.holds(), "{report}");
        summary
    }
}

/// Makes the namespace; the revision behind which watches begin.
async fn prepare(endpoints: &Endpoints) -> u64 {
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    wait_until(LIMIT, "a namespace for the load", async || {
        let (_, access) = endpoints.all().into_iter().next().ok_or("no server")?;
        let mut api = access.api();
        let made = api.call(Method::POST, "/api/v1/namespaces", Some(&body), REQUEST_LIMIT).await;
        let made = made.map_err(|error| error.to_string())?;
        if made.status != StatusCode::CREATED && made.status != StatusCode::CONFLICT {
            return Err(made.to_string());
        }
        let list = api.get(&keys::all(), REQUEST_LIMIT).await?;
        keys::revision(&list).ok_or(format!("no revision in {list}"))
    })
    .await
}
