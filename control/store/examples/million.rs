//! How long a store with many objects takes to start, and how much memory it then holds.
//!
//! `cargo run --release -p pal-store --example million [COUNT [SIZE [DIR]]]`: a million objects of 1,000 bytes if nothing
//! else is said; DIR should be on the disk that is to be measured. Filling and starting happen in processes of their own, so
//! that each one's memory is its own.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use pal_store::{Op, Store, StoreConfig, StoreError, Txn};
use tokio::task::JoinSet;

const OPS: usize = 20;
const CLIENTS: usize = 16;

type Failure = Box<dyn Error + Send + Sync>;

fn config(dir: &Path) -> StoreConfig {
    StoreConfig { dir: dir.join("store"), ..StoreConfig::default() }
}

/// Resident memory now and at its highest, in bytes.
fn memory() -> Result<(u64, u64), Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().map(|kib| kib << 10)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

fn disk(dir: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

async fn put(store: Store, client: usize, count: usize, value: Bytes) -> Result<(), StoreError> {
    for first in (client * OPS..count).step_by(CLIENTS * OPS) {
        let op = |turn: usize| {
            let key = format!("pods/namespace-{}/object-{turn:07}", turn % 97).into();
            Op::Put { key, value: value.clone(), revision_at: Some(1) }
        };
        store.commit(Txn::of((first..count.min(first + OPS)).map(op).collect())).await?;
    }
    Ok(())
}

async fn fill(dir: &Path, count: usize, size: usize) -> Result<(), Failure> {
    let store = Store::open(config(dir)).await?;
    let started = Instant::now();
    let value = Bytes::from(vec![b'x'; size]);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(put(store.clone(), client, count, value.clone()));
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let (_, most) = memory()?;
    println!("filled in {:.1} s, {} MiB at most", started.elapsed().as_secs_f64(), most >> 20);
    store.close().await;
    Ok(())
}

async fn start(dir: &Path, count: usize) -> Result<(), Failure> {
    let started = Instant::now();
    let store = Store::open(config(dir)).await?;
    let took = started.elapsed().as_secs_f64();
    let objects = store.applied().len();
    if objects != count {
        return Err(format!("{objects} objects instead of {count}").into());
    }
    let (now, most) = memory()?;
    println!(
        "started in {took:.2} s; memory {} bytes an object, {} at most; disk {} bytes an object",
        now / count as u64,
        most / count as u64,
        disk(dir)? / count as u64
    );
    store.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let size = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    match arguments.next().as_deref() {
        Some("fill") => return fill(&parent, count, size).await,
        Some("start") => return start(&parent, count).await,
        _ => {}
    }
    let dir = tempfile::tempdir_in(parent)?;
    // The first start replays what the fill left to the log, and the second one finds what the first left.
    for step in ["fill", "start", "start"] {
        let done = tokio::process::Command::new(std::env::current_exe()?)
            .args([count.to_string(), size.to_string()])
            .arg(dir.path())
            .arg(step)
            .status()
            .await?;
        if !done.success() {
            return Err(format!("{step}: {done}").into());
        }
    }
    Ok(())
}
