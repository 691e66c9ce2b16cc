//! Waiting for something to become true.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often the condition is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// Looks at a condition until it holds. Past the limit it panics with what was waited for and the last state.
pub async fn wait_until<T, E: Display>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(state) if started.elapsed() > limit => {
                panic!("{what}: not within {} s; the last state: {state}", limit.as_secs());
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}
