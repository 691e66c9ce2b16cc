//! Commits a second, by the number of clients that commit at once.
//!
//! `cargo run --release -p pal-store --example commits [DIR]`; DIR should be on the disk that is to be measured.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pal_store::{Op, Store, StoreConfig, Txn};
use tokio::task::JoinSet;

const VALUE_BYTES: usize = 1024;
const KEYS_PER_CLIENT: usize = 1000;
const LASTS: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let config = StoreConfig { dir: dir.path().join("store"), ..StoreConfig::default() };
    let store = Store::open(config.clone()).await?;
    println!("{:>8} {:>10} {:>9} {:>9} {:>9}", "clients", "commits/s", "p50 us", "p99 us", "max us");
    for clients in [1, 16, 64, 256, 1000] {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            tasks.spawn(client_loop(store.clone(), client, started + LASTS));
        }
        let mut latencies = Vec::new();
        while let Some(done) = tasks.join_next().await {
            latencies.extend(done?.map_err(|error| error.to_string())?);
        }
        let took = started.elapsed();
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_micros();
        let rate = latencies.len() as f64 / took.as_secs_f64();
        println!("{clients:>8} {rate:>10.0} {:>9} {:>9} {:>9}", at(0.5), at(0.99), at(1.0));
    }
    let objects = store.applied().len();
    let closing = Instant::now();
    store.close().await;
    let closing = closing.elapsed();
    drop(store);
    let opening = Instant::now();
    let store = Store::open(config).await?;
    println!("{objects} objects: closed in {closing:.0?}, opened in {:.0?}", opening.elapsed());
    store.close().await;
    Ok(())
}

/// Puts one value after another until the time is over.
async fn client_loop(store: Store, client: usize, until: Instant) -> Result<Vec<Duration>, pal_store::StoreError> {
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    let mut latencies = Vec::new();
    for turn in 0.. {
        let key = format!("bench/{client}/{}", turn % KEYS_PER_CLIENT).into();
        let started = Instant::now();
        if started >= until {
            break;
        }
        let op = Op::Put { key, value: value.clone(), revision_at: Some(1) };
        store.commit(Txn::of(vec![op])).await?;
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}
