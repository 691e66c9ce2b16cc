//! The one list-watch machine: what there is of a resource, then what changes, and all of it again when the history
//! behind a change is lost.

use std::time::Duration;

use pal_registry::{Object, Registry, Watch, WatchEvent, WatchOptions};
use pal_resources::{ResourceRef, ResourceVersion};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// What a machine tells the driver. Resources are told by their position in the driver's list.
#[derive(Debug)]
pub(super) enum Told {
    /// All that there is, at that version; what is not among it is gone.
    All {
        resource: usize,
        version: ResourceVersion,
        objects: Vec<Object>,
    },
    Changed {
        resource: usize,
        object: Object,
    },
    Deleted {
        resource: usize,
        object: Object,
    },
}

enum State {
    /// Collects what there is until the bookmark that ends it.
    Listing {
        watch: Watch,
        objects: Vec<Object>,
    },
    Watching(Watch),
    BackOff(Duration),
}

/// Runs until it is stopped or nobody listens.
pub(super) async fn run(
    registry: Registry,
    resource: ResourceRef,
    position: usize,
    told: mpsc::Sender<Told>,
    stop: CancellationToken,
) {
    let machine = async {
        let mut state = open(&registry, &resource, FIRST_BACK_OFF).await;
        loop {
            state = match step(state, position, &told).await {
                Some(State::BackOff(wait)) => {
                    tokio::time::sleep(wait).await;
                    open(&registry, &resource, (wait * 2).min(LONGEST_BACK_OFF)).await
                }
                Some(state) => state,
                None => return,
            };
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = machine => {}
    }
}

async fn open(registry: &Registry, resource: &ResourceRef, back_off: Duration) -> State {
    let options = WatchOptions { send_initial_events: Some(true), bookmarks: true, ..WatchOptions::default() };
    match registry.watch(resource, None, options).await {
        Ok(watch) => State::Listing { watch, objects: Vec::new() },
        Err(status) => {
            tracing::warn!(resource = %resource.qualified(), %status, "cannot watch, will try again");
            State::BackOff(back_off)
        }
    }
}

/// One event; `None` when nobody listens any more.
async fn step(state: State, resource: usize, told: &mpsc::Sender<Told>) -> Option<State> {
    match state {
        State::Listing { mut watch, mut objects } => match watch.next().await {
            Some(WatchEvent::Added(object)) => {
                objects.push(object);
                Some(State::Listing { watch, objects })
            }
            Some(WatchEvent::Bookmark { version, initial_events_end: true }) => {
                told.send(Told::All { resource, version, objects }).await.ok()?;
                Some(State::Watching(watch))
            }
            Some(WatchEvent::Error(status)) => {
                tracing::debug!(%status, "a list was interrupted");
                Some(State::BackOff(FIRST_BACK_OFF))
            }
            Some(_) => Some(State::Listing { watch, objects }),
            None => Some(State::BackOff(FIRST_BACK_OFF)),
        },
        State::Watching(mut watch) => match watch.next().await {
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                told.send(Told::Changed { resource, object }).await.ok()?;
                Some(State::Watching(watch))
            }
            Some(WatchEvent::Deleted(object)) => {
                told.send(Told::Deleted { resource, object }).await.ok()?;
                Some(State::Watching(watch))
            }
            Some(WatchEvent::Bookmark { .. }) => Some(State::Watching(watch)),
            Some(WatchEvent::Error(status)) => {
                tracing::debug!(%status, "a watch fell behind, everything is listed again");
                Some(State::BackOff(FIRST_BACK_OFF))
            }
            None => Some(State::BackOff(FIRST_BACK_OFF)),
        },
        // The caller waits and opens again.
        back_off @ State::BackOff(_) => Some(back_off),
    }
}
