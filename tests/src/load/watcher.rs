//! One watcher: it follows all keys on any server, and goes on at another one behind what it saw last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pal_checker::{Step, Watch};
use serde_json::Value;

use super::keys::PREFIX;
use super::{Object, REQUEST_LIMIT, Shared, keys};
use crate::api::{Access, NoEvent, Stream};
use crate::seed::Seed;

/// How long nothing may come before the watcher looks whether it is to stop.
const QUIET: Duration = Duration::from_millis(200);
/// It turns to another server after at most so many events, and after so many quiet times.
const EVENTS: usize = 400;
const QUIET_TIMES: usize = 15;
/// How long it waits after a server that could not be watched.
const PAUSE: Duration = Duration::from_millis(50);
const GONE: u64 = 410;

struct Watcher {
    shared: Arc<Shared>,
    seed: Seed,
    /// It has seen everything up to here.
    after: u64,
    steps: Vec<Step>,
}

/// Why a watch is over.
enum Over {
    Stopped,
    Ended,
    Gone,
}

/// Follows until the load has stopped and nothing comes any more.
pub(super) async fn run(shared: Arc<Shared>, number: u64, seed: Seed, base: u64) -> Watch {
    let mut watcher = Watcher { shared, seed, after: base, steps: Vec::new() };
    loop {
        let last = watcher.shared.stopped();
        let (server, access) = watcher.shared.endpoints.any(&mut watcher.seed);
        match watcher.follow(&server, &access).await {
            Over::Stopped => break,
            Over::Gone => watcher.list(&access).await,
            Over::Ended if last => break,
            Over::Ended => {}
        }
    }
    Watch { watcher: number, prefix: PREFIX.to_owned(), steps: watcher.steps }
}

impl Watcher {
    async fn follow(&mut self, server: &str, access: &Access) -> Over {
        let path = format!("{}?watch=1&allowWatchBookmarks=true&resourceVersion={}", keys::all(), self.after);
        let mut stream = match access.watch(&path, REQUEST_LIMIT).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(refused)) if u64::from(refused.status.as_u16()) == GONE => {
                self.steps.push(Step::Broken);
                return Over::Gone;
            }
            Ok(Err(_)) | Err(_) => {
                tokio::time::sleep(PAUSE).await;
                return Over::Ended;
            }
        };
        self.steps.push(Step::Started { server: server.to_owned(), after: self.after });
        let over = self.events(&mut stream).await;
        self.steps.push(if matches!(over, Over::Gone) { Step::Broken } else { Step::Ended });
        over
    }

    async fn events(&mut self, stream: &mut Stream) -> Over {
        let enough = 1 + self.seed.below(EVENTS);
        let (mut events, mut quiet) = (0, 0);
        while events < enough && quiet < QUIET_TIMES {
            match stream.next(QUIET).await {
                Ok(event) => {
                    (events, quiet) = (events + 1, 0);
                    if let Some(over) = self.event(&event) {
                        return over;
                    }
                }
                Err(NoEvent::Quiet) if self.shared.stopped() => return Over::Stopped,
                Err(NoEvent::Quiet) => quiet += 1,
                Err(NoEvent::Ended(_)) => return Over::Ended,
            }
        }
        Over::Ended
    }

    fn event(&mut self, event: &Value) -> Option<Over> {
        let object = &event["object"];
        match event["type"].as_str() {
            Some("BOOKMARK") => {
                let revision = keys::revision(object)?;
                self.after = revision;
                self.steps.push(Step::Complete { revision });
                None
            }
            Some(kind @ ("ADDED" | "MODIFIED" | "DELETED")) => {
                self.after = keys::revision(object)?;
                // The namespace also holds what controllers put there.
                let object = Object::of(object)?;
                let value = (kind != "DELETED").then_some(object.value);
                self.shared.seen.fetch_add(1, Ordering::Relaxed);
                self.steps.push(Step::Event { revision: object.revision, key: object.key, value });
                None
            }
            _ if object["code"].as_u64() == Some(GONE) => Some(Over::Gone),
            _ => Some(Over::Ended),
        }
    }

    async fn list(&mut self, access: &Access) {
        let Ok(list) = access.api().get(&keys::all(), REQUEST_LIMIT).await else { return };
        let Some(revision) = keys::revision(&list) else { return };
        let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found: BTreeMap<String, u64> =
            items.iter().filter_map(Object::of).map(|object| (object.key, object.value)).collect();
        self.after = revision;
        self.steps.push(Step::Listed { revision, found });
    }
}
