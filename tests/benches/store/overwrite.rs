//! What objects that are written again and again take on disk, and whether it shrinks when they go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pal_store::peer::Client;
use pal_store::{Key, Op, Txn};
use pal_tests::{Pal, Seed};
use tokio::task::JoinSet;

use crate::options::Options;
use crate::ours::{Ours, put};
use crate::processes::on_disk;
use crate::puts::random;

const WRITERS: usize = 64;
const CONNECTIONS: usize = 8;
const OBJECTS: usize = 200_000;
const SIZE: usize = 1_024;
const OFTEN: Duration = Duration::from_millis(500);
/// For disk use to follow deletes.
const SETTLING: Duration = Duration::from_secs(40);
/// One object in so many stays.
const STAYS: usize = 10;

/// Overwrites for the time that is wanted, then deletes most.
pub async fn print(pal: &Pal, options: &Options) {
    let ours = Ours::start(pal, 1).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(ours.client().await);
    }
    each(&clients, |number| Some(put(key(number), random(SIZE)))).await;
    let live = (OBJECTS * (SIZE + key(0).len())) as f64;
    let dir = ours.servers.all()[0].dir.join("store");
    let times = |live: f64| on_disk(&dir) / live;
    println!("\n{OBJECTS} objects of {SIZE} B: {:.2} times their size on disk", times(live));

    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(overwrite(clients[writer % CONNECTIONS].clone(), writer, stop.clone(), written.clone()));
    }
    let (begun, mut most) = (Instant::now(), 0.0_f64);
    let mut often = tokio::time::interval(OFTEN);
    while begun.elapsed() < options.overwrite {
        often.tick().await;
        most = most.max(times(live));
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = writers.join_next().await {
        done.expect("a writer does not panic");
    }
    let writes = written.load(Ordering::Relaxed);
    println!(
        "overwritten {writes} times in {} s: at most {most:.2} times their size, {:.2} at the end",
        options.overwrite.as_secs(),
        times(live)
    );

    each(&clients, |number| (number % STAYS != 0).then(|| Txn::of(vec![Op::Delete { key: Key::new(key(number)) }])))
        .await;
    let before = on_disk(&dir);
    let begun = Instant::now();
    let mut least = f64::INFINITY;
    while begun.elapsed() < SETTLING {
        often.tick().await;
        least = least.min(times(live / STAYS as f64));
    }
    println!(
        "of which one in {STAYS} is left: {:.0} MB right after the deletes, {least:.2} times the size of what is left within {} s",
        before / 1e6,
        SETTLING.as_secs()
    );
}

fn key(number: usize) -> String {
    format!("bench/{number:08}")
}

/// Carries out a transaction for every object.
async fn each(clients: &[Client], txn: impl Fn(usize) -> Option<Txn> + Send + Sync + Copy + 'static) {
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let client = clients[writer % CONNECTIONS].clone();
        tasks.spawn(async move {
            for txn in (writer..OBJECTS).step_by(WRITERS).filter_map(txn) {
                client.commit(txn).await.expect("it is stored");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer does not panic");
    }
}

async fn overwrite(client: Client, writer: usize, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    let (mut seed, value) = (Seed::new(writer as u64), random(SIZE));
    while !stop.load(Ordering::Relaxed) {
        client.commit(put(key(seed.below(OBJECTS)), value.clone())).await.expect("it is stored");
        written.fetch_add(1, Ordering::Relaxed);
    }
}
