use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::dirty::Batch;
use crate::image::Image;
use crate::key::{Key, Revision};
use crate::memory_disk::MemoryDisk;
use crate::txn::Op;

/// A stored state that fails for as long as it is told to.
#[derive(Clone, Default)]
struct Stored(Arc<Mutex<(bool, Vec<Key>)>>);

impl StateDisk for Stored {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut stored = self.0.lock().unwrap();
        if stored.0 {
            return Err(StoreError::Full { path: "state".into() });
        }
        stored.1.extend(batch.objects.keys().cloned());
        Ok(())
    }

    fn stage(&mut self, _: &Image) -> Result<(), StoreError> {
        Ok(())
    }

    fn adopt(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn discard(&mut self) {}
}

/// A store on these disks.
fn start(dir: &std::path::Path, disk: &MemoryDisk, stored: &Stored) -> Store {
    let config = StoreConfig {
        segment_bytes: 0,
        persist_bytes: 1,
        persist_retry: Duration::from_millis(1),
        ..StoreConfig::default()
    };
    let directory = Directory::open(dir, &Start::Found).unwrap();
    let loaded = founded(directory.server);
    let (driver, shared) = assemble(&config, directory, disk.clone(), stored.clone(), loaded).unwrap();
    std::thread::spawn(move || driver.run());
    Store(Arc::new(shared))
}

async fn put(store: &Store, key: &str) -> Result<Outcome, StoreError> {
    let value = Bytes::from(vec![b'x'; 10_000]);
    store.commit(Txn::of(vec![Op::Put { key: key.into(), value, revision_at: None }])).await
}

#[tokio::test]
async fn after_a_failed_flush_nothing_is_written_but_reads_and_watches_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let store = start(dir.path(), &disk, &Stored::default());
    put(&store, "a/1").await.unwrap();
    assert!(store.failure().is_none());
    disk.break_down();
    for key in ["a/2", "a/3"] {
        let refused = put(&store, key).await.unwrap_err().to_string();
        assert_eq!(refused, "the store takes no more writes since: log/1: the disk is broken");
    }
    assert!(matches!(store.failure(), Some(StoreError::Failed(_))));
    assert_eq!(store.role(), Role::Follower);
    assert_eq!(store.consistent().await.unwrap().len(), 1);
    let mut watcher = store.watch("a/", Revision(0)).unwrap();
    assert_eq!(watcher.next().await.unwrap().key().as_str(), "a/1");
    assert_eq!(watcher.try_next(), Ok(None));
    store.close().await;
}

#[tokio::test]
async fn the_log_is_kept_until_the_stored_state_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let stored = Stored::default();
    stored.0.lock().unwrap().0 = true;
    let store = start(dir.path(), &disk, &stored);
    for turn in 0..30 {
        put(&store, &format!("a/{turn:02}")).await.unwrap();
    }
    assert!(disk.segments().unwrap().len() > 4);
    stored.0.lock().unwrap().0 = false;
    let expected: Vec<Key> = (0..30).map(|turn| Key::from(format!("a/{turn:02}"))).collect();
    let state = || (stored.0.lock().unwrap().1.clone(), disk.segments().unwrap().len());
    let mut writes = 0;
    while !(state().0.starts_with(&expected) && state().1 <= 4) {
        assert!(writes < 1000, "{:?}", state());
        writes += 1;
        put(&store, "b/1").await.unwrap();
    }
    store.close().await;
}
