//! Puts and linearizable reads, ours and etcd's in turn.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use pal_tests::{Pal, Seed};

use crate::etcd::Etcd;
use crate::load::{Measured, millis, run};
use crate::options::Options;
use crate::ours::Ours;
use crate::processes::processor_seconds;

const SIZES: [usize; 2] = [256, 1024];
const KEYS: usize = 10_000;
/// More clients share this many connections, on both sides.
const CONNECTIONS: usize = 16;

/// A store that is measured.
pub trait Side {
    /// One more connection to it.
    fn connect(&self) -> BoxFuture<'_, Box<dyn Conn>>;
    /// Its processes.
    fn processes(&self) -> Vec<u32>;
}

/// A connection that many clients can use at once. Answers say whether it went well.
pub trait Conn: Send + Sync {
    /// Sets a key.
    fn put(&self, key: String, value: Bytes) -> BoxFuture<'static, bool>;
    /// Reads a key that is there, linearizably.
    fn get(&self, key: String) -> BoxFuture<'static, bool>;
}

/// One kind of load.
#[derive(Clone, Copy)]
enum What {
    Put(usize),
    Get,
}

/// What one side did in one round.
struct Round {
    measured: Measured,
    /// Processor time of all its processes for one operation, in microseconds.
    processor: f64,
}

/// Prints a table as it is measured.
pub async fn print(pal: &Pal, options: &Options) {
    println!(
        "{:<34} {:>10} {:>9} {:>9} {:>8}   {:>10} {:>9} {:>9} {:>8}   {:>6} {:>6}",
        "load", "ours/s", "p50", "p99", "us cpu", "etcd/s", "p50", "p99", "us cpu", "times", "p99"
    );
    for count in &options.servers {
        let ours = Ours::start(pal, *count).await;
        let etcd = match Etcd::start(*count).await {
            Ok(etcd) => Some(etcd),
            Err(why) => {
                eprintln!("{why}");
                None
            }
        };
        let puts = SIZES.iter().map(|size| What::Put(*size)).filter(|_| options.wants("puts"));
        let reads = std::iter::once(What::Get).filter(|_| options.wants("reads"));
        for what in puts.chain(reads) {
            for clients in &options.clients {
                row(what, *count, *clients, &ours, etcd.as_ref(), options).await;
            }
        }
    }
}

async fn row(what: What, servers: usize, clients: usize, ours: &Ours, etcd: Option<&Etcd>, options: &Options) {
    let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        our_rounds.push(round(ours, what, clients, options.time).await);
        if let Some(etcd) = etcd {
            their_rounds.push(round(etcd, what, clients, options.time).await);
        }
    }
    let name = match what {
        What::Put(size) => format!("put {size} B, {clients} clients, {servers} servers"),
        What::Get => format!("read, {clients} clients, {servers} servers"),
    };
    let (ours, theirs) = (median(our_rounds), median(their_rounds));
    let columns = |side: &Option<Round>| match side {
        Some(Round { measured: m, processor }) => {
            format!("{:>10.0} {:>9} {:>9} {processor:>8.0}", m.per_second, millis(m.p50), millis(m.p99))
        }
        None => format!("{:>39}", "-"),
    };
    let ratios = match (&ours, &theirs) {
        (Some(ours), Some(theirs)) => {
            let (ours, theirs) = (&ours.measured, &theirs.measured);
            let times = ours.per_second / theirs.per_second;
            format!("{times:>6.2} {:>6.2}", ours.p99.as_secs_f64() / theirs.p99.as_secs_f64().max(1e-9))
        }
        _ => String::new(),
    };
    println!("{name:<34} {}   {}   {ratios}", columns(&ours), columns(&theirs));
}

/// The round whose throughput is in the middle.
fn median(mut rounds: Vec<Round>) -> Option<Round> {
    rounds.sort_by(|one, other| one.measured.per_second.total_cmp(&other.measured.per_second));
    let middle = rounds.len() / 2;
    (middle < rounds.len()).then(|| rounds.swap_remove(middle))
}

async fn round(side: &dyn Side, what: What, clients: usize, time: Duration) -> Round {
    let mut connections: Vec<Arc<dyn Conn>> = Vec::new();
    for _ in 0..clients.min(CONNECTIONS) {
        connections.push(Arc::from(side.connect().await));
    }
    let size = match what {
        What::Put(size) => size,
        What::Get => SIZES[0],
    };
    let value = random(size);
    if let What::Get = what {
        fill(&connections, &value).await;
    }
    let before = processor_seconds(&side.processes());
    let measured = run(clients, time, async |client| {
        let connection = connections[client % connections.len()].clone();
        let (value, mut seed) = (value.clone(), Seed::new(client as u64));
        move |_| {
            let key = key(seed.below(KEYS));
            match what {
                What::Put(_) => connection.put(key, value.clone()),
                What::Get => connection.get(key),
            }
        }
    })
    .await;
    assert_eq!(measured.failures, 0, "requests fail with {clients} clients");
    let used = processor_seconds(&side.processes()) - before;
    let operations = measured.per_second * time.as_secs_f64();
    Round { measured, processor: used / operations.max(1.0) * 1e6 }
}

fn key(number: usize) -> String {
    format!("bench/{number:08}")
}

/// Bytes that no compression makes smaller.
pub fn random(size: usize) -> Bytes {
    let mut seed = Seed::new(size as u64);
    (0..size).map(|_| seed.any() as u8).collect()
}

/// Gives every key a value, once.
async fn fill(connections: &[Arc<dyn Conn>], value: &Bytes) {
    const FILLED: &str = "bench/filled";
    if connections[0].get(FILLED.to_owned()).await {
        return;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..64 {
        let (connection, value) = (connections[worker % connections.len()].clone(), value.clone());
        tasks.spawn(async move {
            for number in (worker..KEYS).step_by(64) {
                assert!(connection.put(key(number), value.clone()).await, "a key is set");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a task does not panic");
    }
    assert!(connections[0].put(FILLED.to_owned(), Bytes::new()).await, "a key is set");
}
