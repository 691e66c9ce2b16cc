//! A load: many connections, each with one request at a time, for a while.

use std::future::Future;
use std::time::{Duration, Instant};

/// What a load measured.
pub struct Measured {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub failures: usize,
}

/// Runs `clients` loops of a request for `time`. Each loop is made by `client`; a request that gives false has failed.
pub async fn run<C, F, Fut>(clients: usize, time: Duration, client: C) -> Measured
where
    C: AsyncFn(usize) -> F,
    F: FnMut(usize) -> Fut + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let mut tasks = tokio::task::JoinSet::new();
    let mut loops = Vec::new();
    for number in 0..clients {
        loops.push(client(number).await);
    }
    let started = Instant::now();
    for mut request in loops {
        tasks.spawn(async move {
            let (mut times, mut failures) = (Vec::new(), 0);
            let mut count = 0;
            while started.elapsed() < time {
                let begun = Instant::now();
                if request(count).await {
                    times.push(begun.elapsed());
                } else {
                    failures += 1;
                }
                count += 1;
            }
            (times, failures)
        });
    }
    let (mut times, mut failures) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (more, failed) = done.expect("a client does not panic");
        times.extend(more);
        failures += failed;
    }
    let elapsed = started.elapsed();
    times.sort_unstable();
    Measured {
        per_second: times.len() as f64 / elapsed.as_secs_f64(),
        p50: quantile(&times, 0.50),
        p99: quantile(&times, 0.99),
        failures,
    }
}

/// A quantile of sorted figures; zero of none.
pub fn quantile<T: Copy + Default>(sorted: &[T], q: f64) -> T {
    let index = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

/// Milliseconds, with two digits.
pub fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
