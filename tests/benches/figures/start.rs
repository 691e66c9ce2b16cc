//! How long it takes until the API answers, on a new data directory and on one that is there.

use std::time::{Duration, Instant};

use pal_tests::Pal;

use crate::Row;

const ROUNDS: usize = 5;

pub async fn rows(pal: &Pal) -> Vec<Row> {
    let begun = Instant::now();
    let mut server = pal.server(&[]).await;
    let new = begun.elapsed();
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS {
        let dir = server.stop().await;
        let begun = Instant::now();
        server = pal.server_in(dir, &[]).await;
        times.push(begun.elapsed());
    }
    server.stop().await;
    times.sort_unstable();
    vec![
        Row::new("start to serving, new data", format!("{:.2} s", new.as_secs_f64()), "3.6 s (four processes)", ""),
        Row::new(
            "start to serving, existing data",
            format!("{:.2} s", times[ROUNDS / 2].as_secs_f64()),
            "2.7 s (four processes)",
            "must be under 1 s",
        ),
    ]
}
