//! How long after the leader's death the next write is acknowledged.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pal_tests::{Access, Pal, wait_until};
use tokio::task::JoinHandle;

use crate::load::{millis, quantile};
use crate::options::Options;
use crate::ours::{Ours, client, put};

const LIMIT: Duration = Duration::from_secs(60);
/// After a refused connection.
const PAUSE: Duration = Duration::from_millis(10);

/// One write: when it was first asked for, when it was acknowledged, and how often it was asked again.
#[derive(Clone, Copy)]
struct Write {
    called: Instant,
    acknowledged: Instant,
    retries: usize,
}

/// Kills leaders while a client writes through a follower.
pub async fn print(pal: &Pal, options: &Options) {
    if options.kills == 0 {
        return;
    }
    let mut ours = Ours::start(pal, 3).await;
    let (mut times, mut retries) = (Vec::new(), 0);
    for _ in 0..options.kills {
        let leader = ours.servers.leader().await;
        let others = (0..3).filter(|place| *place != leader);
        let others: Vec<Access> = others.map(|place| ours.servers.all()[place].access().clone()).collect();
        let writes = Arc::new(Mutex::new(Vec::new()));
        let writer: JoinHandle<()> = tokio::spawn(write(others, writes.clone()));
        let seen = || writes.lock().expect("nobody panics with it").clone();
        wait_until(LIMIT, "writes", async || if seen().len() > 20 { Ok(()) } else { Err("too few") }).await;
        let killed = Instant::now();
        ours.servers.kill(leader).await;
        let next = wait_until(LIMIT, "a write after the leader's death", async || {
            seen().into_iter().find(|write: &Write| write.called > killed).ok_or("none")
        })
        .await;
        writer.abort();
        times.push(next.acknowledged - killed);
        retries += seen().iter().map(|write| write.retries).sum::<usize>();
        ours.servers.start(leader);
        ours.servers.ready(leader).await;
    }
    times.sort_unstable();
    println!(
        "\nleader killed {} times: the next write is acknowledged after p50 {}, p99 {}, at most {}; {retries} retries by the client",
        times.len(),
        millis(quantile(&times, 0.5)),
        millis(quantile(&times, 0.99)),
        millis(times.last().copied().unwrap_or_default())
    );
}

/// Writes one thing after the other to one server, to the other where that fails.
async fn write(servers: Vec<Access>, writes: Arc<Mutex<Vec<Write>>>) {
    let mut at = 0;
    let mut connection = None;
    for number in 0_u64.. {
        let (called, mut retries) = (Instant::now(), 0);
        loop {
            if connection.is_none() {
                connection = client(&servers[at % servers.len()]).await.ok();
            }
            let txn = put(format!("bench/{}", number % 100), Bytes::from(number.to_string()));
            let done = match &connection {
                Some(connection) => connection.commit(txn).await.is_ok(),
                None => false,
            };
            if done {
                break;
            }
            (retries, at, connection) = (retries + 1, at + 1, None);
            tokio::time::sleep(PAUSE).await;
        }
        let write = Write { called, acknowledged: Instant::now(), retries };
        writes.lock().expect("nobody panics with it").push(write);
    }
}
