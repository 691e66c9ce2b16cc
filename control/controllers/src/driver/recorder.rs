//! Writes Events, beside everything else and behind it.

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pal_registry::{Patch, PatchKind, Registry, WriteOptions};
use pal_resources::codec::FieldValidation;
use pal_resources::{ResourceRef, Status, resource};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::events::{Aggregator, Writing};
use crate::action::Note;

/// Notes that wait to be written; more are dropped, with a word in the log.
const WAITING: usize = 4096;
/// Events that are written at once, of those that wait.
const AT_ONCE: usize = 32;
const COMPONENT: &str = "controller-manager";

/// Takes notes.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    notes: mpsc::Sender<Note>,
}

/// The other end: writes what was noted until it is stopped.
pub(super) struct Writer {
    registry: Registry,
    notes: mpsc::Receiver<Note>,
}

/// Both ends.
pub(super) fn recorder(registry: Registry) -> (Recorder, Writer) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Recorder { notes: sender }, Writer { registry, notes: receiver })
}

impl Recorder {
    /// Notes something. Never waits.
    pub(super) fn tell(&self, note: Note) {
        if let Err(mpsc::error::TrySendError::Full(note)) = self.notes.try_send(note) {
            tracing::warn!(reason = note.reason, "too many events wait, one is dropped");
        }
    }
}

impl Writer {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let Some(events) = resource::find("", "v1", "events") else { return };
        let mut aggregator = Aggregator::default();
        let mut waiting = Vec::with_capacity(AT_ONCE);
        loop {
            waiting.clear();
            tokio::select! {
                () = stop.cancelled() => return,
                received = self.notes.recv_many(&mut waiting, AT_ONCE) => {
                    if received == 0 {
                        return;
                    }
                }
            }
            let now = Timestamp::now();
            let writings: Vec<Writing> = waiting.drain(..).filter_map(|note| aggregator.admit(note, now)).collect();
            let write = self.write_all(&events, writings, &mut aggregator);
            tokio::select! {
                () = stop.cancelled() => return,
                () = write => {}
            }
        }
    }

    /// Creates come before counts, as a count may be of an Event in the same batch.
    async fn write_all(&self, events: &ResourceRef, writings: Vec<Writing>, aggregator: &mut Aggregator) {
        let (creates, counts): (Vec<Writing>, Vec<Writing>) =
            writings.into_iter().partition(|writing| matches!(writing, Writing::Create(_)));
        for batch in [creates, counts] {
            let mut written =
                futures::stream::iter(batch).map(|writing| self.write(events, writing)).buffer_unordered(AT_ONCE);
            while let Some((writing, result)) = written.next().await {
                let Err(status) = result else { continue };
                match writing {
                    Writing::Count { namespace, name, .. } if status.code == 404 => {
                        aggregator.lost(&namespace, &name);
                    }
                    // The namespace is going, or gone.
                    _ if matches!(status.code, 403 | 404) => {}
                    _ => tracing::warn!(%status, "an event could not be written"),
                }
            }
        }
    }

    async fn write(&self, events: &ResourceRef, writing: Writing) -> (Writing, Result<(), Status>) {
        let options = WriteOptions::system(COMPONENT);
        let result = match &writing {
            Writing::Create(event) => {
                let namespace = event.metadata.namespace.clone();
                match serde_json::to_value(event) {
                    Ok(body) => self.registry.create(events, namespace.as_deref(), body, &options).await.map(drop),
                    Err(error) => Err(Status::internal(error)),
                }
            }
            Writing::Count { namespace, name, count, message, last } => {
                let body = json!({ "count": count, "message": message, "lastTimestamp": Time(*last) });
                let patch =
                    Patch { kind: PatchKind::Merge, body, validation: FieldValidation::Ignore, found: Vec::new() };
                self.registry.patch(events, None, Some(namespace), name, &patch, &options).await.map(drop)
            }
        };
        (writing, result)
    }
}
