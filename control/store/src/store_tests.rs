use std::path::Path;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::*;
use crate::history::Change;
use crate::key::Key;
use crate::txn::{Guard, Op};

fn config(dir: &Path) -> StoreConfig {
    StoreConfig { dir: dir.join("store"), ..StoreConfig::default() }
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), revision_at: None }
}

async fn commit(store: &Store, ops: Vec<Op>) -> Revision {
    match store.commit(Txn::of(ops)).await.unwrap() {
        Outcome::Committed { revision, .. } => revision,
        Outcome::Refused { .. } => panic!("refused without a guard"),
    }
}

/// Everything that a snapshot holds.
fn content(snapshot: &Snapshot) -> Vec<(String, Bytes, u64, u64)> {
    snapshot
        .range("", None)
        .map(|entry| (entry.key().to_string(), entry.value().clone(), entry.created().0, entry.modified().0))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_writer_made_of_its_value_is_there_before_anybody_sees_that() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let mut watcher = store.watch("a/", Revision(0)).unwrap();
    let txn = Txn { guards: vec![Guard::Absent("a/1".into())], ops: vec![put("a/1", "one"), put("a/2", "other")] };
    store.commit_with(txn.clone(), Some(Box::new(7_usize))).await.unwrap();
    // Refused: what is there keeps what is its own.
    store.commit_with(txn, Some(Box::new(8_usize))).await.unwrap();
    for expected in [7, 5] {
        let event = watcher.next().await.unwrap();
        assert_eq!(*event.entry().memo(|value| value.len()), expected, "{:?}", event.key());
    }
    store.close().await;
}

#[tokio::test]
async fn a_commit_can_be_read_at_once_and_carries_its_revision() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    assert_eq!(store.role(), Role::Leader);
    let op = Op::Put { key: "a/1".into(), value: Bytes::from_static(b"<>"), revision_at: Some(1) };
    assert_eq!(commit(&store, vec![op]).await, Revision(1));
    for snapshot in [store.applied(), store.consistent().await.unwrap(), store.read_index().await.unwrap()] {
        assert_eq!(snapshot.revision(), Revision(1));
        assert_eq!(snapshot.get("a/1").unwrap().value(), b"<1>".as_ref());
    }
    let txn = Txn { guards: vec![Guard::Absent("a/1".into())], ops: vec![put("a/2", "")] };
    assert!(matches!(store.commit(txn).await.unwrap(), Outcome::Refused { guard: 0, current: Some(_) }));
    store.close().await;
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_directory_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let refused = Store::open(config(dir.path())).await.err().unwrap();
    let path = dir.path().join("store");
    assert_eq!(refused.to_string(), format!("{}: the data directory is in use by another process", path.display()));
    let identity = store.identity().clone();
    store.close().await;
    let again = Store::open(config(dir.path())).await.unwrap();
    assert_eq!(*again.identity(), identity);
    again.close().await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let refused = Store::open(config(&file)).await.err().unwrap().to_string();
    assert!(refused.starts_with(&format!("{}: ", file.join("store").display())), "{refused}");
}

#[tokio::test]
async fn what_cannot_be_queued_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let limits = StoreConfig { queue_bytes: 1, max_txn_bytes: 1000, ..config(dir.path()) };
    let store = Store::open(limits).await.unwrap();
    let large = Txn::of(vec![put("a/1", &"x".repeat(1000))]);
    assert!(matches!(store.commit(large).await, Err(StoreError::TooLarge { size: 1001.., limit: 1000 })));
    let twice = Txn::of(vec![put("a/1", ""), put("a/1", "")]);
    assert!(matches!(store.commit(twice).await, Err(StoreError::Invalid(_))));
    let small = || store.commit(Txn::of(vec![put("a/1", "x")]));
    // The first may be done before the second is asked for.
    for tries in 1.. {
        let (first, second) = tokio::join!(small(), small());
        assert!(matches!(first, Ok(Outcome::Committed { .. })));
        match second {
            Err(StoreError::QueueFull) => break,
            other => assert!(other.is_ok() && tries < 1000, "{other:?}"),
        }
    }
    assert!(small().await.is_ok());
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_refuses_writes_and_ends_watches() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let mut watcher = store.watch("a/", Revision(0)).unwrap();
    commit(&store, vec![put("a/1", "x")]).await;
    let other = store.clone();
    other.close().await;
    assert!(matches!(store.commit(Txn::of(vec![put("a/2", "")])).await, Err(StoreError::Closed)));
    assert!(matches!(store.consistent().await, Err(StoreError::Closed)));
    assert_eq!(store.applied().len(), 1);
    assert_eq!(watcher.next().await.unwrap().revision, Revision(1));
    assert_eq!(watcher.next().await.err(), Some(WatchError::Closed));
    store.close().await;
}

#[tokio::test]
async fn the_last_handle_closes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let mut watcher = store.watch("a/", Revision(0)).unwrap();
    drop(store);
    assert_eq!(watcher.next().await.err(), Some(WatchError::Closed));
}

/// Writes, overwrites and deletes enough to fill several of the smallest segments.
async fn write_much(store: &Store) {
    let mut tasks = JoinSet::new();
    for client in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for turn in 0..100 {
                let key = format!("a{}/{}", client % 2, turn % 10 * 8 + client);
                let op = match turn % 7 {
                    6 => Op::Delete { key: key.as_str().into() },
                    _ => put(&key, &format!("{client} {turn} {}", "x".repeat(turn * 20))),
                };
                commit(&store, vec![op]).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_restart_finds_everything_however_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let small = |dir: &Path, persist_bytes: usize| StoreConfig { segment_bytes: 0, persist_bytes, ..config(dir) };
    for (name, persist_bytes) in [("eager", 1), ("in-between", 100_000), ("lazy", usize::MAX)] {
        let dir = dir.path().join(name);
        let store = Store::open(small(&dir, persist_bytes)).await.unwrap();
        write_much(&store).await;
        let expected = (store.applied().revision(), content(&store.applied()));
        // What a machine that loses power now would find. Nothing is written while nobody commits, but for the state.
        let crashed = dir.join("crashed");
        if persist_bytes == usize::MAX {
            copy(&dir.join("store"), &crashed.join("store"));
            let store = Store::open(small(&crashed, persist_bytes)).await.unwrap();
            assert_eq!((store.applied().revision(), content(&store.applied())), expected, "{name}, crashed");
            store.close().await;
        }
        store.close().await;
        // The log keeps what the youngest generations changed.
        let segments = std::fs::read_dir(dir.join("store/log")).unwrap().count();
        assert_eq!(segments <= 3, persist_bytes < usize::MAX, "{name}: {segments} segments");
        let store = Store::open(small(&dir, persist_bytes)).await.unwrap();
        assert_eq!((store.applied().revision(), content(&store.applied())), expected, "{name}, closed");
        assert_eq!(commit(&store, vec![put("a0/new", "")]).await, Revision(expected.0.0 + 1));
        store.close().await;
    }
}

#[tokio::test]
async fn history_reaches_as_far_back_as_the_replayed_log_and_idle_buckets_further() {
    let dir = tempfile::tempdir().unwrap();
    // Each commit is a generation of its own: at the end, the log holds no more than the last one or two.
    let eager = || StoreConfig { persist_bytes: 1, ..config(dir.path()) };
    let store = Store::open(eager()).await.unwrap();
    commit(&store, vec![put("idle/1", "")]).await;
    let idle_since = store.applied().revision();
    for _ in 0..5 {
        commit(&store, vec![put("busy/1", "")]).await;
    }
    store.close().await;
    let store = Store::open(eager()).await.unwrap();
    let refused = |prefix: &str, after: Revision| store.watch(prefix, after).err();
    assert_eq!(refused("idle/", idle_since), None);
    assert_eq!(refused("idle/", Revision(0)), Some(WatchError::Compacted { oldest: Revision(1) }));
    assert!(matches!(refused("busy/", Revision(2)), Some(WatchError::Compacted { oldest: Revision(3..) })));
    assert_eq!(refused("busy/", Revision(6)), None);
    assert_eq!(refused("never/", Revision(0)), None);
    store.close().await;
}

#[tokio::test]
async fn a_watch_goes_on_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    for _ in 0..5 {
        commit(&store, vec![put("busy/1", "")]).await;
    }
    store.close().await;
    let store = Store::open(config(dir.path())).await.unwrap();
    let mut watcher = store.watch("busy/", Revision(2)).unwrap();
    for revision in 3..6 {
        assert_eq!(watcher.next().await.unwrap().revision, Revision(revision));
    }
    store.close().await;
}

#[tokio::test]
async fn a_bounded_history_compacts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig { history: 10, ..config(dir.path()) }).await.unwrap();
    let mut slow = store.watch("a/", Revision(0)).unwrap();
    for _ in 0..20 {
        commit(&store, vec![put("a/1", "x")]).await;
    }
    assert_eq!(slow.next().await.err(), Some(WatchError::Lagged));
    assert_eq!(store.watch("a/", Revision(9)).err(), Some(WatchError::Compacted { oldest: Revision(10) }));
    let mut resumed = store.watch("a/", Revision(10)).unwrap();
    assert_eq!(resumed.next().await.unwrap().revision, Revision(11));
    store.close().await;
}

/// Replays what a watcher sees onto a snapshot until it holds what the store held at `until`.
async fn follow(store: Store, prefix: &'static str, until: tokio::sync::watch::Receiver<Option<Revision>>) {
    let start = store.applied();
    let mut seen: std::collections::BTreeMap<Key, Revision> =
        start.range(prefix, None).map(|entry| (entry.key().clone(), entry.modified())).collect();
    let mut watcher = store.watch(prefix, start.revision()).unwrap();
    let mut last = start.revision();
    loop {
        if until.borrow().is_some_and(|until| watcher.revision() >= until) {
            break;
        }
        let event = match watcher.try_next().unwrap() {
            Some(event) => event,
            None => {
                tokio::task::yield_now().await;
                continue;
            }
        };
        assert!(event.revision > last, "a repeat: {} after {last}", event.revision);
        last = event.revision;
        let known = match &event.change {
            Change::Put { entry, previous } => {
                let known = seen.insert(entry.key().clone(), entry.modified());
                assert_eq!(known, previous.as_ref().map(|entry| entry.modified()), "a gap before {last}");
                continue;
            }
            Change::Delete { previous, .. } => seen.remove(previous.key()).zip(Some(previous.modified())),
        };
        assert!(known.is_some_and(|(known, previous)| known == previous), "a gap before {last}");
    }
    let end: Vec<_> =
        store.applied().range(prefix, None).map(|entry| (entry.key().clone(), entry.modified())).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), end);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_see_every_change_once_while_writers_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let (end, until) = tokio::sync::watch::channel(None);
    let mut watchers = JoinSet::new();
    for _ in 0..4 {
        for prefix in ["a0/", "a1/", "a1/1"] {
            watchers.spawn(follow(store.clone(), prefix, until.clone()));
        }
        // Each round of watchers begins later, in the middle of things.
        write_much(&store).await;
    }
    end.send(Some(store.applied().revision())).unwrap();
    while let Some(done) = watchers.join_next().await {
        done.unwrap();
    }
    store.close().await;
}
