//! Custom resources come and go: each that is served is watched like those that are built in, for what owns its objects
//! and which namespaces hold them.

use std::collections::BTreeMap;
use std::sync::Arc;

use pal_resources::{Resource, ResourceRef};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::key::Key;
use super::watch::{self, Told};
use super::{Driver, Tasks};

/// The custom resources that are watched.
pub(super) struct Customs {
    /// By the name of the definition.
    watched: BTreeMap<String, Watched>,
    /// Positions from here on are of custom resources.
    first: Option<usize>,
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
    told: mpsc::Sender<Told>,
}

struct Watched {
    position: usize,
    namespaced: bool,
    stop: CancellationToken,
}

impl Customs {
    pub(super) fn new(tasks: &Tasks<'_>, told: mpsc::Sender<Told>) -> Self {
        Self {
            watched: BTreeMap::new(),
            first: None,
            tracker: tasks.tracker.clone(),
            stop: tasks.stop.clone(),
            failed: tasks.failed.clone(),
            told,
        }
    }

    /// Whether a watch that has been stopped told this.
    pub(super) fn is_over(&self, told: &Told) -> bool {
        let (Told::All { resource, .. } | Told::Changed { resource, .. } | Told::Deleted { resource, .. }) = told;
        self.first.is_some_and(|first| *resource >= first) && self.name_at(*resource).is_none()
    }

    /// What is to be looked at when all objects at that position are known.
    pub(super) fn listed(&self, position: usize) -> Option<Key> {
        self.name_at(position).map(|name| Key::Definition(name.to_owned()))
    }

    fn name_at(&self, position: usize) -> Option<&str> {
        self.watched.iter().find(|(_, watched)| watched.position == position).map(|(name, _)| name.as_str())
    }
}

impl Driver {
    /// Watches the custom resources that are served, and no others.
    pub(super) fn follow_customs(&mut self) {
        let registry = self.executor.registry.clone();
        let definitions = registry.definitions();
        self.cache.define(definitions.clone());
        let served: BTreeMap<String, &ResourceRef> = definitions.each().map(|r| (r.qualified(), r)).collect();
        let lost = |(name, watched): (&String, &Watched)| {
            let kept = served.get(name).is_some_and(|resource| resource.namespaced == watched.namespaced);
            (!kept).then(|| name.clone())
        };
        let lost: Vec<String> = self.customs.watched.iter().filter_map(lost).collect();
        for watched in lost.iter().filter_map(|name| self.customs.watched.remove(name)).collect::<Vec<_>>() {
            watched.stop.cancel();
            for change in self.cache.drop_all(watched.position) {
                self.changed(&change);
            }
        }
        for (name, resource) in served {
            if self.customs.watched.contains_key(&name) {
                continue;
            }
            let position = self.cache.add(resource);
            self.customs.first.get_or_insert(position);
            let stop = self.customs.stop.child_token();
            let tasks = Tasks { tracker: &self.customs.tracker, stop: &stop, failed: &self.customs.failed };
            // Of the objects only their metadata matters: they are read as they are stored.
            let plain = Arc::new(Resource { custom: None, ..(**resource).clone() });
            let told = self.customs.told.clone();
            tasks.spawn(watch::run(registry.clone(), plain, position, told, stop.clone()));
            self.customs.watched.insert(name, Watched { position, namespaced: resource.namespaced, stop });
        }
    }
}
