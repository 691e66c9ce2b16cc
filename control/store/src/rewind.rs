//! What there was at an earlier revision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::entry::Entry;
use crate::error::WatchError;
use crate::history::Change;
use crate::key::{Key, Revision};
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::watch::Watcher;

/// What is shown to readers is in the histories a moment later; longer than this it never takes.
const LIMIT: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(1);

/// What keys that were changed since held before; `None` where there was nothing.
type Before = BTreeMap<Key, Option<Arc<Entry>>>;

/// Takes in what changed up to that revision, as far as it is told already; whether that was all.
fn collect(watcher: &mut Watcher, until: Revision, before: &mut Before) -> Result<bool, WatchError> {
    while let Some(event) = watcher.try_next()? {
        if event.revision > until {
            break;
        }
        // The first change of a key says what was there before all of them.
        before.entry(event.key().clone()).or_insert_with(|| match &event.change {
            Change::Put { previous, .. } => previous.clone(),
            Change::Delete { previous, .. } => Some(previous.clone()),
        });
    }
    Ok(watcher.revision() >= until)
}

impl Store {
    /// The entries whose keys begin with `prefix`, which lies within one bucket, as they were at an earlier revision; all others
    /// are as in `now`. Fails where the bucket's history does not reach back so far.
    pub async fn rewound(&self, now: &Snapshot, prefix: &str, revision: Revision) -> Result<Snapshot, WatchError> {
        let mut watcher = self.watch(prefix, revision)?;
        let (mut before, limit) = (Before::new(), Instant::now() + LIMIT);
        loop {
            if collect(&mut watcher, now.revision(), &mut before)? {
                return Ok(now.rewound(revision, before));
            }
            if Instant::now() > limit {
                return Err(WatchError::Lagged);
            }
            tokio::time::sleep(MOMENT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::config::StoreConfig;
    use crate::txn::{Op, Txn};

    async fn store(dir: &tempfile::TempDir, events: usize) -> Store {
        let config = StoreConfig { dir: dir.path().into(), history: events, ..StoreConfig::default() };
        Store::open(config).await.expect("a store")
    }

    async fn commit(store: &Store, key: &str, value: Option<String>) -> Revision {
        let op = match value {
            Some(value) => Op::Put { key: key.into(), value: value.into(), revision_at: None },
            None => Op::Delete { key: key.into() },
        };
        store.commit(Txn { ops: vec![op], ..Txn::default() }).await.expect("it is stored");
        store.applied().revision()
    }

    fn values(snapshot: &Snapshot, prefix: &str) -> Vec<(String, Bytes)> {
        let told = |entry: &Arc<Entry>| (entry.key().to_string(), entry.value().clone());
        snapshot.range(prefix, None).map(told).collect()
    }

    #[tokio::test]
    async fn every_earlier_revision_comes_back_as_it_was() {
        const PREFIXES: [&str; 3] = ["a/", "a/x/", "b/"];
        let dir = tempfile::tempdir().expect("a directory");
        let (store, mut random) = (store(&dir, 1_000).await, StdRng::seed_from_u64(7));
        let mut were = vec![(store.applied().revision(), PREFIXES.map(|_| Vec::new()))];
        for number in 0..150 {
            let place = ["a/x/", "a/y/", "b/"][random.random_range(0..3)];
            let key = format!("{place}{}", random.random_range(0..4));
            let value = random.random_bool(0.7).then(|| format!("v{number}"));
            let revision = commit(&store, &key, value).await;
            let now = store.applied();
            were.push((revision, PREFIXES.map(|prefix| values(&now, prefix))));
        }
        let now = store.applied();
        for (revision, expected) in &were {
            for (prefix, expected) in PREFIXES.iter().zip(expected) {
                let earlier = store.rewound(&now, prefix, *revision).await.expect("history reaches there");
                assert_eq!(earlier.revision(), *revision);
                assert_eq!(&values(&earlier, prefix), expected, "{prefix} at {revision:?}");
            }
        }
        store.close().await;
    }

    #[tokio::test]
    async fn where_history_does_not_reach_nothing_is_made_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(&dir, 4).await;
        let first = commit(&store, "a/1", Some("1".to_owned())).await;
        for number in 0..8 {
            commit(&store, "a/1", Some(format!("{number}"))).await;
        }
        let refused = store.rewound(&store.applied(), "a/", first).await.map(drop);
        assert!(matches!(refused, Err(WatchError::Compacted { .. })), "{refused:?}");
        store.close().await;
    }
}
