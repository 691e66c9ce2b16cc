//! How much room a store takes on disk while its objects are overwritten, and after most were deleted.
//!
//! `cargo run --release -p pal-store --example churn [MIB [ROUNDS [DIR]]]`: 50 MiB of live objects of 1,000 bytes,
//! overwritten 10 times at random, if nothing else is said.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use pal_store::{Op, Store, StoreConfig, StoreError, Txn};
use tokio::task::JoinSet;

const SIZE: usize = 1000;
const OPS: usize = 10;
const CLIENTS: usize = 16;

type Failure = Box<dyn Error + Send + Sync>;

fn disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // Files come and go while the store works.
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// A number that looks like a random one below `end`.
fn scatter(turn: usize, end: usize) -> usize {
    let mixed = (turn as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 17) as usize % end
}

fn key(turn: usize) -> pal_store::Key {
    format!("pods/namespace-{}/object-{turn:07}", turn % 97).into()
}

async fn apply(store: &Store, ops: impl Fn(usize) -> Op + Clone + Send + 'static, count: usize) -> Result<(), Failure> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (store, op) = (store.clone(), ops.clone());
        clients.spawn(async move {
            for first in (client * OPS..count).step_by(CLIENTS * OPS) {
                // A transaction names no key twice.
                let mut chosen: Vec<Op> = (first..count.min(first + OPS)).map(&op).collect();
                chosen.sort_by(|left, right| left.key().cmp(right.key()));
                chosen.dedup_by(|left, right| left.key() == right.key());
                store.commit(Txn::of(chosen)).await?;
            }
            Ok::<(), StoreError>(())
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mib: usize = arguments.next().map_or(Ok(50), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let path = dir.path().to_owned();
    let config = StoreConfig { dir: path.join("store"), ..StoreConfig::default() };
    let store = Store::open(config).await?;
    let objects = (mib << 20) / SIZE;
    let live = (objects * SIZE) as f64;
    let (stop, mut stopped) = tokio::sync::watch::channel(());
    let watched = path.clone();
    let most = tokio::spawn(async move {
        let mut most = 0;
        loop {
            most = most.max(disk(&watched));
            tokio::select! {
                _ = stopped.changed() => return most,
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
            }
        }
    });
    let put = |turn: usize| Op::Put { key: key(turn), value: Bytes::from(vec![b'x'; SIZE]), revision_at: Some(1) };
    for round in 0..=rounds {
        let started = Instant::now();
        match round {
            0 => apply(&store, put, objects).await?,
            round => apply(&store, move |turn| put(scatter(round * objects + turn, objects)), objects).await?,
        }
        let (rate, used) = (live / started.elapsed().as_secs_f64() / 1e6, disk(&path) as f64);
        let log = disk(&path.join("store/log")) as f64;
        println!(
            "round {round}: {:.0} MB on disk ({:.0} MB of it the log), {:.2} times live, {rate:.1} MB/s",
            used / 1e6,
            log / 1e6,
            used / live
        );
    }
    drop(stop);
    let most = most.await? as f64;
    println!("at most {:.0} MB, {:.2} times live", most / 1e6, most / live);
    let started = Instant::now();
    apply(&store, |turn| Op::Delete { key: key(turn) }, objects / 10 * 9).await?;
    // A quiet store writes its state every few seconds.
    while disk(&path) as f64 > live / 5.0 && started.elapsed().as_secs() < 60 {
        store.commit(Txn::of(vec![put(0)])).await?;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (used, took) = (disk(&path) as f64, started.elapsed().as_secs_f64());
    println!("nine tenths deleted: {:.0} MB on disk after {took:.0} s", used / 1e6);
    store.close().await;
    Ok(())
}
