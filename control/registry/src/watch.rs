//! Watches: what there is, then what changes, as one client's selection sees it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pal_resources::{Resource, ResourceVersion, Status};
use pal_store::{Change, Entry, Event, Revision, Stand, WatchError, Watcher};
use tokio::time::Instant;

use crate::form::Served;
use crate::object::Object;
use crate::options::{Read, WatchOptions};
use crate::read::Selection;
use crate::registry::Registry;
use crate::wire;

/// What a watch tells. Objects share the bytes of the store: an event costs nothing per watcher but its delivery.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    Added(Object),
    Modified(Object),
    Deleted(Object),
    /// Nothing that is selected has changed up to that version beside what was told.
    Bookmark {
        version: ResourceVersion,
        /// What there was at the beginning has all been told.
        initial_events_end: bool,
    },
    /// The last event: the client must list again.
    Error(Status),
}

/// A running watch. Dropping it ends it.
pub struct Watch {
    selection: Selection,
    initial: std::vec::IntoIter<Arc<Entry>>,
    /// The version of `initial`, until the bookmark that ends it is told.
    initial_end: Option<ResourceVersion>,
    source: Source,
    bookmarks: Option<Bookmarks>,
    /// How its objects are shown, if not as they are stored.
    form: Option<Served>,
}

enum Source {
    Live(Box<Watcher>),
    Failed(Status),
    Ended,
}

struct Bookmarks {
    interval: Duration,
    next: Instant,
    told: ResourceVersion,
}

impl Bookmarks {
    /// The bookmark at that version, unless the client knows it.
    fn due(&mut self, version: ResourceVersion) -> Option<WatchEvent> {
        self.next = Instant::now() + self.interval;
        if version <= self.told {
            return None;
        }
        self.told = version;
        Some(WatchEvent::Bookmark { version, initial_events_end: false })
    }
}

impl Registry {
    /// The changes of a resource's objects, in one namespace or in all.
    ///
    /// A version that the history no longer reaches is told as an event, as clients expect it.
    pub async fn watch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: WatchOptions,
    ) -> Result<Watch, Status> {
        if let Some(form) = Served::of(resource) {
            let field = form.selector(options.field)?;
            let watch = Box::pin(self.watch(&form.stored, namespace, WatchOptions { field, ..options })).await?;
            return Ok(Watch { form: Some(form), ..watch });
        }
        let selection = Selection::new(resource, options.label, options.field)?;
        let prefix = selection.prefix(resource, namespace);
        let after = options.after.unwrap_or_default();
        let from_scratch = options.send_initial_events.unwrap_or(after == ResourceVersion(0));
        let mut initial = Vec::new();
        let mut revision = Revision(after.0);
        let mut initial_end = None;
        if from_scratch {
            let read = match options.after {
                None => Read::Consistent,
                Some(version) => Read::AtLeast(version),
            };
            let snapshot = self.snapshot(read).await?;
            for (seen, entry) in snapshot.range(&prefix, None).enumerate() {
                selection.breathe(seen).await;
                if selection.is_all() || selection.matches(entry) {
                    initial.push(entry.clone());
                }
            }
            revision = snapshot.revision();
            if options.send_initial_events == Some(true) && options.bookmarks {
                initial_end = Some(ResourceVersion(revision.0));
            }
        }
        if !from_scratch && after == ResourceVersion(0) {
            let read = if options.after.is_some() { Read::Any } else { Read::Consistent };
            revision = self.snapshot(read).await?.revision();
        }
        // A version from before a restore, or of another cluster: to wait for it would be to miss all until then.
        let ahead = !from_scratch
            && revision > self.shared.store.applied().revision()
            && revision > self.snapshot(Read::Consistent).await?.revision();
        if ahead {
            let source = Source::Failed(Status::expired(format!("too large resource version: {after}")));
            return Ok(Watch {
                selection,
                initial: initial.into_iter(),
                initial_end,
                source,
                bookmarks: None,
                form: None,
            });
        }
        let source = match self.shared.store.watch(&prefix, revision) {
            Ok(watcher) => Source::Live(Box::new(watcher)),
            Err(WatchError::Closed) => return Err(Status::unavailable("the server is shutting down")),
            Err(error) => Source::Failed(too_old(after, error)),
        };
        let interval = self.shared.config.bookmark_interval;
        let bookmarks = options.bookmarks.then(|| Bookmarks {
            interval,
            next: Instant::now() + interval,
            told: ResourceVersion(revision.0),
        });
        Ok(Watch { selection, initial: initial.into_iter(), initial_end, source, bookmarks, form: None })
    }
}

impl Watch {
    /// The next event, waited for as long as it takes; `None` when the watch is over: after an `Error`, or when the
    /// server stops. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.at_hand() {
                return Some(event);
            }
            let Source::Live(watcher) = &mut self.source else { return None };
            let received = match &mut self.bookmarks {
                None => watcher.next().await,
                Some(bookmarks) => tokio::select! {
                    received = watcher.next() => received,
                    () = tokio::time::sleep_until(bookmarks.next) => match watcher.try_next().transpose() {
                        Some(received) => received,
                        // Nothing is left to tell, so the watch stands where the store does.
                        None => match bookmarks.due(ResourceVersion(watcher.revision().0)) {
                            Some(bookmark) => return Some(bookmark),
                            None => continue,
                        },
                    },
                },
            };
            if let Some(event) = self.received(received) {
                return Some(event);
            }
        }
    }

    /// Ends when [`try_next`](Watch::try_next), as the watch stands now, may return something, or the watch is over. It may
    /// return nothing all the same: what happened was not selected.
    pub fn stirred(&self) -> impl Future<Output = ()> + Send + use<> {
        let stirred = match &self.source {
            Source::Live(watcher) if !self.is_beginning() => Some(watcher.stirred()),
            Source::Live(_) | Source::Failed(_) | Source::Ended => None,
        };
        let bookmark = self.bookmarks.as_ref().map(|bookmarks| bookmarks.next);
        async move {
            match (stirred, bookmark) {
                (None, _) => {}
                (Some(stirred), None) => stirred.await,
                (Some(stirred), Some(bookmark)) => tokio::select! {
                    () = stirred => {}
                    () = tokio::time::sleep_until(bookmark) => {}
                },
            }
        }
    }

    /// Whether nothing will come any more.
    pub fn is_over(&self) -> bool {
        matches!(self.source, Source::Ended) && !self.is_beginning()
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        let mut events = Vec::new();
        while events.is_empty() && self.try_some(1, &mut events) {}
        events.pop()
    }

    /// Adds the next events that are there already, up to so many at once: lets a writer send in one piece what came
    /// together. Returns whether there may be more. With [`stirred`](Watch::stirred) it takes the place of
    /// [`next`](Watch::next) for who looks only from time to time.
    pub fn try_some(&mut self, most: usize, events: &mut Vec<WatchEvent>) -> bool {
        let before = events.len();
        while let Some(event) = self.at_hand() {
            events.push(event);
            if events.len() - before == most {
                return true;
            }
        }
        let Source::Live(watcher) = &mut self.source else { return false };
        // Looked at when the history is free again: to match a selector may mean to read an object.
        let mut seen = Vec::new();
        match watcher.visit(most, |event| seen.push(event.clone())) {
            Ok(more) => {
                let selected = seen.iter().filter_map(|event| self.selection.view(event));
                events.extend(selected.map(|event| shown(&self.form, event)));
                let version = ResourceVersion(watcher.revision().0);
                let due = |bookmarks: &&mut Bookmarks| !more && bookmarks.next <= Instant::now();
                // Nothing is left to tell, so the watch stands where the store does.
                events.extend(self.bookmarks.as_mut().filter(due).and_then(|bookmarks| bookmarks.due(version)));
                more
            }
            Err(error) => {
                events.extend(self.received(Err(error)));
                false
            }
        }
    }

    /// How far the watch has come, if what it tells next is what it is shown by
    /// [`visit_stored`](Watch::visit_stored), and the same for all that stand there.
    pub fn stand(&self) -> Option<&Stand> {
        if !self.tells_stored() {
            return None;
        }
        // To whom a bookmark is due is told it when nothing else is left.
        let due = self.bookmarks.as_ref().is_some_and(|bookmarks| bookmarks.next <= Instant::now());
        match &self.source {
            Source::Live(watcher) if !due => watcher.stand(),
            Source::Live(_) | Source::Failed(_) | Source::Ended => None,
        }
    }

    /// Goes on from where another watch has come that [stood](Stand::is) where this one stands, and was shown what lies between.
    pub fn go_on(&mut self, stand: &Stand) {
        if let Source::Live(watcher) = &mut self.source {
            watcher.go_on(stand);
        }
    }

    /// Shows the next changes that are there already, so many at most and not beyond where another watch stands, as they lie in
    /// the history: what happened to an object, and the whole of it. Shows none where objects must be looked at first, selected
    /// or made into another form. Returns whether there may be more; if not, [`try_some`](Watch::try_some) has the rest. `tell`
    /// should be brief: the history does not grow meanwhile.
    pub fn visit_stored(
        &mut self,
        end: Option<&Stand>,
        most: usize,
        mut tell: impl FnMut(&'static str, &Bytes),
    ) -> bool {
        if !self.tells_stored() {
            return false;
        }
        let Source::Live(watcher) = &mut self.source else { return false };
        let visited = watcher.visit_until(end, most, |event| {
            let kind = match &event.change {
                Change::Put { previous: None, .. } => "ADDED",
                Change::Put { previous: Some(_), .. } => "MODIFIED",
                Change::Delete { .. } => "DELETED",
            };
            tell(kind, event.entry().value());
        });
        // What went wrong goes wrong again.
        visited.unwrap_or(false)
    }

    /// Whether what there was at the beginning is not all told.
    fn is_beginning(&self) -> bool {
        self.initial.len() > 0 || self.initial_end.is_some()
    }

    /// Whether what comes next is told as it lies in the history.
    fn tells_stored(&self) -> bool {
        !self.is_beginning() && self.form.is_none() && self.selection.is_stored()
    }

    /// What needs no waiting: the initial state, its end, a failure.
    fn at_hand(&mut self) -> Option<WatchEvent> {
        if let Some(entry) = self.initial.next() {
            return Some(shown(&self.form, WatchEvent::Added(self.selection.shown(entry))));
        }
        if let Some(version) = self.initial_end.take() {
            return Some(WatchEvent::Bookmark { version, initial_events_end: true });
        }
        if matches!(self.source, Source::Failed(_))
            && let Source::Failed(status) = std::mem::replace(&mut self.source, Source::Ended)
        {
            return Some(WatchEvent::Error(status));
        }
        None
    }

    fn received(&mut self, received: Result<Arc<Event>, WatchError>) -> Option<WatchEvent> {
        match received {
            Ok(event) => self.selection.view(&event).map(|event| shown(&self.form, event)),
            Err(WatchError::Closed) => {
                self.source = Source::Ended;
                None
            }
            Err(error) => {
                let reached = match &self.source {
                    Source::Live(watcher) => ResourceVersion(watcher.revision().0),
                    Source::Failed(_) | Source::Ended => ResourceVersion::default(),
                };
                self.source = Source::Ended;
                Some(WatchEvent::Error(too_old(reached, error)))
            }
        }
    }
}

/// An event in the form that is served.
fn shown(form: &Option<Served>, event: WatchEvent) -> WatchEvent {
    match form {
        Some(form) => form.event(event),
        None => event,
    }
}

impl Selection {
    /// A change as those see it who are shown only the selected objects.
    fn view(&self, event: &Event) -> Option<WatchEvent> {
        let selected = |entry: &Arc<Entry>| self.is_all() || self.matches(entry);
        match &event.change {
            Change::Put { entry, previous } => {
                let before = previous.as_ref().filter(|previous| selected(previous));
                match (before, selected(entry)) {
                    (None, true) => Some(WatchEvent::Added(self.shown(entry.clone()))),
                    (Some(_), true) => Some(WatchEvent::Modified(self.shown(entry.clone()))),
                    (Some(before), false) => {
                        let version = ResourceVersion(event.revision.0);
                        let json = wire::with_version(before.value(), version);
                        Some(WatchEvent::Deleted(self.adapted(Object::made(json, version))))
                    }
                    (None, false) => None,
                }
            }
            Change::Delete { tombstone, previous } => {
                selected(previous).then(|| WatchEvent::Deleted(self.shown(tombstone.clone())))
            }
        }
    }
}

fn too_old(asked: ResourceVersion, error: WatchError) -> Status {
    match error {
        WatchError::Compacted { oldest } => Status::expired(format!("too old resource version: {asked} ({oldest})")),
        WatchError::Lagged | WatchError::Closed => {
            Status::expired(format!("too old resource version: {asked} (the watch fell behind)"))
        }
    }
}

/// The object of a bookmark.
pub fn bookmark(resource: &Resource, version: ResourceVersion, initial_events_end: bool) -> Bytes {
    let annotations = if initial_events_end { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    let (kind, api_version) = (&resource.kind, resource.api_version());
    format!(
        r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{version}"{annotations}}}}}"#
    )
    .into()
}
