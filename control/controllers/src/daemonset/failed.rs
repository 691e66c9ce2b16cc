//! How often a set's pods failed on each node: a pod that the node refuses again and again is not made anew in a rush.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::object::{remaining, since};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Since when pods have failed on nodes.
#[derive(Clone, Debug, Default)]
pub struct Failures(BTreeMap<String, Failed>);

#[derive(Clone, Debug)]
struct Failed {
    last: Timestamp,
    patience: Duration,
}

impl Failures {
    /// How long the next failed pod on the node stays where it is.
    pub(super) fn wait(&self, node: &str, now: Timestamp) -> Option<Duration> {
        let failed = self.0.get(node)?;
        remaining(failed.last, failed.patience, now)
    }

    /// A failed pod on the node goes, and the next one waits for longer. What happened long ago is forgotten.
    pub(super) fn note(&mut self, node: &str, now: Timestamp) {
        self.0.retain(|_, failed| since(now, failed.last) <= LONGEST * 2);
        let patience = self.0.get(node).map_or(FIRST, |failed| (failed.patience * 2).min(LONGEST));
        self.0.insert(node.to_owned(), Failed { last: now, patience });
    }
}
