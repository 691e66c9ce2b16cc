//! A disk that is really full, again and again, at all sorts of places: writes are refused, reads and watches go on, and
//! when there is room it is as if nothing had been.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pal_store::{Op, Outcome, Revision, Store, StoreConfig, StoreError, Txn};

const DISK_BYTES: usize = 12 << 20;
const LIMIT: Duration = Duration::from_secs(30);

/// A small file system of its own, for as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` when this process may not mount one.
    fn mount(at: &Path) -> Option<SmallDisk> {
        let size = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(at.to_owned())),
            Ok(output) => {
                println!("skipped: no file system can be mounted: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("skipped: mount: {error}");
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all the room but so much.
    fn fill(&self, but: usize) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let block = [1; 4096];
        let mut size = 0;
        while ballast.write_all(&block).is_ok() {
            size += block.len() as u64;
        }
        ballast.set_len(size.saturating_sub(but as u64)).unwrap();
    }

    fn relieve(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Batches that count as large, and later such as do not.
fn config(disk: &SmallDisk, round: usize) -> StoreConfig {
    StoreConfig {
        dir: disk.0.join("store"),
        segment_bytes: 256 << 10,
        persist_bytes: if round < 8 { 64 << 10 } else { 4 << 20 },
        persist_after: Duration::from_millis(20),
        persist_retry: Duration::from_millis(20),
        ..StoreConfig::default()
    }
}

/// What was acknowledged, by key: the revision and how long the value is.
type Expected = BTreeMap<String, (Revision, usize)>;

async fn put(store: &Store, turn: usize, expected: &mut Expected) -> Result<(), StoreError> {
    let (key, len) = (format!("a/{:02}", turn % 40), 2000 + turn % 5 * 3000);
    let value = Bytes::from(vec![b'x'; len]);
    let op = Op::Put { key: key.as_str().into(), value, revision_at: None };
    match store.commit(Txn::of(vec![op])).await? {
        Outcome::Committed { revision, .. } => expected.insert(key, (revision, len)),
        Outcome::Refused { .. } => panic!("refused without a guard"),
    };
    Ok(())
}

fn content(store: &Store) -> Expected {
    let snapshot = store.applied();
    let seen = |entry: &std::sync::Arc<pal_store::Entry>| {
        (entry.key().as_str().to_owned(), (entry.modified(), entry.value().len()))
    };
    snapshot.range("", None).map(seen).collect()
}

/// Writes until the disk has no more room. False when it makes room for itself again and again.
async fn write_until_full(store: &Store, turn: &mut usize, expected: &mut Expected) -> bool {
    for _ in 0..2000 {
        match put(store, *turn, expected).await {
            Ok(()) => *turn += 1,
            Err(StoreError::Full { .. }) => return true,
            Err(other) => panic!("after {turn} writes: {other}"),
        }
    }
    false
}

/// Writes until that works again.
async fn write_again(store: &Store, turn: &mut usize, expected: &mut Expected) {
    let started = Instant::now();
    while let Err(error) = put(store, *turn, expected).await {
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(started.elapsed() < LIMIT, "there is room again, but: {error}");
        tokio::task::yield_now().await;
    }
    *turn += 1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_recovers_wherever_it_struck() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else { return };
    let mut store = Store::open(config(&disk, 0)).await.unwrap();
    let (mut expected, mut turn, mut full) = (Expected::new(), 0, 0);
    for round in 0..16 {
        let before = store.applied().revision();
        disk.fill(round * 61_000);
        full += usize::from(write_until_full(&store, &mut turn, &mut expected).await);
        assert_eq!(content(&store), expected, "round {round}");
        assert!(store.consistent().await.is_ok());
        assert!(store.failure().is_none(), "{:?}", store.failure());
        let mut watcher = store.watch("a/", before).unwrap();
        let mut events = before.0;
        while watcher.try_next().unwrap().is_some() {
            events += 1;
        }
        assert_eq!(Revision(events), store.applied().revision());
        if round % 4 == 3 {
            // A server that is restarted on a full disk serves what it has.
            store.close().await;
            drop(watcher);
            store = Store::open(config(&disk, round)).await.unwrap();
            assert_eq!(content(&store), expected, "round {round}, restarted");
        }
        disk.relieve();
        for _ in 0..50 {
            write_again(&store, &mut turn, &mut expected).await;
        }
        if round % 2 == 1 {
            store.close().await;
            store = Store::open(config(&disk, round)).await.unwrap();
            assert_eq!(content(&store), expected, "round {round}, restarted with room");
        }
    }
    assert!(full >= 8, "the disk was full in {full} rounds only");
    store.close().await;
}
