//! A view of whole resources that is brought up to date when somebody asks: for what is decided by stored objects at
//! every request and changes seldom.

use pal_resources::ResourceRef;
use pal_store::{Revision, Watcher};

use crate::key;
use crate::object::Object;
use crate::registry::Registry;

/// All objects of some resources, as this server last saw them.
pub struct Held {
    registry: Registry,
    resources: Vec<ResourceRef>,
    watchers: Vec<Watcher>,
    /// Where the store stood at the last look.
    seen: Option<Revision>,
}

impl Registry {
    /// A view of these resources. It costs nothing until it is asked.
    pub fn hold(&self, resources: Vec<ResourceRef>) -> Held {
        Held { registry: self.clone(), resources, watchers: Vec::new(), seen: None }
    }
}

impl Held {
    /// All objects, one list for each resource, when any of them may have changed since the last call.
    pub fn changed(&mut self) -> Option<Vec<Vec<Object>>> {
        let snapshot = self.registry.store().applied();
        if self.seen == Some(snapshot.revision()) {
            return None;
        }
        let known = self.seen.replace(snapshot.revision()).is_some();
        // All are asked, so that none tells later what this look has seen.
        let grown = self.watchers.iter_mut().map(drain).filter(|grown| *grown).count() > 0;
        if known && !grown && self.watchers.len() == self.resources.len() {
            return None;
        }
        let snapshot = self.follow();
        let prefixes = self.resources.iter().map(|resource| key::prefix(resource, None));
        Some(prefixes.map(|prefix| snapshot.range(&prefix, None).cloned().map(Object::stored).collect()).collect())
    }

    /// Watches from where the store stands now. A resource that cannot be watched (its history has just been passed) is
    /// looked at anew the next time.
    fn follow(&mut self) -> pal_store::Snapshot {
        let snapshot = self.registry.store().applied();
        self.seen = Some(snapshot.revision());
        let prefixes = self.resources.iter().map(|resource| key::prefix(resource, None));
        let watched = prefixes.map(|prefix| self.registry.store().watch(&prefix, snapshot.revision()));
        self.watchers = watched.filter_map(Result::ok).collect();
        snapshot
    }
}

/// Whether anything happened, or may have.
pub(crate) fn drain(watcher: &mut Watcher) -> bool {
    let mut any = false;
    loop {
        match watcher.try_next() {
            Ok(Some(_)) => any = true,
            Ok(None) => return any,
            Err(_) => return true,
        }
    }
}
